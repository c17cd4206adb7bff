"""Leases and kill orders in this process's memory."""

import threading

from ringfence.plugin import KillOrder


class MemoryControl:
    """A `Control`; every holder lives as long as this process, or until it lets go."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders: dict[str, str] = {}
        self._kills: list[KillOrder] = []

    async def lease(self, session: str, holder: str) -> str | None:
        """Take the session for `holder`, or return the holder that has it."""
        with self._lock:
            has = self._holders.setdefault(session, holder)
        return None if has == holder else has

    async def release(self, session: str, holder: str) -> None:
        """Give the session back, if `holder` has it."""
        with self._lock:
            if self._holders.get(session) == holder:
                del self._holders[session]

    async def order_kill(
        self, *, run: str | None, agent: str | None, by: str | None, at_ns: int
    ) -> KillOrder:
        """Store an order to stop."""
        with self._lock:
            order = KillOrder(len(self._kills) + 1, run, agent, by, at_ns)
            self._kills.append(order)
        return order

    async def kills(self, *, after: int = 0) -> list[KillOrder]:
        """Return the orders with an id above `after`."""
        with self._lock:
            return self._kills[max(after, 0) :]
