"""Tickets in PostgreSQL, changed by compare-and-set on the whole ticket; all hosts hear of every change."""

import json
from collections.abc import Collection
from dataclasses import fields
from typing import Any, Final

from ringfence.plugin import EngineError, Ticket
from ringfence.plugins.postgres.door import Door
from ringfence.plugins.postgres.names import kept, key
from ringfence.plugins.postgres.news import TICKETS, News

_PAGE: Final = 1_000


class PostgresTickets:
    """A `TicketStore` in one schema."""

    def __init__(self, door: Door, news: News) -> None:
        self._door = door
        self._news = news

    async def open(self, ticket: Ticket) -> None:
        """Store a new ticket; durable when it returns.  The same ticket again is the same ticket."""
        said = _said(ticket)
        stored = await self._door.value(
            "WITH made AS (INSERT INTO {s}.ticket (ticket_key, call_key, status, asked_ns, said)"
            " VALUES ($1, $2, $3, $4, $5) ON CONFLICT (ticket_key) DO NOTHING RETURNING said)"
            " SELECT said FROM made, pg_notify($6, $7)",
            key(ticket.id),
            key(ticket.run, ticket.call),
            kept(ticket.status),
            ticket.asked_ns,
            said,
            self._news.channel,
            TICKETS,
        )
        if stored is None:
            stored = await self._door.value(
                "SELECT said FROM {s}.ticket WHERE ticket_key = $1", key(ticket.id)
            )
        if stored != said:
            raise EngineError(
                f"the ticket `{ticket.id}` exists already",
                run=ticket.run,
                call=ticket.call,
                help="draw another ticket id and ask again",
            )

    async def get(self, ticket_id: str) -> Ticket | None:
        """Return the ticket, or None."""
        found = await self._those("ticket_key = $1", key(ticket_id))
        return found[0] if found else None

    async def those(self, ids: Collection[str]) -> list[Ticket]:
        """Return those of these tickets that there are."""
        return await self._those("ticket_key = ANY ($1)", [key(ticket) for ticket in ids])

    async def of_call(self, run: str, call: str) -> list[Ticket]:
        """Return the tickets of one call, oldest first."""
        return await self._those("call_key = $1", key(run, call))

    async def pending(self) -> list[Ticket]:
        """Return the open tickets, oldest first."""
        return await self._those("status = 'open'")

    async def swap(self, old: Ticket, new: Ticket) -> bool:
        """Replace `old` by `new` if the store still holds exactly `old`; say whether it did."""
        if old.id != new.id:
            return False
        changed = await self._door.ask(
            "WITH changed AS (UPDATE {s}.ticket SET call_key = $1, status = $2, asked_ns = $3, said = $4"
            " WHERE ticket_key = $5 AND said = $6 RETURNING 1)"
            " SELECT 1 FROM changed, pg_notify($7, $8)",
            key(new.run, new.call),
            kept(new.status),
            new.asked_ns,
            _said(new),
            key(old.id),
            _said(old),
            self._news.channel,
            TICKETS,
        )
        return len(changed) == 1

    async def closed(self, runs: Collection[str]) -> dict[str, list[str]]:
        """Return the ids of the tickets of these runs that are not open, by run.

        A ticket is found by its call, not by its run: all that are closed are looked at, a page at a time.
        """
        found: dict[str, list[str]] = {}
        after = 0
        while runs:
            page = await self._door.ask(
                "SELECT position, said FROM {s}.ticket WHERE status <> 'open' AND position > $1"
                f" ORDER BY position LIMIT {_PAGE}",
                after,
            )
            for ticket in (_ticket(row[1]) for row in page):
                if ticket.run in runs:
                    found.setdefault(ticket.run, []).append(ticket.id)
            if len(page) < _PAGE:
                break
            after = page[-1][0]
        return found

    async def forget(self, tickets: Collection[str]) -> int:
        """Remove these tickets, but for open ones."""
        gone = await self._door.ask(
            "DELETE FROM {s}.ticket WHERE ticket_key = ANY ($1) AND status <> 'open' RETURNING 1",
            [key(ticket) for ticket in tickets],
        )
        return len(gone)

    async def news(self, *, seconds: float) -> None:
        """Return when a ticket was opened or changed anywhere, or after `seconds`."""
        await self._news.wait(TICKETS, seconds=seconds)

    async def _those(self, which: str, *values: object) -> list[Ticket]:
        found = await self._door.ask(
            f"SELECT said FROM {{s}}.ticket WHERE {which} ORDER BY asked_ns, position", *values
        )
        return [_ticket(row[0]) for row in found]


def _said(ticket: Ticket) -> str:
    """Return the ticket as text: equal tickets give equal text."""
    said = {field.name: getattr(ticket, field.name) for field in fields(ticket)}
    said["arguments"] = dict(ticket.arguments)
    said["edited"] = None if ticket.edited is None else dict(ticket.edited)
    said["sources"] = {name: list(found) for name, found in ticket.sources.items()}
    return json.dumps(said, sort_keys=True, separators=(",", ":"))


def _ticket(said: str) -> Ticket:
    stored: dict[str, Any] = json.loads(said)
    answers = tuple((who, verdict, why) for who, verdict, why in stored.pop("answers"))
    sources = {name: tuple(found) for name, found in stored.pop("sources", {}).items()}
    return Ticket(**stored, answers=answers, sources=sources)
