"""Find what was done to a log: edits, deletions, insertions, reordering; with a known head, truncation.

Two chains are checked with the functions that wrote them: each run's own, and the log's over all runs.
The chains go over digests, so a body that is gone leaves them whole: it must be one that a `BodiesPurged` of
its run names.  The list of runs stands in no chain, so it is folded anew from the events and compared.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Final

from ringfence.engine.decision.events import BodiesPurged
from ringfence.engine.journal.chain import ZERO, entry_fault, link_fault
from ringfence.engine.journal.purging import listed
from ringfence.engine.journal.rows import row_after
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
    runs: int
    head: Link | None
    """The last link: note it down, to find truncation later."""

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
        because = entry_fault(entry, prev=prev, seq=number)
        if because is None and number == 1 and entry.kind != "RunStarted":
            because = "a run begins with RunStarted"
        # SECURITY: else whoever can write the file could take out what was said, and nobody would see it.
        if because is None and entry.body is None and (number > upto or entry.kind == BodiesPurged.kind):
            because = "its body was removed, and no purge says so"
        if because is not None:
            return Fault(entry.id, because)
        prev = entry.hash
        seen_head = seen_head or entry.hash == head
        last = number
    if not seen_head:
        missing = f"{run}:{last + 1}" if run is not None else ""
        return Fault(missing, "the known head is not in the chain: the run was cut off or replaced")
    return None


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


def row_fault(row: RunRow, entries: Sequence[Entry]) -> Fault | None:
    """Compare what the list of runs says of a run with its events, which verified; None: it says the same."""
    if not entries:
        return Fault(f"{row.run}:1", "is missing, though the list of runs names its run")
    told: RunRow | None = None
    try:
        for entry in entries:
            told = row_after(told, entry)
    except (ValueError, TypeError, RecursionError):  # fails closed: no guard wrote such a body
        return Fault(entry.id, "the body cannot be read")
    unknown = set(_NAMES) if entries[0].body is None else set()
    if any(entry.kind == "RunEnded" and entry.body is None for entry in entries):
        unknown.add("status")
    purge = next((entry for entry in reversed(entries) if entry.kind == BodiesPurged.kind), None)
    if unknown and purge is not None and not _listed_rightly(row, purge):
        return Fault(purge.id, "the list of runs says of its run something else than when it was purged")
    for name in (field.name for field in fields(RunRow) if field.name not in unknown):
        said, folded = getattr(row, name), getattr(told, name)
        if type(said) is not type(folded) or said != folded:
            event = entries[0].id if name in _NAMES else entries[-1].id
            shown = [value.hex() if isinstance(value, bytes) else value for value in (said, folded)]
            return Fault(
                event, f"the list of runs says another {name} than the events: {shown[0]}, not {shown[1]}"
            )
    return None


def _listed_rightly(row: RunRow, purge: Entry) -> bool:
    try:
        return purge.body is not None and bool(json.loads(purge.body)["listed"] == listed(row))
    except (ValueError, TypeError, KeyError, RecursionError):  # fails closed: no guard wrote it so
        return False


def verify_log(links: Iterable[Link], entries: Iterable[Entry], *, head: Link | None = None) -> Verified:
    """Check a whole log and name its first bad event, in the order in which the log was written.

    Args:
        links: The log's own chain, by position.
        entries: All events, in any order of runs; those of one run by their sequence number.
        head: A link noted down earlier; it must still stand at its position.  Without it, an end that was cut
            off cleanly cannot be seen.
    """
    runs: dict[str, list[Entry]] = {}
    for entry in entries:
        runs.setdefault(entry.run, []).append(entry)
    faults = {run: fault for run, of_run in runs.items() if (fault := verify_run(of_run)) is not None}
    hashes: dict[str, bytes] = {}
    for of_run in runs.values():
        for entry in of_run:
            hashes.setdefault(entry.id, entry.hash)

    events = sum(len(of_run) for of_run in runs.values())
    fault, last = _walk(links, runs, hashes, faults, head)
    if fault is None and head is not None and (last is None or head.position > last.position):
        fault = Fault("", "the end was cut off: the known head is not there", head.position)
    return Verified(fault, events, len(runs), last)


def _walk(
    links: Iterable[Link],
    runs: dict[str, list[Entry]],
    hashes: dict[str, bytes],
    faults: dict[str, Fault],
    head: Link | None,
) -> tuple[Fault | None, Link | None]:
    """Follow the log's chain; return the first fault and the last good link."""
    prev = ZERO
    last: Link | None = None
    next_seq: dict[str, int] = {}
    for position, link in enumerate(links, start=1):
        named = f"{link.run}:{link.seq}"
        because = link_fault(link, prev=prev, position=position, hash=hashes.get(named))
        if because is None and link.seq != next_seq.get(link.run, 1):
            because = f"expected event {next_seq.get(link.run, 1)} of its run in the log"
        found = faults.get(link.run)
        if found is not None and found.event == named:
            because = found.because
        if because is None and head is not None and position == head.position and link.hash != head.hash:
            because = "is not what stood there: the known head is another link"
        if because is not None:
            return Fault(named, because, position), last
        next_seq[link.run] = link.seq + 1
        prev, last = link.hash, link
    for run, of_run in runs.items():
        if run in faults:
            return faults[run], last
        if len(of_run) >= next_seq.get(run, 1):
            extra = of_run[next_seq.get(run, 1) - 1]
            return Fault(
                extra.id, "no link of the log names it: it was inserted, or the log was cut off"
            ), last
    return None, last
