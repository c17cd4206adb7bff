"""Signed heads of runs in a second place, where who changes the log cannot change them too (extra `sign`)."""

from collections.abc import Sequence

from ringfence.plugin import AuditSink, hookimpl
from ringfence.plugins.witness.sink import WitnessSink

__all__ = ["WitnessSink"]


@hookimpl
def ringfence_audit_sinks() -> Sequence[type[AuditSink]]:
    """Offer the sink `witness`."""
    return [WitnessSink]
