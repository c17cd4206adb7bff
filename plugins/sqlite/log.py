"""The audit log in SQLite: entries per run, and the log's own chain computed inside the transaction.

The last link is read where the next is written, so several processes interleave without a gap.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

from ringfence.plugin import (
    PURGED,
    ZERO,
    Entry,
    Link,
    RunRow,
    TakenOverError,
    check_purge,
    link_hash,
    row_after_all,
)
from ringfence.plugins.sqlite.connection import Door

_ROW: Final = (
    "run, session, agent, user, workspace, policy, status, started_ns, last_ns, events, head, parent"
)
_fields: Final = attrgetter(*_ROW.split(", "))
_said: Final = attrgetter("session", "agent", "user", "workspace", "policy", "status", "started_ns", "parent")
_CHANGES: Final = ", ".join(f"{name} = ?" for name in _ROW.split(", "))
# SECURITY: an event whose run is not listed, or not as text, is a link too: else verifying passes it by.
_LINK: Final = (
    "position, CASE typeof(run.run) WHEN 'text' THEN run.run ELSE '(run ' || run_id || ')' END, "
    "seq, link FROM event "
    "LEFT JOIN run ON run.id = run_id"
)
_ENTRY: Final = "seq, kind, schema, at_ns, mono_ns, salt, body, digest, prev, hash"
_ENTRIES: Final = (
    f"SELECT {_ENTRY} FROM event WHERE run_id = (SELECT id FROM run WHERE run = ?) AND seq > ? "
    "ORDER BY seq LIMIT ?"
)
_made: Final = tuple.__new__
"""Makes a named tuple of a row; its own constructor is a Python function."""
_NEW_RUN: Final = f"INSERT INTO run ({_ROW}) VALUES ({','.join('?' * 12)})"
_NEW_EVENT: Final = (
    f"INSERT INTO event (position, run_id, link, {_ENTRY}) VALUES (?, ?, ?{', ?' * len(_ENTRY.split(','))})"
)


class SqliteLog:
    """An `EventLog` in one file."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def append(self, batch: Sequence[Entry]) -> None:
        """Store the entries, all or none; known ones are skipped, contradicting ones raise."""
        entries = tuple(batch)
        if entries:
            await self._door.write(lambda db: _append(db, entries))

    async def purge(self, entry: Entry, *, upto: int) -> int:
        """Append the entry, and remove the bodies that it says are gone."""
        return await self._door.write(lambda db: _purge(db, entry, upto))

    async def scrub(self) -> None:
        """Empty the write-ahead log into the file, where `secure_delete` has overwritten what was removed."""
        await self._door.checkpoint()

    async def read(self, run: str, *, after_seq: int = 0, limit: int | None = None) -> list[Entry]:
        """Return the run's entries in order."""
        if not is_name(run):
            return []
        asked = run, _integer(after_seq), -1 if limit is None else max(limit, 0)
        return await self._door.read(
            lambda db: [_made(Entry, (run, *row)) for row in db.execute(_ENTRIES, asked).fetchall()]
        )

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
        wanted = {
            "session = ?": session,
            "status = ?": status,
            "agent = ?": agent,
            "user = ?": user,
            "workspace = ?": workspace,
            "started_ns >= ?": _integer(since_ns),
            "started_ns < ?": _integer(until_ns),
        }
        said = {test: value for test, value in wanted.items() if value is not None}
        if not all(is_name(value) for value in said.values() if isinstance(value, str) and value):
            return []
        where = "WHERE " + " AND ".join(said) if said else ""
        values = list(said.values())
        found = await self._door.read(
            lambda db: db.execute(
                f"SELECT {_ROW} FROM run {where} ORDER BY started_ns DESC, id DESC LIMIT ?",
                [*values, -1 if limit is None else max(limit, 0)],
            ).fetchall()
        )
        return [RunRow(*row) for row in found]

    async def run(self, run: str) -> RunRow | None:
        """Return one run, or None."""
        if not is_name(run):
            return None
        return await self._door.read(lambda db: _row(db, run)[1])

    async def links(self, *, after: int = 0, limit: int = 10_000) -> list[Link]:
        """Return links of the log's chain, in order."""
        found = await self._door.read(
            lambda db: db.execute(
                f"SELECT {_LINK} WHERE position > ? ORDER BY position LIMIT ?",
                (after, max(limit, 0)),
            ).fetchall()
        )
        return [Link(*row) for row in found]

    async def damage(self) -> str | None:
        """Say where an index, a page or a constraint of the file is not what its tables hold; None: nowhere.

        SECURITY: `runs --session S` is read from an index: one without a run hides that, and no chain tells.
        """
        rows = await self._door.read(lambda db: db.execute("PRAGMA integrity_check(1)").fetchall())
        said = str(rows[0][0]) if rows else "nothing was checked"
        return None if said == "ok" else said

    async def head(self) -> Link | None:
        """Return the log's last link."""
        row = await self._door.read(
            lambda db: db.execute(f"SELECT {_LINK} ORDER BY position DESC LIMIT 1").fetchone()
        )
        return Link(*row) if row else None


@dataclass(slots=True)
class _Grown:
    """A run that a batch has entries of."""

    id: int | None
    """Its number in the file; None: it is not there yet."""
    before: RunRow | None
    head: bytes | None
    events: int
    fresh: dict[int, Entry]
    """What is new of it, by number."""


def _append(db: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    runs: dict[str, _Grown] = {}
    fresh: list[tuple[_Grown, Entry]] = []
    for entry in entries:
        run = entry.run
        grown = runs.get(run)
        if grown is None:
            run_id, row = _row(db, run)
            head, events = (None, 0) if row is None else (row.head, row.events)
            grown = runs[run] = _Grown(run_id, row, head, events, {})
        seq = entry.seq
        twin = grown.fresh.get(seq)
        if twin is not None:
            known: bytes | None = twin.hash
        elif grown.id is None or (entry.prev == grown.head and seq == grown.events + 1):
            known = None  # what comes next in its run needs no look
        else:
            known = _stored(db, grown.id, seq)
        if known is None:
            grown.fresh[seq] = entry
            grown.head = entry.hash
            grown.events += 1
            fresh.append((grown, entry))
        elif known != entry.hash:
            raise TakenOverError(
                f"the log already holds another event `{entry.id}`",
                run=run,
                help="another process has ended the run, or goes on with it: begin a new one here",
            )
    if fresh:
        for grown in runs.values():
            if grown.fresh:
                _store_row(db, grown)
        _insert(db, fresh)


def _insert(db: sqlite3.Connection, fresh: Sequence[tuple[_Grown, Entry]]) -> None:
    """Store the entries behind the last one of the log, each linked to the one before."""
    # The same bytes, sooner bound: of `bytes` the sqlite3 module looks for an adapter, each time anew.
    blob = bytearray
    last = db.execute("SELECT position, link FROM event ORDER BY position DESC LIMIT 1").fetchone()
    position, link = last or (0, ZERO)
    rows: list[tuple[Any, ...]] = []
    for grown, entry in fresh:
        position += 1
        link = link_hash(link, entry.hash)
        _, seq, kind, schema, at_ns, mono_ns, salt, body, digest, prev, hash = entry
        rows.append(
            (
                position,
                grown.id,
                blob(link),
                seq,
                kind,
                schema,
                at_ns,
                mono_ns,
                blob(salt),
                None if body is None else blob(body),
                blob(digest),
                blob(prev),
                blob(hash),
            )
        )
    db.executemany(_NEW_EVENT, rows)


def _purge(db: sqlite3.Connection, entry: Entry, upto: int) -> int:
    run_id, row = _row(db, entry.run)
    known = None if run_id is None else _stored(db, run_id, entry.seq)
    check_purge(entry, upto, row=row, known=known)
    _append(db, (entry,))
    return db.execute(
        "UPDATE event SET body = NULL, salt = x'' "
        "WHERE run_id = ? AND seq BETWEEN 1 AND ? AND body IS NOT NULL AND kind <> ?",
        (run_id, upto, PURGED),
    ).rowcount


def _stored(db: sqlite3.Connection, run_id: int, seq: int) -> bytes | None:
    """Return the hash of the run's event of this number, or None."""
    found = db.execute("SELECT hash FROM event WHERE run_id = ? AND seq = ?", (run_id, seq)).fetchone()
    return found[0] if found else None


def _row(db: sqlite3.Connection, run: str) -> tuple[int | None, RunRow | None]:
    found = db.execute(f"SELECT id, {_ROW} FROM run WHERE run = ?", (run,)).fetchone()
    return (found[0], RunRow(*found[1:])) if found else (None, None)


def _store_row(db: sqlite3.Connection, grown: _Grown) -> None:
    before, row = grown.before, row_after_all(grown.before, grown.fresh.values())
    if grown.id is None or before is None:
        grown.id = db.execute(_NEW_RUN, _fields(row)).lastrowid
    elif _said(row) == _said(before):  # no index has to change
        assert row is not None
        changed = (row.last_ns, row.events, row.head, grown.id)
        db.execute("UPDATE run SET last_ns = ?, events = ?, head = ? WHERE id = ?", changed)
    else:
        db.execute(f"UPDATE run SET {_CHANGES} WHERE id = ?", (*_fields(row), grown.id))


def is_name(run: str) -> bool:
    """Return False for a name that no run or session can have, and that SQLite would refuse to look for."""
    try:
        return bool(str(run).encode())
    except UnicodeEncodeError:  # lone surrogates: bytes that are no text
        return False


def _integer(number: int | None) -> int | None:
    """Return the number that SQLite can hold next to this one."""
    return None if number is None else min(max(number, -(2**63)), 2**63 - 1)
