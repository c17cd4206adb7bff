"""What waits to be written: encoded events with the place of their run, and who waits until they are."""

import concurrent.futures
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from ringfence.dsl.canonical import canonical
from ringfence.engine.decision.events import SCHEMA, RunEvent, Stamped, body_of
from ringfence.engine.decision.written import WRITERS
from ringfence.engine.journal.chain import SALT_BYTES, chained
from ringfence.engine.journal.failures import lost_error
from ringfence.engine.journal.hiding import Hiding
from ringfence.engine.journal.jsonable import jsonable
from ringfence.engine.seams.ports import Entry
from ringfence.engine.seams.wakes import gathered

LARGEST_BODY: Final = 8 * 1024 * 1024
"""Of a larger event each field that is too large is kept by digest and size."""


@dataclass(slots=True)
class Place:
    """One run's place in the journal."""

    seq: int
    """Of the last event recorded."""
    head: bytes
    """Hash of the last event linked; touched by the writer alone."""
    latest_ns: int = 0
    taken_over: bool = False
    """Another process has the run: nothing more of it is written here."""
    hiding: Hiding | None = None
    """What of its events never reaches the log; None: nothing is secret."""


@dataclass(frozen=True, slots=True)
class Flush:
    """Somebody who waits until all that was recorded before is durable."""

    target: int
    """How many events that is."""
    done: "concurrent.futures.Future[None]"
    since_s: float
    bounded: bool
    """Nobody waits longer for it than the journal is patient, whatever the reason."""
    run: str | None
    """The run that it is about."""
    place: Place | None


class Queued(NamedTuple):
    """One recorded event."""

    run: str
    place: Place
    stamped: Stamped
    mono_ns: int
    body: bytes


def answer(waiters: Iterable[Flush], failure: Callable[[], Exception] | None = None) -> None:
    """Tell those who wait that all is durable, or what `failure` says; each event loop is woken once."""
    with gathered():
        for waiter in waiters:
            if failure is not None:
                waiter.done.set_exception(failure())
            elif waiter.place is not None and waiter.place.taken_over:
                waiter.done.set_exception(lost_error(waiter.run))
            else:
                waiter.done.set_result(None)


def encoded(event: RunEvent, hiding: Hiding | None = None) -> bytes:
    """Return the canonical body of an event; what JSON cannot say, or what is too large, is described."""
    write = WRITERS.get(type(event))
    if write is not None:
        written = write(event)
        if written is not None and len(written) <= LARGEST_BODY:
            return written
    body = body_of(event)
    try:
        encoded = canonical(body)
        if len(encoded) <= LARGEST_BODY:
            return encoded
    except Exception:  # fails safe: what JSON cannot say, or what changes meanwhile, is described instead
        pass
    hide = None if hiding is None else hiding.text
    return canonical({name: jsonable(value, hide=hide) for name, value in body.items()})


def linked(batch: Sequence[Queued]) -> list[Entry]:
    """Return the events as they are stored, each linked to its run's head, which moves on."""
    salts = os.urandom(SALT_BYTES * len(batch))
    entries = []
    for number, (run, place, stamped, mono_ns, body) in enumerate(batch):
        entry = chained(
            place.head,
            run=run,
            seq=stamped.seq,
            kind=stamped.event.kind,
            schema=SCHEMA,
            at_ns=stamped.at_ns,
            mono_ns=mono_ns,
            salt=salts[number * SALT_BYTES : (number + 1) * SALT_BYTES],
            body=body,
        )
        place.head = entry.hash
        entries.append(entry)
    return entries
