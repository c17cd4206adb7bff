"""Leases of sessions in PostgreSQL: a holder lives as long as it says so, by the server's clock."""

from typing import Final

from ringfence.plugins.postgres.door import Door
from ringfence.plugins.postgres.names import kept, key, read_or_none

_SILENT_S: Final = 7 * 24 * 3600


class PostgresLeases:
    """`Leases` in one schema.  A holder's name must be drawn anew by each process."""

    def __init__(self, door: Door, *, presence_s: float) -> None:
        self._door = door
        self._presence_s = presence_s
        self._lasts_ns = int(presence_s * 1e9)
        self._buried = False

    async def keep_alive(self, holder: str) -> float:
        """Say that `holder` lives; return for how many seconds that holds."""
        if not self._buried:
            await self._bury()
        await self._door.ask("SELECT {s}.keep_alive($1, $2, $3)", key(holder), kept(holder), self._lasts_ns)
        return self._presence_s

    async def gone(self, holder: str) -> None:
        """Give back all that `holder` has."""
        await self._door.ask(
            "WITH given AS (DELETE FROM {s}.lease WHERE holder_key = $1)"
            " DELETE FROM {s}.holder WHERE holder_key = $1",
            key(holder),
        )

    async def lease(self, session: str, holder: str) -> str | None:
        """Take the session for `holder`, or return the living holder that has it."""
        return read_or_none(
            await self._door.value(
                "SELECT {s}.take_session($1, $2, $3, $4, $5)",
                key(session),
                kept(session),
                key(holder),
                kept(holder),
                self._lasts_ns,
            )
        )

    async def holds(self, session: str, holder: str) -> bool:
        """Say whether `holder` has the session."""
        found = await self._door.ask(
            "SELECT 1 FROM {s}.lease WHERE session_key = $1 AND holder_key = $2", key(session), key(holder)
        )
        return bool(found)

    async def holder(self, session: str) -> str | None:
        """Return the holder that has the session; None: nobody, or one that was silent for too long."""
        return read_or_none(
            await self._door.value(
                "SELECT h.holder FROM {s}.lease AS l JOIN {s}.holder AS h ON h.holder_key = l.holder_key"
                " WHERE l.session_key = $1 AND h.until_ns > {s}.now_ns()",
                key(session),
            )
        )

    async def _bury(self) -> None:
        """Forget, once for each opened store, the holders that have been silent for a week."""
        await self._door.ask(
            "WITH dead AS (DELETE FROM {s}.holder WHERE until_ns < {s}.now_ns() - $1 RETURNING holder_key),"
            " silent AS (DELETE FROM {s}.attendant WHERE seen_ns < {s}.now_ns() - $1)"
            " DELETE FROM {s}.lease WHERE holder_key IN (SELECT holder_key FROM dead)",
            _SILENT_S * 10**9,
        )
        self._buried = True

    async def release(self, session: str, holder: str) -> None:
        """Give the session back, if `holder` has it."""
        await self._door.ask(
            "DELETE FROM {s}.lease WHERE session_key = $1 AND holder_key = $2", key(session), key(holder)
        )
