"""The audit log in PostgreSQL: entries per run, and the log's own chain computed where it is kept.

A run's next row is folded here, from the row that this process knows; the server takes it only if the run
still has that head, else it is read again.  So a batch costs one round trip as long as one process writes a
run, and the lock of the log's head is held for one statement, however many processes append.
"""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from ringfence.plugin import (
    PURGED,
    ZERO,
    EngineError,
    Entry,
    Link,
    RunRow,
    StoreAwayError,
    TakenOverError,
    check_purge,
    row_after,
)
from ringfence.plugins.postgres.door import Door
from ringfence.plugins.postgres.names import kept, kept_or_none, key, read, read_or_none

_PAGE: Final = 5_000
_REMEMBERED: Final = 1_024
_ATTEMPTS: Final = 50

_ROW: Final = (
    'run, session, agent, "user", workspace, policy, status, started_ns, last_ns, events, head, parent'
)
_ENTRY: Final = "seq, kind, schema, at_ns, mono_ns, salt, body, digest, prev, hash"
# SECURITY: an event whose run is not listed is a link all the same, or verifying would pass it over.
_LINK: Final = (
    "position, coalesce(run.run, '(run ' || run_id || ')'), seq, link FROM {s}.event"
    " LEFT JOIN {s}.run ON run.id = run_id"
)


class PostgresLog:
    """An `EventLog` in one schema."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._rows: OrderedDict[str, RunRow] = OrderedDict()
        """The rows of the runs that were written last, as they were then: a hint that the server checks."""

    async def append(self, batch: Sequence[Entry]) -> None:
        """Store the entries, all or none; known ones are skipped, contradicting ones raise TakenOverError."""
        of_runs: dict[str, list[Entry]] = {}
        for entry in batch:
            of_runs.setdefault(entry.run, []).append(entry)
        for _ in range(_ATTEMPTS if of_runs else 0):
            before = await self._rows_of(of_runs)
            try:
                fresh = [e for run, those in of_runs.items() for e in await self._new(those, before.get(run))]
                if not fresh or await self._append(_in_order(batch, fresh), before):
                    return
            except _GrownError:  # nothing was stored: another process wrote one of the runs meanwhile
                pass
            for run in of_runs:
                self._rows.pop(run, None)
        if of_runs:
            raise StoreAwayError(
                f"another process writes the same runs to {self._door.at.shown} all the time",
                help="ask again",
            )

    async def purge(self, entry: Entry, *, upto: int) -> int:
        """Append the entry, and remove the bodies that it says are gone, in one statement.

        Asked again because it was away, it may have been done: then the run's last event is the entry.
        """
        row = await self.run(entry.run)
        found = await self._door.ask(
            "SELECT hash FROM {s}.event"
            " WHERE run_id = (SELECT id FROM {s}.run WHERE run_key = $1) AND seq = $2",
            key(entry.run),
            entry.seq,
        )
        check_purge(entry, upto, row=row, known=found[0][0] if found else None)
        if found:
            return 0
        assert row is not None
        self._rows.pop(entry.run, None)
        values = _values([entry], [row_after(row, entry)], [row.head])
        removed = await self._door.ask(
            f"WITH said AS MATERIALIZED (SELECT {{s}}.append({_PLACES}) AS done)"
            ", gone AS (UPDATE {s}.event SET body = NULL, salt = ''"
            " WHERE (SELECT done FROM said) AND run_id = (SELECT id FROM {s}.run WHERE run_key = $27)"
            " AND seq BETWEEN 1 AND $28 AND body IS NOT NULL AND kind <> $29 RETURNING 1)"
            " SELECT (SELECT done FROM said), (SELECT count(*) FROM gone)",
            *values,
            key(entry.run),
            upto,
            PURGED,
        )
        done, count = removed[0]
        if not done:  # another process has written in the run meanwhile
            check_purge(entry, upto, row=await self.run(entry.run), known=None)
        return int(count)

    async def scrub(self) -> None:
        """Nothing: the server's own vacuum frees what was removed, in its time."""

    async def read(self, run: str, *, after_seq: int = 0, limit: int | None = None) -> list[Entry]:
        """Return the run's entries in order."""
        found: list[Entry] = []
        while limit is None or len(found) < limit:
            page_size = _PAGE if limit is None else min(_PAGE, limit - len(found))
            page = await self._door.ask(
                f"SELECT {_ENTRY} FROM {{s}}.event"
                " WHERE run_id = (SELECT id FROM {s}.run WHERE run_key = $1)"
                f" AND seq > $2 ORDER BY seq LIMIT {page_size}",
                key(run),
                found[-1].seq if found else after_seq,
            )
            found += [_entry(run, row) for row in page]
            if len(page) < page_size:
                break
        return found

    async def runs(
        self,
        *,
        session: str | None = None,
        status: str | None = None,
        agent: str | None = None,
        user: str | None = None,
        workspace: str | None = None,
        since_ns: int | None = None,
        until_ns: int | None = None,
        limit: int | None = None,
    ) -> list[RunRow]:
        """Return runs, newest first."""
        found: list[RunRow] = []
        start, number = 2**63 - 1, 2**63 - 1
        while limit is None or len(found) < limit:
            page_size = _PAGE if limit is None else min(_PAGE, limit - len(found))
            page = await self._door.ask(
                f"SELECT {_ROW}, id FROM {{s}}.run WHERE ($1::bytea IS NULL OR session_key = $1)"
                " AND ($2::text IS NULL OR status = $2) AND (started_ns, id) < ($3, $4)"
                ' AND ($5::text IS NULL OR agent = $5) AND ($6::text IS NULL OR "user" = $6)'
                " AND ($7::text IS NULL OR workspace = $7)"
                " AND started_ns >= $8 AND started_ns < $9"
                f" ORDER BY started_ns DESC, id DESC LIMIT {page_size}",
                None if session is None else key(session),
                kept_or_none(status),
                start,
                number,
                kept_or_none(agent),
                kept_or_none(user),
                kept_or_none(workspace),
                _bigint(-(2**63) if since_ns is None else since_ns),
                _bigint(2**63 - 1 if until_ns is None else until_ns),
            )
            found += [_row(row) for row in page]
            if len(page) < page_size:
                break
            start, number = page[-1]["started_ns"], page[-1]["id"]
        return found

    async def run(self, run: str) -> RunRow | None:
        """Return one run, or None."""
        found = await self._door.ask(f"SELECT {_ROW} FROM {{s}}.run WHERE run_key = $1", key(run))
        return _row(found[0]) if found else None

    async def links(self, *, after: int = 0, limit: int = 10_000) -> list[Link]:
        """Return links of the log's chain, in order."""
        found = await self._door.ask(
            f"SELECT {_LINK} WHERE position > $1 ORDER BY position LIMIT $2", after, max(limit, 0)
        )
        return [_link(row) for row in found]

    async def head(self) -> Link | None:
        """Return the log's last link."""
        found = await self._door.ask(f"SELECT {_LINK} ORDER BY position DESC LIMIT 1")
        return _link(found[0]) if found else None

    async def _rows_of(self, runs: Sequence[str] | dict[str, Any]) -> dict[str, RunRow]:
        missing = [run for run in runs if run not in self._rows]
        rows = {run: self._rows[run] for run in runs if run in self._rows}
        if missing:
            found = await self._door.ask(
                f"SELECT {_ROW} FROM {{s}}.run WHERE run_key = ANY ($1)", [key(run) for run in missing]
            )
            rows.update({row.run: row for row in map(_row, found)})
        return rows

    async def _new(self, entries: list[Entry], row: RunRow | None) -> list[Entry]:
        """Return the entries of one run that the log lacks.

        Raises:
            TakenOverError: It holds another event under one of their ids.
            EngineError: It lacks the event before them: what it held is lost.
        """
        stored: dict[int, bytes] = {}
        if row is not None and not _follow(entries, row):
            found = await self._door.ask(
                "SELECT seq, hash FROM {s}.event WHERE run_id = (SELECT id FROM {s}.run WHERE run_key = $1)"
                " AND seq = ANY ($2)",
                key(row.run),
                [entry.seq for entry in entries],
            )
            stored = {seq: digest for seq, digest in found}
        fresh: dict[int, Entry] = {}
        for entry in entries:
            known = stored.get(entry.seq)
            if known is None:
                known = fresh.setdefault(entry.seq, entry).hash
            if known != entry.hash:
                raise TakenOverError(
                    f"the log already holds another event `{entry.id}`",
                    run=entry.run,
                    help="two processes wrote one run; end the run and start a new one",
                )
        new = list(fresh.values())
        if new and not _follow(new, row):
            run = new[0].run
            if await self.run(run) != row:
                raise _GrownError
            raise EngineError(
                f"the log lacks the event before `{new[0].id}`: {self._door.at.shown} has lost what it held",
                run=run,
                help="a failover or an old backup took it back: see what happened, then start again",
            )
        return new

    async def _append(self, fresh: list[Entry], before: dict[str, RunRow]) -> bool:
        """Store the entries and the rows that follow from them; False if a run has grown meanwhile."""
        after: dict[str, RunRow | None] = {entry.run: before.get(entry.run) for entry in fresh}
        for entry in fresh:
            after[entry.run] = row_after(after[entry.run], entry)
        rows = [row for row in after.values() if row is not None]
        heads = [before[row.run].head if row.run in before else None for row in rows]
        done = await self._door.value(f"SELECT {{s}}.append({_PLACES})", *_values(fresh, rows, heads))
        if done:
            for row in rows:
                self._rows[row.run] = row
                self._rows.move_to_end(row.run)
            while len(self._rows) > _REMEMBERED:
                self._rows.popitem(last=False)
        return bool(done)


def _values(fresh: list[Entry], rows: list[RunRow], heads: list[bytes | None]) -> list[list[Any]]:
    """Return what the function `append` takes: rows as they will be, their heads until now, events."""
    number_of = {row.run: number for number, row in enumerate(rows, 1)}
    return [
        [key(row.run) for row in rows],
        heads,
        [kept(row.run) for row in rows],
        [key(row.session) for row in rows],
        [kept(row.session) for row in rows],
        [kept(row.agent) for row in rows],
        [kept_or_none(row.user) for row in rows],
        [kept_or_none(row.workspace) for row in rows],
        [kept(row.policy) for row in rows],
        [kept(row.status) for row in rows],
        [row.started_ns for row in rows],
        [row.last_ns for row in rows],
        [row.events for row in rows],
        [row.head for row in rows],
        [kept_or_none(row.parent) for row in rows],
        [number_of[entry.run] for entry in fresh],
        [entry.seq for entry in fresh],
        [kept(entry.kind) for entry in fresh],
        [entry.schema for entry in fresh],
        [entry.at_ns for entry in fresh],
        [entry.mono_ns for entry in fresh],
        [entry.salt for entry in fresh],
        [entry.body for entry in fresh],
        [entry.digest for entry in fresh],
        [entry.prev for entry in fresh],
        [entry.hash for entry in fresh],
    ]


_PLACES: Final = ", ".join(f"${number}" for number in range(1, 27))


class _GrownError(Exception):
    """A run has other events now than those that were looked at."""


def _follow(entries: list[Entry], row: RunRow | None) -> bool:
    """Say whether the entries are the run's next ones, so that the log can hold none of them yet."""
    first = entries[0]
    seq, head = (1, ZERO) if row is None else (row.events + 1, row.head)
    chained = all(one.seq + 1 == two.seq and one.hash == two.prev for one, two in pairwise(entries))
    return chained and first.seq == seq and first.prev == head


def _in_order(batch: Sequence[Entry], fresh: list[Entry]) -> list[Entry]:
    """Return the fresh entries as they stand in the batch, each once."""
    left = {entry.id: entry for entry in fresh}
    return [left.pop(entry.id) for entry in batch if entry.id in left]


def _entry(run: str, row: Any) -> Entry:
    seq, kind, *rest = row
    return Entry(run, seq, read(kind), *rest)


def _link(row: Any) -> Link:
    position, run, seq, link = row
    return Link(position, read(run), seq, link)


def _row(row: Any) -> RunRow:
    return RunRow(
        run=read(row["run"]),
        session=read(row["session"]),
        agent=read(row["agent"]),
        user=read_or_none(row["user"]),
        workspace=read_or_none(row["workspace"]),
        policy=read(row["policy"]),
        status=read(row["status"]),
        started_ns=row["started_ns"],
        last_ns=row["last_ns"],
        events=row["events"],
        head=row["head"],
        parent=read_or_none(row["parent"]),
    )


def _bigint(number: int) -> int:
    """Return the number that the server can hold next to this one."""
    return min(max(number, -(2**63)), 2**63 - 1)
