"""The parts of a tool's plan: clauses, what history they watch, labels, redactions, budgets, obligations."""

import builtins
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal

from ringfence.dsl.plan.scope import Amount, Canonicaliser, Condition, Json
from ringfence.dsl.source import Place


class Verdict(IntEnum):
    """`unknown < deny < ask < allow`; several combine by minimum."""

    UNKNOWN = 0
    DENY = 1
    ASK = 2
    ALLOW = 3

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a decision came out as it did: one rule that spoke."""

    name: str
    """`send_email.allow`, `no_exfiltration`, `support.stop`; `NAME!error` if it could not be decided."""
    effect: Literal["unknown", "deny", "ask", "allow", "halt", "redact", "audit"]
    """The last two only of shadow rules."""
    place: Place | None
    because: str | None = None
    detail: str | None = None
    """What was found, for the log: `limit is 5000`.  Never shown to the model."""
    written: str | None = field(default=None, init=False, repr=False, compare=False)
    """Its record as canonical JSON, once that was needed: a cache of what the fields above say."""
    record: dict[str, Json] | None = field(default=None, init=False, repr=False, compare=False)
    """Its record, in the same way: to be copied, and never to be handed on."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a tool, or one attribute of the principal."""

    name: str
    type: str
    """As the author wrote it: `list of email at most 20`."""
    optional: bool
    canonical: Canonicaliser
    place: Place
    as_is: "builtins.type | None" = field(default=None, repr=False)
    """An ASCII text (`str`) or an integer within 2^53-1 (`int`) is its own canonical value, so that
    `canonical` need not be asked; None: ask it always."""


@dataclass(frozen=True, slots=True)
class Clause:
    """One core rule of a tool: an effect under a condition."""

    name: str
    """The name of the reason: `send_email.known_recipient`, `no_web_to_crm`, `query_database.allow`."""
    effect: Literal["allow", "deny", "ask"]
    condition: Condition | None
    """None: always."""
    core: Json
    """The condition as JSON; `["always"]` where there is none."""
    place: Place
    because: str | None = None
    approver: str | None = None
    """Of an ask."""
    shadow: bool = False
    """Decided and recorded, not enforced."""
    principal_fields: tuple[str, ...] = ()
    """The attributes of the principal that it names; one that the host has not said denies."""
    layer: str | None = None
    """The ceiling it stands in; None: the policy itself."""


@dataclass(frozen=True, slots=True)
class Happening:
    """What history is asked for: calls of these tools that succeeded, or results read at a level."""

    tools: Mapping[str, Condition | None]
    """Policy's name of the tool -> its `where`, over the arguments of that call; empty for `reading`."""
    rank: int | None = None
    """Of `reading`: at or above this level."""


@dataclass(frozen=True, slots=True)
class Watch:
    """One thing of history that some clause mentions: only these are remembered."""

    key: str
    """The canonical JSON of its core form."""
    kind: Literal["after", "since", "calls", "order"]
    events: tuple[Happening, ...]
    """`after`, `calls`: one; `since`: what happened, and what has not happened since; `order`: the steps
    but the last.
    """
    within_ns: int | None = None
    in_run: bool = False
    """`within this run`; else, without `within_ns`, the session."""
    same: str | None = None
    """Of an `order`: the parameter that must have the same value."""


@dataclass(frozen=True, slots=True)
class LabelClause:
    """`result is LEVEL when E`; `condition` None: always, unless `otherwise`."""

    rank: int
    condition: Condition | None
    otherwise: bool
    """Holds if all conditions of the tool's other label clauses (in this layer) are false."""
    layer: str | None = None
    core: Json = field(default=("always",), repr=False)
    """The condition as JSON."""
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Redaction:
    """`redact PARAM with REDACTOR`, perhaps under a condition on the values as given."""

    name: str
    """Of the reason if it fails: the rule's, or `TOOL.redact`."""
    param: str
    redactor: str
    condition: Condition | None
    place: Place
    layer: str | None = None
    shadow: bool = False
    core: Json = field(default=("always",), repr=False)
    """The condition as JSON."""


@dataclass(frozen=True, slots=True)
class AuditRule:
    """`rule NAME: audit full for TARGET when E`."""

    level: Literal["minimal", "standard", "full"]
    condition: Condition | None
    shadow: bool = False
    name: str = "audit"
    """The rule's, as shadow records it."""
    place: Place | None = None
    layer: str | None = None
    core: Json = field(default=("always",), repr=False)
    """The condition as JSON."""


@dataclass(frozen=True, slots=True)
class Isolated:
    """`runs code in analyst`: the tool's body is JavaScript in this isolate, never the host's function."""

    isolate: str
    param: str | None
    """The parameter that holds the code; None: `file` does."""
    file: str | None
    source: str | None = field(default=None, repr=False)
    """The text of that file, as it was when the policy was loaded."""


@dataclass(frozen=True, slots=True)
class Budget:
    """At most `limit` units in any window of `period_ns`, per key."""

    id: str
    """Stable over versions of the policy that only change the limit; names policy, tool, period, scope."""
    reason: str
    """`send_email.rate`."""
    limit: int
    period_ns: int | None
    """None: per run."""
    scope: str | None
    """`run`, `session`, `user`, `workspace`, `agent`, `tool` or a parameter; None: one for the policy."""
    halts: bool
    place: Place
    kind: Literal["calls", "distinct", "amount"] = "calls"
    """One unit per call; distinct resources (blast radius); or what `amount` gives."""
    counting: Literal["calls", "attempts", "successes"] = "calls"
    resources: tuple[str, ...] = ()
    """Of `distinct`: the parameters whose values are the resources."""
    resource: str | None = None
    """Of `distinct`: what they are called: `recipient`."""
    amount: Amount | None = None
    scale: int = 1
    """The ledger counts in 1/scale units: `limit` is in them already; an amount is multiplied, rounded up."""
    layer: str | None = None
    core: Json = field(default=None, repr=False)
    """Of `amount`: the operand as JSON."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A bound on the run: event `at_most + 1` halts it, for the reason `reason`."""

    reason: str
    at_most: int
    """A count, or nanoseconds for `stop after`."""
    place: Place


@dataclass(frozen=True, slots=True)
class Obligations:
    """What must be done if the call runs."""

    max_rows: int | None = None
    max_bytes: int | None = None
    audit: Literal["minimal", "standard", "full"] = "standard"
    stop_ns: int | None = None
    """The tool's own time bound."""
    step_bytes: int | None = None
    """`result in steps of`: the result's size is rounded up to a multiple of it."""
