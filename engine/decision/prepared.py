"""One tool's part of the plan made ready: for all runs what only the plan says, for one run its charges.

A call should build no object that it could find, nor should a run; this is where they lie.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal, NamedTuple

from ringfence.dsl.plan import (
    AgentPlan,
    Budget,
    Certain,
    Clause,
    Condition,
    Limit,
    Obligations,
    Plan,
    Reason,
    ToolPlan,
)
from ringfence.engine.decision.arguments import Takes
from ringfence.engine.decision.calls import Charge, Refusal
from ringfence.engine.decision.charging import bounded
from ringfence.engine.decision.labelling import Labels, labels_of
from ringfence.engine.decision.state import State
from ringfence.engine.decision.steps import run_wide

LEVELS: tuple[Literal["minimal", "standard", "full"], ...] = ("minimal", "standard", "full")
"""Audit levels in the order of their join: whatever asks for more of a record, or sooner, has its way."""


class PreparedClause(NamedTuple):
    """A clause with the reasons it may give."""

    condition: Condition | None
    spoken: Reason
    undecided: Reason
    shadow: bool
    approver: str | None


class PreparedBudget(NamedTuple):
    """A budget with the charge of a call, where the call's arguments do not change it."""

    budget: Budget
    run_wide: bool
    parameter: str | None
    """The parameter whose value is the key; None: `key` is."""
    key: str | None
    """None beside `parameter` None: it is missing in this run."""
    charge: Charge | None
    """What every call is charged; None: that depends on the call, or the key is missing."""
    full: Reason
    full_halts: Reason
    no_key: Reason
    undecided: Reason


class PreparedAudit(NamedTuple):
    """An audit rule with what it makes of the tool's obligations."""

    condition: Condition | None
    level: int
    """0 minimal, 1 standard, 2 full."""
    spoken: Reason
    shadow: bool


class AtOnce:
    """What is said at once of calls of one tool in one run: see `at_once`."""

    __slots__ = (
        "calls",
        "charges",
        "denials",
        "denied",
        "in_run",
        "objects",
        "obligations",
        "plan",
        "reasons",
        "spoken",
        "tells",
        "wider",
    )

    def __init__(self, prepared: "Prepared", certain: Certain, agent: AgentPlan, plan: Plan) -> None:
        self.plan = plan
        """The plan that the tool was looked up in."""
        self.tells, self.objects = certain
        self.spoken = (prepared.allows[0].spoken,)
        self.reasons = shared_of(prepared.tool).reasons
        """By the numbers that `tells` gives."""
        self.denied: dict[tuple[int, ...], tuple[Reason, ...]] = {}
        """Of such numbers -> their reasons: made once for all calls that are denied alike."""
        self.obligations = prepared.tool.obligations
        self.charges = prepared.fixed or ()
        self.wider = prepared.wider
        self.in_run = tuple(entry.charge for entry in prepared.in_run if entry.charge is not None)
        self.denials = _most(agent.denials)
        self.calls = _most(agent.calls)


class Shared:
    """What of one tool is the same in every run: made once for a plan."""

    __slots__ = (
        "allows",
        "asks",
        "audits",
        "bad",
        "budgets",
        "closed",
        "denies",
        "labels",
        "levels",
        "reasons",
        "takes",
    )

    def __init__(self, tool: ToolPlan) -> None:
        self.denies = tuple(_clause(clause) for clause in tool.denies)
        self.asks = tuple(_clause(clause) for clause in tool.asks)
        self.allows = tuple(_clause(clause) for clause in tool.allows)
        self.budgets = tuple(_budget(budget, tool) for budget in tool.budgets)
        self.labels: Labels = labels_of(tool.labels)
        self.audits = tuple(
            PreparedAudit(
                rule.condition, LEVELS.index(rule.level), Reason(rule.name, "audit", rule.place), rule.shadow
            )
            for rule in tool.audits
        )
        self.levels: tuple[Obligations, ...] = tuple(
            replace(tool.obligations, audit=level) for level in LEVELS
        )
        taken = None if tool.parameters is None else tool.parameters.values()
        self.takes: Takes | None = None
        if taken is not None:
            self.takes = {
                one.name: (one.canonical, one.optional, one.as_is, 40 + len(one.name)) for one in taken
            }
        place = tool.allows[0].place if tool.allows else tool.place
        why = "no allow clause fits" if tool.allows else "no clause allows it"
        because = tool.allows[0].because if len(tool.allows) == 1 else None
        self.closed = Reason(f"{tool.name}.allow", "deny", place, because, why)
        self.bad = f"{tool.name}.arguments"
        denies = (clause.spoken for clause in self.denies if not clause.shadow)
        self.reasons = (*denies, *(clause.spoken for clause in self.allows), self.closed)
        """What may be said at once of a call that is denied; of use where there is one allow."""


def shared_of(tool: ToolPlan) -> Shared:
    """Return what of a tool is the same in every run."""
    if not tool.kept:
        object.__setattr__(tool, "kept", (Shared(tool),))
    shared: Shared = tool.kept[0]
    return shared


class Prepared:
    """What `decide` needs of one tool in one run."""

    __slots__ = (
        "allows",
        "asks",
        "at_once",
        "attempts",
        "audits",
        "bad",
        "budgets",
        "closed",
        "denies",
        "fixed",
        "in_run",
        "labels",
        "missing",
        "more",
        "obligations",
        "takes",
        "tool",
        "unheld",
        "wider",
    )

    def __init__(self, tool: ToolPlan, state: State, plan: Plan) -> None:
        self.tool = tool
        shared = shared_of(tool)
        self.denies, self.asks, self.allows = shared.denies, shared.asks, shared.allows
        budgets = [_in_run(entry, state) for entry in shared.budgets]
        self.attempts = tuple(entry for entry in budgets if entry.budget.counting == "attempts")
        """Those that are charged whatever the verdict."""
        self.budgets = tuple(entry for entry in budgets if entry.budget.counting != "attempts")
        self.in_run = tuple(entry for entry in self.budgets if entry.run_wide)
        charges = tuple(entry.charge for entry in self.budgets if entry.charge is not None)
        self.fixed: tuple[Charge, ...] | None = charges if len(charges) == len(self.budgets) else None
        """What every call of the run is charged; None: it depends on the call, or a key is missing."""
        wider = in_order(
            entry.charge for entry in self.budgets if entry.charge is not None and not entry.run_wide
        )
        self.wider: tuple[Charge, ...] = charges if wider == charges else wider
        """Of `fixed`, those to reserve in the ledger."""
        self.labels, self.audits = shared.labels, shared.audits
        self.obligations = shared.levels
        """The tool's obligations under each audit level."""
        self.more = bool(tool.redactions or self.attempts or self.labels or self.audits)
        """It has more than clauses and budgets of calls: what most tools are spared to be asked."""
        self.takes = shared.takes
        self.missing = tuple(
            Reason(f"{name}!key", "deny", place, None, _unsaid(attribute, state))
            for attribute, name, place in tool.principal_fields
            if attribute not in state.principal
        )
        """Reasons for the attributes that a clause names and the host has not said."""
        self.unheld: Reason | None = None
        lacking = sorted(tool.needs - state.holds)
        if lacking:
            detail = f"the run does not hold {', '.join(lacking)}"
            self.unheld = Reason(f"{tool.name}.needs", "unknown", tool.place, None, detail)
        elif state.agent is None:
            # SECURITY: without an agent there are no bounds on the run either, so nothing is held by it.
            self.unheld = Reason(f"{tool.name}.needs", "unknown", tool.place, None, "no agent acts here")
        elif tool.starts is not None and tool.starts not in state.agent.may_start:
            detail = f"{state.agent.name} may not start {tool.starts}"
            self.unheld = Reason(f"{tool.name}.needs", "unknown", tool.place, None, detail)
        self.closed, self.bad = shared.closed, shared.bad
        self.at_once: AtOnce | None = None
        """None: its calls are decided at length."""
        plain = self.unheld is None and not self.missing and not self.more and self.fixed is not None
        if plain and state.agent is not None and (certain := tool.certain) is not None:
            self.at_once = AtOnce(self, certain, state.agent, plan)


_NO_LIMIT = 2**30 - 1
"""More is decided at length, which knows better; a small number is compared sooner."""


def _most(limit: Limit | None) -> int:
    return _NO_LIMIT if limit is None else limit.at_most


def _unsaid(attribute: str, state: State) -> str:
    why = state.unfit.get(attribute)
    if why is None:
        return f"the host did not say principal.{attribute}"
    return f"what the host said as principal.{attribute} does not fit: {why}"


def _clause(clause: Clause) -> PreparedClause:
    name, effect, place, because = clause.name, clause.effect, clause.place, clause.because
    return PreparedClause(
        clause.condition,
        Reason(name, effect, place, because),
        Reason(f"{name}!error", effect, place, because, "could not be decided"),
        clause.shadow,
        clause.approver,
    )


def _in_run(entry: PreparedBudget, state: State) -> PreparedBudget:
    """Return a budget with what its scope is in this run."""
    if entry.parameter is None or entry.parameter not in state.scope_keys:
        return entry
    said = state.scope_keys[entry.parameter]
    key = bounded(said) if isinstance(said, str) else None
    return entry._replace(parameter=None, key=key, charge=_charge(entry.budget, key))


def _charge(budget: Budget, key: str | None) -> Charge | None:
    if key is None or budget.kind != "calls":
        return None
    return Charge(budget.id, key, 1, budget.limit, budget.period_ns, (), budget.counting)


def _budget(budget: Budget, tool: ToolPlan) -> PreparedBudget:
    """Return a budget as it is without a run: a scope that is no attribute of one is a parameter."""
    scope = budget.scope
    key: str | None = None
    parameter: str | None = None
    if scope is None or scope == "run":
        key = bounded("")
    elif scope == "tool":
        key = bounded(tool.name)
    else:
        parameter = scope
    name, place = budget.reason, budget.place
    detail = f"no room under {budget.limit}"
    return PreparedBudget(
        budget,
        run_wide(budget),
        parameter,
        key,
        _charge(budget, key),
        Reason(name, "deny", place, None, detail),
        Reason(name, "halt", place, None, detail),
        Reason(f"{name}!key", "deny", place, None, f"{scope} is missing"),
        Reason(f"{name}!error", "deny", place, None, "what it is charged could not be decided"),
    )


def in_order(charges: Iterable[Charge]) -> tuple[Charge, ...]:
    """Return the charges in the fixed order in which a ledger takes them."""
    return tuple(sorted(charges, key=lambda charge: (charge.budget, charge.key)))


def refusal_reason(prepared: "Prepared", refusal: Refusal) -> tuple[Reason, bool]:
    """Return the reason for a refusal, and whether it halts; a budget that is not the tool's still denies."""
    for entry in (*prepared.budgets, *prepared.attempts):
        if entry.budget.id == refusal.budget:
            if entry.budget.halts:
                return entry.full_halts, True
            return entry.full, False
    return Reason("engine!error", "deny", None, None, "the ledger refused an unknown budget"), False
