"""Operators' orders to stop: at once in this process, and by looking for those of others."""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from ringfence.engine.enforcement.drive import Steps
from ringfence.engine.enforcement.opening import Opening, store_error
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.ports import KillOrder

LOOK_EVERY_S: Final = 0.25

_REMEMBERED: Final = 32
"""How many of the latest orders are held against runs that were just beginning."""


class Kills:
    """Looks for orders while runs are live, and halts those that an order names."""

    def __init__(self, opening: Opening, live: Callable[[], Iterable[Run]]) -> None:
        self._opening = opening
        self._live = live
        self._lock = threading.Lock()
        self._looking = False
        self._after = 0
        self._obeyed: deque[KillOrder] = deque(maxlen=_REMEMBERED)

    def order(self, *, run: str | None, agent: str | None, by: str | None) -> Steps[KillOrder]:
        """Store the order, durably, and halt what it names here; other processes see it soon."""
        yield from self._opening.opened()
        at_ns = self._opening.clock.now_ns()
        work = self._opening.ready.kill_switch.order(run=run, agent=agent, by=by, at_ns=at_ns)
        try:
            order: KillOrder = yield self._opening.submit(work)
        except Exception as error:  # what runs here is stopped all the same
            self.obey(KillOrder(0, run, agent, by, at_ns))
            raise store_error("could not keep the order to stop", error) from error
        self.obey(order)
        return order

    def given(self) -> Steps[list[KillOrder]]:
        """Return all orders, for a run that was put away when they were given."""
        try:
            orders: list[KillOrder] = yield self._opening.submit(self._opening.ready.kill_switch.orders())
        except Exception as error:  # fails closed: the run does not go on
            raise store_error("could not say which runs are to stop", error) from error
        return orders

    def watch(self) -> None:
        """Look for orders as long as runs are live."""
        if not self._opening.ready.durable:
            return  # nobody else can give an order
        with self._lock:
            look, self._looking = not self._looking, True
        if look:
            self._opening.loop.submit(self._look())

    async def _look(self) -> None:
        while True:
            with self._lock:
                if not any(True for _ in self._live()):
                    self._looking = False
                    return
            # A store that does not answer is met by the next call, which it denies.
            with contextlib.suppress(Exception):
                work = self._opening.ready.kill_switch.orders(after=self._after)
                for order in await asyncio.wait_for(work, self._opening.patience_s):
                    self._after = max(self._after, order.id)
                    with contextlib.suppress(EngineError):  # stopped, and nothing of it starts again
                        self.obey(order)
            await asyncio.sleep(LOOK_EVERY_S)

    def obey(self, order: KillOrder) -> None:
        """Halt the live runs that the order names, if they had begun when it was given.

        Raises:
            EngineError: A halt could not be recorded; whatever the order names is stopped all the same.
        """
        self._obeyed.append(order)
        self._stop(order)

    def _stop(self, order: KillOrder) -> None:
        first: Exception | None = None
        for run in tuple(self._live()):
            if run.ended or not self.names(order, run):
                continue
            try:
                run.halt("killed", by=order.by, detail="an operator gave the order")
            except Exception as error:  # the run is stopped; the others must be too
                first = first or error
        if first is not None:
            raise first

    @staticmethod
    def names(order: KillOrder, run: Run) -> bool:
        """Say whether the order stops this run: it ran when the order was given, or is named by its id."""
        if order.run is None and run.state.started_ns > order.at_ns:
            return False
        return order.run in (None, run.id) and order.agent in (None, run.agent)

    def obey_again(self) -> None:
        """Halt a run that began while an order came, before it could be found among the live ones."""
        for order in tuple(self._obeyed):
            self._stop(order)
