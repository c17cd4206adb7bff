"""What a run counts of the runs inside of it: `per run` is the whole tree.

A call of a sub-run is checked against the state of every run around it, and what they refuse is a fact of
its decision.  Each of them records a `SubrunCounted` for what counts, and its own fold adds that; so every
run replays from its own events and facts alone.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ringfence.dsl.plan import Limit, Reason, Verdict
from ringfence.engine.decision.calls import Charge, Decision
from ringfence.engine.decision.events import (
    ApprovalAsked,
    BudgetRefunded,
    CallDecided,
    CallFailed,
    CallRequested,
    CallStarted,
    RunEvent,
    SubrunCounted,
)
from ringfence.engine.decision.known import KnownCall
from ringfence.engine.decision.outages import by_outage_alone, recorded_by_outage_alone

if TYPE_CHECKING:
    from ringfence.engine.decision.state import State


def counted_above(run: str, event: RunEvent, tool: str) -> SubrunCounted | None:
    """Return what the run around `run` counts of one of its events; None: nothing."""
    if isinstance(event, SubrunCounted):
        return event
    if isinstance(event, CallDecided):
        counted = "unanswered" if recorded_by_outage_alone(event.reasons) else "decided"
        return SubrunCounted(run, event.call, tool, counted, event.verdict, tuple(event.asks), event.charges)
    if isinstance(event, ApprovalAsked):
        return SubrunCounted(run, event.call, tool, "asked", None, (event.approver,), [])
    if isinstance(event, CallStarted):
        return SubrunCounted(run, event.call, tool, "started", None, (), [])
    if isinstance(event, CallFailed) and event.has_not_succeeded:
        return SubrunCounted(run, event.call, tool, "failed", None, (), [])
    if isinstance(event, BudgetRefunded):
        return SubrunCounted(run, event.call, tool, "refunded", None, (), [])
    return None


def below(state: "State", run: str, call: str) -> KnownCall | None:
    """Return what the state knows of a call of a run inside of it."""
    return state.below.get(f"{run}/{call}")


def known_below(state: "State", event: SubrunCounted) -> KnownCall:
    """Return the call that the event counts, known from now on."""
    key = f"{event.run}/{event.call}"
    known = state.below.get(key)
    if known is None:
        request = CallRequested(key, event.tool, {}, None, None, None)
        known = state.below[key] = KnownCall(key, request, state.epoch)
    return known


def refused_above(
    around: Sequence["State"], run: str, call: str, decision: Decision, *, now_ns: int
) -> tuple[tuple[Reason, ...], ...]:
    """Return, for each run around, the reasons for which its limits refuse this decision.

    Args:
        around: The states of the runs around, the nearest first.
        decision: As this run alone would decide.
    """
    return tuple(tuple(_refused(state, run, call, decision, now_ns)) for state in around)


def _refused(state: "State", run: str, call: str, decision: Decision, now_ns: int) -> Iterator[Reason]:
    agent = state.agent
    known = below(state, run, call)
    if decision.verdict <= Verdict.DENY:
        full = agent is not None and agent.denials is not None and state.denials >= agent.denials.at_most
        if full and not by_outage_alone(decision.reasons):
            assert agent is not None and agent.denials is not None
            yield _reached(agent.denials)
    elif agent is not None:
        calls, requests = agent.calls, agent.requests
        has_place = known is not None and known.takes_place and known.started_ns is None
        if calls is not None and state.places_taken >= calls.at_most and not has_place:
            yield _reached(calls)
        elif requests is not None and decision.verdict is Verdict.ASK:
            asked = known.approvers_asked if known is not None else frozenset()
            if state.requests + len(frozenset(decision.asks) - asked) > requests.at_most:
                yield _reached(requests)
    for charge in decision.charges:
        if charge.counting == "attempts":
            charged = known is not None and known.attempted
        else:
            charged = known is not None and known.holds
        if not charged:
            yield from _no_room(state, charge, now_ns)


def _reached(limit: Limit) -> Reason:
    return Reason(limit.reason, "halt", limit.place, None, "counted over the whole tree of runs")


def _no_room(state: "State", charge: Charge, now_ns: int) -> Iterator[Reason]:
    window: Any = state.windows.get((charge.budget, charge.key))
    units = charge.members or charge.amount
    if window is None or window.has_room(units, charge.limit, charge.period_ns, now_ns=now_ns):
        return
    for tool in state.plan.tools.values():
        for budget in tool.budgets:
            if budget.id == charge.budget:
                effect = "halt" if budget.halts else "deny"
                detail = f"no room under {budget.limit} in the whole tree of runs"
                yield Reason(budget.reason, effect, budget.place, None, detail)  # type: ignore[arg-type]  # one of both
                return
