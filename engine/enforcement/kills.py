"""Operators' orders to stop: obeyed by their ids, and acknowledged once nothing that they name goes on.

A run began when some order was the last one (`RunStarted.orders`); it obeys every later one that names it,
whatever any clock says, also if it was put away when the order came.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextvars import copy_context
from dataclasses import dataclass
from typing import Final

from ringfence.engine.enforcement.acknowledgements import Killed, acknowledged
from ringfence.engine.enforcement.bodies import Flight
from ringfence.engine.enforcement.drive import Steps
from ringfence.engine.enforcement.opening import Opening, store_error
from ringfence.engine.enforcement.presence import LOOK_WITHIN_S, RETRY_S, Holder
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.enforcement.workers import run_in_worker
from ringfence.engine.journal.hiding import Hiding
from ringfence.engine.seams.bounded import bounded
from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.ports import KillOrder

NEWS_S: Final = LOOK_WITHIN_S / 3
"""How long to wait for news before the orders are read all the same."""

LAND_WITHIN_S: Final = 1.0
"""How long bodies of halted runs may take to end before the order is acknowledged without them."""

_LANDED_EVERY_S: Final = 0.005


@dataclass(slots=True, eq=False)
class _Stopped:
    """A halted run, and what was in flight in it."""

    run: Run
    flights: frozenset[Flight]
    told: bool = False
    """True once it was acknowledged."""

    @property
    def in_flight(self) -> int:
        """Return how many of its bodies have not ended."""
        flying = sum(not flight.over for flight in self.flights)
        # A plain function that nothing bounds flies in nothing: it runs where it was called.
        return flying + max(len(self.run.in_flight()) - len(self.run.flights), 0)

    @property
    def landed(self) -> bool:
        """True once all of it has ended and is recorded."""
        return not self.run.flights and not self.in_flight


class Kills:
    """Gives orders, and obeys those that come while this guard attends."""

    def __init__(self, opening: Opening, live: Callable[[], Iterable[Run]], holder: Holder) -> None:
        self.looked: Callable[[int], None] = lambda _: None
        """Told when the orders were read, with the moment they were asked for."""
        self._opening = opening
        self._live = live
        self._holder = holder
        self._lock = threading.Lock()
        self._beginning = 0
        self._kept: list[KillOrder] = []
        """The orders that came while a run was beginning: it may not have been among the live ones."""
        self._stopped: dict[str, _Stopped] = {}
        """By run, until nothing of it is in flight any more."""
        self._after = 0
        """The last order that was obeyed here."""
        self._acknowledged = 0
        self._door = asyncio.Lock()
        self._due = asyncio.Event()
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    # ---- orders given here -------------------------------------------------------------------------

    def order(self, *, run: str | None, agent: str | None, by: str | None, within_s: float) -> Steps[Killed]:
        """Store the order, durably, halt what it names here, and wait until all others have.

        Raises:
            EngineError: It could not be stored, or not be recorded here; what it names here is stopped.
        """
        yield from self._opening.opened()
        at_ns = self._opening.clock.now_ns()
        by = None if by is None else Hiding(self._opening.secrets).text(by)
        work = self._opening.ready.kill_switch.order(run=run, agent=agent, by=by, at_ns=at_ns)
        try:
            order: KillOrder = yield self._opening.submit(work)
        except Exception as error:  # what runs here is stopped all the same
            self.obey(KillOrder(_HERE, run, agent, by, at_ns))
            raise store_error("could not keep the order to stop", error) from error
        self.obey(order)
        self._opening.loop.submit(self._look_now())
        waiting = acknowledged(self._opening.ready.kill_switch, order, within_s=within_s)
        try:
            killed: Killed = yield self._opening.loop.submit(waiting)
        except CancelledError as error:
            raise EngineError(f"the guard was closed; the order {order.id} to stop stands") from error
        return killed

    # ---- runs that begin, or go on -----------------------------------------------------------------

    @contextlib.contextmanager
    def beginning(self) -> Iterator[None]:
        """Keep what is ordered inside of this for a run that begins, until it is among the live ones."""
        with self._lock:
            self._beginning += 1
        try:
            yield
        finally:
            with self._lock:
                self._beginning -= 1
                if not self._beginning:
                    self._kept.clear()

    async def latest(self) -> int:
        """Return, on the engine's loop, the last order there is: a run that begins now obeys later ones."""
        try:
            return await self._opening.in_time(self._opening.ready.kill_switch.latest())
        except Exception as error:  # fails closed: the run does not begin
            raise store_error("could not say which runs are to stop", error) from error

    def given(self, *, after: int) -> Steps[list[KillOrder]]:
        """Return the orders after this one, for a run that was put away when they were given."""
        try:
            orders: list[KillOrder] = yield self._opening.submit(
                self._opening.ready.kill_switch.orders(after=after)
            )
        except Exception as error:  # fails closed: the run does not go on
            raise store_error("could not say which runs are to stop", error) from error
        return orders

    def obey_again(self, run: Run, given: Iterable[KillOrder] = ()) -> None:
        """Halt a run that is now a live one, if an order that was `given` or came meanwhile names it."""
        with self._lock:
            orders = (*given, *self._kept)
        for order in orders:
            if names(order, run):
                self._halt(run, order)

    # ---- obeying -----------------------------------------------------------------------------------

    def obey(self, order: KillOrder) -> None:
        """Halt the live runs that the order names; from any thread, more than once.

        Raises:
            EngineError: A halt could not be recorded; whatever the order names is stopped all the same.
        """
        with self._lock:
            if self._beginning:
                self._kept.append(order)
        first: Exception | None = None
        for run in tuple(self._live()):
            if names(order, run):
                try:
                    self._halt(run, order)
                except Exception as error:  # the run is stopped; the others must be too
                    first = first or error
        if first is not None:
            raise first

    def _halt(self, run: Run, order: KillOrder) -> None:
        stopped = [_Stopped(one, frozenset(one.flights)) for one in _tree(run)]
        try:
            run.halt("killed", by=order.by, detail="an operator gave the order")
        finally:
            with self._lock:
                for one in stopped:  # an order may be obeyed twice, and what flies counts once
                    known = self._stopped.get(one.run.id)
                    one.flights |= known.flights if known is not None else frozenset()
                    self._stopped[one.run.id] = one

    # ---- as `Watch`, on the engine's loop ----------------------------------------------------------

    @property
    def busy(self) -> bool:
        """See `Watch`."""
        return self._acknowledged < self._after

    async def arrive(self) -> None:
        """See `Watch`."""
        # Before the attendance: an order in between is then obeyed once more, and never overlooked.
        asked_ns = self._holder.now_ns()
        last = await bounded(lambda: self._opening.ready.kill_switch.latest(), seconds=self._patience_s)
        self._after = self._acknowledged = last
        self.looked(asked_ns)

    async def look(self) -> None:
        """See `Watch`."""
        async with self._door:
            asked_ns = self._holder.now_ns()
            orders = await bounded(
                lambda: self._opening.ready.kill_switch.orders(after=self._after), seconds=self._patience_s
            )
            for order in orders:
                if self._beginning or any(names(order, run) for run in self._live()):
                    await self._obey_aside(order)
                self._after = max(self._after, order.id)
            if orders:
                self._due.set()
            self.looked(asked_ns)

    async def _obey_aside(self, order: KillOrder) -> None:
        # On a thread: a halt waits for the lock of a run, and whoever has that may wait for this loop.
        with contextlib.suppress(EngineError):  # stopped, and nothing of it starts again
            await asyncio.wrap_future(run_in_worker(copy_context(), lambda: self.obey(order)))

    def begin(self) -> None:
        """See `Watch`."""
        self._due = asyncio.Event()
        self._tasks = (asyncio.ensure_future(self._listen()), asyncio.ensure_future(self._acknowledge()))

    def end(self) -> None:
        """See `Watch`."""
        for task in self._tasks:
            task.cancel()
        self._tasks = ()
        with self._lock:
            self._stopped.clear()

    async def _look_now(self) -> None:
        if self._tasks:
            with contextlib.suppress(Exception):  # the listener looks again, and a late look lapses
                await self.look()

    async def _listen(self) -> None:
        while True:
            try:
                await self.look()
                await bounded(
                    lambda: self._opening.ready.kill_switch.news(seconds=NEWS_S),
                    seconds=NEWS_S + self._patience_s,
                )
            except Exception:  # fails closed: orders that are not read in time let nothing start
                await asyncio.sleep(RETRY_S)

    async def _acknowledge(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                await self._acknowledged_now()
            except Exception:  # fails closed: whoever waits for it is told that this guard is missing
                self._due.set()
                await asyncio.sleep(RETRY_S)

    async def _acknowledged_now(self) -> None:
        last = self._after
        with self._lock:
            fresh = [one for one in self._stopped.values() if not one.told]
        if fresh:
            await self._landed(fresh)
            flushed = asyncio.wrap_future(self._opening.ready.journal.flush())
            await asyncio.wait_for(flushed, self._opening.patience_s)
        with self._lock:
            in_flight = sum(one.in_flight for one in self._stopped.values())
        await bounded(
            lambda: self._opening.ready.kill_switch.obeyed(self._holder.name, last, in_flight=in_flight),
            seconds=self._patience_s,
        )
        self._acknowledged = max(self._acknowledged, last)
        for one in fresh:
            one.told = True
        with self._lock:
            self._stopped = {id: one for id, one in self._stopped.items() if not (one.told and one.landed)}

    async def _landed(self, stopped: Iterable[_Stopped]) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + LAND_WITHIN_S
        while loop.time() < until and not all(one.landed for one in stopped):  # noqa: ASYNC110 - see below
            # Bodies end on threads and loops of their callers, whom this must not slow down.
            await asyncio.sleep(_LANDED_EVERY_S)

    @property
    def _patience_s(self) -> float:
        return min(self._opening.patience_s, NEWS_S)


_HERE: Final = 0
"""The id of an order that could not be stored: every run here that it names obeys it."""


def names(order: KillOrder, run: Run) -> bool:
    """Say whether the order is for this run, and was given after it began."""
    if run.ended or not (order.id == _HERE or order.id > run.orders):
        return False
    return order.run in (None, run.id) and order.agent in (None, run.agent)


def _tree(run: Run) -> Iterator[Run]:
    yield run
    for child in tuple(run.children):
        yield from _tree(child)
