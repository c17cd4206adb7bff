"""The fold's steps: what each kind of event changes in the state.

Only `state.apply` calls them, with the time that the state has come to.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

from ringfence.dsl.canonical import canonical
from ringfence.dsl.plan import Budget, Json, Plan, Reason, Verdict
from ringfence.engine.decision.budgets import Members, Window
from ringfence.engine.decision.calls import Status, ToolCall, key_base
from ringfence.engine.decision.events import (
    ApprovalAnswered,
    ApprovalAsked,
    BudgetRefunded,
    CallDecided,
    CallFailed,
    CallFinished,
    CallRequested,
    CallStarted,
    ModelAnswered,
    ModelAsked,
    PromptGiven,
    RunEnded,
    RunEvent,
    RunHalted,
    RunResumed,
    RunSuspended,
    SubrunCounted,
    SubrunJoined,
)
from ringfence.engine.decision.known import HeldCharge, KnownCall, OpenTicket, Outcome
from ringfence.engine.decision.outages import recorded_by_outage_alone
from ringfence.engine.decision.records import call_of
from ringfence.engine.decision.retold import shown_of
from ringfence.engine.decision.tree import known_below

if TYPE_CHECKING:
    from ringfence.engine.decision.state import State

_UNASKED = CallRequested("", "", {}, None, None, None)


def _changed(known: KnownCall, new: Mapping[str, Json]) -> frozenset[str]:
    """Return the arguments whose values are others than were decided before; none if those were withheld."""
    old = known.told
    if old is None:
        return frozenset()
    return frozenset(
        name for name, value in new.items() if name not in old or canonical(old[name]) != canonical(value)
    )


def _known(state: "State", key: str) -> KnownCall:
    """Return the call, one without a request if the log does not have it: the fold is total."""
    known = state.calls.get(key)
    if known is None:
        known = state.calls[key] = KnownCall(key, _UNASKED, state.epoch)
    return known


def _requested(state: "State", event: CallRequested, _now_ns: int) -> None:
    known = state.calls.get(event.call)
    if known is not None and known.asked_as is not None and not event.ahead:
        base = _adopted(state, known, event)
    else:
        base = event.call.rpartition(".")[0]
    seen, made_by = state.attempts.get(base), (state.epoch, event.attempt)
    if seen is None:
        state.attempts[base] = {made_by: 1}
    else:
        seen[made_by] = seen.get(made_by, 0) + 1
    if known is None:
        known = state.calls[event.call] = KnownCall(event.call, event, state.epoch)
        if event.ahead:
            state.ahead[event.call] = known
    else:
        known.epoch = state.epoch  # asked for again after a resume: it goes on where it was
        if event.ahead:
            known.asked_as = event
    if state.recall.active:
        # What a policy redacts reaches nobody as it was given: what its tool gets counts, once it is decided.
        state.recall.requested(shown_of(event), withheld=event.withheld not in (None, "redacted"))


def _adopted(state: "State", known: KnownCall, event: CallRequested) -> str:
    """Take in that a call asked about ahead is made; return the base that its key would have had."""
    call = call_of(event)
    base = key_base(call if event.withheld is None else call._replace(arguments={}))
    known.adopted = True
    state.ahead.pop(known.key, None)
    state.adopted[f"{base}.{state.next_ordinal(base, event.attempt)}"] = known.key
    return base


_VERDICTS = {str(verdict): verdict for verdict in Verdict}
_DENY, _ASK, _ALLOW = Verdict.DENY, Verdict.ASK, Verdict.ALLOW


def _decided(state: "State", event: CallDecided, _now_ns: int) -> None:
    known = state.calls.get(event.call) or _known(state, event.call)
    # SECURITY: a verdict that this version does not know is read as deny.
    verdict = known.verdict = _VERDICTS.get(event.verdict, _DENY)
    known.given_back = False
    if event.edited is not None:
        known.request = known.decided_in(event)
    known.decided_ns = state.latest_ns
    known.decided_arguments = event.arguments
    redacted = known.withheld == "redacted"
    if event.redacted and known.withheld is not None:  # fails closed: they are not those that were decided
        known.withheld = "secret"
    known.digest = event.digest
    known.asks = tuple(event.asks)
    if verdict is _ALLOW:
        if not known.takes_place and known.started_ns is None:
            known.takes_place = True
            state.places_taken += 1
        if known.outcome is None:
            state.in_flight.add(event.call)
    else:
        _give_place_back(state, known)
    if verdict <= _DENY and not recorded_by_outage_alone(event.reasons):
        state.denials += 1
    if verdict is _ASK:
        _ask_more(state, known, known.asks)
    else:
        for ticket in known.tickets:
            state.open_tickets.pop(ticket.id, None)
    if event.charges:
        _hold(state, known, event.charges)
    if state.recall.active:
        if redacted and verdict > _DENY:
            state.recall.rewritten(event.arguments, withheld=known.withheld != "redacted")
        _remember(state, known, event)
    for record in event.reasons:
        # A crash between this event and RunHalted must not bring the run back.
        if record["effect"] == "halt" and state.halted is None:
            state.halted = _halting(state.plan, record["name"], record["detail"])


def _ask_more(state: "State", known: KnownCall, approvers: Iterable[str]) -> None:
    for approver in approvers:
        if approver not in known.approvers_asked:
            known.approvers_asked |= {approver}
            state.requests += 1


def _remember(state: "State", known: KnownCall, event: CallDecided) -> None:
    tool = state.plan.by_bound_name.get(known.tool)
    if known.verdict is not _ALLOW or tool is None:
        state.recall.dropped(event.call)
        return
    arguments = known.told
    state.recall.allowed(event.call, tool, arguments, state.principal, label=event.label)


def _hold(state: "State", known: KnownCall, charges: Json) -> None:
    for record in charges:
        if record.get("counting") == "attempts":
            known.attempted = True
        else:
            known.holds = True
    tool = state.plan.by_bound_name.get(known.tool)
    budgets: dict[str, Budget] = {}
    for one in tool.budgets if tool is not None else ():
        if run_wide(one):
            budgets[one.id] = one
    if not budgets:
        return
    for record in charges:
        budget = budgets.get(record["budget"])
        if budget is None:
            continue
        key, distinct = record["key"], budget.kind == "distinct"
        units: Any = tuple(record.get("members", ())) if distinct else record["amount"]
        window: Any = state.windows.get((budget.id, key))
        if window is None:
            window = state.windows[budget.id, key] = Members() if distinct else Window()
        window.hold(units, budget.period_ns, now_ns=state.latest_ns)
        if budget.counting == "attempts":  # kept whatever becomes of the call
            window.stamp(units, budget.period_ns, at_ns=state.latest_ns)
        else:
            counts_success = budget.counting == "successes"
            known.charges += (HeldCharge(budget.id, key, units, budget.period_ns, counts_success),)


def _give_place_back(state: "State", known: KnownCall) -> None:
    if known.started_ns is None:
        state.in_flight.discard(known.key)
        if known.takes_place:
            known.takes_place = False
            state.places_taken -= 1


def _refunded(state: "State", event: BudgetRefunded, _now_ns: int) -> None:
    known = _known(state, event.call)
    if known.started_ns is None:
        known.given_back = True
        _give_back(state, known)
        state.recall.dropped(event.call)


def _give_back(state: "State", known: KnownCall) -> None:
    """Give back what a call took that is not dispatched; of one that was, what was charged is kept."""
    if known.started_ns is not None:
        return
    for held in known.charges:
        window: Any = state.windows.get((held.budget, held.key))
        if window is None:
            continue  # it was forgotten when it was empty: this charge is of nothing
        window.release(held.units)
        if window.empty:
            del state.windows[held.budget, held.key]
    known.charges = ()
    known.holds = False
    _give_place_back(state, known)


def _asked(state: "State", event: ApprovalAsked, _now_ns: int) -> None:
    known = _known(state, event.call)
    ticket = OpenTicket(event.ticket, event.call, event.approver, event.expires_ns)
    known.tickets += (ticket,)
    state.open_tickets[event.ticket] = ticket
    _ask_more(state, known, (event.approver,))


def _answered(state: "State", event: ApprovalAnswered, _now_ns: int) -> None:
    known = _known(state, event.call)
    ticket = next((ticket for ticket in known.tickets if ticket.id == event.ticket), None)
    if ticket is None or ticket.answer is not None or event.verdict == "ignored":
        return  # an answer without effect leaves the question open
    if event.verdict == "approve":
        if event.by is not None and event.by not in ticket.approved_by:
            ticket.approved_by += (event.by,)
        if event.redacted:  # fails closed: what was approved is not in the record
            known.withheld = "secret"
        if isinstance(event.edited, Mapping):
            old = known.request
            known.edited |= _changed(known, event.edited)
            known.request = ToolCall(
                old.tool, event.edited, old.call_id, old.task, old.attempt, old.schema_names
            )
        approver = state.plan.approvers.get(ticket.approver)
        if approver is None or len(ticket.approved_by) < approver.quorum:
            return  # it stays open: more people are needed
    ticket.answer = event.verdict
    state.open_tickets.pop(ticket.id, None)


def _started(state: "State", event: CallStarted, now_ns: int) -> None:
    known = state.calls.get(event.call) or _known(state, event.call)
    known.started_epoch = state.epoch
    state.in_flight.add(event.call)
    _dispatch(state, known, now_ns)
    if state.recall.active:
        state.recall.started(event.call)


def _dispatch(state: "State", known: KnownCall, now_ns: int) -> None:
    known.started_ns = now_ns
    if not known.takes_place:
        known.takes_place = True
        state.places_taken += 1
    for held in known.charges:
        window: Any = state.windows.get((held.budget, held.key))
        if window is None:
            continue  # it was forgotten when it was empty: this charge is of nothing
        window.stamp(held.units, held.period_ns, at_ns=now_ns)
        if held.counts_success:
            known.successes += ((held, now_ns),)
    known.charges = ()


def _finished(state: "State", event: CallFinished, _now_ns: int) -> None:
    known = state.calls.get(event.call) or _known(state, event.call)
    withheld = bool(event.redacted)
    known.outcome = Outcome(True, event.result, None, None, state.epoch, withheld)
    state.in_flight.discard(event.call)
    known.successes = ()
    if state.recall.active:
        around = state.calls.get(known.parent) if known.parent is not None else None
        tool = state.plan.by_bound_name.get(around.tool) if around is not None else None
        into = known.parent if tool is not None and tool.isolated is not None else None
        state.recall.finished(event.call, event.result, at_ns=state.latest_ns, into=into, withheld=withheld)


def _failed(state: "State", event: CallFailed, _now_ns: int) -> None:
    known = _known(state, event.call)
    known.outcome = Outcome(False, None, event.outcome, event.error, state.epoch)
    state.in_flight.discard(event.call)
    if event.has_not_succeeded:  # else its fate is unknown, and what it was charged is kept
        _unsucceeded(state, known)
    if state.recall.active:
        state.recall.failed(event.call, at_ns=state.latest_ns)


def _unsucceeded(state: "State", known: KnownCall) -> None:
    for held, stamped_ns in known.successes:
        window: Any = state.windows.get((held.budget, held.key))
        if window is not None:
            window.give_back(held.units, held.period_ns, at_ns=stamped_ns)
    known.successes = ()


def _model_asked(state: "State", event: ModelAsked, _now_ns: int) -> None:
    state.models_in_flight.add(event.request)


def _model_answered(state: "State", event: ModelAnswered, _now_ns: int) -> None:
    state.models_in_flight.discard(event.request)


def _suspended(state: "State", event: RunSuspended, _now_ns: int) -> None:
    state.suspended = True
    if state.status == "running":
        state.status = "suspended"


def _resumed(state: "State", event: RunResumed, _now_ns: int) -> None:
    state.suspended = False
    state.epoch += 1
    # A model that was asked before the run was put away will not answer in this epoch.
    state.models_in_flight.clear()
    if state.status == "suspended":
        state.status = "running"


def _halted(state: "State", event: RunHalted, _now_ns: int) -> None:
    if state.halted is None:
        state.halted = _halting(state.plan, event.reason, event.detail)
    if state.status in ("running", "suspended"):
        state.status = "halted"


def _prompted(state: "State", event: PromptGiven, _now_ns: int) -> None:
    if state.recall.active:
        # SECURITY: a text of which something is hidden matches less than the model was shown.
        text = None if event.redacted else event.text
        state.recall.prompt(event.source, text, at_ns=state.latest_ns)


def _joined(state: "State", event: SubrunJoined, _now_ns: int) -> None:
    child = state.joining.pop(event.run, None)
    if child is None:  # fails closed: what the sub-run has read cannot be told
        state.recall.forget()
    elif state.recall.active:
        state.recall.join(child)


def _ended(state: "State", event: RunEnded, _now_ns: int) -> None:
    state.recall.ended(at_ns=state.latest_ns)
    if state.status in ("running", "suspended"):
        state.status = cast(Status, event.status) if event.status in _FINAL else "failed"


_FINAL: frozenset[Literal["done", "failed", "halted"]] = frozenset({"done", "failed", "halted"})


def _halting(plan: Plan, name: str, detail: str | None) -> Reason:
    """Return the reason with the place of the limit or budget that has this name, where there is one."""
    for agent in plan.agents.values():
        for limit in (agent.stop, agent.calls, agent.denials, agent.requests):
            if limit is not None and limit.reason == name:
                return Reason(name, "halt", limit.place, None, detail)
    for tool in plan.tools.values():
        for budget in tool.budgets:
            if budget.reason == name:
                return Reason(name, "halt", budget.place, None, detail)
    return Reason(name, "halt", None, None, detail)


def _counted(state: "State", event: SubrunCounted, now_ns: int) -> None:
    known = known_below(state, event)
    match event.counted:
        case "decided":
            verdict = _VERDICTS.get(event.verdict or "", _DENY)
            known.verdict = verdict
            if verdict is not _ALLOW:
                _give_place_back(state, known)
            elif not known.takes_place and known.started_ns is None:
                known.takes_place = True
                state.places_taken += 1
            if verdict <= _DENY:
                state.denials += 1
            if verdict is _ASK:
                _ask_more(state, known, event.asks)
            if event.charges:
                _hold(state, known, event.charges)
        case "unanswered":  # denied, since a store was away: no denial of the tree
            known.verdict = _DENY
            _give_place_back(state, known)
        case "asked":
            _ask_more(state, known, event.asks)
        case "started":
            _dispatch(state, known, now_ns)
        case "refunded":
            _give_back(state, known)
        case "failed":
            _unsucceeded(state, known)


def run_wide(budget: Budget) -> bool:
    """Say whether the budget lives in the run's state; every other is the ledger's."""
    return budget.period_ns is None or budget.scope == "run"


STEPS: Mapping[type[RunEvent], Callable[["State", Any, int], None]] = {
    CallRequested: _requested,
    CallDecided: _decided,
    BudgetRefunded: _refunded,
    ApprovalAsked: _asked,
    ApprovalAnswered: _answered,
    CallStarted: _started,
    CallFinished: _finished,
    CallFailed: _failed,
    PromptGiven: _prompted,
    SubrunJoined: _joined,
    ModelAsked: _model_asked,
    ModelAnswered: _model_answered,
    RunSuspended: _suspended,
    RunResumed: _resumed,
    RunHalted: _halted,
    RunEnded: _ended,
    SubrunCounted: _counted,
}
