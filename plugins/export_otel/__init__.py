"""Runs, model calls and tool calls as OpenTelemetry spans, sent while agents run (extra `otel`)."""

from collections.abc import Sequence

from ringfence.plugin import AuditSink, hookimpl
from ringfence.plugins.export_otel.sink import OtelSettings, OtelSink

__all__ = ["OtelSettings", "OtelSink"]


@hookimpl
def ringfence_audit_sinks() -> Sequence[type[AuditSink]]:
    """Offer the sink `export_otel`."""
    return [OtelSink]
