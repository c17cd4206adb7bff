"""How long things took: median, 95th percentile and longest, in bounded memory.

Exact up to `EXACT` durations, by the nearest rank: the smallest of them that at least that share does not
exceed.  Beyond that they are counted in classes, and what is said is the upper end of a class, at most 1/64
more than the exact one.  The longest is exact always.  The order in which they come changes nothing.
"""

from array import array
from dataclasses import dataclass
from itertools import accumulate

EXACT = 20_000
"""So many durations are kept each by itself."""

_BITS = 6
"""A class is at most 2^-6 of its lower end wide."""


@dataclass(frozen=True, slots=True)
class Spread:
    """What is known of many durations, in nanoseconds."""

    count: int
    median_ns: int
    p95_ns: int
    longest_ns: int
    exact: bool
    """False: median and 95th percentile may be up to 1/64 too long."""


class Durations:
    """Collects durations, each from 0 to 2^53 nanoseconds."""

    def __init__(self) -> None:
        self._each: array[int] | None = array("q")
        self._classes: dict[int, int] = {}
        self._count = 0
        self._longest = 0

    def add(self, ns: int) -> None:
        """Add one."""
        self._count += 1
        self._longest = max(self._longest, ns)
        if self._each is None:
            self._classify(ns)
            return
        self._each.append(ns)
        if self._count > EXACT:
            for one in self._each:
                self._classify(one)
            self._each = None

    @property
    def spread(self) -> Spread | None:
        """What is known of them; None: there are none."""
        if not self._count:
            return None
        median, p95 = self._at(50), self._at(95)
        return Spread(self._count, median, p95, self._longest, self._each is not None)

    def _classify(self, ns: int) -> None:
        end = _end(ns)
        self._classes[end] = self._classes.get(end, 0) + 1

    def _at(self, percent: int) -> int:
        rank = -(-self._count * percent // 100)
        if self._each is not None:
            return sorted(self._each)[rank - 1]
        ends = sorted(self._classes)
        upto = accumulate(self._classes[end] for end in ends)
        return min(self._longest, next(end for end, count in zip(ends, upto, strict=True) if count >= rank))


def _end(ns: int) -> int:
    """Return the largest number of the class in which `ns` is."""
    free = max(0, ns.bit_length() - _BITS - 1)
    return ns | ((1 << free) - 1)
