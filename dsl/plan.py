"""The compiled policy: immutable, printable, with a digest of its canonical form.

`core` is the whole meaning as plain JSON values (rules and budgets only, every sugar rewritten); the
digest is taken of it and `explain` prints it.  Beside it stand the closures that decide, made from the
same core.  Two policies with one digest decide alike.
"""

import builtins
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal

from ringfence.dsl.source import Place

Json = Any
"""A JSON value: None, bool, int, float, str, list or dict with str keys."""

Truth = bool | None
"""Kleene's three values; None is *undecided*."""


class Verdict(IntEnum):
    """`unknown < deny < ask < allow`; several combine by minimum."""

    UNKNOWN = 0
    DENY = 1
    ASK = 2
    ALLOW = 3

    def __str__(self) -> str:
        return self.name.lower()


class UnfitError(ValueError):
    """A value does not fit its declared type; the message says why, without repeating the value."""


@dataclass(slots=True)
class Scope:
    """What a condition may look at while one call is decided."""

    arguments: Mapping[str, Json]
    """The canonical arguments; an optional parameter that was not given is absent."""
    principal: Mapping[str, Json]
    """`user`, `workspace`, `agent` and the declared attributes that the host has said."""
    bound: dict[str, Json] = field(default_factory=dict)
    """Variables of `every` and `some`."""


Condition = Callable[[Scope], Truth]
"""Total: an exception or a missing value inside is *undecided* (None), never raised.

Atoms catch; `and`, `or`, `not` combine by Kleene's tables whatever the order of their parts.
"""

Canonicaliser = Callable[[Json], Json]
"""Turns a given value into the one canonical value of its type, or raises `UnfitError`."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a decision came out as it did: one rule that spoke."""

    name: str
    """`send_email.allow`, `no_exfiltration`, `support.stop`; `NAME!error` if it could not be decided."""
    effect: Literal["unknown", "deny", "ask", "allow", "halt"]
    place: Place | None
    because: str | None = None
    detail: str | None = None
    """What was found, for the log: `limit is 5000`.  Never shown to the model."""
    written: str | None = field(default=None, init=False, repr=False, compare=False)
    """Its record as canonical JSON, once that was needed: a cache of what the fields above say."""


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


@dataclass(frozen=True, slots=True)
class ToolPlan:
    """All that decides calls of one tool, rules across tools included."""

    name: str
    bound: str
    """The framework's name for it: the `is "…"` text, else the name."""
    description: str | None
    needs: frozenset[str]
    traits: frozenset[str]
    parameters: Mapping[str, Parameter] | None
    """None: no `takes`; the bound tool's schema gives the parameters, unbound any arguments fit."""
    denies: tuple[Clause, ...]
    asks: tuple[Clause, ...]
    allows: tuple[Clause, ...]
    budgets: tuple[Budget, ...]
    obligations: Obligations
    place: Place
    required: frozenset[str] = frozenset()
    """The parameters that are not optional."""
    principal_fields: tuple[tuple[str, str, Place], ...] = ()
    """Each attribute of the principal that some clause names: (attribute, reason, place)."""


@dataclass(frozen=True, slots=True)
class ApproverPlan:
    """Who may answer, and how."""

    name: str
    group: str | None
    quorum: int
    never_requester: bool
    within_ns: int | None
    """None: no time limit (W209)."""
    otherwise_ask: str | None
    """None: deny when nobody answers in time."""
    place: Place


@dataclass(frozen=True, slots=True)
class AgentPlan:
    """A named holder of capabilities and its bounds."""

    name: str
    holds: frozenset[str]
    stop: Limit | None
    calls: Limit | None
    denials: Limit | None
    requests: Limit | None
    place: Place | None
    """None: the implied agent `main`."""


@dataclass(frozen=True, slots=True)
class Responses:
    """What the model is told; None: say the rule's `because`."""

    unknown: str | None = "tool not found"
    deny: str | None = "not authorized"
    failure: str | None = "the tool failed"


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole policy, ready to decide."""

    policy: str
    version: str | None
    edition: int
    file: str
    text: str = field(repr=False)
    """The source text, kept for the record."""
    digest: str
    """`sha256:` and 64 hex digits, of the canonical JSON of `core`."""
    core: Json = field(repr=False)
    tools: Mapping[str, ToolPlan] = field(repr=False)
    by_bound_name: Mapping[str, ToolPlan] = field(repr=False)
    """The framework's name -> the tool."""
    agents: Mapping[str, AgentPlan]
    approvers: Mapping[str, ApproverPlan]
    capabilities: Mapping[str, frozenset[str]]
    """Capability -> traits."""
    principal: Mapping[str, Parameter]
    """The declared attributes, without `user`, `workspace`, `agent`."""
    responses: Responses
