"""Exact sliding windows: at most `limit` units, or different members, in any window of `period_ns`.

A window remembers what was taken when, so no window of that length ever holds more than `limit`; a
generic cell-rate bucket would let almost twice as many through (ITU-T I.371).  Windows are half-open: what
was taken at t leaves at t + period.  A held reservation counts in every window, until it is stamped
with the moment of its dispatch or given back.  A window of units remembers at most one entry for each
unit of its limit and each call in it; one of members at most one for each call that touched a member.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable


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

    def give_back(self, amount: int, period_ns: int | None, *, at_ns: int) -> None:
        """Take out units that were stamped at `at_ns`; what has left the window already stays gone."""
        if period_ns is None:
            self.total -= amount
            return
        for place, (stamped_ns, units) in enumerate(self.taken):
            if stamped_ns == at_ns:  # none if they were stamped under a clock that had stepped back: kept
                self.total -= amount
                self.taken[place] = (stamped_ns, units - amount)
                return

    @property
    def empty(self) -> bool:
        """True if the window holds nothing, so that it may be forgotten."""
        return not self.held and not self.total


class _Uses:
    """How often one member is held, and when it was touched, earliest first."""

    __slots__ = ("held", "taken_ns")

    def __init__(self) -> None:
        self.held = 0
        self.taken_ns: list[int] = []

    def counts(self, horizon_ns: int) -> bool:
        """True while the member is held, or was touched after the horizon."""
        return self.held > 0 or (bool(self.taken_ns) and self.taken_ns[-1] > horizon_ns)


class Members:
    """The different members that one budget counts under one key: a blast radius.

    At most `limit` different ones in any window of the period.  Touching a member again takes no place and
    renews its time: it leaves one period after it was touched last.  Each touch that is given back takes
    away that touch alone.  The methods are those of `Window`, with members where that has an amount.
    """

    __slots__ = ("_uses",)

    def __init__(self) -> None:
        self._uses: dict[str, _Uses] = {}

    def has_room(self, members: Iterable[str], limit: int, period_ns: int | None, *, now_ns: int) -> bool:
        """Say whether these members fit at `now_ns`, and change nothing; nothing fits under a limit of 0."""
        if limit <= 0:
            return False
        wanted = set(members)
        if not wanted:
            return True
        if period_ns is None:  # nothing leaves, so all that is here counts
            return len(self._uses) + sum(member not in self._uses for member in wanted) <= limit
        horizon_ns = now_ns - period_ns
        others = sum(uses.counts(horizon_ns) for member, uses in self._uses.items() if member not in wanted)
        return others + len(wanted) <= limit

    def free_ns(
        self, members: Iterable[str], limit: int, period_ns: int | None, *, now_ns: int
    ) -> int | None:
        """Return nanoseconds until they fit if nothing else happens; None if no time can be said."""
        wanted = set(members)
        if period_ns is None or len(wanted) > limit or limit <= 0:
            return None
        horizon_ns = now_ns - period_ns
        others = [
            uses for member, uses in self._uses.items() if member not in wanted and uses.counts(horizon_ns)
        ]
        over = len(others) + len(wanted) - limit
        leaving = sorted(uses.taken_ns[-1] + period_ns for uses in others if not uses.held)
        if over <= 0:
            return 0
        return leaving[over - 1] - now_ns if over <= len(leaving) else None

    def hold(self, members: Iterable[str], period_ns: int | None, *, now_ns: int) -> None:
        """Reserve the members; the caller has asked `has_room` at the same moment."""
        self.expire(period_ns, now_ns=now_ns)
        for member in set(members):
            self._uses.setdefault(member, _Uses()).held += 1

    def expire(self, period_ns: int | None, *, now_ns: int) -> None:
        """Forget what has left the window; None: nothing ever leaves."""
        if period_ns is None:
            return
        horizon_ns = now_ns - period_ns
        for member, uses in list(self._uses.items()):
            if uses.taken_ns and uses.taken_ns[0] <= horizon_ns:
                del uses.taken_ns[: bisect_left(uses.taken_ns, horizon_ns + 1)]
            if not uses.held and not uses.taken_ns:
                del self._uses[member]

    def release(self, members: Iterable[str]) -> None:
        """Give held members back."""
        for member in set(members):
            self._uses[member].held -= 1
            self._forget(member)

    def stamp(self, members: Iterable[str], period_ns: int | None, *, at_ns: int) -> None:
        """Turn held members into touched ones at the moment of their dispatch."""
        for member in set(members):
            uses = self._uses[member]
            uses.held -= 1
            # Where nothing leaves, the time says nothing but that the member was touched once more.
            insort(uses.taken_ns, at_ns)

    def give_back(self, members: Iterable[str], period_ns: int | None, *, at_ns: int) -> None:
        """Take out the touches that were stamped at `at_ns`; what has left already stays gone."""
        for member in set(members):
            uses = self._uses.get(member)
            if uses is not None and at_ns in uses.taken_ns:
                uses.taken_ns.remove(at_ns)
                self._forget(member)

    def _forget(self, member: str) -> None:
        uses = self._uses[member]
        if not uses.held and not uses.taken_ns:
            del self._uses[member]

    @property
    def empty(self) -> bool:
        """True if nothing is held or was touched, so that it may be forgotten."""
        return not self._uses
