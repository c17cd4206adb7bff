"""Leases and kill orders in SQLite.  A lease stands as long as its holder lives (`holders`)."""

import sqlite3

from ringfence.plugin import EngineError, KillOrder
from ringfence.plugins.sqlite.connection import Door
from ringfence.plugins.sqlite.holders import Holders


class SqliteControl:
    """A `Control` in one file.  A holder's name must be drawn anew by each process."""

    def __init__(self, door: Door, holders: Holders) -> None:
        self._door = door
        self._holders = holders

    async def lease(self, session: str, holder: str) -> str | None:
        """Take the session for `holder`, or return the living holder that has it."""
        try:
            self._holders.live(holder)
        except OSError as error:  # fails closed: without proof of life nobody gets a lease
            raise EngineError(
                f"the process cannot show that it is alive: {error}",
                help="give this user the right to write the folder of the store",
            ) from error
        return await self._door.write(lambda db: self._lease(db, session, holder))

    def _lease(self, db: sqlite3.Connection, session: str, holder: str) -> str | None:
        found = db.execute("SELECT holder FROM lease WHERE session = ?", (session,)).fetchone()
        if found and found[0] != holder and self._holders.alive(found[0]):
            return str(found[0])
        db.execute("INSERT OR REPLACE INTO lease (session, holder) VALUES (?, ?)", (session, holder))
        return None

    async def release(self, session: str, holder: str) -> None:
        """Give the session back, if `holder` has it."""
        await self._door.write(
            lambda db: db.execute(
                "DELETE FROM lease WHERE session = ? AND holder = ?", (session, holder)
            ).close()
        )

    async def order_kill(
        self, *, run: str | None, agent: str | None, by: str | None, at_ns: int
    ) -> KillOrder:
        """Store an order to stop; durable when it returns."""
        number = await self._door.write(
            lambda db: (
                db.execute(
                    "INSERT INTO kill (run, agent, by, at_ns) VALUES (?, ?, ?, ?)", (run, agent, by, at_ns)
                ).lastrowid
            )
        )
        assert number is not None
        return KillOrder(number, run, agent, by, at_ns)

    async def kills(self, *, after: int = 0) -> list[KillOrder]:
        """Return the orders with an id above `after`."""
        found = await self._door.read(
            lambda db: db.execute(
                "SELECT id, run, agent, by, at_ns FROM kill WHERE id > ? ORDER BY id", (after,)
            ).fetchall()
        )
        return [KillOrder(*row) for row in found]
