"""Opening one file: made private to its owner, checked before it is changed, then set up as a store."""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from operator import methodcaller
from pathlib import Path
from typing import Final, TypeVar

from ringfence.plugins.sqlite.faults import (
    ChangedSchemaError,
    EmptyFileError,
    ForeignFileError,
    NewerSchemaError,
)
from ringfence.plugins.sqlite.schema import STEPS, VERSION

T = TypeVar("T")

_RETRY_S: Final = 0.01
_as_it_stands: Final = methodcaller("decode", "utf-8", "surrogateescape")
"""Reads a text of the file, whatever its bytes; takes three times as long as the usual way."""


def make_file(path: Path) -> None:
    """Make an empty file that only its owner may read; nothing happens if the path exists.

    INVARIANT: a file that exists is never opened here.  Closing it would drop the POSIX locks that
    other connections of this process hold on it.
    """
    try:
        # SECURITY: prompts, arguments and results stand in this file; its log and index inherit the mode.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return


def connect(path: Path, *, busy_s: float) -> sqlite3.Connection:
    """Open an existing file, unchanged, without implicit transactions."""
    return sqlite3.connect(
        f"{path.as_uri()}?mode=rw",
        uri=True,
        timeout=busy_s,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )


def connect_writer(path: Path, *, busy_s: float, make: bool = True) -> sqlite3.Connection:
    """Open the file for writing, making its tables if it is empty, and what an older one lacks.

    Args:
        make: False: a file that is empty is an error.  Somebody may have emptied it: that is no log.
    """
    db = connect(path, busy_s=busy_s)
    try:
        version = _version_now(db)
        if version == 0 and not make:
            raise EmptyFileError
        _use_write_ahead_log(db, busy_s)
        # FULL, not NORMAL: a commit that was answered survives a loss of power too (decisions/0004), but for
        # what `Door.write` is told need not.
        db.execute("PRAGMA synchronous = FULL")
        # SECURITY: what is removed is overwritten, at once: a purge must leave nothing, and a page that is
        # divided or given up in the meantime must not keep a copy.
        db.execute("PRAGMA secure_delete = ON")
        db.execute("PRAGMA trusted_schema = OFF")
        if version < VERSION:
            _lead_here(db)
    except BaseException:
        db.close()
        raise
    return db


def connect_reader(path: Path, *, busy_s: float) -> sqlite3.Connection:
    """Open the file for reading alone; it never waits for the writer."""
    return reading(connect(path, busy_s=busy_s))


def reading(db: sqlite3.Connection) -> sqlite3.Connection:
    """Set a new connection up for reading; closed if that fails."""
    try:
        db.execute("PRAGMA query_only = ON")
        db.execute("PRAGMA trusted_schema = OFF")
    except BaseException:
        db.close()
        raise
    return db


def in_snapshot(db: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    """Run `work` on a snapshot of what is committed; twice, if it meets a text that is no UTF-8."""
    db.execute("BEGIN")
    try:
        try:
            return work(db)
        except sqlite3.OperationalError as error:
            if db.text_factory is not str or getattr(error, "sqlite_errorcode", None) is not None:
                raise
        # Somebody has edited the file: texts are read as they stand, so that verifying can name them.
        db.text_factory = _as_it_stands
        return work(db)
    finally:
        if db.in_transaction:
            db.execute("COMMIT")


def check_version(db: sqlite3.Connection) -> None:
    """Raise if the file is empty, another program's, or a newer version's; an older one can be read."""
    if in_snapshot(db, _version_of) == 0:
        raise EmptyFileError


def _version_now(db: sqlite3.Connection) -> int:
    """Return the file's version from one snapshot: another process may be changing it at this moment."""
    db.execute("BEGIN")
    try:
        return _version_of(db)
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _version_of(db: sqlite3.Connection) -> int:
    """Return the file's version, 0 if it is empty; raise for another program's, or a newer version's."""
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema")}
    if not tables:
        return 0
    if "ringfence_schema" not in tables:
        raise ForeignFileError
    row = db.execute("SELECT max(version) FROM ringfence_schema").fetchone()
    version = row[0] if row else None
    if not isinstance(version, int) or version < 1:
        raise ForeignFileError
    if version > VERSION:
        raise NewerSchemaError(version)
    _refuse_foreign_triggers(db, version)
    return version


def _refuse_foreign_triggers(db: sqlite3.Connection, version: int) -> None:
    """Raise if a trigger or view of the file is not ours, or one of ours is gone.

    SECURITY: one that was planted works for ever: it could empty each budget as it is filled.
    """
    ours = {
        text.strip().rstrip(";")
        for script in STEPS[:version]
        for text in _statements(script)
        if "CREATE TRIGGER" in text
    }
    found = db.execute("SELECT sql FROM sqlite_schema WHERE type IN ('trigger', 'view')").fetchall()
    if {text for (text,) in found} != ours:
        raise ChangedSchemaError


def _lead_here(db: sqlite3.Connection) -> None:
    """Take the steps that the file lacks, all or none; what it holds stays as it is."""
    db.execute("BEGIN IMMEDIATE")
    try:
        for script in STEPS[_version_of(db) :]:  # asked again: another process may have been faster
            for statement in _statements(script):
                db.execute(statement)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _use_write_ahead_log(db: sqlite3.Connection, busy_s: float) -> None:
    """Switch to WAL; SQLite does not wait for others at this one statement, so this does."""
    until = time.monotonic() + busy_s
    while True:
        try:
            (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                raise
            time.sleep(_RETRY_S)
            continue
        if mode != "wal":
            raise sqlite3.OperationalError(f"the file system allows no write-ahead log (mode {mode})")
        return
