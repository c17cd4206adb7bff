"""The end of a log as it grows, whichever process writes it, a page at a time and without end.

What is held is a page of events and the last link that was seen.  That link is read again with the next ones:
a log in which it is another was replaced.  A log that is away is opened again until it is there.
"""

import select
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ringfence.cli.desk import Desk, desk
from ringfence.cli.exits import CommandError
from ringfence.cli.linked import named
from ringfence.cli.say import Say
from ringfence.engine.seams.errors import RingfenceError
from ringfence.engine.seams.ports import Entry, Link

PAGE = 250
INTERVAL_S = 0.5
"""How long to wait where nothing has come."""
AWAY_S = 2.0
"""How long to wait where the log cannot be read."""
LOOK_BACK = 50_000
"""Among so many events at the end the lines before it are looked for."""
REPLACED = 1_000
"""Of a log that was put in the place of another, so many events at its end are told."""

T = TypeVar("T")
Wait = Callable[[float], None]
"""Returns after so many seconds."""
Shown = Callable[[Desk, Entry], bool]
"""Says whether an event is told."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the log one is."""

    after: int
    last: Link | None = None
    """The link there; None: it is not known."""


def follow(
    asked: Namespace,
    say: Say,
    begin: Callable[[Desk], Place],
    digest: Callable[[Desk, Sequence[Entry]], Sequence[T]],
    *,
    wait: Wait,
) -> Iterator[Sequence[T]]:
    """Yield what is written, in the log's order and as `digest` makes it, a page at a time, without end.

    Args:
        begin: Says where to begin; called until it has.
        digest: Makes of each page what is yielded; it may ask the log for more.
        wait: Is called whenever there is nothing to do for some seconds.

    Raises:
        CommandError: The log cannot be opened at the beginning; later it is waited for.
    """
    place: Place | None = None
    away, pause = False, INTERVAL_S
    while True:
        try:
            with desk(asked, reads=True) as here:
                place = begin(here) if place is None else place
                while True:
                    following, entries = _next(here, place, say)
                    made = digest(here, entries)
                    place = following
                    if away:
                        say.note("the log is there again")
                        away = False
                    yield made
                    if not entries:
                        wait(INTERVAL_S)
        except BrokenPipeError:  # nobody reads what is told
            raise
        except (CommandError, RingfenceError, OSError) as error:
            if place is None:
                raise
            if not away:  # nothing is lost: what is written meanwhile is told when it is there again
                say.note(f"the log cannot be read now, and is waited for: {error}")
            pause = AWAY_S if away else INTERVAL_S
            away = True
        wait(pause)


def _next(here: Desk, place: Place, say: Say) -> tuple[Place, Sequence[Entry]]:
    """Return the next page, and where it ends."""
    known = place.last is not None
    after = place.after - known
    links = here.ask(here.events.links(after=after, limit=PAGE + known))
    if known:
        if not links or links[0] != place.last:
            return _next(here, _replaced(here, say), say)
        links = links[1:]
    if not links:
        return place, ()
    last = links[-1]
    return Place(last.position, last), [entry for _, entry in _named(here, links, say)]


def _replaced(here: Desk, say: Say) -> Place:
    head = here.ask(here.events.head())
    say.note(f"the log was replaced by another: at most its last {REPLACED:,} events are told")
    return Place(0 if head is None else max(0, head.position - REPLACED))


def _named(here: Desk, links: Sequence[Link], say: Say) -> Iterator[tuple[Link, Entry]]:
    """Yield the entries that the links name; of one that is missing it is said."""
    for link, entry in named(here, links):
        if entry is None:
            say.note(f"event {link.run}:{link.seq} is missing: the log was changed, see `ringfence verify`")
        else:
            yield link, entry


def from_start(here: Desk) -> Place:
    """Begin at the log's first event."""
    return Place(0)


def before_the_end(lines: int, shown: Shown, say: Say) -> Callable[[Desk], Place]:
    """Begin so many events that are told before the log's end."""

    def begin(here: Desk) -> Place:
        head = here.ask(here.events.head())
        if head is None or lines < 1:
            return Place(0) if head is None else Place(head.position, head)
        found, end, until = 0, head.position, max(0, head.position - LOOK_BACK)
        while end > until:
            after = max(until, end - PAGE)
            links = here.ask(here.events.links(after=after, limit=end - after))
            for link, entry in reversed([*_named(here, links, say)]):
                found += shown(here, entry)
                if found == lines:
                    return Place(link.position - 1)
            end = after
        return Place(until)

    return begin


def sleep(seconds: float) -> None:
    """Sleep; raise BrokenPipeError as soon as nobody reads the standard output any more."""
    try:
        output = sys.stdout.fileno()
        poll = select.poll()
        poll.register(output, 0)
    except (AttributeError, OSError, ValueError):  # no such call here, or no such stream: it is noticed later
        time.sleep(seconds)
        return
    said = poll.poll(seconds * 1000)
    if any(events & select.POLLERR for _, events in said):
        raise BrokenPipeError
    if said:  # a stream of another kind has something else to say, and at once
        time.sleep(seconds)
