"""Leases of sessions in PostgreSQL: a holder lives as long as it says so, by the server's clock."""

from ringfence.plugins.postgres.door import Door
from ringfence.plugins.postgres.names import kept, key, read_or_none


class PostgresLeases:
    """`Leases` in one schema.  A holder's name must be drawn anew by each process."""

    def __init__(self, door: Door, *, presence_s: float) -> None:
        self._door = door
        self._presence_s = presence_s
        self._lasts_ns = int(presence_s * 1e9)

    async def keep_alive(self, holder: str) -> float:
        """Say that `holder` lives; return for how many seconds that holds."""
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

    async def release(self, session: str, holder: str) -> None:
        """Give the session back, if `holder` has it."""
        await self._door.ask(
            "DELETE FROM {s}.lease WHERE session_key = $1 AND holder_key = $2", key(session), key(holder)
        )
