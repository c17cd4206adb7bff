"""Calls that code in an isolate makes: what exists for them, and what is around them."""

from ringfence.dsl.plan import IsolatePlan, Plan
from ringfence.engine.decision.known import KnownCall
from ringfence.engine.decision.state import State


def isolate_of(plan: Plan, state: State, known: KnownCall) -> IsolatePlan | None:
    """Return the isolate whose code made the call itself; None: no code in an isolate did."""
    around = state.calls.get(known.parent) if known.parent is not None else None
    tool = plan.by_bound_name.get(around.tool) if around is not None else None
    if tool is None or tool.isolated is None:
        return None
    return plan.isolates.get(tool.isolated.isolate)


def isolate_around(plan: Plan, state: State, known: KnownCall) -> IsolatePlan | None:
    """Return the isolate whose code waits for the call, however far around it; None: none does."""
    seen: set[str] = set()
    at: KnownCall | None = known
    while at is not None and at.parent is not None and at.key not in seen:
        found = isolate_of(plan, state, at)
        if found is not None:
            return found
        seen.add(at.key)
        at = state.calls.get(at.parent)
    return None
