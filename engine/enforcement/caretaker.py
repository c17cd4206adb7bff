"""Looks after runs that nobody lives, as long as a guard is open.

A run that is put away has nobody to notice that a question is past its time, that it was ordered to stop or
that the run around it is over, and one whose process died has nobody to end it.  The caretaker does all of
it, under the session's lease, so that of several only one does.  What else changes a ticket is the business
of whoever comes back for the run.
"""

import asyncio
import contextlib
import logging
import os
import threading
import time
from concurrent.futures import Future
from contextvars import Context
from functools import partial
from typing import Final

from ringfence.engine.enforcement.drive import Steps, run_sync
from ringfence.engine.enforcement.in_hand import InHand
from ringfence.engine.enforcement.lapses import Lapses, is_late
from ringfence.engine.enforcement.lifecycle import Lifecycle
from ringfence.engine.enforcement.opening import Opening
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.enforcement.tickets import Asking, take_back
from ringfence.engine.enforcement.workers import run_in_worker
from ringfence.engine.seams.ports import KillOrder, RunRow, Ticket
from ringfence.engine.seams.wakes import arrival

LOOK_EVERY_S: Final = 30.0
"""How late the caretaker notices what it was not told of: questions of a process that is gone, dead runs."""

AGAIN_AFTER_S: Final = 5.0
"""When it tries again what it could not do."""

RUNS_AT_ONCE: Final = 100
"""How many runs one round looks after; the next one begins with those that had no turn."""

SWEPT_AT_ONCE: Final = 1_000
"""How many runs that are put away one sweep knows of, newest first."""

_CLOCKS_APART_NS: Final = 3_600_000_000_000
"""A run that began so long after an order was surely not there when it was given."""

_ROUND: Final = "round"

_log = logging.getLogger("ringfence")


class Caretaker:
    """One per guard; a round at a time, on a thread of its own."""

    def __init__(self, opening: Opening, lifecycle: Lifecycle, asking: Asking) -> None:
        self._opening = opening
        self._lifecycle = lifecycle
        self._asking = asking
        self._lapses = Lapses(opening, asking)
        self._turn = InHand()
        self._lock = threading.Lock()
        self._pid = 0
        self._going: Future[None] | None = None
        self._next_ns: int | None = None
        """The next moment at which a question that is known here is past its time."""
        self._woken: asyncio.Event | None = None
        self._stopped = False
        self._met: set[str] = set()
        """Runs whose turn it was and that could not be looked after."""
        self._spared: dict[str, int] = {}
        """Runs that are put away -> the last order that was there when they were found not to be named."""

    # ---- when --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Look after runs from now on; it is enough to say so once, and does no harm twice."""
        with self._lock:
            if self._stopped or (self._pid == os.getpid() and self._going is not None):
                return
            if self._pid not in (0, os.getpid()):
                self._turn.forget()
            self._pid = os.getpid()
            self._going = self._opening.loop.submit(self._go())

    def expect(self, run: Run) -> None:
        """Be there when the open questions of a run that was just put away are past their time."""
        expiries = [one.expires_ns for one in run.state.open_tickets.values() if one.expires_ns is not None]
        with self._lock:
            if self._next_ns is not None:
                expiries.append(self._next_ns)
            self._next_ns = min(expiries, default=None)
            woken = self._woken
        if woken is not None:
            self._opening.loop.call_soon(woken.set)

    def stop(self) -> Steps[None]:
        """Look after nothing more; when this returns, nothing of it is under way."""
        with self._lock:
            self._stopped = True
            going, woken = self._going, self._woken
            here = self._pid == os.getpid()
        if going is None or not here:
            return
        if woken is not None:
            self._opening.loop.call_soon(woken.set)
        yield from self._opening.within_patience(going, "kept the caretaker waiting")

    async def _go(self) -> None:
        woken = asyncio.Event()
        with self._lock:
            self._woken = woken
        swept_s, failing = time.monotonic(), False  # whoever opened the guard has just swept
        while not self._stopped and self._opening.is_open:
            sweep = time.monotonic() - swept_s >= LOOK_EVERY_S
            if sweep:
                swept_s = time.monotonic()
            left, failed = True, failing
            try:
                # On a thread: a run that is lived here may have the lock of one that is not.
                left = await arrival(run_in_worker(Context(), partial(self._work, sweep)))
                failing = False
            except Exception as error:  # fails closed: nobody may answer a late question; tried again
                failing = True
                if not failed:
                    _log.warning("suspended runs cannot be looked after for now: %s", error)
            look_s = time.monotonic() + (AGAIN_AFTER_S if left else LOOK_EVERY_S)
            while not self._stopped and (rest_s := self._rest_s(look_s)) > 0:
                with contextlib.suppress(TimeoutError):  # woken: a question may be past its time sooner
                    await asyncio.wait_for(woken.wait(), rest_s)
                woken.clear()

    def _rest_s(self, look_s: float) -> float:
        with self._lock:
            next_ns = self._next_ns
        rest_s = look_s - time.monotonic()
        if next_ns is None:
            return rest_s
        return min(rest_s, (next_ns - self._opening.clock.now_ns()) / 1e9)

    def _work(self, sweep: bool) -> bool:
        try:
            if sweep:
                run_sync(self._lifecycle.unclean.sweep_some(), self._opening.loop)
                run_sync(self.sweep(), self._opening.loop)
        finally:  # the one does not wait for the other
            left = run_sync(self.round(), self._opening.loop)
        return left

    # ---- what --------------------------------------------------------------------------------------

    def round(self) -> Steps[bool]:
        """Look once after every question that is past its time; say whether something is left to be done."""
        yield from self._turn.take(_ROUND)
        try:
            return (yield from self._round())
        finally:
            self._turn.give_back(_ROUND)

    def sweep(self) -> Steps[None]:
        """End the runs that are put away and were ordered to stop, or stand in one that is over.

        They never go on; what they ask and what they hold must not wait for somebody to come back for them.
        """
        yield from self._turn.take(_ROUND)
        try:
            yield from self._sweep()
        finally:
            self._turn.give_back(_ROUND)

    def _sweep(self) -> Steps[None]:
        log, switch = self._opening.ready.log, self._opening.ready.kill_switch
        rows: list[RunRow] = yield self._opening.submit(log.runs(status="suspended", limit=SWEPT_AT_ONCE))
        self._spared = {row.run: self._spared.get(row.run, 0) for row in rows}
        if not rows:
            return
        orders: list[KillOrder] = yield self._opening.submit(switch.orders(after=min(self._spared.values())))
        last = max((order.id for order in orders), default=0)
        over: dict[str, bool] = {}
        left = RUNS_AT_ONCE
        for row in rows:
            if row.parent is not None and row.parent not in over:
                around: RunRow | None = yield self._opening.submit(log.run(row.parent))
                over[row.parent] = around is None or around.status in ("done", "failed", "halted")
            ordered = any(order.id > self._spared[row.run] and _may_name(order, row) for order in orders)
            if self._stopped or left == 0:
                return
            if not (ordered or (row.parent is not None and over[row.parent])):
                continue
            left -= 1
            try:
                done = yield from self._lifecycle.put_away.look_after(
                    row.run, self._end_if_over, self._finish
                )
            except Exception as error:  # fails closed: it does not go on either; tried again
                _log.warning("the suspended run %s could not be ended: %s", row.run, error)
            else:
                if done:
                    self._spared[row.run] = last

    def _end_if_over(self, run: Run, over: bool) -> Steps[None]:
        if over:
            yield from self._lifecycle.finish(run, self._asking, "failed", "the run around it is over")

    def _finish(self, run: Run) -> Steps[object]:
        return (yield from self._lifecycle.finish(run, self._asking, "halted", None))

    def _round(self) -> Steps[bool]:
        with self._lock:
            self._next_ns = None
        pending: list[Ticket] = yield self._opening.submit(self._opening.ready.tickets.pending())
        now_ns = self._opening.clock.now_ns()
        late: dict[str, list[Ticket]] = {}
        for ticket in pending:
            if is_late(ticket, now_ns):
                late.setdefault(ticket.run, []).append(ticket)
        coming = [t.expires_ns for t in pending if t.expires_ns is not None and t.expires_ns > now_ns]
        with self._lock:
            if self._next_ns is not None:
                coming.append(self._next_ns)
            self._next_ns = min(coming, default=None)
        self._met &= late.keys()
        for run in sorted(late, key=lambda run: run in self._met)[:RUNS_AT_ONCE]:
            if self._stopped:
                break
            done = False
            try:
                done = yield from self._look_after(run, late[run])
            except Exception as error:  # fails closed: nobody may answer; the others have their turn
                if run not in self._met:
                    _log.warning("the suspended run %s could not be looked after: %s", run, error)
            if done:
                del late[run]
            else:
                self._met.add(run)
        return bool(late)

    def _look_after(self, run_id: str, late: list[Ticket]) -> Steps[bool]:
        row: RunRow | None = yield self._opening.submit(self._opening.ready.log.run(run_id))
        if row is None or row.status in ("done", "failed", "halted"):
            for ticket in late:  # nobody waits for it: its process died before it could say so
                yield self._opening.submit(take_back(self._opening.ready.tickets, ticket))
            return True
        calls = sorted({ticket.call for ticket in late})

        def work(run: Run, over: bool) -> Steps[None]:
            yield from self._end_if_over(run, over)
            for call in calls if not over else ():
                if run.state.halted is None:
                    yield from self._lapses.take(run, call)

        return (yield from self._lifecycle.put_away.look_after(run_id, work, self._finish))


def _may_name(order: KillOrder, row: RunRow) -> bool:
    """Say whether the order may be for this run; whether it began before, its record says."""
    if order.run not in (None, row.run) or order.agent not in (None, row.agent):
        return False
    return row.started_ns <= order.at_ns + _CLOCKS_APART_NS
