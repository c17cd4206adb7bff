"""The kill switch in this process's memory."""

import asyncio
import math
import threading

from ringfence.plugin import Attendant, KillOrder


class MemoryKillSwitch:
    """A `KillSwitch` for the guards of one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._orders: list[KillOrder] = []
        self._attendants: dict[str, Attendant] = {}
        self._news = asyncio.Event()

    async def keep_alive(self, holder: str) -> float:
        """Say that `holder` attends: as long as this process lives."""
        with self._lock:
            self._attendants.setdefault(holder, Attendant(holder, len(self._orders), 0, 0.0))
        return math.inf

    async def gone(self, holder: str) -> None:
        """Say that `holder` attends no more."""
        with self._lock:
            self._attendants.pop(holder, None)
        self._news.set()

    async def order(self, *, run: str | None, agent: str | None, by: str | None, at_ns: int) -> KillOrder:
        """Store an order to stop."""
        with self._lock:
            order = KillOrder(len(self._orders) + 1, run, agent, by, at_ns)
            self._orders.append(order)
        self._news.set()
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
            self._attendants[holder] = Attendant(holder, order, in_flight, 0.0)
        self._news.set()

    async def attendants(self) -> list[Attendant]:
        """Return the guards that attend."""
        with self._lock:
            return list(self._attendants.values())

    async def news(self, *, seconds: float) -> None:
        """Return when something came, or after `seconds`."""
        try:
            await asyncio.wait_for(self._news.wait(), seconds)
        except TimeoutError:  # nothing came; whoever waits looks all the same
            return
        self._news.clear()
