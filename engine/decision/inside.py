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
    return None if known.parent is None else isolate_at(plan, state, known.parent)


def isolate_at(plan: Plan, state: State, key: str) -> IsolatePlan | None:
    """Return the isolate that a call runs in, or whose code waits for it, however far around it."""
    seen: set[str] = set()
    at = state.calls.get(key)
    while at is not None and at.key not in seen:
        tool = plan.by_bound_name.get(at.tool)
        if tool is not None and tool.isolated is not None and tool.isolated.isolate in plan.isolates:
            return plan.isolates[tool.isolated.isolate]
        seen.add(at.key)
        at = state.calls.get(at.parent) if at.parent is not None else None
    return None
