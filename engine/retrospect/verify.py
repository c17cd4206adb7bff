"""Find what was done to a log: edits, deletions, insertions, reordering; with a known head, truncation.

Two chains are checked with the functions that wrote them: each run's own, and the log's over all runs.
The chains go over digests, so a body that is gone leaves them whole: it must be one that a `BodiesPurged` of
its run names.  The list of runs stands in no chain, so it is folded anew from the events and compared.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from typing import Final

from ringfence.engine.decision.events import BodiesPurged
from ringfence.engine.journal.chain import ZERO, entry_fault
from ringfence.engine.journal.purging import listed
from ringfence.engine.journal.rows import TELLING, row_after
from ringfence.engine.seams.ports import Entry, Link, RunRow

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
        because = event_fault(entry, prev=prev, seq=number, upto=lambda _: upto)
        if because is not None:
            return Fault(entry.id, because)
        prev = entry.hash
        seen_head = seen_head or entry.hash == head
        last = number
    if not seen_head:
        missing = f"{run}:{last + 1}" if run is not None else ""
        return Fault(missing, "the known head is not in the chain: the run was cut off or replaced")
    return None


def event_fault(entry: Entry, *, prev: bytes, seq: int, upto: Callable[[Entry], int]) -> str | None:
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
    told = Told()
    for entry in entries:
        told.take(entry)
    return told.fault(row)


class Told:
    """What the list of runs must say of a run, by its events so far."""

    __slots__ = ("_bad", "_head", "_last_ns", "_more", "_purge", "_row", "_unknown")

    def __init__(self) -> None:
        self._row: RunRow | None = None
        """By its events up to the last one of which a row says more than that it is there."""
        self._more, self._last_ns, self._head = 0, 0, b""
        """How many there are after that one, the latest moment of these, and the hash of the last."""
        self._unknown: frozenset[str] = frozenset()
        """What cannot be told: the body that says it was purged."""
        self._purge: Entry | None = None
        self._bad: Fault | None = None

    @property
    def events(self) -> int:
        """How many were taken."""
        return 0 if self._row is None else self._row.events + self._more

    def take(self, entry: Entry) -> None:
        """Take the run's next event, which verified."""
        if self._bad is not None:
            return
        kind = entry.kind
        if self._row is not None and kind not in TELLING:
            self._last_ns = max(self._last_ns, entry.at_ns) if self._more else entry.at_ns
            self._more, self._head = self._more + 1, entry.hash
        else:
            try:
                self._row = row_after(self._told(), entry)
            except (ValueError, TypeError, RecursionError):  # fails closed: no guard wrote such a body
                self._bad = Fault(entry.id, "the body cannot be read")
        if entry.body is None and entry.seq == 1:
            self._unknown |= frozenset(_NAMES)
        if entry.body is None and kind == "RunEnded":
            self._unknown |= {"status"}
        if kind == BodiesPurged.kind:
            self._purge = entry

    def _told(self) -> RunRow | None:
        """Return the row by all events so far."""
        row, more = self._row, self._more
        if row is None or more == 0:
            return row
        self._more = 0
        last_ns = max(row.last_ns, self._last_ns)
        self._row = replace(row, last_ns=last_ns, events=row.events + more, head=self._head)
        return self._row

    def fault(self, row: RunRow) -> Fault | None:
        """Compare the list's row; None: it says the same."""
        if self._bad is not None:
            return self._bad
        told = self._told()
        if told is None:
            return Fault(f"{row.run}:1", "is missing, though the list of runs names its run")
        unknown, purge = self._unknown, self._purge
        if unknown and purge is not None and not _listed_rightly(row, purge):
            return Fault(purge.id, "the list of runs says of its run something else than when it was purged")
        for name in (one.name for one in fields(RunRow) if one.name not in unknown):
            said, folded = getattr(row, name), getattr(told, name)
            if type(said) is not type(folded) or said != folded:
                event = f"{row.run}:{1 if name in _NAMES else told.events}"
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
