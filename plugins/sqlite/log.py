"""The audit log in SQLite: entries per run, and the log's own chain computed inside the transaction.

The last link is read where the next is written, so several processes interleave without a gap.
"""

import sqlite3
from collections.abc import Sequence
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
    row_after,
)
from ringfence.plugins.sqlite.connection import Door

_ROW: Final = (
    "run, session, agent, user, workspace, policy, status, started_ns, last_ns, events, head, parent"
)
_fields: Final = attrgetter(*_ROW.split(", "))
_CHANGES: Final = ", ".join(f"{name} = ?" for name in _ROW.split(", "))
# SECURITY: an event whose run is not listed, or not as text, is a link too: else verifying passes it by.
_LINK: Final = (
    "position, CASE typeof(run.run) WHEN 'text' THEN run.run ELSE '(run ' || run_id || ')' END, "
    "seq, link FROM event "
    "LEFT JOIN run ON run.id = run_id"
)
_ENTRY: Final = "seq, kind, schema, at_ns, mono_ns, salt, body, digest, prev, hash"


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
        found = await self._door.read(
            lambda db: db.execute(
                f"SELECT {_ENTRY} FROM event WHERE run_id = (SELECT id FROM run WHERE run = ?) AND seq > ? "
                "ORDER BY seq LIMIT ?",
                (run, _integer(after_seq), -1 if limit is None else max(limit, 0)),
            ).fetchall()
        )
        return [Entry(run, *row) for row in found]

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


def _append(db: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    last = db.execute("SELECT position, link FROM event ORDER BY position DESC LIMIT 1").fetchone()
    position, link = last or (0, ZERO)
    rows: dict[str, tuple[int | None, RunRow | None]] = {}
    values: dict[str, list[tuple[Any, ...]]] = {}
    fresh: dict[tuple[str, int], bytes] = {}
    for entry in entries:
        if entry.run not in rows:
            rows[entry.run] = _row(db, entry.run)
        run_id, row = rows[entry.run]
        known = fresh.get((entry.run, entry.seq)) or _known(db, run_id, row, entry)
        if known is not None:
            if known != entry.hash:
                raise TakenOverError(
                    f"the log already holds another event `{entry.id}`",
                    run=entry.run,
                    help="another process has ended the run, or goes on with it: begin a new one here",
                )
            continue
        fresh[entry.run, entry.seq] = entry.hash
        position, link = position + 1, link_hash(link, entry.hash)
        rows[entry.run] = (run_id, row_after(row, entry))
        values.setdefault(entry.run, []).append(
            (
                position,
                entry.seq,
                entry.kind,
                entry.schema,
                entry.at_ns,
                entry.mono_ns,
                entry.salt,
                entry.body,
                entry.digest,
                entry.prev,
                entry.hash,
                link,
            )
        )
    for run, events in values.items():
        run_id, row = rows[run]
        assert row is not None
        stored = _store_row(db, run_id, row)
        db.executemany(
            f"INSERT INTO event (position, {_ENTRY}, link, run_id) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
            [(*event, stored) for event in events],
        )


def _purge(db: sqlite3.Connection, entry: Entry, upto: int) -> int:
    run_id, row = _row(db, entry.run)
    check_purge(entry, upto, row=row, known=_known(db, run_id, row, entry))
    _append(db, (entry,))
    return db.execute(
        "UPDATE event SET body = NULL, salt = x'' "
        "WHERE run_id = ? AND seq BETWEEN 1 AND ? AND body IS NOT NULL AND kind <> ?",
        (run_id, upto, PURGED),
    ).rowcount


def _known(db: sqlite3.Connection, run_id: int | None, row: RunRow | None, entry: Entry) -> bytes | None:
    """Return the hash stored under the entry's id, or None; a run's next event needs no look."""
    if run_id is None or (row is not None and row.head == entry.prev and row.events + 1 == entry.seq):
        return None
    found = db.execute("SELECT hash FROM event WHERE run_id = ? AND seq = ?", (run_id, entry.seq)).fetchone()
    return found[0] if found else None


def _row(db: sqlite3.Connection, run: str) -> tuple[int | None, RunRow | None]:
    found = db.execute(f"SELECT id, {_ROW} FROM run WHERE run = ?", (run,)).fetchone()
    return (found[0], RunRow(*found[1:])) if found else (None, None)


def _store_row(db: sqlite3.Connection, run_id: int | None, row: RunRow) -> int:
    if run_id is None:
        places = ",".join("?" * 12)
        stored = db.execute(f"INSERT INTO run ({_ROW}) VALUES ({places})", _fields(row)).lastrowid
        assert stored is not None
        return stored
    db.execute(f"UPDATE run SET {_CHANGES} WHERE id = ?", (*_fields(row), run_id))
    return run_id


def is_name(run: str) -> bool:
    """Return False for a name that no run or session can have, and that SQLite would refuse to look for."""
    try:
        return bool(str(run).encode())
    except UnicodeEncodeError:  # lone surrogates: bytes that are no text
        return False


def _integer(number: int | None) -> int | None:
    """Return the number that SQLite can hold next to this one."""
    return None if number is None else min(max(number, -(2**63)), 2**63 - 1)
