"""Budgets wider than a run: reserved before a call, stamped at its dispatch, given back for a reason."""

from collections.abc import Sequence
from concurrent.futures import Future

from ringfence.engine.decision.calls import Charge, Refusal
from ringfence.engine.enforcement.drive import Steps
from ringfence.engine.enforcement.opening import Opening
from ringfence.engine.seams.ports import InlineLedger, Reservation


def reserve(
    opening: Opening, reservation_id: str, charges: Sequence[Charge], *, now_ns: int
) -> Steps[tuple[Refusal, ...]]:
    """Reserve all charges or none; empty: reserved.  Interrupted or failed, it is given back."""
    ledger = opening.ready.ledger
    reservation = Reservation(reservation_id, tuple(charges))
    if isinstance(ledger, InlineLedger):
        return ledger.reserve_now(reservation, now_ns=now_ns)
    asked: Future[tuple[Refusal, ...]] = opening.submit(ledger.reserve(reservation, now_ns=now_ns))
    try:
        refusals: tuple[Refusal, ...] = yield asked
    except BaseException:  # its fate is unknown: given back once the answer is there
        asked.add_done_callback(lambda _: refund_later(opening, reservation_id))
        raise
    return refusals


def dispatched(opening: Opening, reservation_id: str, *, now_ns: int) -> Steps[None]:
    """Stamp the reservation with the moment of dispatch: from now on it is kept."""
    ledger = opening.ready.ledger
    if isinstance(ledger, InlineLedger):
        ledger.dispatched_now(reservation_id, now_ns=now_ns)
    else:
        yield opening.submit(ledger.dispatched(reservation_id, now_ns=now_ns))


def refund_later(opening: Opening, reservation_id: str) -> None:
    """Give the reservation back, soon; if that fails it stays taken, which only refuses more."""
    ledger = opening.ready.ledger
    if isinstance(ledger, InlineLedger):
        ledger.refund_now(reservation_id)
    else:
        opening.submit(ledger.refund(reservation_id))
