"""The stored events of a run, read for what they made it remember."""

import json
from collections.abc import Callable, Iterable

from ringfence.dsl.canonical import LARGEST_INTEGER
from ringfence.dsl.plan import Json
from ringfence.engine.decision.events import SCHEMA, Stamped, event_of
from ringfence.engine.decision.lineage import Tale
from ringfence.engine.seams.ports import Entry

FORGOTTEN = frozenset(
    {"ModelAsked", "ModelAnswered", "SubrunStarted", "SubrunCounted", "RunSuspended", "RunHalted"}
)
"""Kinds of events that no memory holds: with their bodies nothing is lost for it."""


def _number(digits: str) -> Json:
    """Return an integer; a float where canonical JSON wrote a large float without a fraction."""
    number = int(digits)
    return number if -LARGEST_INTEGER <= number <= LARGEST_INTEGER else float(digits)


_decoder = json.JSONDecoder(parse_int=_number)
_scan: Callable[[str, int], tuple[Json, int]] = _decoder.scan_once  # type: ignore[attr-defined]


def decode(text: str) -> Json:
    """Read a body; raise ValueError for one that is no JSON."""
    try:
        value, end = _scan(text, 0)
    except StopIteration:
        end = -1
    # No guard writes anything around it: then the decoder says what that is.
    return value if end == len(text) else _decoder.decode(text)


class NewerEventError(ValueError):
    """An event was written by a newer version."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(
            f"event {entry.id} was written by a newer version (schema {entry.schema}, this reads {SCHEMA})"
        )


def stamped_of(entry: Entry) -> Stamped:
    """Return the event of an entry; raise ValueError, TypeError or KeyError for one that is none."""
    if entry.body is None:
        raise ValueError(f"event {entry.id} was purged")
    if entry.schema > SCHEMA:  # it may mean something else by the same words
        raise NewerEventError(entry)
    return Stamped(entry.seq, entry.at_ns, event_of(entry.kind, decode(entry.body.decode())))


def tale_of(entries: Iterable[Entry]) -> Tale:
    """Return what the entries tell; what is gone or cannot be read is a gap."""
    events: list[Stamped] = []
    gaps: set[int] = set()
    for entry in entries:
        try:
            events.append(stamped_of(entry))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            if entry.body is not None or entry.kind not in FORGOTTEN:
                gaps.add(entry.seq)  # fails closed: a memory with a gap leaves everything undecided
    return Tale(tuple(events), frozenset(gaps))
