"""Tickets in SQLite, changed by compare-and-set on the whole ticket."""

import asyncio
import json
import sqlite3
from collections.abc import Collection
from dataclasses import fields
from typing import Any, Final

from ringfence.plugin import EngineError, Ticket
from ringfence.plugins.sqlite.connection import Door

LOOK_EVERY_S: Final = 0.05

_FIELDS: Final = tuple(field.name for field in fields(Ticket))
_written: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


class SqliteTickets:
    """A `TicketStore` in one file."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._seen: int | None = None

    async def open(self, ticket: Ticket) -> None:
        """Store a new ticket; durable when it returns."""
        values = (ticket.id, ticket.run, ticket.call, ticket.status, ticket.asked_ns, _said(ticket))

        def insert(db: sqlite3.Connection) -> None:
            if db.execute("SELECT 1 FROM ticket WHERE id = ?", (ticket.id,)).fetchone():
                raise EngineError(
                    f"the ticket `{ticket.id}` exists already",
                    run=ticket.run,
                    call=ticket.call,
                    help="draw another ticket id and ask again",
                )
            db.execute(
                "INSERT INTO ticket (id, run, call, status, asked_ns, said) VALUES (?, ?, ?, ?, ?, ?)", values
            )

        await self._door.write(insert)

    async def get(self, ticket_id: str) -> Ticket | None:
        """Return the ticket, or None."""
        found = await self._those("id = ?", ticket_id)
        return found[0] if found else None

    async def those(self, ids: Collection[str]) -> list[Ticket]:
        """Return those of these tickets that there are."""

        def look(db: sqlite3.Connection) -> list[tuple[str]]:
            asked = "SELECT said FROM ticket WHERE id = ?"
            return [row for ticket in ids for row in db.execute(asked, (ticket,))]

        return [_ticket(said) for (said,) in await self._door.read(look)]

    async def of_call(self, run: str, call: str) -> list[Ticket]:
        """Return the tickets of one call, oldest first."""
        return await self._those("run = ? AND call = ?", run, call)

    async def pending(self) -> list[Ticket]:
        """Return the open tickets, oldest first."""
        return await self._those("status = 'open'")

    async def swap(self, old: Ticket, new: Ticket) -> bool:
        """Replace `old` by `new` if the store still holds exactly `old`; say whether it did."""
        if old.id != new.id:
            return False
        values = (new.run, new.call, new.status, new.asked_ns, _said(new), old.id, _said(old))
        return await self._door.write(
            lambda db: (
                db.execute(
                    "UPDATE ticket SET run = ?, call = ?, status = ?, asked_ns = ?, said = ? "
                    "WHERE id = ? AND said = ?",
                    values,
                ).rowcount
                == 1
            )
        )

    async def closed(self, runs: Collection[str]) -> dict[str, list[str]]:
        """Return the ids of the tickets of these runs that are not open, by run."""

        def look(db: sqlite3.Connection) -> dict[str, list[str]]:
            asked = "SELECT id FROM ticket WHERE run = ? AND status <> 'open' ORDER BY position"
            found = {run: [ticket for (ticket,) in db.execute(asked, (run,))] for run in runs}
            return {run: its for run, its in found.items() if its}

        return await self._door.read(look)

    async def forget(self, tickets: Collection[str]) -> int:
        """Remove these tickets, but for open ones."""

        def remove(db: sqlite3.Connection) -> int:
            asked = "DELETE FROM ticket WHERE id = ? AND status <> 'open'"
            return db.executemany(asked, [(ticket,) for ticket in tickets]).rowcount if tickets else 0

        return await self._door.write(remove)

    async def news(self, *, seconds: float) -> None:
        """Return when others have written to the file, or after `seconds`."""
        until = asyncio.get_running_loop().time() + seconds
        while True:
            now = await self._door.others()
            left_s = until - asyncio.get_running_loop().time()
            if now != self._seen or left_s <= 0:
                self._seen = now
                return
            await asyncio.sleep(min(LOOK_EVERY_S, left_s))

    async def _those(self, which: str, *values: str) -> list[Ticket]:
        found = await self._door.read(
            lambda db: db.execute(
                f"SELECT said FROM ticket WHERE {which} ORDER BY asked_ns, position", values
            ).fetchall()
        )
        return [_ticket(said) for (said,) in found]


def _said(ticket: Ticket) -> str:
    """Return the ticket as text: equal tickets give equal text."""
    said = {name: getattr(ticket, name) for name in _FIELDS}
    said["arguments"] = dict(ticket.arguments)
    said["edited"] = None if ticket.edited is None else dict(ticket.edited)
    said["sources"] = {name: list(found) for name, found in ticket.sources.items()}
    return _written(said)


def _ticket(said: str) -> Ticket:
    stored: dict[str, Any] = json.loads(said)
    answers = tuple((who, verdict, why) for who, verdict, why in stored.pop("answers"))
    sources = {name: tuple(found) for name, found in stored.pop("sources", {}).items()}
    return Ticket(**stored, answers=answers, sources=sources)
