"""When something happened: as many times as a window needs, and no more than `MOST_TIMES`."""

from bisect import bisect_right, insort

MOST_TIMES = 100_000
"""Times kept of one watch; of more in one window only a lower bound is known."""


class Moments:
    """The times of one kind of happening, of which those of the last `within_ns` count.

    Windows are half-open: what happened at t counts no longer at t + within_ns.  Asking changes nothing;
    what has left the window is forgotten when something happens, so a question costs a search by halves.
    """

    __slots__ = ("_begin", "_lost_ns", "_own", "_times_ns", "_within_ns")

    def __init__(self, within_ns: int) -> None:
        self._within_ns = within_ns
        self._times_ns: list[int] = []
        self._begin = 0
        """Where in the list those begin that have not left."""
        self._lost_ns: int | None = None
        """The latest time that had to be given up; None: all are here."""
        self._own: list[int] | None = None
        """What happened since the fork; None: this is no fork that will be joined."""

    def add(self, at_ns: int) -> None:
        """Remember one more; times of a joined run may be earlier than the latest."""
        times = self._times_ns
        if not times or at_ns >= times[-1]:
            times.append(at_ns)
        else:
            insort(times, at_ns, lo=self._begin)
        if self._own is not None:
            self._own.append(at_ns)
        self._begin = bisect_right(times, times[-1] - self._within_ns, lo=self._begin)
        if len(times) - self._begin > MOST_TIMES:
            self._lost_ns = times[self._begin]
            self._begin += 1
        if self._begin > 1024 and self._begin * 2 > len(times):
            del times[: self._begin]
            self._begin = 0

    def within(self, now_ns: int) -> tuple[int, bool]:
        """Return how many count at that time, and whether those are all."""
        times, horizon_ns = self._times_ns, now_ns - self._within_ns
        counted = len(times) - bisect_right(times, horizon_ns, lo=self._begin)
        return counted, self._lost_ns is None or self._lost_ns <= horizon_ns

    def emptied(self) -> "Moments":
        """Return one that remembers nothing."""
        empty = Moments(self._within_ns)
        empty._own = None if self._own is None else []
        return empty

    def fork(self, *, child: bool) -> "Moments":
        """Return a copy; that of a child remembers what it adds."""
        copy = Moments(self._within_ns)
        copy._times_ns = self._times_ns[self._begin :]
        copy._lost_ns = self._lost_ns
        copy._own = [] if child else None
        return copy

    def join(self, child: "Moments") -> None:
        """Add what the child has added since its fork, or since it was joined before."""
        for at_ns in child._own or ():
            self.add(at_ns)
        if child._lost_ns is not None and (self._lost_ns is None or child._lost_ns > self._lost_ns):
            self._lost_ns = child._lost_ns
        if child._own is not None:
            child._own = []
