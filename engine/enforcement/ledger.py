"""Budgets wider than a run: reserved before a call, stamped at its dispatch, given back for a reason.

A reservation has a lease: if this process dies before it says more, the ledger keeps it as if it had been
dispatched when the lease ended, and it leaves its windows in time.
"""

from collections.abc import Sequence
from concurrent.futures import Future
from functools import lru_cache

from ringfence.engine.decision.calls import Charge, Refusal
from ringfence.engine.enforcement.drive import Steps
from ringfence.engine.enforcement.opening import Opening
from ringfence.engine.enforcement.refunds import is_direct
from ringfence.engine.seams.ports import InlineLedger, Reservation


def reserve(
    opening: Opening,
    reservation_id: str,
    charges: Sequence[Charge],
    *,
    lease_ns: int | None,
    now_ns: int,
) -> Steps[tuple[Refusal, ...]]:
    """Reserve all charges or none; empty: reserved.  Interrupted or failed, it is given back."""
    reservation = Reservation(reservation_id, tuple(charges), lease_ns)
    inline = at_once(opening)
    if inline is not None:
        return inline.reserve_now(reservation, now_ns=now_ns)
    ledger = opening.ready.ledger
    opening.refunds.forget(reservation_id)
    asked: Future[tuple[Refusal, ...]]
    if is_direct(ledger):
        asked = opening.handed(ledger.reserve_soon(reservation, now_ns=now_ns))
    else:
        asked = opening.submit(ledger.reserve(reservation, now_ns=now_ns))
    try:
        refusals: tuple[Refusal, ...] = yield asked
    except BaseException:  # its fate is unknown: given back once the answer is there
        asked.add_done_callback(lambda _: refund_later(opening, reservation_id))
        raise
    return refusals


def dispatched(opening: Opening, reservation_id: str, *, now_ns: int) -> Steps[bool]:
    """Stamp the reservation with the moment of dispatch: from now on it is kept; False: it counts no more."""
    inline = at_once(opening)
    if inline is not None:
        return inline.dispatched_now(reservation_id, now_ns=now_ns)
    ledger = opening.ready.ledger
    asked: Future[bool]
    if is_direct(ledger):
        asked = opening.handed(ledger.dispatched_soon(reservation_id, now_ns=now_ns))
    else:
        asked = opening.submit(ledger.dispatched(reservation_id, now_ns=now_ns))
    stands: bool = yield asked
    return stands


def settle(opening: Opening, run: str, *, now_ns: int) -> Steps[None]:
    """Stamp what a run that ends still holds: it is kept, for nobody knows what became of it."""
    inline = at_once(opening)
    if inline is not None:
        inline.settle_now(run, now_ns=now_ns)
    else:
        ledger = opening.ready.ledger
        yield opening.submit(ledger.settle(run, now_ns=now_ns))


def refund_later(opening: Opening, reservation_id: str) -> None:
    """Give the reservation back, soon; if that fails for good it stays taken, which only refuses more."""
    inline = at_once(opening)
    if inline is not None:
        inline.refund_now(reservation_id)
    else:
        opening.refunds.give_back(opening.ready.ledger, reservation_id, within_s=opening.patience_s)


def at_once(opening: Opening) -> InlineLedger | None:
    """Return the ledger if it answers at once; None: it must be waited for."""
    ledger = opening.ready.ledger
    return ledger if _answers_at_once(type(ledger)) else None  # type: ignore[return-value]  # so it is


@lru_cache(maxsize=64)
def _answers_at_once(kind: type) -> bool:
    # Remembered, because asking a protocol costs more than the reservation itself.
    return issubclass(kind, InlineLedger)
