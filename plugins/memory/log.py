"""An audit log in this process's memory."""

import threading
from collections.abc import Sequence

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


class MemoryLog:
    """An `EventLog`; what it says is durable is lost with the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, list[Entry]] = {}
        self._known: dict[str, bytes] = {}
        self._rows: dict[str, RunRow] = {}
        self._links: list[Link] = []

    async def append(self, batch: Sequence[Entry]) -> None:
        """Store the entries, all or none; known ones are skipped, contradicting ones raise."""
        with self._lock:
            self._append(batch)

    def _append(self, batch: Sequence[Entry]) -> None:
        """The same, under the lock."""
        fresh: dict[str, Entry] = {}
        for entry in batch:
            known = self._known.get(entry.id) or (fresh[entry.id].hash if entry.id in fresh else None)
            if known is None:
                fresh[entry.id] = entry
            elif known != entry.hash:
                raise contradiction(entry)
        prev = self._links[-1].hash if self._links else ZERO
        for entry in fresh.values():
            prev = link_hash(prev, entry.hash)
            self._links.append(Link(len(self._links) + 1, entry.run, entry.seq, prev))
            self._entries.setdefault(entry.run, []).append(entry)
            self._known[entry.id] = entry.hash
            self._rows[entry.run] = row_after(self._rows.get(entry.run), entry)

    async def purge(self, entry: Entry, *, upto: int) -> int:
        """Append the entry, and remove the bodies that it says are gone."""
        with self._lock:
            check_purge(entry, upto, row=self._rows.get(entry.run), known=self._known.get(entry.id))
            self._append([entry])
            removed = 0
            for place, one in enumerate(self._entries[entry.run]):
                if one.seq <= upto and one.body is not None and one.kind != PURGED:
                    self._entries[entry.run][place] = one._replace(body=None, salt=b"")
                    removed += 1
            return removed

    async def scrub(self) -> None:
        """Nothing to do: there is no file."""

    async def read(self, run: str, *, after_seq: int = 0, limit: int | None = None) -> list[Entry]:
        """Return the run's entries in order."""
        with self._lock:
            found = [entry for entry in self._entries.get(run, ()) if entry.seq > after_seq]
        found.sort(key=lambda entry: entry.seq)
        return found if limit is None else found[: max(limit, 0)]

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
        with self._lock:
            rows = [
                row
                for row in self._rows.values()
                if session in (None, row.session) and status in (None, row.status)
                if agent in (None, row.agent) and user in (None, row.user)
                if workspace in (None, row.workspace)
                if since_ns is None or row.started_ns >= since_ns
                if until_ns is None or row.started_ns < until_ns
            ]
        rows.reverse()  # sorting is stable: of two with one start, the later stored comes first
        rows.sort(key=lambda row: row.started_ns, reverse=True)
        return rows if limit is None else rows[: max(limit, 0)]

    async def run(self, run: str) -> RunRow | None:
        """Return one run, or None."""
        with self._lock:
            return self._rows.get(run)

    async def links(self, *, after: int = 0, limit: int = 10_000) -> list[Link]:
        """Return links of the log's chain, in order."""
        with self._lock:
            return self._links[max(after, 0) : max(after, 0) + max(limit, 0)]

    async def head(self) -> Link | None:
        """Return the log's last link."""
        with self._lock:
            return self._links[-1] if self._links else None


def contradiction(entry: Entry) -> TakenOverError:
    """Return the error for an entry whose id is in the log with another hash."""
    return TakenOverError(
        f"the log already holds another event `{entry.id}`",
        run=entry.run,
        help="another process has ended the run, or goes on with it: begin a new one here",
    )
