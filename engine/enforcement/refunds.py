"""Reservations that are given back, and given back again where the ledger did not answer.

A call that was denied because the ledger was away may have been charged all the same: its refund is tried
until the ledger answers, but only as long as its run is here.  After that the same call may have been made
again elsewhere, under the same name, and taking back that charge would let too many through.
"""

import asyncio
import threading
from concurrent.futures import Future
from functools import lru_cache
from typing import Final, TypeGuard

from ringfence.engine.seams.bounded import PluginError, begun, ended, is_away
from ringfence.engine.seams.loop import EngineLoop
from ringfence.engine.seams.ports import DirectLedger, Ledger
from ringfence.engine.seams.wakes import arrival

_PAUSE_S: Final = 0.05
_PAUSE_AT_MOST_S: Final = 1.0


class Refunds:
    """What one guard gives back; from any thread."""

    def __init__(self, loop: EngineLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._open: dict[str, Ledger] = {}
        """Reservations that are being given back, and who is asked."""
        self._unanswered: set[str] = set()
        """Those of them that are asked for again."""
        self._trying = False
        self._tasks: set[asyncio.Task[None]] = set()

    def give_back(self, ledger: Ledger, reservation: str, *, within_s: float) -> None:
        """Give it back, before whatever the ledger is asked from now on.

        If the ledger refuses, it stays taken, which only refuses more.
        """
        with self._lock:
            self._open[reservation] = ledger
        if not is_direct(ledger):
            self._loop.call_soon(self._begin, reservation, within_s)
            return

        def answered(asked: "Future[None]") -> None:
            if asked.exception() is None:
                self.forget(reservation)
            else:  # asked again, until it answers
                self._loop.call_soon(self._begin, reservation, within_s)

        _handed(ledger, reservation).add_done_callback(answered)

    def forget(self, reservation: str) -> None:
        """Do not try again: it is reserved anew, or the ledger has answered."""
        if self._open:
            with self._lock:
                self._open.pop(reservation, None)
                self._unanswered.discard(reservation)

    def forget_run(self, run: str) -> None:
        """Do not try again for any call of a run that is put away or over."""
        for reservation in [one for one in tuple(self._open) if one.startswith(f"{run}/")]:
            self.forget(reservation)

    def _begin(self, reservation: str, within_s: float) -> None:
        asked = self._asked(reservation)
        if asked is not None:
            task = asyncio.ensure_future(self._go_on(reservation, asked, within_s))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _go_on(self, reservation: str, asked: "asyncio.Task[None]", within_s: float) -> None:
        if await self._answered(reservation, asked, within_s):
            return
        with self._lock:
            if reservation in self._open:  # else its run is not here any more
                self._unanswered.add(reservation)
            begin, self._trying = not self._trying, True
        if begin:
            await self._try_again(within_s)

    async def _try_again(self, within_s: float) -> None:
        pause_s = _PAUSE_S
        while True:
            await asyncio.sleep(pause_s)
            with self._lock:
                waiting = tuple(self._unanswered)
                if not waiting:
                    self._trying = False
                    return
            pause_s = min(2 * pause_s, _PAUSE_AT_MOST_S)
            for reservation in waiting:
                asked = self._asked(reservation)
                if asked is not None and not await self._answered(reservation, asked, within_s):
                    break  # still away: the others would not be answered either
                pause_s = _PAUSE_S

    def _asked(self, reservation: str) -> "asyncio.Task[None] | None":
        """Ask once; None: nobody wants it back any more."""
        with self._lock:
            ledger = self._open.get(reservation)
            if ledger is None:
                return None
            if is_direct(ledger):
                # INVARIANT: under the lock of `forget`, so that it stands before what is reserved after that:
                # such a ledger is asked from any thread, and a turn of the loop later would be too late.
                handed = _handed(ledger, reservation)
                return begun(lambda: _answer(handed))
        return begun(lambda: ledger.refund(reservation))

    async def _answered(self, reservation: str, asked: "asyncio.Task[None]", within_s: float) -> bool:
        """Return False if the ledger did not answer."""
        try:
            await ended(asked, seconds=within_s)
        except PluginError as error:  # fails closed: it stays taken, until then or for good
            if is_away(error):
                return False
        self.forget(reservation)
        return True


def _handed(ledger: DirectLedger, reservation: str) -> "Future[None]":
    try:
        return ledger.refund_soon(reservation)
    except Exception as error:  # fails closed: it stays taken, until the ledger is asked again
        failed = Future[None]()
        failed.set_exception(error)
        return failed


async def _answer(handed: "Future[None]") -> None:
    try:
        await arrival(handed)
    except asyncio.CancelledError:  # it took too long: asked again, it must not wait there twice
        handed.cancel()
        raise


def is_direct(ledger: Ledger) -> TypeGuard[DirectLedger]:
    """Say whether work is handed to the ledger itself, in the place of the engine's loop."""
    return _takes_work(type(ledger))


@lru_cache(maxsize=64)
def _takes_work(kind: type) -> bool:
    # Remembered, because asking a protocol costs as much as handing over.
    return issubclass(kind, DirectLedger)
