"""The compiled policy: immutable, printable, with a digest of its canonical form.

`core` is the whole meaning as plain JSON values (rules and budgets only, every sugar rewritten); the
digest is taken of it and `explain` prints it.  Beside it stand the closures that decide, made from the
same core.  Two policies with one digest decide alike.
"""

import builtins
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal, Protocol

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


class Recalled(Protocol):
    """What the session remembers, as conditions ask it; folded from events, never scanned.

    Everything is total and three-valued: None is *undecided* (in flight, failed, overflowed, unknown).
    Watches are named by the canonical JSON of their core form (`Watch.key`).
    """

    def after(self, watch: str, *, now_ns: int) -> Truth:
        """Say whether the watched event has happened (`after …`, `after … with no … since`)."""
        ...

    def counted(self, watch: str, *, now_ns: int) -> tuple[int, int | None]:
        """Return the least and the most that `calls to …` can be; None: no upper bound is known."""
        ...

    def ordered(self, watch: str, value: Json) -> Truth:
        """Say whether all steps of an `order` but the last came, in order, with this value of `same`."""
        ...

    def carries(self, rank: int) -> Truth:
        """Say whether the session's label is at or above this rank."""
        ...

    def comes_from(self, value: Json, source: "Origin") -> Truth:
        """Say whether one value (no list) matches the source."""
        ...


@dataclass(frozen=True, slots=True)
class Origin:
    """A source of provenance."""

    kind: Literal["user", "system", "attachment", "approver", "model", "set", "tool", "field"]
    tool: str | None = None
    """The policy's name of the tool, of `tool` and `field`."""
    path: tuple[str, ...] = ()
    """Of `field`: the names on the way to the leaf, lists left out."""
    values: frozenset[Json] = frozenset()
    """Of `set`: its canonical values."""
    only: bool = False
    """Asked by `comes only from`: unmatched is false then, even while results of the tool were shown."""


@dataclass(slots=True)
class Question:
    """A question to a plugin's function (or redactor) that a decision needs answered."""

    function: str
    """The function's name in the policy; `redact NAME` for a redactor."""
    arguments: tuple[Json, ...]

    @property
    def key(self) -> str:
        """The canonical JSON of `[function, *arguments]`: under it the answer is recorded."""
        from ringfence.dsl.canonical import canonical  # it needs Json

        return canonical([self.function, *self.arguments]).decode()


class UnansweredError(Exception):
    """The function was not asked yet (the question is noted in `Scope.wanted`), or had no answer."""


@dataclass(slots=True)
class Scope:
    """What a condition may look at while one call is decided."""

    arguments: Mapping[str, Json]
    """The canonical arguments; an optional parameter that was not given is absent."""
    principal: Mapping[str, Json]
    """`user`, `workspace`, `agent` and the declared attributes that the host has said."""
    bound: dict[str, Json] = field(default_factory=dict)
    """Variables of `every` and `some`."""
    memory: Recalled | None = None
    """None: nothing is remembered here, and what asks for it is undecided."""
    now_ns: int = 0
    """The engine's clock."""
    wall_ns: int | None = None
    """The time of day that calendars see, since the epoch; None: unknown, and calendars are undecided."""
    edited: frozenset[str] = frozenset()
    """Parameters whose values an approver wrote."""
    answers: Mapping[str, Json] = field(default_factory=dict)
    """`Question.key` -> `["gave", value]` or `["failed", why]`."""
    wanted: dict[str, Question] = field(default_factory=dict)
    """Questions met that have no answer yet, by key."""

    def ask(self, question: Question) -> Json:
        """Return what the function gave; raise UnansweredError, which leaves the atom undecided."""
        key = question.key
        answer = self.answers.get(key)
        if answer is None:
            self.wanted[key] = question
            raise UnansweredError
        if answer[0] != "gave":
            raise UnansweredError
        return answer[1]


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
    effect: Literal["unknown", "deny", "ask", "allow", "halt", "redact", "audit"]
    """The last two only of shadow rules."""
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
    layer: str | None = None
    """The ceiling it stands in; None: the policy itself."""


Amount = Callable[[Scope], Json]
"""Gives a number, or raises: then what it is for is undecided."""


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
    labels: tuple[LabelClause, ...] = ()
    redactions: tuple[Redaction, ...] = ()
    audits: tuple[AuditRule, ...] = ()
    isolated: Isolated | None = None
    starts: str | None = None
    """The agent that a call of this tool starts; only an agent that `may start` it sees the tool."""
    remembers: bool = False
    """Some clause asks history, labels or provenance."""


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
    may_start: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Responses:
    """What the model is told; None: say the rule's `because`."""

    unknown: str | None = "tool not found"
    deny: str | None = "not authorized"
    failure: str | None = "the tool failed"
    floor_ns: int = 0
    """Refusals and failures take at least so long, and then end on a step; 0: as long as they take."""
    step_ns: int = 0


@dataclass(frozen=True, slots=True)
class FunctionPlan:
    """A function that a plugin answers: `function is_customer(address: email) gives boolean from "…"`."""

    name: str
    plugin: str
    parameters: tuple["Parameter", ...]
    gives: "Parameter"
    """Its canonicaliser checks the answer; a wrong type is no answer."""
    place: Place


@dataclass(frozen=True, slots=True)
class IsolatePlan:
    """A V8 isolate as the policy bounds it; running code in it is the executor's part."""

    name: str
    lockdown: str
    memory_bytes: int | None
    cpu_ns: int | None
    time_ns: int | None
    output_bytes: int | None
    may_call: frozenset[str]
    clock: str
    place: Place


@dataclass(frozen=True, slots=True)
class GuaranteePlan:
    """What the policy promises: no call of these tools under this condition, unless someone approved it.

    It is checked and kept; it decides nothing, and is not proved.
    """

    name: str
    tools: tuple[str, ...]
    """The policy's names of the tools that it speaks of, sorted."""
    cores: tuple[Json, ...]
    """The condition as JSON, once per way in which those tools type what it names."""
    approved_by: str | None
    """An approver's name, or `anyone`; None: never, whoever approves."""
    place: Place
    layer: str | None = None


@dataclass(frozen=True, slots=True)
class TextFile:
    """One text that the plan was made from."""

    role: Literal["policy", "use", "ceiling"]
    name: str
    """As `use`, `under` or the host named it; the policy's own file name for the policy."""
    text: str


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
    levels: tuple[str, ...] = ()
    """Lowest first; a rank is an index into it."""
    watches: Mapping[str, Watch] = field(default_factory=dict, repr=False)
    """All that some clause of any tool mentions of history, by key."""
    traces: bool = False
    """Some clause asks for provenance, or some person may be asked: prompts and results are indexed."""
    functions: Mapping[str, FunctionPlan] = field(default_factory=dict)
    isolates: Mapping[str, IsolatePlan] = field(default_factory=dict)
    files: tuple[TextFile, ...] = ()
    """Everything the plan was made from, the policy first: enough to make it again."""
    layers: tuple[str, ...] = ()
    """The names of the ceilings over the policy, sorted."""
    guarantees: tuple[GuaranteePlan, ...] = ()
