"""Find what was done to a log: edits, deletions, insertions, reordering; with a known head, truncation.

Two chains are checked with the functions that wrote them: each run's own, and the log's over all runs.
The chains go over digests, so a body that is gone leaves them whole: it must be one that a `BodiesPurged` of
its run names.  The list of runs stands in no chain, so it is folded anew from the events and compared.

A log may be larger than the memory: it is walked along its own chain, and of each run no more is kept than
its head and what its row must say.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Final, NamedTuple

from ringfence.engine.decision.events import BodiesPurged
from ringfence.engine.journal.chain import ZERO, entry_fault, link_fault
from ringfence.engine.journal.purging import listed
from ringfence.engine.journal.rows import row_after
from ringfence.engine.seams.ports import Entry, Link, RunRow

FIRST: Final = -(2**63)
"""Before every position and every number of an event, also before those that no guard would write."""

_AHEAD: Final = 1_000
"""So many events are read at once to find what a purge says, and so many runs asked for what comes after."""

_NAMES: Final = ("session", "agent", "user", "workspace", "policy", "parent")
"""What a run's row takes from its first event; with that body purged, the purge has their digest."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The first bad event of a log."""

    event: str
    """The event's id, `RUN:SEQ`; of what is missing, the id it would have; "" for an end cut off."""
    because: str
    position: int | None = None
    """Where in the log's own chain, from 1; None: only the run's chain was looked at, or no link names it."""

    def __str__(self) -> str:
        where = f" (link {self.position} of the log)" if self.position is not None else ""
        return (
            f"event {self.event}{where}: {self.because}" if self.event else f"the log{where}: {self.because}"
        )


@dataclass(frozen=True, slots=True)
class Verified:
    """What came of verifying a log."""

    fault: Fault | None
    """None: nothing was changed."""
    events: int
    """Those that were checked: up to the fault, if there is one."""
    runs: int
    head: Link | None
    """The last good link: note it down, to find truncation later."""

    @property
    def intact(self) -> bool:
        """True if no fault was found."""
        return self.fault is None


def verify_run(entries: Iterable[Entry], *, head: bytes | None = None) -> Fault | None:
    """Check one run's chain, in the order given; None: nothing was changed.

    Args:
        head: The hash of an event of the run that is known from elsewhere: without it in the chain the run
            was cut off, or replaced as a whole.
    """
    prev = ZERO
    run: str | None = None
    seen_head = head is None
    last = 0
    entries = list(entries)
    upto = purged_upto(entries)
    for number, entry in enumerate(entries, start=1):
        run = entry.run if run is None else run
        if entry.run != run:
            return Fault(entry.id, f"is of another run than `{run}`")
        because = _entry_fault(entry, prev=prev, seq=number, upto=lambda _: upto)
        if because is not None:
            return Fault(entry.id, because)
        prev = entry.hash
        seen_head = seen_head or entry.hash == head
        last = number
    if not seen_head:
        missing = f"{run}:{last + 1}" if run is not None else ""
        return Fault(missing, "the known head is not in the chain: the run was cut off or replaced")
    return None


def _entry_fault(entry: Entry, *, prev: bytes, seq: int, upto: Callable[[Entry], int]) -> str | None:
    """Say what is wrong with an event in its run; None if nothing is.

    Args:
        upto: Returns of the event's run up to which event its purges say that the bodies are gone.
    """
    because = entry_fault(entry, prev=prev, seq=seq)
    if because is None and seq == 1 and entry.kind != "RunStarted":
        because = "a run begins with RunStarted"
    # SECURITY: else whoever can write the file could take out what was said, and nobody would see it.
    if because is None and entry.body is None and (entry.kind == BodiesPurged.kind or seq > upto(entry)):
        because = "its body was removed, and no purge says so"
    return because


def purged_upto(entries: Iterable[Entry]) -> int:
    """Return up to which event the purges of a run say that the bodies are gone; 0: there was none."""
    return max((_said_upto(entry) for entry in entries if entry.kind == BodiesPurged.kind), default=0)


def _said_upto(entry: Entry) -> int:
    """Return the last event that a purge names; one that cannot be read names none."""
    try:
        upto = json.loads(entry.body)["upto"] if entry.body is not None else 0
        return min(upto, entry.seq - 1) if type(upto) is int else 0
    except (ValueError, TypeError, KeyError, RecursionError):  # fails closed: what it named counts as removed
        return 0


def row_fault(row: RunRow, entries: Iterable[Entry]) -> Fault | None:
    """Compare what the list of runs says of a run with its events, which verified; None: it says the same."""
    told = _Told()
    for entry in entries:
        told.take(entry)
    return told.fault(row)


class _Told:
    """What the list of runs must say of a run, by its events so far."""

    __slots__ = ("_bad", "_purge", "_row", "_unknown")

    def __init__(self) -> None:
        self._row: RunRow | None = None
        self._unknown: frozenset[str] = frozenset()
        """What cannot be told: the body that says it was purged."""
        self._purge: Entry | None = None
        self._bad: Fault | None = None

    @property
    def events(self) -> int:
        """How many were taken."""
        return 0 if self._row is None else self._row.events

    def take(self, entry: Entry) -> None:
        """Take the run's next event, which verified."""
        if self._bad is not None:
            return
        try:
            self._row = row_after(self._row, entry)
        except (ValueError, TypeError, RecursionError):  # fails closed: no guard wrote such a body
            self._bad = Fault(entry.id, "the body cannot be read")
        if entry.body is None and entry.seq == 1:
            self._unknown |= frozenset(_NAMES)
        if entry.body is None and entry.kind == "RunEnded":
            self._unknown |= {"status"}
        if entry.kind == BodiesPurged.kind:
            self._purge = entry

    def fault(self, row: RunRow) -> Fault | None:
        """Compare the list's row; None: it says the same."""
        if self._bad is not None:
            return self._bad
        if self._row is None:
            return Fault(f"{row.run}:1", "is missing, though the list of runs names its run")
        unknown, purge = self._unknown, self._purge
        if unknown and purge is not None and not _listed_rightly(row, purge):
            return Fault(purge.id, "the list of runs says of its run something else than when it was purged")
        for name in (one.name for one in fields(RunRow) if one.name not in unknown):
            said, folded = getattr(row, name), getattr(self._row, name)
            if type(said) is not type(folded) or said != folded:
                event = f"{row.run}:{1 if name in _NAMES else self._row.events}"
                shown = [value.hex() if isinstance(value, bytes) else value for value in (said, folded)]
                return Fault(
                    event,
                    f"the list of runs says another {name} than the events: {shown[0]}, not {shown[1]}",
                )
        return None


def _listed_rightly(row: RunRow, purge: Entry) -> bool:
    try:
        return purge.body is not None and bool(json.loads(purge.body)["listed"] == listed(row))
    except (ValueError, TypeError, KeyError, RecursionError):  # fails closed: no guard wrote it so
        return False


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

    told: _Told = field(default_factory=_Told)
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
        because = _entry_fault(entry, prev=run.head, seq=seq, upto=self._upto)
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
