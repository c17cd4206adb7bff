"""A run read from the log for display, and what to say where it cannot be read."""

from collections.abc import Iterator
from contextlib import contextmanager

from ringfence.cli.desk import Desk
from ringfence.cli.exits import CommandError
from ringfence.engine.retrospect.living import read_living
from ringfence.engine.retrospect.record import RecordError, RunRecord
from ringfence.engine.seams.escape import escaped


def history(desk: Desk, run: str) -> RunRecord:
    """Return the run as it was recorded; what is not whole is refused, never shown as if it were."""
    entries, gone = desk.ask(read_living(desk.events, desk.store.leases, run))
    try:
        return RunRecord.read(
            entries,
            others=lambda other: desk.ask(desk.events.read(other)),
            isolates=desk.isolated,
            gone=gone,
        )
    except RecordError as error:
        raise unreadable(run, error) from error


def refuse_purged(record: RunRecord) -> None:
    """Refuse a run of which nothing can be told any more, since its beginning was purged."""
    if 1 in record.purged:
        raise CommandError(
            f"what run `{escaped(record.run)}` said was purged",
            help=f"`ringfence show {escaped(record.run)}` says when, and by whom",
        )


@contextmanager
def readable(run: str) -> Iterator[None]:
    """Say of a run whose bodies have not the form that a guard writes that it was changed."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        found = RecordError(f"run `{run}` holds what no guard writes: {error}")
        raise unreadable(run, found) from error


def unreadable(run: str, error: RecordError) -> CommandError:
    """Return what to say of a run whose record is not one."""
    return CommandError(
        escaped(str(error)), help=f"`ringfence verify {escaped(run)}` says whether the log was changed"
    )
