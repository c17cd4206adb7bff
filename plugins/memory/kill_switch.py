"""The kill switch in this process's memory."""

import asyncio
import contextlib
import math
import threading
import time
import weakref
from dataclasses import replace

from ringfence.plugin import Attendant, KillOrder


class MemoryKillSwitch:
    """A `KillSwitch` for the guards of one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._orders: list[KillOrder] = []
        self._attendants: dict[str, Attendant] = {}
        self._said_s: dict[str, float] = {}
        self._changes = 0
        self._told: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, int] = weakref.WeakKeyDictionary()
        """The changes that each event loop, that is each guard, was told of."""
        self._waiting: set[asyncio.Future[None]] = set()

    async def keep_alive(self, holder: str) -> float:
        """Say that `holder` attends: as long as this process lives."""
        with self._lock:
            self._attendants.setdefault(holder, Attendant(holder, len(self._orders), 0, 0.0))
            self._said_s[holder] = time.monotonic()
        return math.inf

    async def gone(self, holder: str) -> None:
        """Say that `holder` attends no more."""
        with self._lock:
            self._attendants.pop(holder, None)
            self._said_s.pop(holder, None)
        self._changed()

    async def order(self, *, run: str | None, agent: str | None, by: str | None, at_ns: int) -> KillOrder:
        """Store an order to stop."""
        with self._lock:
            order = KillOrder(len(self._orders) + 1, run, agent, by, at_ns)
            self._orders.append(order)
        self._changed()
        return order

    async def orders(self, *, after: int = 0) -> list[KillOrder]:
        """Return the orders with an id above `after`."""
        with self._lock:
            return self._orders[max(after, 0) :]

    async def latest(self) -> int:
        """Return the id of the last order."""
        with self._lock:
            return len(self._orders)

    async def obeyed(self, holder: str, order: int, *, in_flight: int) -> None:
        """Acknowledge every order up to this one."""
        with self._lock:
            known = self._attendants.get(holder)
            last = order if known is None else max(order, known.obeyed)
            self._attendants[holder] = Attendant(holder, last, in_flight, 0.0)
            self._said_s[holder] = time.monotonic()
        self._changed()

    async def attendants(self) -> list[Attendant]:
        """Return the guards that attend."""
        with self._lock:
            now_s = time.monotonic()
            return [
                replace(one, silent_s=now_s - self._said_s[one.holder]) for one in self._attendants.values()
            ]

    async def news(self, *, seconds: float) -> None:
        """Return when something came, or after `seconds`."""
        loop = asyncio.get_running_loop()
        came: asyncio.Future[None] = loop.create_future()
        with self._lock:
            waits = self._told.get(loop, 0) == self._changes
            if waits:
                self._waiting.add(came)
        if waits:
            with contextlib.suppress(TimeoutError):  # nothing came; whoever waits looks all the same
                await asyncio.wait_for(came, seconds)
        with self._lock:
            self._waiting.discard(came)
            self._told[loop] = self._changes

    def _changed(self) -> None:
        with self._lock:
            self._changes += 1
            waiting, self._waiting = self._waiting, set()
        for came in waiting:
            with contextlib.suppress(RuntimeError):  # that loop is closed: nobody waits there any more
                came.get_loop().call_soon_threadsafe(_ring, came)


def _ring(came: "asyncio.Future[None]") -> None:
    if not came.done():
        came.set_result(None)
