"""Leases of sessions in SQLite.  A lease stands as long as its holder lives (`holders`).

No commit of theirs waits for the disk: a loss of power that undoes one has ended its holder as well.
"""

import math
import sqlite3

from ringfence.plugin import EngineError
from ringfence.plugins.sqlite.connection import Door
from ringfence.plugins.sqlite.holders import Holders
from ringfence.plugins.sqlite.log import is_name


class SqliteLeases:
    """`Leases` in one file.  A holder's name must be drawn anew by each process."""

    def __init__(self, door: Door, holders: Holders) -> None:
        self._door = door
        self._holders = holders

    async def keep_alive(self, holder: str) -> float:
        """Say that `holder` lives, until its process dies: the kernel tells."""
        live(self._holders, holder)
        return math.inf

    async def gone(self, holder: str) -> None:
        """Give back all that `holder` has."""
        await self._door.write(
            lambda db: db.execute("DELETE FROM lease WHERE holder = ?", (holder,)).close(), lasting=False
        )

    async def lease(self, session: str, holder: str) -> str | None:
        """Take the session for `holder`, or return the living holder that has it."""
        live(self._holders, holder)
        return await self._door.write(lambda db: self._lease(db, session, holder), lasting=False)

    def _lease(self, db: sqlite3.Connection, session: str, holder: str) -> str | None:
        take = "INSERT INTO lease (session, holder) VALUES (?, ?) ON CONFLICT (session) DO NOTHING"
        if db.execute(take, (session, holder)).rowcount:
            return None
        (other,) = db.execute("SELECT holder FROM lease WHERE session = ?", (session,)).fetchone()
        if other != holder:
            if self._holders.alive(other):
                return str(other)
            db.execute("UPDATE lease SET holder = ? WHERE session = ?", (holder, session))
        return None

    async def holds(self, session: str, holder: str) -> bool:
        """Say whether `holder` has the session."""
        found = await self._door.read(
            lambda db: db.execute("SELECT holder FROM lease WHERE session = ?", (session,)).fetchone()
        )
        return found is not None and found[0] == holder

    async def holder(self, session: str) -> str | None:
        """Return the holder that has the session; None: nobody, or one that is known to be dead."""
        if not is_name(session):
            return None
        found = await self._door.read(
            lambda db: db.execute("SELECT holder FROM lease WHERE session = ?", (session,)).fetchone()
        )
        return str(found[0]) if found is not None and self._holders.alive(str(found[0])) else None

    async def release(self, session: str, holder: str) -> None:
        """Give the session back, if `holder` has it."""
        await self._door.write(
            lambda db: db.execute(
                "DELETE FROM lease WHERE session = ? AND holder = ?", (session, holder)
            ).close(),
            lasting=False,
        )


def live(holders: Holders, holder: str) -> None:
    """Say that `holder` lives; raise EngineError if that cannot be shown."""
    try:
        holders.live(holder)
    except OSError as error:  # fails closed: without proof of life nobody gets a lease
        raise EngineError(
            f"the process cannot show that it is alive: {error}",
            help="give this user the right to write the folder of the store",
        ) from error
