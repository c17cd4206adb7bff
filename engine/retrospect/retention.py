"""Which runs are over and old enough to be purged, and which of those somebody still goes on from.

A run remembers what the runs of its session did, and the run around it; so do those that are inside of it.
Whoever may remember one another is found in the list of runs: all runs of a session, with their sub-runs and
the runs around them, and so on.  That names more than what a run's own record says it continues, never less,
and needs no body, which may be gone.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ringfence.engine.journal.purging import PURGED
from ringfence.engine.journal.rows import FINAL, OVER
from ringfence.engine.seams.ports import RunRow

LastKind = Callable[[RunRow], str | None]
"""Returns the kind of a run's last event; None: it is not there."""


@dataclass(frozen=True, slots=True)
class Due:
    """What a purge finds of the runs whose last event is older than its moment, the oldest first."""

    free: tuple[RunRow, ...]
    """Over, and no run that is not due remembers them."""
    remembered: tuple[RunRow, ...]
    """Over, but a run that is newer, or not over, may remember them."""
    unfinished: tuple[RunRow, ...]
    """Not over: still to be ended by somebody."""


def due(rows: Iterable[RunRow], last_kind: LastKind, *, before_ns: int) -> Due:
    """Sort the runs that were written last before a moment; those that are purged already are left out.

    Args:
        rows: All runs of the log; the newest first.
    """
    rows = list(rows)
    ripe: list[RunRow] = []
    unfinished: list[RunRow] = []
    young: list[RunRow] = []
    for row in reversed(rows):
        # Fails closed: a time that is no number was not written by a guard, and counts as new.
        if type(row.last_ns) is not int or row.last_ns >= before_ns:
            young.append(row)
        elif row.status not in FINAL or (kind := last_kind(row)) not in OVER:
            unfinished.append(row)
        elif kind != PURGED:
            ripe.append(row)
    families = _Families(rows)
    asked = {families.of(row) for row in ripe}
    needed = {families.of(row) for row in unfinished} & asked
    for row in young:
        family = families.of(row)
        if family not in asked or family in needed:
            continue
        if row.status not in FINAL or last_kind(row) != PURGED:  # what was purged has nothing to lose
            needed.add(family)
    return Due(
        tuple(row for row in ripe if families.of(row) not in needed),
        tuple(row for row in ripe if families.of(row) in needed),
        tuple(unfinished),
    )


class _Families:
    """Runs that may remember one another: a union of sets, found by path halving (Tarjan 1984)."""

    def __init__(self, rows: Iterable[RunRow]) -> None:
        self._above: dict[tuple[str, object], tuple[str, object]] = {}
        for row in rows:
            own = ("run", row.run)
            self._join(own, ("session", row.session))
            if row.parent is not None:
                self._join(own, ("run", row.parent))

    def of(self, row: RunRow) -> tuple[str, object]:
        """Return what stands for the family of a run."""
        return self._root(("run", row.run))

    def _join(self, one: tuple[str, object], other: tuple[str, object]) -> None:
        self._above[self._root(one)] = self._root(other)

    def _root(self, one: tuple[str, object]) -> tuple[str, object]:
        above = self._above
        while (next := above.setdefault(one, one)) != one:
            above[one] = one = above[next]
        return one
