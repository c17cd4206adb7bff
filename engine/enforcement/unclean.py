"""Runs whose process died: over, and recorded as such, by whoever opens the store next.

What such a run did last is not known, so what its calls had reserved is kept as if they had been
dispatched: it leaves its window one period from now and does not count for ever.
"""

from asyncio import wrap_future
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from ringfence.engine.decision.events import RunEnded, RunHalted
from ringfence.engine.enforcement.opening import Opened, Opening
from ringfence.engine.seams.ports import RunRow

AT_ONCE: Final = 1_000
"""How many runs one sweep looks at, newest first: the next opening goes on."""

HALTED_AT_ONCE: Final = 50
"""The same for runs that were halted: each costs a look at its last event."""

GONE: Final = "the process that ran it is gone"


class Unclean:
    """Ends the runs that nobody lives any more; safe when several processes do so at once."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening

    async def sweep(self, holder: str) -> None:
        """End every run that has not ended and whose session no living holder leases."""
        opened = self._opening.ready
        going = await opened.log.runs(status="running", limit=AT_ONCE)
        # A halt is on the disk before the end is: the process may have died between them.
        halted = await opened.log.runs(status="halted", limit=HALTED_AT_ONCE)
        sessions: dict[str, list[RunRow]] = {}
        for row in (*going, *[row for row in halted if not await _has_ended(opened, row)]):
            sessions.setdefault(row.session, []).append(row)
        for session, rows in sessions.items():
            # SECURITY: only under the session's lease; a run that somebody lives is left alone.
            if await opened.leases.lease(session, holder) is None:
                try:
                    await self.bury(row.run for row in rows)
                finally:
                    await opened.leases.release(session, holder)

    async def bury(self, runs: Iterable[str]) -> None:
        """Record the end of these runs, whose session the caller leases."""
        opened = self._opening.ready
        buried: set[str] = set()
        for run in runs:
            row = await opened.log.run(run)  # read under the lease: another sweep may have been here
            if row is not None and row.status in ("running", "halted") and not await _has_ended(opened, row):
                await self._end(opened, row)
                buried.add(run)
        if buried:
            await _withdraw(opened, buried)

    async def _end(self, opened: Opened, row: RunRow) -> None:
        journal, now_ns = opened.journal, max(self._opening.clock.now_ns(), row.last_ns)
        # Before the record: a run that is recorded as ended is not looked at again.
        await opened.ledger.settle(row.run, now_ns=now_ns)
        journal.open_run(row.run, seq=row.events, head=row.head)
        try:
            if row.status == "running":
                journal.record(row.run, RunHalted("unclean end", None, GONE), at_ns=now_ns)
            journal.record(row.run, RunEnded("halted", GONE), at_ns=now_ns)
            await wrap_future(journal.flush(row.run))
        finally:
            journal.close_run(row.run)


async def _has_ended(opened: Opened, row: RunRow) -> bool:
    last = await opened.log.read(row.run, after_seq=row.events - 1)
    return bool(last) and last[-1].kind == "RunEnded"


async def _withdraw(opened: Opened, runs: set[str]) -> None:
    """Take back what people are still asked about runs that are over."""
    for ticket in await opened.tickets.pending():
        if ticket.run in runs:
            await opened.tickets.swap(ticket, replace(ticket, status="withdrawn"))
