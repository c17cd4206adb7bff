"""The quick way from a request to the body: for a call that passes at once, where nothing is waited for.

Then nothing can come between request, decision and start, so they are recorded and folded as one act.  It
knows *yes* and *cannot tell*: whatever is special (a run that is not live, a log that would refuse any of the
three, a budget without room, people, plugins, a run around this one) sends the call the long way, from its
beginning and with nothing done.  A property holds both ways to the same record.
"""

from collections.abc import Callable
from typing import NamedTuple

from ringfence.dsl.plan import Verdict
from ringfence.engine.decision.at_once import at_once
from ringfence.engine.decision.calls import NO_FACTS, RESERVED, Charge
from ringfence.engine.decision.decide import conclude
from ringfence.engine.decision.events import CallRequested, CallStarted
from ringfence.engine.decision.written import started_body
from ringfence.engine.enforcement.approvers import DISPATCHED_WITHIN_NS
from ringfence.engine.enforcement.bodies import Flight
from ringfence.engine.enforcement.requests import Given
from ringfence.engine.enforcement.runs import Held, Run
from ringfence.engine.seams.ports import InlineLedger, Reservation

_ALLOW = Verdict.ALLOW
Fly = Callable[[Run, Held, bool], Flight | None]
"""Makes what a body flies in; None: it needs nothing.  True: there is a bound beside run's and tool's."""


class Passing(NamedTuple):
    """A call that is recorded as started, before the ledger is told."""

    held: Held
    flight: Flight | None
    now_ns: int
    """When it started."""
    left_ns: int | None
    """The time that the run has left; None: no bound."""


def passing(
    run: Run,
    given: Given,
    event: CallRequested,
    body: bytes,
    fly: Fly,
    *,
    now_ns: int,
) -> Passing | None:
    """Decide a call, and record its request, decision and start; None: nothing was done.

    Whoever calls has the turn, and the run's lock since the key was chosen.

    Args:
        event: Its request, under a key that the run does not know, and its `body`.
        fly: Makes what its body flies in.
    """
    call, key, state, said = given.call, event.call, run.state, given.said
    form = run.forms.get(call.tool)
    if form is None or said is None or given.withheld is not None or given.lacking is not None:
        return None
    if event.parent is not None or run.parent is not None or run.hiding is not None:
        return None
    if run.stopped is not None or run.ended or run.taken or run.presence.lapsed:
        return None
    left_ns = run.remaining_ns(now_ns)
    if left_ns is not None and left_ns <= 0:
        return None
    # INVARIANT: what is said at once does not depend on the call's own request, so it may be folded after.
    assessed = at_once(run.plan, state, call, key=None, now_ns=now_ns)
    # SECURITY: a denial is said at once, too, and is recorded the long way.
    if assessed is None or assessed.verdict is not _ALLOW or assessed.obligations.audit != "standard":
        return None
    wider, inline = assessed.wider, run.inline
    decision = conclude(assessed, RESERVED if wider else NO_FACTS)
    decided = form.of(key, call, decision, RESERVED if wider else NO_FACTS, said)
    started = CallStarted(key)
    started_in = started_body(started)
    if decided is None or started_in is None or run.plan.by_bound_name[call.tool].isolated is not None:
        return None
    held = Held(key, call, decision, None, over=True)
    flight = fly(run, held, False)
    if wider:
        if inline is None:
            return None
        for charge in wider:
            if charge.counting != "calls":
                return None
        if not _reserved(run, inline, held, wider, now_ns):
            return None
    try:
        recorded = run.append_all(((event, body), decided, (started, started_in)), at_ns=now_ns)
    except Exception:  # what is not in the record was not charged either; after an interrupt it may be
        _give_back(inline, held)
        raise
    if not recorded:
        _give_back(inline, held)
        return None
    if flight is not None:
        run.flights.add(flight)
    return Passing(held, flight, now_ns, left_ns)


def _reserved(run: Run, inline: InlineLedger, held: Held, wider: tuple[Charge, ...], now_ns: int) -> bool:
    """Reserve all charges; False: none is, and the long way says why."""
    name = f"{run.id}/{held.key}"
    run.reserved = True
    try:
        if inline.reserve_now(Reservation(name, wider, DISPATCHED_WITHIN_NS), now_ns=now_ns):
            return False
    except BaseException as error:  # asked anew the long way, which fails closed
        inline.refund_now(name)
        if not isinstance(error, Exception):
            raise
        return False
    held.reservation, held.lapses_ns = name, now_ns + DISPATCHED_WITHIN_NS
    return True


def _give_back(inline: InlineLedger | None, held: Held) -> None:
    if inline is not None and held.reservation is not None:
        inline.refund_now(held.reservation)
