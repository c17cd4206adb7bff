"""For plugin authors and policy tests: contract classes, fakes, a pytest plugin.

Names arrive when they are first used: pytest loads this package in every run of everyone who has
Ringfence installed.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ringfence.testing.adapters.contract import AdapterContract
    from ringfence.testing.adapters.scenes import Asked, Outcome, Scene, Told
    from ringfence.testing.approvals import Answered, ApprovalBackendContract, FakeAnswers, question
    from ringfence.testing.clock import FakeClock
    from ringfence.testing.functions import PolicyFunctionContract, RedactorContract
    from ringfence.testing.isolates import IsolateExecutorContract, isolate_job
    from ringfence.testing.ledgers import LedgerContract
    from ringfence.testing.sinks import AuditSinkContract, DerivingSinkContract, event
    from ringfence.testing.stores import (
        EventLogContract,
        KillSwitchContract,
        LeasesContract,
        TicketStoreContract,
    )

__all__ = [
    "AdapterContract",
    "Answered",
    "ApprovalBackendContract",
    "Asked",
    "AuditSinkContract",
    "DerivingSinkContract",
    "EventLogContract",
    "FakeAnswers",
    "FakeClock",
    "IsolateExecutorContract",
    "KillSwitchContract",
    "LeasesContract",
    "LedgerContract",
    "Outcome",
    "PolicyFunctionContract",
    "RedactorContract",
    "Scene",
    "TicketStoreContract",
    "Told",
    "event",
    "isolate_job",
    "question",
]

_HOMES = {
    "AdapterContract": "adapters.contract",
    "Asked": "adapters.scenes",
    "Outcome": "adapters.scenes",
    "Scene": "adapters.scenes",
    "Told": "adapters.scenes",
    "Answered": "approvals",
    "ApprovalBackendContract": "approvals",
    "AuditSinkContract": "sinks",
    "DerivingSinkContract": "sinks",
    "EventLogContract": "stores",
    "FakeAnswers": "approvals",
    "FakeClock": "clock",
    "IsolateExecutorContract": "isolates",
    "KillSwitchContract": "stores",
    "LeasesContract": "stores",
    "LedgerContract": "ledgers",
    "PolicyFunctionContract": "functions",
    "RedactorContract": "functions",
    "TicketStoreContract": "stores",
    "event": "sinks",
    "isolate_job": "isolates",
    "question": "approvals",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
