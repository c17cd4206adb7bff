"""The largest time that any process brought into the file: where a host's clock that stepped back goes on."""

import sqlite3
from typing import Final

from ringfence.plugins.sqlite.connection import Door

DOUBTED_NS: Final = 24 * 3600 * 10**9
"""A time that lies further ahead of the host's is a mistake, and nobody's clock follows it."""

_RUNS: Final = 64
"""The newest runs that are looked at: a run that began earlier may have said something later."""

# Each is found at an index: opening a large log costs no more than opening a small one.
_TIMES: Final = f"""
SELECT latest_ns FROM clock
UNION ALL SELECT last_ns FROM (SELECT last_ns FROM run ORDER BY id DESC LIMIT {_RUNS})
UNION ALL SELECT at_ns FROM (SELECT at_ns FROM event ORDER BY position DESC LIMIT 1)
UNION ALL SELECT max(asked_ns) FROM ticket WHERE status = 'open'
"""


async def latest_ns(door: Door, *, wall_ns: int) -> int | None:
    """Return the largest time in the file that is not too far ahead of the host's; None: there is none."""
    return await door.read(lambda db: _latest_ns(db, wall_ns + DOUBTED_NS))


def _latest_ns(db: sqlite3.Connection, most_ns: int) -> int | None:
    # A file that somebody edited may hold anything here; what is no time is not looked at.
    found = [ns for (ns,) in db.execute(_TIMES) if isinstance(ns, int) and 0 < ns <= most_ns]
    return max(found, default=None)
