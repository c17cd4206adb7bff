"""Opening a file that may not be written: nothing is made, changed or left beside it.

SQLite reads a write-ahead log by an index that it keeps beside the file, and makes that if it is missing.
Where it must not, three cases are told apart, so that what was committed last is never passed over:

- log and index stand beside the file: somebody may be writing, and SQLite's own locks are kept;
- a log without an index: nobody has the file open, and the index is made in memory;
- no log: nobody has the file open, and the file is all there is.

In the last two nothing locks: whoever reads looks before and after whether the files are what they were.
"""

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ringfence.plugins.sqlite.connection import identity
from ringfence.plugins.sqlite.faults import beside
from ringfence.plugins.sqlite.opening import check_version, reading

_LOCKED: Final = "mode=ro&readonly_shm=1"
_ALONE: Final = "mode=ro&vfs=unix-none"
"""Locks nothing: only with it may SQLite keep the index of a read-only file in memory."""
_WHOLE: Final = "mode=ro&immutable=1"


@dataclass(frozen=True, slots=True)
class Way:
    """How a file can be read as it stands."""

    options: str

    @property
    def locks(self) -> bool:
        """True if SQLite's locks keep a writer and this reader apart."""
        return self.options == _LOCKED


def way_to(path: Path) -> Way:
    """Return how the file can be read now."""
    log, index = beside(path)
    if log.exists() and index.exists():
        return Way(_LOCKED)
    # SECURITY: a log that is passed over is an end that was cut off.
    return Way(_ALONE if log.exists() and log.stat().st_size > 0 else _WHOLE)


def connect_still(path: Path, way: Way, *, busy_s: float) -> sqlite3.Connection:
    """Open the file without writing; raise if it holds no log that this version can read."""
    db = reading(
        sqlite3.connect(
            f"{path.as_uri()}?{way.options}",
            uri=True,
            timeout=busy_s,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
    )
    try:
        db.execute("PRAGMA temp_store = MEMORY")
        if not way.locks:
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
        check_version(db)
    except BaseException:
        db.close()
        raise
    return db


def stand(path: Path) -> object:
    """Return what changes when somebody writes the file, its log or its index."""
    return [(identity(part), _changed(part)) for part in (path, *beside(path))]


def _changed(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:  # fails closed: what cannot be looked at has changed, unless it was never there
        return None
    return found.st_size, found.st_mtime_ns
