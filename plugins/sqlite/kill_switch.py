"""The kill switch in SQLite: orders, and which guards of this host have obeyed them."""

import asyncio
import math
import sqlite3
import time

from ringfence.plugin import Attendant, KillOrder
from ringfence.plugins.sqlite.connection import Door
from ringfence.plugins.sqlite.holders import Holders
from ringfence.plugins.sqlite.leases import live

LOOK_EVERY_S = 0.05


class SqliteKillSwitch:
    """A `KillSwitch` in one file; the kernel vouches for who attends (`holders`)."""

    def __init__(self, door: Door, holders: Holders) -> None:
        self._door = door
        self._holders = holders
        self._seen: tuple[object, ...] = ()

    async def keep_alive(self, holder: str) -> float:
        """Say that `holder` attends, until its process dies."""
        live(self._holders, holder)
        # No loss of power undoes it and leaves the holder alive.
        await self._door.write(lambda db: self._keep_alive(db, holder), lasting=False)
        return math.inf

    def _keep_alive(self, db: sqlite3.Connection, holder: str) -> None:
        said = "UPDATE attendant SET said_ns = ? WHERE holder = ?"
        if db.execute(said, (_now_ns(), holder)).rowcount:
            return
        for (other,) in db.execute("SELECT holder FROM attendant").fetchall():
            if not self._holders.alive(other):  # nobody else takes it away
                db.execute("DELETE FROM attendant WHERE holder = ?", (other,))
        db.execute(
            "INSERT INTO attendant (holder, obeyed, in_flight, said_ns)"
            " VALUES (?, (SELECT coalesce(max(id), 0) FROM kill), 0, ?)",
            (holder, _now_ns()),
        )

    async def gone(self, holder: str) -> None:
        """Say that `holder` attends no more."""
        await self._door.write(
            lambda db: db.execute("DELETE FROM attendant WHERE holder = ?", (holder,)).close(), lasting=False
        )

    async def order(self, *, run: str | None, agent: str | None, by: str | None, at_ns: int) -> KillOrder:
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

    async def orders(self, *, after: int = 0) -> list[KillOrder]:
        """Return the orders with an id above `after`."""
        found = await self._door.read(
            lambda db: db.execute(
                "SELECT id, run, agent, by, at_ns FROM kill WHERE id > ? ORDER BY id", (after,)
            ).fetchall()
        )
        return [KillOrder(*row) for row in found]

    async def latest(self) -> int:
        """Return the id of the last order."""
        found = await self._door.read(lambda db: db.execute("SELECT max(id) FROM kill").fetchone())
        return int(found[0] or 0)

    async def obeyed(self, holder: str, order: int, *, in_flight: int) -> None:
        """Acknowledge every order up to this one; durable when it returns."""
        await self._door.write(
            lambda db: db.execute(
                "INSERT INTO attendant (holder, obeyed, in_flight, said_ns) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (holder) DO UPDATE SET obeyed = max(obeyed, excluded.obeyed),"
                " in_flight = excluded.in_flight, said_ns = excluded.said_ns",
                (holder, order, in_flight, _now_ns()),
            ).close()
        )

    async def attendants(self) -> list[Attendant]:
        """Return the guards that attend and live."""
        found = await self._door.read(
            lambda db: db.execute("SELECT holder, obeyed, in_flight, said_ns FROM attendant").fetchall()
        )
        now_ns = _now_ns()
        return [
            Attendant(holder, obeyed, in_flight, max(now_ns - said_ns, 0) / 1e9)
            for holder, obeyed, in_flight, said_ns in found
            if self._holders.alive(holder)
        ]

    async def news(self, *, seconds: float) -> None:
        """Return when an order or an acknowledgement came, or after `seconds`."""
        until = asyncio.get_running_loop().time() + seconds
        while True:
            now = await self._door.read(
                lambda db: db.execute(
                    "SELECT (SELECT max(id) FROM kill), (SELECT count(*) FROM attendant),"
                    " (SELECT sum(obeyed) FROM attendant)"
                ).fetchone()
            )
            left_s = until - asyncio.get_running_loop().time()
            if tuple(now) != self._seen or left_s <= 0:
                self._seen = tuple(now)
                return
            await asyncio.sleep(min(LOOK_EVERY_S, left_s))


def _now_ns() -> int:
    """Return what all processes of the host agree on, whatever is done to its wall clock."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) if hasattr(time, "CLOCK_MONOTONIC") else time.time_ns()
