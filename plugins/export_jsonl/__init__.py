"""The log as JSON Lines in a file, while it is written: the lines of `ringfence export`."""

from collections.abc import Sequence

from ringfence.plugin import AuditSink, hookimpl
from ringfence.plugins.export_jsonl.sink import JsonlSettings, JsonlSink

__all__ = ["JsonlSettings", "JsonlSink"]


@hookimpl
def ringfence_audit_sinks() -> Sequence[type[AuditSink]]:
    """Offer the sink `export_jsonl`."""
    return [JsonlSink]
