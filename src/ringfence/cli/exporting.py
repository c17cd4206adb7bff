"""Reading a log from its beginning to its end, a page at a time: no more than a page is held.

The order is that of the log's own chain, so a log that has grown since begins with the same events.  Where
the log ends is settled at the start: agents may write meanwhile.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ringfence.cli.desk import Desk
from ringfence.cli.exits import CommandError
from ringfence.cli.linked import named
from ringfence.cli.say import Say
from ringfence.engine.seams.escape import escaped
from ringfence.engine.seams.hookspecs import Event
from ringfence.engine.seams.ports import Entry, Link, RunRow

PAGE = 250
_KNOWN_RUNS = 10_000
"""Of so many runs it is remembered whether their events are wanted."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events are exported: those that every filter lets through."""

    run: RunRow | None = None
    agent: str | None = None
    since_ns: int | None = None
    whole_runs: bool = False
    """True: of a run of which an event is wanted, those before `since_ns` are, too."""

    def of_run(self, row: RunRow | None) -> bool:
        """Say whether any event of a run can be wanted; a run that the list leaves out is not passed over."""
        if row is None:
            return True
        late = self.since_ns is None or not isinstance(row.last_ns, int) or row.last_ns >= self.since_ns
        return late and self.agent in (None, row.agent)


def exported(desk: Desk, say: Say, wanted: Wanted, *, data: bool = True) -> Iterator[tuple[Event, str]]:
    """Yield the wanted events in the log's order, each with its line.

    Args:
        data: The lines go to the standard output: no bar is drawn where they are seen.

    Raises:
        CommandError: One cannot be read, is missing, or is no event; those before it were yielded.
    """
    row = wanted.run
    bar = not (data and say.to_terminal)
    pages = _of_log(desk, say, wanted, bar) if row is None else _of_run(desk, say, wanted, row, bar)
    for entry in pages:
        event, line = _read(entry)
        if wanted.since_ns is None or wanted.whole_runs or event.at_ns >= wanted.since_ns:
            yield event, line


def _of_run(desk: Desk, say: Say, wanted: Wanted, row: RunRow, bar: bool) -> Iterator[Entry]:
    if not wanted.of_run(row):
        return
    after = 0
    with say.progress("export", _count(row.events) if bar else 0) as advance:
        while page := desk.ask(desk.events.read(row.run, after_seq=after, limit=PAGE)):
            for entry in page:
                if entry.seq != after + 1:
                    raise _missing(row.run, after + 1)
                after += 1
                yield entry
            advance(len(page))
    if after < _count(row.events):
        raise _missing(row.run, after + 1)


def _of_log(desk: Desk, say: Say, wanted: Wanted, bar: bool) -> Iterator[Entry]:
    head = desk.ask(desk.events.head())
    if head is None:
        return

    @lru_cache(maxsize=_KNOWN_RUNS)
    def is_wanted(run: str) -> bool:
        return wanted.of_run(desk.run(run))

    filtered = wanted != Wanted()
    after = 0
    with say.progress("export", head.position if bar else 0) as advance:
        while after < head.position:
            links = desk.ask(desk.events.links(after=after, limit=min(PAGE, head.position - after)))
            for link in links:
                if link.position != after + 1 or type(link.seq) is not int:
                    break
                after += 1
            else:
                if links:
                    yield from _named(desk, links, is_wanted if filtered else None)
                    advance(len(links))
                    continue
            raise CommandError(f"link {after + 1} of the log is missing or cannot be read", help=_VERIFY)


def _named(desk: Desk, links: Sequence[Link], is_wanted: Callable[[str], bool] | None) -> Iterator[Entry]:
    """Yield the wanted entries that the links name; one that is missing ends it."""
    for link, entry in named(desk, [link for link in links if is_wanted is None or is_wanted(link.run)]):
        if entry is None:
            raise _missing(link.run, link.seq)
        yield entry


_VERIFY = "the log was changed: see `ringfence verify`"


def _missing(run: str, seq: int) -> CommandError:
    return CommandError(f"event {escaped(f'{run}:{seq}')} is missing", help=_VERIFY)


def event_of(entry: Entry) -> Event:
    """Return the event of an entry; raise CommandError for one that cannot be read."""
    return _read(entry)[0]


def _read(entry: Entry) -> tuple[Event, str]:
    """Return the event of an entry and its line; no guard has written one that has none."""
    try:
        event = Event.of(entry)
        if type(event.at_ns) is int and (event.body is None or isinstance(event.body, dict)):
            return event, event.line()
    except (ValueError, TypeError, AttributeError, RecursionError):  # refused below: never a line left out
        pass
    raise CommandError(f"event {escaped(entry.id)} cannot be read", help=_VERIFY)


def _count(events: object) -> int:
    return events if type(events) is int else 0
