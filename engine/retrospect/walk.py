"""A walk along a log's own chain, which checks each run's with it: in memory that does not grow with the log.

A log may be larger than the memory: of each run no more is kept than its head and what its row must say.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ringfence.engine.journal.chain import ZERO, link_fault
from ringfence.engine.retrospect.verify import Fault, Told, Verified, event_fault, purged_upto
from ringfence.engine.seams.ports import Entry, Link, RunRow

FIRST: Final = -(2**63)
"""Before every position and every number of an event, also before those that no guard would write."""

_AHEAD: Final = 1_000
"""So many events are read at once to find what a purge says, and so many runs asked for what comes after."""


class Part(NamedTuple):
    """A part of a run: its events after a number, at most so many."""

    run: str
    after_seq: int
    limit: int


Read = Callable[[Sequence[Part]], Sequence[Sequence[Entry]]]
"""Returns the entries of each part, by their sequence number."""


@dataclass(slots=True)
class _Run:
    """How far one run was walked."""

    told: Told = field(default_factory=Told)
    row: RunRow | None = None
    seq: int = 0
    head: bytes = ZERO
    upto: int = 0
    """Up to which event its purges say that the bodies are gone, as far as anybody asked."""
    loose: Entry | None = None
    """One that no link has named yet."""


class Walk:
    """A walk along a log's own chain, which checks each run's with it.

    Agents may write meanwhile.  So what the store holds beyond the links so far is noted with `rest`,
    and the links that have come until then are taken after: those must name it.

    Args:
        read: Reads the events that the links name, and the next one of each run.
        head: A link noted down earlier.
        each: Is told of each event that is as it was recorded.
    """

    def __init__(
        self, read: Read, *, head: Link | None = None, each: Callable[[Entry], None] = lambda _: None
    ) -> None:
        self.fault: Fault | None = None
        self.events = 0
        self._read = read
        self._head = head
        self._each = each
        self._last: Link | None = None
        self._runs: dict[str, _Run] = {}
        self._listed: list[RunRow] = []
        self._hidden: str | None = None
        """A run that the list leaves out."""
        self._inserted: Entry | None = None
        """One that no link can ever name."""

    def take(self, links: Sequence[Link]) -> None:
        """Take the next links, up to the first that is wrong or names a wrong event."""
        if self.fault is not None:
            return
        counts = Counter(link.run for link in links)
        # One more than the links name: it must not be one of these a second time.
        parts = [Part(run, self._after(run), count + 1) for run, count in counts.items()]
        found: dict[str, dict[int, Entry]] = {}
        for part, entries in zip(parts, self._read(parts), strict=True):
            of_run = found[part.run] = {}
            for entry in entries:
                if type(entry.seq) is not int or entry.seq < 1 or entry.seq in of_run:
                    self._inserted = self._inserted or entry
                of_run.setdefault(entry.seq, entry)
        for position, link in enumerate(links, start=1 if self._last is None else self._last.position + 1):
            because = self._because(link, position, found[link.run].get(link.seq))
            if because is not None:
                self.fault = Fault(f"{link.run}:{link.seq}", because, position)
                return
            self._last = link

    def rest(self, runs: Iterable[str] = (), *, rows: Iterable[RunRow] | None = None) -> None:
        """Note what the store holds beyond the links so far, and what the list of runs says by now.

        Args:
            runs: All runs that anybody knows of, besides those that the links and the list name.
            rows: The list of runs; None: there is none to compare.
        """
        # SECURITY: the runs come from both, so that a run which either hides is missed by the other.
        for run in runs:
            self._of(run)
        for row in rows or ():
            self._of(row.run).row = row
            self._listed.append(row)
        if rows is not None:
            # SECURITY: a run that only its links name is one that nobody finds in the list.
            seen = (run for run, walked in self._runs.items() if walked.seq and walked.row is None)
            self._hidden = next(seen, None)
        parts = [Part(run, self._after(run), 1) for run in self._runs]
        for start in range(0, len(parts), _AHEAD):
            some = parts[start : start + _AHEAD]
            for part, entries in zip(some, self._read(some), strict=True):
                self._runs[part.run].loose = entries[0] if entries else None

    def end(self) -> Verified:
        """Return what came of it, once all links that there were after `rest` are taken."""
        last = self._last
        fault = self.fault or self._unnamed()
        if fault is None and self._head is not None and (last is None or self._head.position > last.position):
            fault = Fault("", "the end was cut off: the known head is not there", self._head.position)
        if fault is None and self._hidden is not None:
            fault = Fault(f"{self._hidden}:1", "the list of runs leaves out its run")
        told = (self._runs[row.run].told.fault(row) for row in self._listed)
        fault = fault or next((one for one in told if one is not None), None)
        return Verified(fault, self.events, sum(run.seq > 0 for run in self._runs.values()), last)

    def _of(self, run: str) -> _Run:
        found = self._runs.get(run)
        if found is None:
            found = self._runs[run] = _Run()
        return found

    def _after(self, run: str) -> int:
        """Return the number of the event after which a run is read on."""
        known = self._runs.get(run)
        return known.seq if known is not None and known.seq else FIRST

    def _because(self, link: Link, position: int, entry: Entry | None) -> str | None:
        """Say what is wrong with the next link, or with the event that it names; None if nothing is."""
        run = self._of(link.run)
        seq = run.seq + 1
        if link.position == position and (type(link.seq) is not int or link.seq != seq):
            return f"expected event {seq} of its run in the log"
        prev = ZERO if self._last is None else self._last.hash
        because = link_fault(link, prev=prev, position=position, hash=None if entry is None else entry.hash)
        if because is not None or entry is None:
            return because
        because = event_fault(entry, prev=run.head, seq=seq, upto=self._upto)
        if because is None and self._head is not None and position == self._head.position:
            stood = link.hash == self._head.hash
            because = None if stood else "is not what stood there: the known head is another link"
        if because is None:
            run.seq, run.head = seq, entry.hash
            # Of a run that grows, as many events count as its row says.
            if run.row is None or run.told.events < counted(run.row):
                run.told.take(entry)
            self.events += 1
            self._each(entry)
        return because

    def _upto(self, entry: Entry) -> int:
        """Return up to which event the purges of an event's run say that the bodies are gone."""
        run, after = self._of(entry.run), entry.seq
        while run.upto < entry.seq:  # a purge comes after what it has removed: it must be there by now
            (some,) = self._read([Part(entry.run, after, _AHEAD)])
            run.upto = max(run.upto, purged_upto(some))
            if len(some) < _AHEAD:
                break
            after = some[-1].seq
        return run.upto

    def _unnamed(self) -> Fault | None:
        """Return an event that no link names."""
        because = "no link of the log names it: it was inserted, or the log was cut off"
        if self._inserted is not None:
            return Fault(self._inserted.id, because)
        for run in self._runs.values():
            if run.loose is not None and not (type(run.loose.seq) is int and 0 < run.loose.seq <= run.seq):
                return Fault(run.loose.id, because)
        return None


def counted(row: RunRow) -> int:
    """Return how many events the list of runs says that a run has; 0 if it says no number."""
    return row.events if isinstance(row.events, int) else 0


def verify_log(links: Iterable[Link], entries: Iterable[Entry], *, head: Link | None = None) -> Verified:
    """Check a whole log that is at hand and name its first bad event, in the order in which it was written.

    Args:
        links: The log's own chain, by position.
        entries: All events, in any order of runs; those of one run by their sequence number.
        head: A link noted down earlier; it must still stand at its position.  Without it, an end that was cut
            off cleanly cannot be seen.
    """
    runs: dict[str, list[Entry]] = {}
    for entry in entries:
        runs.setdefault(entry.run, []).append(entry)

    def read(parts: Sequence[Part]) -> list[list[Entry]]:
        return [
            [entry for entry in runs.get(part.run, ()) if entry.seq > part.after_seq][: part.limit]
            for part in parts
        ]

    walk = Walk(read, head=head)
    walk.take(list(links))
    walk.rest(runs)
    return walk.end()
