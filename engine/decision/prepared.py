"""One tool's part of the plan made ready for one run: reasons and charges that no call changes.

A call should build no object that it could find; this is where they lie.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import NamedTuple

from ringfence.dsl.canonical import canonical
from ringfence.dsl.plan import Budget, Clause, Condition, Json, Reason, ToolPlan
from ringfence.engine.decision.arguments import Takes
from ringfence.engine.decision.calls import Charge, Refusal
from ringfence.engine.decision.state import State, run_wide


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
    """The parameter whose value is the key; None: `charge` says all."""
    charge: Charge | None
    """None beside `parameter` None: the key is missing in this run."""
    full: Reason
    full_halts: Reason
    no_key: Reason


class Prepared:
    """What `decide` needs of one tool in one run."""

    __slots__ = (
        "allows",
        "asks",
        "bad",
        "budgets",
        "closed",
        "denies",
        "fixed",
        "in_run",
        "missing",
        "takes",
        "tool",
        "unheld",
        "wider",
    )

    def __init__(self, tool: ToolPlan, state: State) -> None:
        self.tool = tool
        self.denies = tuple(_clause(clause) for clause in tool.denies)
        self.asks = tuple(_clause(clause) for clause in tool.asks)
        self.allows = tuple(_clause(clause) for clause in tool.allows)
        self.budgets = tuple(_budget(budget, tool, state) for budget in tool.budgets)
        self.in_run = tuple(entry for entry in self.budgets if entry.run_wide)
        charges = tuple(entry.charge for entry in self.budgets if entry.charge is not None)
        self.fixed: tuple[Charge, ...] | None = charges if len(charges) == len(self.budgets) else None
        """What every call of the run is charged; None: it depends on the call, or a key is missing."""
        self.wider: tuple[Charge, ...] = in_order(
            entry.charge for entry in self.budgets if entry.charge is not None and not entry.run_wide
        )
        """Of `fixed`, those to reserve in the ledger."""
        taken = None if tool.parameters is None else tool.parameters.values()
        self.takes: Takes | None = None
        if taken is not None:
            self.takes = {
                one.name: (one.canonical, one.optional, one.as_is, 40 + len(one.name)) for one in taken
            }
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
        place = tool.allows[0].place if tool.allows else tool.place
        why = "no allow clause fits" if tool.allows else "no clause allows it"
        because = tool.allows[0].because if len(tool.allows) == 1 else None
        self.closed = Reason(f"{tool.name}.allow", "deny", place, because, why)
        self.bad = f"{tool.name}.arguments"


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


def _budget(budget: Budget, tool: ToolPlan, state: State) -> PreparedBudget:
    scope = budget.scope
    key: str | None = None
    parameter: str | None = None
    if scope is None or scope == "run":
        key = ""
    elif scope == "tool":
        key = tool.name
    elif scope in state.scope_keys:
        said = state.scope_keys[scope]
        key = said if isinstance(said, str) else None
    else:
        parameter = scope
    charge = None if key is None else Charge(budget.id, bounded(key), 1, budget.limit, budget.period_ns)
    name, place = budget.reason, budget.place
    detail = f"no room under {budget.limit}"
    return PreparedBudget(
        budget,
        run_wide(budget),
        parameter,
        charge,
        Reason(name, "deny", place, None, detail),
        Reason(name, "halt", place, None, detail),
        Reason(f"{name}!key", "deny", place, None, f"{scope} is missing"),
    )


def in_order(charges: Iterable[Charge]) -> tuple[Charge, ...]:
    """Return the charges in the fixed order in which a ledger takes them."""
    return tuple(sorted(charges, key=lambda charge: (charge.budget, charge.key)))


def charge_of(prepared: PreparedBudget, arguments: Mapping[str, Json]) -> Charge | None:
    """Return what the call is charged; None if the key is missing."""
    if prepared.parameter is None:
        return prepared.charge
    value = arguments.get(prepared.parameter)
    if value is None:
        return None
    key = value if isinstance(value, str) else canonical(value).decode("utf-8")
    budget = prepared.budget
    return Charge(budget.id, bounded(key), 1, budget.limit, budget.period_ns)


def bounded(key: str) -> str:
    """Return the key, or its digest where it is long: keys stand in every ledger row and record."""
    if len(key) <= 200 and not key.startswith("sha256:"):  # a short key may not pass for a long one
        return key
    return "sha256:" + sha256(key.encode("utf-8")).hexdigest()


def refusal_reason(prepared: "Prepared", refusal: Refusal) -> tuple[Reason, bool]:
    """Return the reason for a refusal, and whether it halts; a budget that is not the tool's still denies."""
    for entry in prepared.budgets:
        if entry.budget.id == refusal.budget:
            if entry.budget.halts:
                return entry.full_halts, True
            return entry.full, False
    return Reason("engine!error", "deny", None, None, "the ledger refused an unknown budget"), False
