"""Purging runs: each is verified first, and goes whole, with its closed tickets, or stays whole."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from ringfence.cli.desk import Desk
from ringfence.cli.say import Say
from ringfence.engine.decision.events import RunEnded
from ringfence.engine.journal.purging import purge_after
from ringfence.engine.retrospect.retention import Due, due
from ringfence.engine.retrospect.verify import Fault, row_fault, verify_run
from ringfence.engine.seams.errors import TakenOverError
from ringfence.engine.seams.ports import Entry, EventLog, RunRow

_RUNS_AT_ONCE = 64
_EVENTS_AT_ONCE = 5_000
"""What is read, and removed in few commits, at a time."""

_FIRST = -(2**63)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to go, and who says so."""

    before_ns: int
    by: str | None
    remembered: bool = False
    dry: bool = False
    """Nothing is removed; all is counted."""


@dataclass(slots=True)
class Purged:
    """What came of a purge."""

    due: Due
    runs: list[str] = field(default_factory=list)
    bodies: int = 0
    tickets: int = 0
    changed: list[tuple[str, Fault]] = field(default_factory=list)
    """Runs that do not verify: they stay, or nobody could see any more what was done to them."""
    busy: list[str] = field(default_factory=list)
    """Runs in which, or in whose session, somebody wrote meanwhile."""


def purge(desk: Desk, say: Say, wish: Wish) -> Purged:
    """Purge the runs that are due; whenever it is interrupted, each run is purged whole or not at all."""
    rows = desk.runs()
    with say.progress("look", len(rows), counted=False):
        found = due(rows, lambda row: desk.ask(_last_kind(desk.events, row)), before_ns=wish.before_ns)
    wanted = [*found.free, *found.remembered] if wish.remembered else list(found.free)
    named = {row.run for row in wanted}
    tickets = {} if desk.store.tickets is None else desk.ask(desk.tickets.closed(named))
    wish = replace(wish, by=desk.hidden(wish.by))
    work = _Work(desk, wish, frozenset(row.run for row in rows), tickets, Purged(found))
    with say.progress("purge", len(wanted), worth=200) as advance:
        for share in _shares(wanted):
            desk.ask(work.purge(share))
            advance(len(share))
    return work.done


def _shares(rows: Sequence[RunRow]) -> Iterator[list[RunRow]]:
    share: list[RunRow] = []
    events = 0
    for row in rows:
        share.append(row)
        events += row.events if isinstance(row.events, int) else 0
        if len(share) >= _RUNS_AT_ONCE or events >= _EVENTS_AT_ONCE:
            yield share
            share, events = [], 0
    if share:
        yield share


async def _last_kind(log: EventLog, row: RunRow) -> str | None:
    if not isinstance(row.events, int):
        return None  # fails closed: such a run is not known to be over
    last = await log.read(row.run, after_seq=row.events - 1, limit=1)
    return last[0].kind if last else None


@dataclass(frozen=True, slots=True)
class _Work:
    """One purge under way."""

    desk: Desk
    wish: Wish
    known: frozenset[str]
    """The runs that were there when it began."""
    tickets: dict[str, list[str]]
    """The closed ones, by run."""
    done: Purged

    async def purge(self, rows: Sequence[RunRow]) -> None:
        """Purge some runs together."""
        desk, done = self.desk, self.done
        read = await asyncio.gather(*(_verified(desk.events, row.run) for row in rows))
        done.changed += [
            (row.run, one) for row, one in zip(rows, read, strict=True) if isinstance(one, Fault)
        ]
        whole = [one for one in read if not isinstance(one, Fault)]
        ready = [one for one in whole if one.entries[-1].kind == RunEnded.kind]
        if not self.wish.remembered:
            again = await asyncio.gather(*(self._goes_on(one.row.session) for one in ready))
            done.busy += [one.row.run for one, new in zip(ready, again, strict=True) if new]
            ready = [one for one, new in zip(ready, again, strict=True) if not new]
        theirs = [ticket for one in ready for ticket in self.tickets.get(one.row.run, ())]
        if self.wish.dry:
            done.tickets += len(theirs)
            done.runs += [one.row.run for one in ready]
            done.bodies += sum(entry.body is not None for one in ready for entry in one.entries)
            return
        # Before the run: whoever is interrupted finds the run again by its age, but not its tickets alone.
        done.tickets += await desk.tickets.forget(theirs) if theirs else 0
        now_ns = max(time.time_ns(), await desk.store.now_ns() or 0)
        removed = await asyncio.gather(*(_removed(desk.events, one, self.wish, now_ns) for one in ready))
        for one, bodies in zip(ready, removed, strict=True):
            if bodies is None:
                done.busy.append(one.row.run)
            else:
                done.runs.append(one.row.run)
                done.bodies += bodies

    async def _goes_on(self, session: str) -> bool:
        """Say whether a run of the session has begun since: it remembers the older ones."""
        newest = await self.desk.events.runs(session=session, limit=1)
        return any(row.run not in self.known for row in newest)


@dataclass(frozen=True, slots=True)
class _Whole:
    """A run that verifies; it has an event at least."""

    row: RunRow
    entries: list[Entry]


async def _verified(log: EventLog, run: str) -> _Whole | Fault:
    """Return a run that verifies, or what is wrong; looked at twice, since somebody may write in it."""
    fault = Fault(f"{run}:1", "its run is listed no more")
    for _ in range(2):
        row = await log.run(run)
        entries = await log.read(run, after_seq=_FIRST)
        if row is None:
            continue
        found = verify_run(entries) or row_fault(row, entries)
        if found is None:
            return _Whole(row, entries)
        fault = found
    return fault


async def _removed(log: EventLog, one: _Whole, wish: Wish, now_ns: int) -> int | None:
    """Return how many bodies of a run were removed; None: somebody has written in it meanwhile."""
    last = one.entries[-1]
    entry = purge_after(
        last,
        one.row,
        before_ns=wish.before_ns,
        by=wish.by,
        now_ns=now_ns,
        mono_ns=time.monotonic_ns(),
    )
    try:
        return await log.purge(entry, upto=last.seq)
    except TakenOverError:  # nothing of it was removed
        return None
