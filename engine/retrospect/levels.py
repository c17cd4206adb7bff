"""The level that the session carried after each event of a run: the fold that decided, seen once more."""

from bisect import bisect_right
from dataclasses import dataclass

from ringfence.engine.retrospect.record import RecordError, RunRecord
from ringfence.engine.retrospect.replay import Fold, compiled


@dataclass(frozen=True, slots=True)
class Change:
    """From this event on, the session carries another level."""

    seq: int
    rank: int | None
    """Into `Levels.names`; None: it is not known."""


@dataclass(frozen=True, slots=True)
class Levels:
    """The session's level over one run."""

    names: tuple[str, ...]
    """The policy's levels, lowest first; empty: it declares none."""
    changes: tuple[Change, ...] = ()
    """In the order of the events; the first is the run's beginning."""
    because: str | None = None
    """Why it is not known from some event on; None: it is, or the policy has no levels."""

    def after(self, seq: int) -> Change | None:
        """Return the change that holds after an event; None before the first."""
        index = bisect_right(self.changes, seq, key=lambda change: change.seq)
        return self.changes[index - 1] if index else None


def levels(record: RunRecord) -> Levels:
    """Fold the run again and note where the session's level rises.

    Raises:
        RecordError: The run's beginning is not there, or its policy does not load in this version.
    """
    plan = compiled(record.started, record.run)
    if not plan.levels:
        return Levels(())
    changes: list[Change] = []
    because: str | None = None
    try:
        fold = Fold(record, plan)
        for seq in sorted({one.seq for one in record.events} | set(record.purged)):
            fold.reach(seq)
            recall = fold.state.recall
            rank = None if recall.unknown else recall.label
            if rank is None and because is None:
                because = _why(record, seq)
            if not changes or changes[-1].rank != rank:
                changes.append(Change(seq, rank))
    except RecordError as error:  # what it came to so far was known; from here on nothing is
        because = str(error)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:  # the same
        because = f"the run holds what no guard writes: {error}"
    if because is not None and (not changes or changes[-1].rank is not None):
        changes.append(Change(changes[-1].seq + 1 if changes else 1, None))
    return Levels(plan.levels, tuple(changes), because)


def _why(record: RunRecord, seq: int) -> str:
    if seq in record.purged:
        return f"event {seq} ({record.purged[seq]}) was purged"
    if seq == 1:
        return "what its session remembered could not be read when it began"
    return f"what event {seq} rests on is not in the record"
