"""The plans of tools, agents, approvers and functions, and of the whole policy."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Optional

from ringfence.dsl.plan.clauses import (
    AuditRule,
    Budget,
    Clause,
    Isolated,
    LabelClause,
    Limit,
    Obligations,
    Parameter,
    Redaction,
    Watch,
)
from ringfence.dsl.plan.scope import Json
from ringfence.dsl.source import Place


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
    certainly: Callable[["ToolPlan"], Optional["Certain"]] | None = field(
        default=None, repr=False, compare=False
    )
    """Makes of this plan, and of one that was made of it, its `certain`; None: there is none."""
    made: tuple[Optional["Certain"], ...] = field(default=(), init=False, repr=False, compare=False)
    """`certain`, once it was made."""
    kept: tuple[Any, ...] = field(default=(), init=False, repr=False, compare=False)
    """What decisions have made of it for all runs: a pure function of the rest, which changes no answer."""

    @property
    def certain(self) -> Optional["Certain"]:
        """What says at once of most calls what the clauses say; None: every call is decided at length."""
        if not self.made:
            made = None if self.certainly is None else self.certainly(self)
            object.__setattr__(self, "made", (made,))  # a pure function of the rest: it may be made twice
        return self.made[0]


Told = dict[str, Json] | tuple[dict[str, Json], tuple[int, ...]] | None
"""What is said at once of a call: its canonical arguments, if they fit, every deny and every ask is false and
the one allow is true.  Beside them the numbers of what speaks, in its order, if a deny is true or the allow
is false.  None: that cannot be told at once, or an ask or a shadow's deny speaks.

The denies that are no shadow's are numbered from 0, then comes the allow, and then that no allow fits.
"""


class Certain(NamedTuple):
    """Says of most calls of one tool what its clauses say; it never says another thing than they do."""

    tells: Callable[[dict[str, Json], Mapping[str, Json], tuple[Any, ...]], Told]
    """Of (arguments as given, principal, `objects`)."""
    objects: tuple[Any, ...]
    """What it is given of the policy: names, constants, functions."""


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


ISOLATE_EXECUTOR = "(isolate executor)"
"""Asked of what says which plugins are installed: whatever runs isolates.  No plugin can be called so."""


@dataclass(frozen=True, slots=True)
class IsolatePlan:
    """A V8 isolate as the policy bounds it; running code in it is the executor's part."""

    name: str
    lockdown: Literal["full", "process"]
    memory_bytes: int
    cpu_ns: int
    time_ns: int
    output_bytes: int
    may_call: frozenset[str]
    clock: Literal["frozen", "coarse"]
    place: Place
    tick_ms: int | None = None
    """Of a coarse clock: it moves on in steps of so many milliseconds."""


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

    role: Literal["policy", "use", "ceiling", "script"]
    """`script`: JavaScript that a tool runs in an isolate."""
    name: str
    """As `use`, `under`, `runs` or the host named it; the policy's own file name for the policy."""
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
