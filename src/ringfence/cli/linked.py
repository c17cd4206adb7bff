"""The events that links of the log name, a page at a time."""

from collections.abc import Iterator, Mapping, Sequence

from ringfence.cli.desk import Desk
from ringfence.engine.seams.ports import Entry, EventLog, Link


def named(desk: Desk, links: Sequence[Link]) -> Iterator[tuple[Link, Entry | None]]:
    """Yield each link with the entry that it names, None for one that is missing; each run is read once."""
    seqs: dict[str, list[int]] = {}
    for link in links:
        if type(link.seq) is int:
            seqs.setdefault(link.run, []).append(link.seq)
    found = {(entry.run, entry.seq): entry for entry in desk.ask(_read(desk.events, seqs))}
    for link in links:
        yield link, found.get((link.run, link.seq))


async def _read(events: EventLog, seqs: Mapping[str, Sequence[int]]) -> list[Entry]:
    """Read these events of each run, all with one hop to the store's loop."""
    found: list[Entry] = []
    for run, of_run in seqs.items():
        found += await events.read(run, after_seq=min(of_run) - 1, limit=len(of_run))
    return found
