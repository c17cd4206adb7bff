"""Leases of sessions in this process's memory."""

import math
import threading


class MemoryLeases:
    """`Leases` of holders that live as long as this process, or until they are gone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders: dict[str, str] = {}

    async def keep_alive(self, holder: str) -> float:
        """Say that `holder` lives: as long as this process does."""
        return math.inf

    async def gone(self, holder: str) -> None:
        """Give back all that `holder` has."""
        with self._lock:
            self._holders = {session: one for session, one in self._holders.items() if one != holder}

    async def lease(self, session: str, holder: str) -> str | None:
        """Take the session for `holder`, or return the holder that has it."""
        with self._lock:
            has = self._holders.setdefault(session, holder)
        return None if has == holder else has

    async def holds(self, session: str, holder: str) -> bool:
        """Say whether `holder` has the session."""
        with self._lock:
            return self._holders.get(session) == holder

    async def holder(self, session: str) -> str | None:
        """Return the holder that has the session."""
        with self._lock:
            return self._holders.get(session)

    async def release(self, session: str, holder: str) -> None:
        """Give the session back, if `holder` has it."""
        with self._lock:
            if self._holders.get(session) == holder:
                del self._holders[session]
