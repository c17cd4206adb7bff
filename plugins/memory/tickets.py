"""Tickets in this process's memory."""

import asyncio
import threading
from collections.abc import Callable, Collection
from copy import deepcopy
from dataclasses import replace

from ringfence.plugin import EngineError, Ticket


class MemoryTickets:
    """A `TicketStore`; tickets are copied in and out, so nobody changes a stored one by its arguments."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tickets: dict[str, Ticket] = {}
        self._news = asyncio.Event()

    async def open(self, ticket: Ticket) -> None:
        """Store a new ticket."""
        with self._lock:
            if ticket.id in self._tickets:
                raise EngineError(
                    f"the ticket `{ticket.id}` exists already",
                    run=ticket.run,
                    call=ticket.call,
                    help="draw another ticket id and ask again",
                )
            self._tickets[ticket.id] = _copy(ticket)
        self._news.set()

    async def get(self, ticket_id: str) -> Ticket | None:
        """Return the ticket, or None."""
        with self._lock:
            found = self._tickets.get(ticket_id)
        return _copy(found) if found else None

    async def those(self, ids: Collection[str]) -> list[Ticket]:
        """Return those of these tickets that there are."""
        with self._lock:
            return [_copy(self._tickets[ticket]) for ticket in ids if ticket in self._tickets]

    async def of_call(self, run: str, call: str) -> list[Ticket]:
        """Return the tickets of one call, oldest first."""
        return self._those(lambda ticket: ticket.run == run and ticket.call == call)

    async def pending(self) -> list[Ticket]:
        """Return the open tickets, oldest first."""
        return self._those(lambda ticket: ticket.status == "open")

    async def swap(self, old: Ticket, new: Ticket) -> bool:
        """Replace `old` by `new` if the store still holds exactly `old`."""
        with self._lock:
            if old.id != new.id or self._tickets.get(old.id) != old:
                return False
            self._tickets[new.id] = _copy(new)
        self._news.set()
        return True

    async def closed(self, runs: Collection[str]) -> dict[str, list[str]]:
        """Return the ids of the tickets of these runs that are not open, by run."""
        found: dict[str, list[str]] = {}
        for one in self._those(lambda one: one.run in runs and one.status != "open"):
            found.setdefault(one.run, []).append(one.id)
        return found

    async def forget(self, tickets: Collection[str]) -> int:
        """Remove these tickets, but for open ones."""
        with self._lock:
            gone = {one for one in tickets if one in self._tickets and self._tickets[one].status != "open"}
            self._tickets = {name: one for name, one in self._tickets.items() if name not in gone}
        return len(gone)

    async def news(self, *, seconds: float) -> None:
        """Return when a ticket changed, or after `seconds`."""
        try:
            await asyncio.wait_for(self._news.wait(), seconds)
        except TimeoutError:  # nothing came; whoever waits looks all the same
            return
        self._news.clear()

    def _those(self, wanted: Callable[[Ticket], bool]) -> list[Ticket]:
        with self._lock:
            found = [_copy(ticket) for ticket in self._tickets.values() if wanted(ticket)]
        return sorted(found, key=lambda ticket: ticket.asked_ns)


def _copy(ticket: Ticket) -> Ticket:
    edited = None if ticket.edited is None else deepcopy(dict(ticket.edited))
    return replace(ticket, arguments=deepcopy(dict(ticket.arguments)), edited=edited)
