"""For authors of plugins: the one public module.

A plugin is a module (or an object) whose functions are marked `@hookimpl` and named as the hooks, offered
under the entry-point group `ringfence.plugins`, and loaded only where `ringfence.toml` allows it.
Functions for policies are marked `@policy_function`, redactors `@redactor`; they need no hook.
What the hooks are, when they are called and which way they fail: `help(ringfence.plugin.Hooks)`.
"""

from ringfence.dsl.canonical import loads_strict
from ringfence.dsl.plan import Json
from ringfence.engine.decision.calls import Charge, Refusal
from ringfence.engine.journal.chain import ZERO, link_hash
from ringfence.engine.journal.purging import PURGED, check_purge
from ringfence.engine.journal.rows import row_after, row_after_all
from ringfence.engine.seams.errors import (
    DeniedError,
    EngineError,
    NoTicketError,
    RingfenceError,
    StoreAwayError,
    TakenOverError,
)
from ringfence.engine.seams.escape import escaped, escaped_json
from ringfence.engine.seams.functions import Date, Email, Line, Url, policy_function, redactor
from ringfence.engine.seams.hookspecs import (
    ENTRY_POINTS,
    Answer,
    Answers,
    ApprovalBackend,
    AuditSink,
    Event,
    Hooks,
    NoSettings,
    Past,
    Question,
    SettingsPath,
    hookimpl,
)
from ringfence.engine.seams.isolates import (
    CheckedExecutor,
    Fitness,
    InnerAnswer,
    InnerAnswering,
    InnerCall,
    IsolateExecutor,
    IsolateFailure,
    IsolateJob,
    IsolateLimits,
    IsolateOutcome,
    Layer,
    Lockdown,
)
from ringfence.engine.seams.ports import (
    Attendant,
    Clock,
    DirectLedger,
    Entry,
    EventLog,
    Examined,
    InlineLedger,
    KillOrder,
    KillSwitch,
    Leases,
    Ledger,
    Link,
    ReadableStore,
    Reservation,
    RunRow,
    Store,
    StoreNote,
    Ticket,
    TicketStatus,
    TicketStore,
)
from ringfence.engine.seams.store_urls import without_password
from ringfence.engine.seams.threads import Threads
from ringfence.engine.seams.wakes import arrival, gathered

__all__ = [
    "ENTRY_POINTS",
    "PURGED",
    "ZERO",
    "Answer",
    "Answers",
    "ApprovalBackend",
    "Attendant",
    "AuditSink",
    "Charge",
    "CheckedExecutor",
    "Clock",
    "Date",
    "DeniedError",
    "DirectLedger",
    "Email",
    "EngineError",
    "Entry",
    "Event",
    "EventLog",
    "Examined",
    "Fitness",
    "Hooks",
    "InlineLedger",
    "InnerAnswer",
    "InnerAnswering",
    "InnerCall",
    "IsolateExecutor",
    "IsolateFailure",
    "IsolateJob",
    "IsolateLimits",
    "IsolateOutcome",
    "Json",
    "KillOrder",
    "KillSwitch",
    "Layer",
    "Leases",
    "Ledger",
    "Line",
    "Link",
    "Lockdown",
    "NoSettings",
    "NoTicketError",
    "Past",
    "Question",
    "ReadableStore",
    "Refusal",
    "Reservation",
    "RingfenceError",
    "RunRow",
    "SettingsPath",
    "Store",
    "StoreAwayError",
    "StoreNote",
    "TakenOverError",
    "Threads",
    "Ticket",
    "TicketStatus",
    "TicketStore",
    "Url",
    "arrival",
    "check_purge",
    "escaped",
    "escaped_json",
    "gathered",
    "hookimpl",
    "link_hash",
    "loads_strict",
    "policy_function",
    "redactor",
    "row_after",
    "row_after_all",
    "without_password",
]
