"""Exact sliding windows: at most `limit` units in any window of `period_ns`.

A window remembers what was taken when, so no window of that length ever holds more than `limit`; a
generic cell-rate bucket would let almost twice as many through (ITU-T I.371).  Windows are half-open: what
was taken at t leaves at t + period.  A held reservation counts in every window, until it is stamped
with the moment of its dispatch or given back.  Memory is bounded by the limit itself.
"""

from collections import deque


class Window:
    """The units of one budget under one key: those held, and those still inside the window."""

    __slots__ = ("held", "taken", "total")

    def __init__(self) -> None:
        self.held = 0
        """Units reserved and not yet dispatched."""
        self.taken: deque[tuple[int, int]] = deque()
        """(when, units), oldest first; empty for a budget without a period."""
        self.total = 0
        """Units dispatched and still inside the window."""

    def has_room(self, amount: int, limit: int, period_ns: int | None, *, now_ns: int) -> bool:
        """Say whether `amount` more units fit at `now_ns`, and change nothing.

        A negative amount never fits, and nothing fits under a limit of 0.
        """
        if amount < 0 or limit <= 0:
            return False
        excess = self.held + self.total + amount - limit
        if excess <= 0:
            return True
        if period_ns is None:
            return False
        horizon = now_ns - period_ns
        for at_ns, units in self.taken:  # stops as soon as enough has left, so at most `amount` steps
            if at_ns > horizon:
                return False
            excess -= units
            if excess <= 0:
                return True
        return False

    def free_ns(self, amount: int, limit: int, period_ns: int | None, *, now_ns: int) -> int | None:
        """Return nanoseconds until `amount` fits if nothing else happens; None if no time can be said."""
        if period_ns is None or amount < 0 or limit <= 0 or self.held + amount > limit:
            return None
        excess = self.held + self.total + amount - limit
        wait = 0
        for at_ns, units in self.taken:
            if excess <= 0:
                break
            excess -= units
            wait = at_ns + period_ns - now_ns
        return max(wait, 0)

    def hold(self, amount: int, period_ns: int | None, *, now_ns: int) -> None:
        """Reserve units; the caller has asked `has_room` at the same moment."""
        self.expire(period_ns, now_ns=now_ns)
        self.held += amount

    def expire(self, period_ns: int | None, *, now_ns: int) -> None:
        """Forget what has left the window; None: nothing ever leaves."""
        if period_ns is None:
            return
        horizon = now_ns - period_ns
        taken = self.taken
        while taken and taken[0][0] <= horizon:
            self.total -= taken.popleft()[1]

    def release(self, amount: int) -> None:
        """Give held units back."""
        self.held -= amount

    def stamp(self, amount: int, period_ns: int | None, *, at_ns: int) -> None:
        """Turn held units into taken ones at the moment of their dispatch."""
        self.held -= amount
        self.total += amount
        if period_ns is None or amount == 0:
            return
        taken = self.taken
        if taken and taken[-1][0] >= at_ns:  # a clock that stepped back: the largest time seen stays
            last_ns, units = taken.pop()
            taken.append((last_ns, units + amount))
        else:
            taken.append((at_ns, amount))

    @property
    def empty(self) -> bool:
        """True if the window holds nothing, so that it may be forgotten."""
        return not self.held and not self.total
