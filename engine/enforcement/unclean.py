"""Runs whose process died: over, and recorded as such, by whoever opens the store next or has it open.

What such a run did last is not known, so what its calls had reserved is kept as if they had been
dispatched: it leaves its window one period from now and does not count for ever.
"""

from asyncio import wrap_future
from collections.abc import Callable, Iterable
from typing import Final

from ringfence.engine.decision.events import UNCLEAN_END, RunEnded, RunHalted
from ringfence.engine.enforcement.drive import Steps
from ringfence.engine.enforcement.opening import Opened, Opening
from ringfence.engine.enforcement.presence import Presence
from ringfence.engine.enforcement.sessions import Sessions
from ringfence.engine.enforcement.tickets import take_back
from ringfence.engine.journal.rows import OVER
from ringfence.engine.seams.ports import RunRow

AT_ONCE: Final = 1_000
"""How many runs one sweep looks at, newest first: the next opening goes on."""

HALTED_AT_ONCE: Final = 50
"""The same for runs that were halted: each costs a look at its last event."""

SESSIONS_AT_ONCE: Final = 100
"""How many sessions a sweep in between asks for: the next one goes on with others."""

_REMEMBERED: Final = 10_000
"""How many runs are remembered as ended."""

GONE: Final = "the process that ran it is gone"


class Unclean:
    """Ends the runs that nobody lives any more; safe when several processes do so at once.

    Args:
        mine: Says whether this guard lives a run, or has it in hand: that one is never ended here.
    """

    def __init__(
        self, opening: Opening, sessions: Sessions, presence: Presence, mine: Callable[[str], bool]
    ) -> None:
        self._opening = opening
        self._sessions = sessions
        self._presence = presence
        self._mine = mine
        self._ended: set[str] = set()
        self._met: set[str] = set()
        """Sessions that living processes held when this round of sweeps came to them."""

    def sweep(self) -> Steps[None]:
        """End every run that has not ended and whose session no living holder leases."""
        for session, rows in (yield from self._going()).items():
            yield from self._bury_those(session, rows)

    def sweep_some(self) -> Steps[None]:
        """Do so for some sessions; the next time goes on with others, until all have had their turn."""
        sessions = yield from self._going()
        left = [session for session in sessions if session not in self._met]
        if not left:
            self._met.clear()
            left = list(sessions)
        if not left:
            return
        yield from self._presence.attend()  # it must not be taken for a dead one meanwhile
        try:
            for session in left[:SESSIONS_AT_ONCE]:
                if not (yield from self._bury_those(session, sessions[session])):
                    self._met.add(session)
        finally:
            self._presence.leave()

    def _going(self) -> Steps[dict[str, list[RunRow]]]:
        """Return the runs that have not ended and that this guard does not live, by session."""
        found: list[RunRow] = yield self._opening.submit(self._rows())
        sessions: dict[str, list[RunRow]] = {}
        for row in found:
            if not self._mine(row.run):
                sessions.setdefault(row.session, []).append(row)
        return sessions

    async def _rows(self) -> list[RunRow]:
        opened = self._opening.ready
        going = await opened.log.runs(status="running", limit=AT_ONCE)
        # A halt is on the disk before the end is: the process may have died between them.
        for row in await opened.log.runs(status="halted", limit=HALTED_AT_ONCE):
            if row.run in self._ended:
                continue
            if await _has_ended(opened, row):
                if len(self._ended) >= _REMEMBERED:
                    self._ended.clear()
                self._ended.add(row.run)
            else:
                going.append(row)
        return going

    def _bury_those(self, session: str, rows: Iterable[RunRow]) -> Steps[bool]:
        # SECURITY: only under the session's lease; a run that somebody lives is left alone.
        holding = yield from self._sessions.try_lease(session)
        if isinstance(holding, str):
            return False
        try:
            # Asked once more under the lease: it may have begun here, in this session, meanwhile.
            dead = [row.run for row in rows if not self._mine(row.run)]
            yield self._opening.submit(self.bury(dead))
        finally:
            self._sessions.let_go(session, holding)
        return True

    async def bury(self, runs: Iterable[str]) -> None:
        """Record the end of these runs, whose session the caller leases."""
        opened = self._opening.ready
        # One that did not begin here ends as soon as the log takes that: it did not die.
        await wrap_future(opened.journal.flush())
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
                journal.record(row.run, RunHalted(UNCLEAN_END, None, GONE), at_ns=now_ns)
            journal.record(row.run, RunEnded("halted", GONE), at_ns=now_ns)
            await wrap_future(journal.flush(row.run))
        except BaseException:  # whoever looks next ends it then, and once
            journal.drop_run(row.run)
            raise
        finally:
            journal.close_run(row.run)


async def _has_ended(opened: Opened, row: RunRow) -> bool:
    last = await opened.log.read(row.run, after_seq=row.events - 1)
    return bool(last) and last[-1].kind in OVER


async def _withdraw(opened: Opened, runs: set[str]) -> None:
    """Take back what people are still asked about runs that are over."""
    for ticket in await opened.tickets.pending():
        if ticket.run in runs:
            await take_back(opened.tickets, ticket)
