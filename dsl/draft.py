"""One layer on its way from syntax to plan: its document, what the stages found, what is wrong with it.

The policy and each ceiling have a draft of their own; `layers` says what they see of each other.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ringfence.dsl import syntax
from ringfence.dsl.diagnostic import Diagnostic
from ringfence.dsl.plan import Json
from ringfence.dsl.source import Span
from ringfence.dsl.suggest import did_you_mean
from ringfence.dsl.types import Type

if TYPE_CHECKING:  # most policies are loaded without live tools
    from ringfence.dsl.live.tools import LiveTool


@dataclass(frozen=True, slots=True)
class Slot:
    """A parameter of a tool, an attribute of the principal: something that a condition may name."""

    name: str
    type: Type
    optional: bool
    written: str
    """The type as the author wrote it."""
    span: Span


@dataclass(slots=True)
class ToolDraft:
    """A tool as one layer sees it, with its names resolved."""

    node: syntax.Tool
    """Where it is declared: in the policy, or made for an agent that another `may start`."""
    clauses: tuple[syntax.ToolClause, ...] = ()
    """What this layer says about it."""
    needs: tuple[str, ...] = ()
    traits: frozenset[str] = frozenset()
    slots: Mapping[str, Slot] | None = None
    """None: no `takes`."""
    broken: bool = False
    """Some mistake stands in its `needs` or `takes`: what follows from them is not reported again."""
    unseen: bool = False
    """In a ceiling that stands alone: what it takes is known under a policy only."""
    starts: str | None = None
    """The agent that a call of it starts."""
    touches: dict[str, list[str]] = field(default_factory=dict)
    """Resource -> the parameters whose values are such resources."""


@dataclass(frozen=True, slots=True)
class LabelDraft:
    """`result is LEVEL …`, lowered; `rank` and `core` are None after a mistake."""

    rank: int | None
    core: Json | None
    otherwise: bool
    span: Span


@dataclass(frozen=True, slots=True)
class BudgetDraft:
    """Any bound on how often or how much, in one form: a rate, a blast radius, a budget."""

    kind: Literal["calls", "distinct", "amount"]
    id: str
    reason: str
    limit: int
    period: str
    scope: str | None
    halts: bool
    span: Span
    counting: Literal["calls", "attempts", "successes"] = "calls"
    resource: str | None = None
    resources: tuple[str, ...] = ()
    amount: Json = None
    scale: int = 1


@dataclass(frozen=True, slots=True)
class ClauseDraft:
    """One effect under a condition, lowered; `core` is None where a mistake was reported."""

    reason: str
    effect: Literal["allow", "deny", "ask", "redact", "audit"]
    core: Json | None
    span: Span
    because: str | None = None
    approver: syntax.Name | None = None
    principal: tuple[str, ...] = ()
    """The attributes of the principal that it names and that are not optional, folded parts included."""
    shadow: bool = False
    redacts: tuple[str, str] | None = None
    """Of a redact: the parameter and the redactor."""
    level: str | None = None
    """Of an audit."""


@dataclass(slots=True)
class RuleDraft:
    """A rule across tools: what it covers, and its condition per kind of covered tool."""

    node: syntax.Rule
    covers: tuple[str, ...]
    broken: bool = False
    variants: list[ClauseDraft] = field(default_factory=list)
    """One clause per way in which covered tools type the parameters it names."""


@dataclass(slots=True)
class OrderDraft:
    """An order: the deny that it puts on each tool of its last step."""

    node: syntax.Order
    clauses: dict[str, ClauseDraft] = field(default_factory=dict)


@dataclass(slots=True)
class AmountDraft:
    """A budget over tools: what each covered tool is charged."""

    node: syntax.BudgetOf
    covers: tuple[str, ...] = ()
    budgets: dict[str, BudgetDraft] = field(default_factory=dict)
    principal: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Tool -> the attributes of the principal that its amount names."""


@dataclass(slots=True)
class GuaranteeDraft:
    """A guarantee: what it speaks of, and its condition per kind of covered tool."""

    node: syntax.Guarantee
    covers: tuple[str, ...] = ()
    cores: list[Json | None] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Absent:
    """What is not there, where more can be said of it than that; false."""

    message: str
    help: str

    def __bool__(self) -> Literal[False]:
        """Say that it is not there."""
        return False


Installed = Callable[[str], bool | Absent]
"""Says whether a plugin, a redactor of one, or ISOLATE_EXECUTOR is there."""


@dataclass(slots=True)
class Draft:
    """What the stages read and fill in, in the order of `ringfence.dsl.load.STAGES`."""

    document: syntax.Document
    found: list[Diagnostic] = field(default_factory=list)
    layer: str | None = None
    """The ceiling's name; None: the policy itself."""
    ceilings: tuple["Draft", ...] = ()
    """Of the policy: the layers over it."""
    policy: "Draft | None" = None
    """Of a ceiling: the policy under it; None where it is checked alone."""
    installed: "Installed | None" = None
    """Says whether a plugin, a redactor or ISOLATE_EXECUTOR is there; None: nobody knows."""
    live: "Mapping[str, LiveTool] | None" = None
    """The real tools by their names in the framework; None: nobody has shown them."""
    levels: tuple[str, ...] = ()
    """Lowest first, a ceiling's included; a rank is an index into it."""
    own_levels: syntax.Levels | None = None
    calendars: dict[str, syntax.Calendar] = field(default_factory=dict)
    functions: dict[str, syntax.FunctionOf] = field(default_factory=dict)
    isolates: dict[str, syntax.Isolate] = field(default_factory=dict)
    orders: dict[str, OrderDraft] = field(default_factory=dict)
    amounts: dict[str, AmountDraft] = field(default_factory=dict)
    guarantees: dict[str, GuaranteeDraft] = field(default_factory=dict)
    labels: dict[str, list[LabelDraft]] = field(default_factory=dict)
    """Tool -> its `result is` clauses, in this layer."""
    budgets: dict[str, list[BudgetDraft]] = field(default_factory=dict)
    """Tool -> its rates and blast radii, in this layer; budgets over tools are not among them."""
    capabilities: dict[str, frozenset[str]] = field(default_factory=dict)
    sets: dict[str, syntax.SetOf] = field(default_factory=dict)
    patterns: dict[str, syntax.PatternOf] = field(default_factory=dict)
    principal: dict[str, Slot] = field(default_factory=dict)
    approvers: dict[str, syntax.Approver] = field(default_factory=dict)
    agents: dict[str, syntax.Agent] = field(default_factory=dict)
    tools: dict[str, ToolDraft] = field(default_factory=dict)
    rules: dict[str, RuleDraft] = field(default_factory=dict)
    responses: list[syntax.Responses] = field(default_factory=list)
    header: syntax.PolicyHeader | None = None
    clauses: dict[str, list[ClauseDraft]] = field(default_factory=dict)
    """Tool -> its own clauses in source order; rules across tools are not among them."""
    covering: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    """Tool -> the rules that cover it, each with the index of its variant."""
    ordered: dict[str, list[str]] = field(default_factory=dict)
    """Tool -> the orders whose last step it is."""
    set_values: dict[str, tuple[Json, Type]] = field(default_factory=dict)
    """Set -> the core form and type of its list, once it was needed."""
    _seen: set[tuple[str, Span]] = field(default_factory=set)
    _unread: tuple[Span, ...] = ()

    def __post_init__(self) -> None:
        self._unread = tuple(report.span for report in self.found if report.is_error)

    def report(self, code: str, message: str, span: Span, label: str = "", help: str = "") -> None:
        """Add a diagnostic; the same code at the same place is said once."""
        if (code, span) not in self._seen:
            self._seen.add((code, span))
            self.found.append(Diagnostic(code, message, span, self.document.source, label, help))

    def unknown(self, code: str, kind: str, name: syntax.Name, candidates: Iterable[str]) -> None:
        """Report a name that nothing declares, unless its declaration is itself in an unread statement."""
        if name.text in self.document.lost:
            return
        known = list(candidates)
        help = did_you_mean(name.text, known)
        if not help and 0 < len(known) <= 8:
            help = "known here: " + ", ".join(f"`{word}`" for word in sorted(known))
        elif not help and not known:
            help = f"declare it: `{kind} {name.text} …`"
        self.report(code, f"unknown {kind} `{name.text}`", name.span, f"no {kind} has this name", help)

    def duplicate(self, kind: str, name: str, second: Span) -> None:
        """Report the second of two declarations with one name."""
        self.report(
            "E115", f"{kind} `{name}` is declared twice", second, "the second one", "remove or rename one"
        )

    def function_key(self, name: str) -> str:
        """Return what the plan calls a declared function: a ceiling's functions are its own."""
        return name if self.layer is None else f"{self.layer}/{name}"

    def meant(self, name: str) -> tuple[str, ...]:
        """Return the tools that a name means.

        SECURITY: in a ceiling also those that the policy binds to it under another name, or a policy could
        rename a tool and so leave what the ceiling says of it.
        """
        if self.layer is None:
            return (name,) if name in self.tools else ()
        return tuple(
            own
            for own, tool in self.tools.items()
            if name in (own, tool.node.bound and tool.node.bound.value)
        )

    def unread(self, span: Span) -> bool:
        """True if a statement inside `span` could not be read, so something declared there may be lost."""
        return any(span.start <= place.start < span.end for place in self._unread)

    @property
    def failed(self) -> bool:
        """True if some error was reported, here or in a ceiling over this."""
        return any(report.is_error for report in self.found) or any(one.failed for one in self.ceilings)
