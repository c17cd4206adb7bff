"""The events of one run, read from the log for display."""

import json
from collections.abc import Sequence

from ringfence.cli.desk import Desk
from ringfence.cli.exits import REFUSED, CommandError
from ringfence.engine.decision.events import RunStarted, Stamped, event_of
from ringfence.engine.seams.ports import Entry


def history(desk: Desk, run: str) -> list[Stamped]:
    """Return the run's events in order; those whose body was purged are left out."""
    entries = desk.ask(desk.events.read(run))
    return [_stamped(entry) for entry in entries if entry.body is not None]


def start_of(events: Sequence[Stamped]) -> RunStarted | None:
    """Return the event that began the run, if the log still has it."""
    return next((stamped.event for stamped in events if isinstance(stamped.event, RunStarted)), None)


def _stamped(entry: Entry) -> Stamped:
    try:
        return Stamped(entry.seq, entry.at_ns, event_of(entry.kind, json.loads(entry.body or b"")))
    except (
        ValueError,
        TypeError,
        KeyError,
        RecursionError,
    ) as error:  # fails closed: nothing is shown as if whole
        raise CommandError(
            f"event {entry.seq} of run {entry.run} cannot be read: it is not what Ringfence writes",
            help=f"`ringfence verify {entry.run}` says whether the log was changed",
            code=REFUSED,
        ) from error
