"""One call of a run is decided: steps 1 to 6, in the turnstile, recorded before anything else happens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ringfence.dsl.canonical import same
from ringfence.dsl.plan import Json, Verdict
from ringfence.engine.decision.assessment import Assessment
from ringfence.engine.decision.calls import (
    NO_FACTS,
    RESERVED,
    Charge,
    Decision,
    Facts,
    Refusal,
    ToolCall,
    call_digest,
)
from ringfence.engine.decision.decide import assess, conclude
from ringfence.engine.decision.events import BudgetRefunded, CallDecided
from ringfence.engine.decision.inside import isolate_at
from ringfence.engine.decision.known import KnownCall
from ringfence.engine.decision.outages import LEDGER_AWAY, LOG_AWAY, PRESENCE
from ringfence.engine.decision.records import decided, form_of
from ringfence.engine.decision.state import Outcome
from ringfence.engine.decision.steps import run_wide
from ringfence.engine.decision.written import decided_body, requested_body
from ringfence.engine.enforcement import ledger
from ringfence.engine.enforcement.adoption import approvals, key_of, refused_before, shown_as, stands
from ringfence.engine.enforcement.approvers import DISPATCHED_WITHIN_NS, lease_ns
from ringfence.engine.enforcement.current import current_call
from ringfence.engine.enforcement.drive import Steps
from ringfence.engine.enforcement.informing import assessed_now, informed
from ringfence.engine.enforcement.opening import store_error
from ringfence.engine.enforcement.passing import Fly, Passing, passing
from ringfence.engine.enforcement.requests import UNSAID, Given, decision_record
from ringfence.engine.enforcement.runs import Held, Run
from ringfence.engine.enforcement.subruns import halt_above, with_above
from ringfence.engine.seams.errors import EngineError, StoreAwayError
from ringfence.engine.seams.ports import Reservation

_DENY, _ASK = Verdict.DENY, Verdict.ASK
_made = tuple.__new__


@dataclass(frozen=True, slots=True)
class Ended:
    """The call ended before the run was resumed: its recorded outcome stands."""

    held: Held
    outcome: Outcome


def request(
    run: Run,
    given: Given,
    *,
    ahead: bool = False,
    fly: Fly | None = None,
) -> Steps[Held | Ended | Passing]:
    """Record the request and decide it; the caller has the turn.

    A key that the run knows from before it was resumed goes on where it was, and a call that was asked about
    ahead goes on under the key that it has from there.

    Args:
        ahead: The framework has not made the call yet.
        fly: Makes what the body flies in, if the call may start at once; None: it is only decided.
    """
    call = given.call
    keyed_only = given.withheld in UNSAID and not ahead
    shown = (yield from shown_as(run, given)) if keyed_only else None
    with run.lock:
        state = run.state
        made = f"{given.base}.{state.next_ordinal(given.base, call.attempt)}"
        around = current_call()
        parent = around[1] if around and around[0] is run else None
        asked_ahead = not ahead and (state.ahead or state.adopted)
        # SECURITY: what was asked about ahead is no call of code, which may make fewer and asks nobody.
        if asked_ahead and parent is not None and isolate_at(run.plan, state, parent) is not None:
            asked_ahead = False
        key = key_of(run, given, made, shown) if asked_ahead else made
        known = state.calls.get(key)
        event = given.event(key, parent, ahead=ahead)
        now_ns = run.now_ns()
        body = None if given.said is None else requested_body(event, given.said)
        if fly is not None and body is not None and known is None and key == made:
            passed = passing(run, given, event, body, fly, now_ns=now_ns)
            if passed is not None:
                return passed
        run.append(event, at_ns=now_ns, body=body)
        kept = run.take_those(lambda one: one.key == key) if key != made else ()
        refused = refused_before(run, key, call) if ahead else None
        if known is not None:
            if state.fate_unknown(key):
                raise EngineError(
                    f"`{call.tool}` was started before the run was resumed and its end is not recorded",
                    run=run.id,
                    call=key,
                    help="whether it took effect is unknown: look, then make the call anew",
                )
            outcome = state.outcome_of(key)
            ended = outcome is not None and outcome.failure != "interrupted"
            asked = outcome is None and any(ticket.answer != "withdraw" for ticket in known.tickets)
    if refused is not None:
        return refused
    if kept:
        return kept[0] if stands(run, kept[0]) else (yield from judge_again(run, kept[0]))
    if known is not None and ended and outcome is not None:
        assessed = assess(run.plan, state, call, NO_FACTS, now_ns=run.now_ns(), key=key)
        held = Held(key, call, conclude(assessed, NO_FACTS), None, over=True)
        return Ended(held, outcome)
    if known is not None and asked:
        return (yield from _asked_before(run, key, call))
    return (
        yield from judge(
            run, key, call, approved_by={}, said=given.said, lacking=given.lacking, now_ns=now_ns
        )
    )


def _asked_before(run: Run, key: str, call: ToolCall) -> Steps[Held]:
    """Return the call as it was decided before the run was put away: people were asked."""
    known = run.state.calls[key]
    assessed = assess(run.plan, run.state, call, NO_FACTS, now_ns=run.now_ns(), key=key)
    if assessed.wanted:  # what was redacted must be again, to be the call that people were asked about
        _, assessed, _, _ = yield from informed(run, key, call, NO_FACTS, assessed)
    decision = conclude(assessed, Facts(reserved=()))._replace(verdict=Verdict.ASK, asks=known.asks)
    if not known.holds:
        return Held(key, call, decision, None)
    # A call that asked was charged to every budget of its tool: what is undecided denies.
    charged = (b for b in run.plan.by_bound_name[call.tool].budgets if not run_wide(b))
    kinds = {budget.counting for budget in charged}
    name, lease = reservation_id(run, key), lease_ns(run.plan, known.asks)
    return Held(
        key,
        call,
        decision,
        name if "calls" in kinds else None,
        f"{name}/success" if "successes" in kinds else None,
        lapses_ns=None if lease is None or known.decided_ns is None else known.decided_ns + lease,
    )


def judge_again(run: Run, held: Held) -> Steps[Held]:
    """Decide a call once more that was decided a while ago; the caller has the turn."""
    approved_by = approvals(held)
    return (yield from judge(run, held.key, held.call, approved_by=approved_by, held=held))


def reservation_id(run: Run, key: str) -> str:
    """Return the ledger's name for what the call holds."""
    return f"{run.id}/{key}"


def judge(
    run: Run,
    key: str,
    call: ToolCall,
    *,
    approved_by: Mapping[str, tuple[str, ...]],
    held: Held | None = None,
    anew: str = "",
    said: bytes | None = None,
    exactly: str | None = None,
    lacking: str | None = None,
    now_ns: int | None = None,
) -> Steps[Held]:
    """Decide and record; the caller has the turn.

    Args:
        now_ns: The moment, where the caller has just asked for it.
        held: The call as it was decided before people answered; what it holds, it keeps.
        said: The canonical form of the call's arguments, if it is there already.
        exactly: The digest of the call that people approved; what is another call by now is denied.
        lacking: What the host lacks to run it, so that it is denied.
        anew: Makes the reservation another one than that of the call before it was edited.

    Raises:
        EngineError: The ledger or the log could not answer; the denial is recorded.
    """
    facts = Facts(approved_by=dict(approved_by)) if approved_by else NO_FACTS
    if held is not None:
        _lapse(run, held)
    away = run.journal.away
    trouble: EngineError | None = away
    if away is None and run.presence.lapsed:
        trouble, now_ns = (yield from run.presence.trouble(run.id)), None
    with run.lock:
        if now_ns is None or now_ns < run.state.latest_ns:
            now_ns = run.now_ns()
        assessed = assess(run.plan, run.state, call, facts, now_ns=now_ns, key=key)
        seen = run.state.seq
    taken = Taken()
    if assessed.wanted and away is None:  # else nobody is asked; the denial waits to be written
        facts, assessed, now_ns, seen = yield from informed(run, key, call, facts, assessed)
    if exactly is not None and call_digest(call.tool, assessed.arguments) != exactly:
        # SECURITY: a redactor that answers otherwise now would send what nobody has seen.
        facts = replace(facts, failed="it is no longer the call that was approved")
    if lacking is not None:
        facts = replace(facts, failed=lacking)
    if run.hiding is not None and run.hiding.finds(_counted(assessed)):
        # SECURITY: windows and the ledger are kept by these keys, so they cannot be hidden there.
        facts = replace(facts, failed="a budget would be counted by a value that is secret")
        assessed.attempts = assessed.attempted = ()
    if trouble is not None:  # fails closed: decided with the failure as a fact, which denies
        facts = replace(facts, failed=f"{PRESENCE}{trouble}" if away is None else LOG_AWAY)
    if assessed.attempts and away is None:
        facts = yield from _attempt(run, key, assessed.attempts, facts, taken, now_ns)
    if assessed.wider and assessed.verdict >= _ASK and facts.failed is None and not facts.attempted:
        name = reservation_id(run, key) + anew
        facts = yield from _reserve(run, name, assessed, facts, taken, now_ns)
    try:
        held, decision = _conclude(run, key, call, assessed, facts, held, taken, seen, now_ns, said)
    except BaseException:  # what is not in the record was not charged either
        taken.give_back(run)
        raise
    if decision.verdict <= _DENY:
        release(run, held, "denied")
    if trouble is not None:
        raise trouble
    if taken.failure is not None:
        raise store_error(
            "could not reserve the call's budgets", taken.failure, run=run.id
        ) from taken.failure
    return held


def _counted(assessed: Assessment) -> list[Json]:
    """Return by which values the call would be counted."""
    charges = (*assessed.charges, *assessed.wider, *assessed.attempted, *assessed.attempts)
    return [[charge.key, charge.amount, *charge.members] for charge in charges]


def _lapse(run: Run, held: Held) -> None:
    """Record that the lease of what a call holds ran out: it is reserved once more, and not charged again for
    what still counts.
    """
    with run.lock:
        known = run.state.calls[held.key]
        if known.holds and held.lapses_ns is not None and run.now_ns() >= held.lapses_ns:
            run.append(BudgetRefunded(held.key, "lapsed"))


@dataclass(slots=True)
class Taken:
    """What one decision has reserved in the ledger."""

    reservation: str | None = None
    success: str | None = None
    """The reservation of its own of what counts successes."""
    lapses_ns: int | None = None
    """When their lease runs out; None: never."""
    failure: Exception | None = None

    def give_back(self, run: Run) -> None:
        """Give it back; what failed gives itself back."""
        for name in (self.reservation, self.success):
            if name is not None:
                ledger.refund_later(run.opening, name)


def _attempt(
    run: Run, key: str, charges: Sequence[Charge], facts: Facts, taken: Taken, now_ns: int
) -> Steps[Facts]:
    """Charge what counts attempts, whatever the verdict: it is kept from now on."""
    name = f"{reservation_id(run, key)}/attempt"
    run.reserved = True
    try:
        refusals = yield from ledger.reserve(
            run.opening, name, charges, lease_ns=DISPATCHED_WITHIN_NS, now_ns=now_ns
        )
        if not refusals and not (yield from ledger.dispatched(run.opening, name, now_ns=run.now_ns())):
            return replace(facts, failed="the ledger: the reservation is gone")
    except Exception as error:  # fails closed: decided with the failure as a fact, which denies
        taken.failure = error
        return replace(facts, failed=_ledger_failed(error))
    return replace(facts, attempted=refusals)


def _reserve(
    run: Run, name: str, assessed: Assessment, facts: Facts, taken: Taken, now_ns: int
) -> Steps[Facts]:
    """Reserve all that is charged beyond the run, or nothing."""
    run.reserved = True
    charges = assessed.wider
    for_ns = lease_ns(run.plan, assessed.asks) if assessed.asks else DISPATCHED_WITHIN_NS
    taken.lapses_ns = None if for_ns is None else now_ns + for_ns
    successes: list[Charge] = []
    for charge in charges:
        if charge.counting == "successes":
            successes.append(charge)
    others = charges if not successes else [one for one in charges if one.counting != "successes"]
    refusals: tuple[Refusal, ...] = ()
    try:
        if others:
            if run.inline is not None:
                asked = _made(Reservation, (name, tuple(others), for_ns))
                refusals = run.inline.reserve_now(asked, now_ns=now_ns)
            else:
                refusals = yield from ledger.reserve(
                    run.opening, name, others, lease_ns=for_ns, now_ns=now_ns
                )
            taken.reservation = None if refusals else name
        if successes:
            # Asked all the same, so that every reason is recorded.
            own = f"{name}/success"
            refused = yield from ledger.reserve(run.opening, own, successes, lease_ns=for_ns, now_ns=now_ns)
            taken.success = None if refused else own
            refusals += refused
    except BaseException as error:  # fails closed: decided with the failure as a fact, which denies
        taken.give_back(run)
        taken.reservation = taken.success = None
        if not isinstance(error, Exception):
            raise
        taken.failure = error
        return replace(facts, failed=_ledger_failed(error))
    if refusals:
        taken.give_back(run)
        taken.reservation = taken.success = None
    return RESERVED if facts is NO_FACTS and not refusals else replace(facts, reserved=refusals)


def _ledger_failed(error: Exception) -> str:
    late = isinstance(error, StoreAwayError | TimeoutError)
    return LEDGER_AWAY if late else f"the ledger: {type(error).__name__}"


def _conclude(
    run: Run,
    key: str,
    call: ToolCall,
    assessed: Assessment,
    facts: Facts,
    held: Held | None,
    taken: Taken,
    seen: int,
    now_ns: int,
    said: bytes | None,
) -> tuple[Held, Decision]:
    """Fold the ledger's answer in, and record the decision."""
    with run.lock:
        if run.state.seq != seen:  # other events came while the ledger was asked: look again
            now_ns = run.now_ns()
            assessed = assessed_now(run, key, call, facts, now_ns)
        halts = None
        if run.parent is not None:
            facts, halts = with_above(run, key, assessed, facts, now_ns=now_ns)
        decision = conclude(assessed, facts)
        known = run.state.calls[key]
        edited = _other(known, call) if known.tickets else None
        form = run.forms.get(call.tool) if said is not None and edited is None else None
        alike = None if form is None or said is None else form.of(key, call, decision, facts, said)
        event, body = alike or _said_at_length(run, key, call, decision, facts, said, edited)
        run.append(event, at_ns=now_ns, body=body)
        if held is None:
            held = Held(key, call, decision, taken.reservation, taken.success)
            held.lapses_ns = taken.lapses_ns
        else:
            held.call, held.decision = call, decision
            held.reservation = taken.reservation or held.reservation
            held.success = taken.success or held.success
            if taken.reservation is not None or taken.success is not None:
                held.lapses_ns = taken.lapses_ns
        if halts or decision.halt is not None:
            halt_above(run, decision, halts or ())
        return held, decision


def _said_at_length(
    run: Run,
    key: str,
    call: ToolCall,
    decision: Decision,
    facts: Facts,
    said: bytes | None,
    edited: Mapping[str, Json] | None,
) -> tuple[CallDecided, bytes | None]:
    """Return the event of a decision, and its body where it is known; remember what others may say alike."""
    event = decided(key, call, decision, facts, levels=run.plan.levels, said=said, edited=edited)
    shown = decision_record(run, call, event, decision.arguments)
    if shown is not event:
        return shown, None
    if run.hiding is None and (form := form_of(event, decision, facts)) is not None:
        run.forms[call.tool] = form
    return event, decided_body(event, decision, facts)


def _other(known: KnownCall, call: ToolCall) -> dict[str, Json] | None:
    """Return the call's arguments if the record has had others since, by another edit; None: it has these."""
    if known.withheld is not None or same(dict(call.arguments), dict(known.request.arguments)):
        return None
    return dict(call.arguments)


def release(run: Run, held: Held, because: str) -> None:
    """Give back what a call holds that will not run; what cannot be recorded is not given back."""
    if held.over:
        return
    held.over = True
    try:
        with run.lock:
            known = run.state.calls.get(held.key)
            if known is not None and _is_to_be_given_back(known):
                run.append(BudgetRefunded(held.key, because))
    except EngineError:  # fails closed: without its record the reservation stays taken
        return
    for name in (held.reservation, held.success):
        if name is not None:
            ledger.refund_later(run.opening, name)


def _is_to_be_given_back(known: KnownCall) -> bool:
    # What was asked about ahead is given back in any case: its place is not for a later call.
    waits = known.asked_as is not None and not known.given_back
    return known.holds or known.takes_place or waits


def release_recorded(run: Run, call: str, because: str) -> list[str]:
    """Record that a call that is in nobody's hands here will not run.

    Returns:
        The names under which the ledger may hold something of it: whoever calls gives those back.
    """
    with run.lock:
        known = run.state.calls.get(call)
        if known is None or known.started_ns is not None:
            return []
        if _is_to_be_given_back(known):
            run.append(BudgetRefunded(call, because))
        return reservations(run, known)


def release_all(run: Run, because: str) -> None:
    """Give back what any call of the run still holds that was not dispatched, whoever knows of it.

    A call that was put away and not made again, or that waits in place, is in nobody's hands here.
    """
    for known in tuple(run.state.calls.values()):
        if known.started_ns is None and (known.holds or known.takes_place):
            try:
                run.append(BudgetRefunded(known.key, because))
            except EngineError:  # fails closed: without its record the reservation stays taken
                return
            for name in reservations(run, known):
                ledger.refund_later(run.opening, name)


def reservations(run: Run, known: KnownCall) -> list[str]:
    """Return every name under which the ledger may hold something of a call that was not dispatched."""
    own = reservation_id(run, known.key)
    names = (own, *(f"{own}/{ticket.id}" for ticket in known.tickets))
    return [full for name in names for full in (name, f"{name}/success")]
