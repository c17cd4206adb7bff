"""The windows of the memory ledger: of units, and of different members.

Both take a `Unit` when it is reserved, keep it while it is held, stamp it at dispatch and let it go one
period later.  Every unit is added once and removed once, so a reservation costs the same after ten calls
and after ten thousand.  One that is held under a lease knows from the start when it leaves if nobody stamps
it; that is looked at only where there seems to be no room.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Optional

_BY_LEAVE = attrgetter("leaves_ns")


class Unit:
    """One charge of one reservation in one window: compared and hashed as the object it is."""

    __slots__ = ("amount", "beside", "leaves_ns", "members", "stamped", "window")

    # No constructor: calling one would take as long as all else that makes a unit.
    window: "BudgetWindow"
    amount: int
    leaves_ns: int | None
    """None: held without end, or never leaving.  Under a lease: when it leaves if nobody stamps it."""
    members: frozenset[str] | None
    """None: the charge is counted by its amount."""
    stamped: bool
    """True from its dispatch on."""
    beside: Optional["Unit"]
    """The next unit of the same reservation."""

    def all(self) -> Iterator["Unit"]:
        """Yield this unit and those after it."""
        unit: Unit | None = self
        while unit is not None:
            yield unit
            unit = unit.beside

    def counts(self, now_ns: int) -> bool:
        """True until it leaves its window."""
        return self.leaves_ns is None or self.leaves_ns > now_ns


class AmountWindow:
    """At most `limit` units in any window of the period."""

    __slots__ = ("gone", "leased", "period_ns", "stamped", "taken")

    def __init__(self, period_ns: int | None) -> None:
        self.period_ns = period_ns
        self.taken = 0
        """The sum over held and stamped units."""
        self.leased: list[Unit] = []
        """Those reserved under a lease since the last `lapse`: held, lapsed, stamped or refunded."""
        self.stamped: list[Unit] = []
        """By the moment at which they leave, soonest first; refunded ones have the amount 0.

        A list: most of a million keys have one call in their window, and a deque begins with room for 64.
        """
        self.gone = 0
        """How many at the front of `stamped` have left."""

    def slide(self, now_ns: int) -> None:
        """Let go of what left the window: a charge at time t leaves at t + period."""
        stamped, gone = self.stamped, self.gone
        while (
            gone < len(stamped) and (leaves_ns := stamped[gone].leaves_ns) is not None and leaves_ns <= now_ns
        ):
            self.taken -= stamped[gone].amount
            gone += 1
        if gone == len(stamped) or (gone > 32 and gone * 2 > len(stamped)):  # O(1) for each that left
            del stamped[:gone]
            gone = 0
        self.gone = gone

    def lapse(self, now_ns: int) -> None:
        """Let go of what nobody stamped and whose lease ran out one period ago."""
        leased, self.leased = self.leased, []
        for unit in leased:
            if unit.stamped:
                continue
            if unit.counts(now_ns):
                self.leased.append(unit)
            else:
                self.taken -= unit.amount

    def has_room(self, asked: Iterable[Unit], limit: int) -> bool:
        """Say whether all these units fit, once the window was slid."""
        return self.taken + sum(unit.amount for unit in asked) <= limit

    def free_in(self, asked: Iterable[Unit], limit: int, now_ns: int) -> int | None:
        """Return in how many nanoseconds they fit; None if that cannot be told."""
        amount = sum(unit.amount for unit in asked)
        if amount > limit:
            return None
        over = self.taken + amount - limit
        leaving: Iterable[Unit] = self.stamped[self.gone :]
        if self.leased:
            held = (unit for unit in self.leased if not unit.stamped)
            leaving = sorted([*leaving, *held], key=_BY_LEAVE)
        for unit in leaving:
            over -= unit.amount
            if over <= 0 and unit.leaves_ns is not None:
                return unit.leaves_ns - now_ns
        return None

    def take(self, unit: Unit) -> None:
        """Count a unit that was reserved."""
        self.taken += unit.amount
        if unit.leaves_ns is not None:
            self.leased.append(unit)

    def stamp(self, unit: Unit, leaves_ns: int) -> None:
        """Let a held unit leave at this moment; INVARIANT: none that was stamped before leaves later."""
        unit.stamped = True
        unit.leaves_ns = leaves_ns
        self.stamped.append(unit)

    def give_back(self, unit: Unit) -> None:
        """Stop counting a unit that is still in the window."""
        self.taken -= unit.amount
        unit.amount = 0


class _Uses:
    """The units that touch one member: held without end (or never leaving), leased, and stamped in order."""

    __slots__ = ("held", "leased", "stamped")

    def __init__(self) -> None:
        self.held = 0
        self.leased: dict[Unit, None] = {}
        self.stamped: dict[Unit, None] = {}

    def leave_ns(self) -> int | None:
        """Return when the last of them leaves; None if that cannot be told."""
        if self.held:
            return None
        last = [*self.leased, next(reversed(self.stamped))] if self.stamped else self.leased
        return max(unit.leaves_ns for unit in last if unit.leaves_ns is not None)


class MemberWindow:
    """At most `limit` different members in any window of the period; touching one again is free."""

    __slots__ = ("leased", "period_ns", "stamped", "uses")

    def __init__(self, period_ns: int | None) -> None:
        self.period_ns = period_ns
        self.uses: dict[str, _Uses] = {}
        """Member -> the units that touch it; INVARIANT: at least one."""
        self.leased: list[Unit] = []
        """Those reserved under a lease since the last `lapse`: held, lapsed, stamped or refunded."""
        self.stamped: deque[Unit] = deque()
        """By the moment at which they leave, soonest first; refunded ones have no members."""

    def slide(self, now_ns: int) -> None:
        """Let go of what left the window: a member leaves one period after it was touched last."""
        stamped = self.stamped
        while stamped and (leaves_ns := stamped[0].leaves_ns) is not None and leaves_ns <= now_ns:
            self._drop(stamped.popleft())

    def lapse(self, now_ns: int) -> None:
        """Let go of what nobody stamped and whose lease ran out one period ago."""
        leased, self.leased = self.leased, []
        for unit in leased:
            if unit.stamped:
                continue
            if unit.counts(now_ns):
                self.leased.append(unit)
            else:
                self._drop(unit)

    def has_room(self, asked: Iterable[Unit], limit: int) -> bool:
        """Say whether the members of all these units fit, once the window was slid."""
        fresh = {member for unit in asked for member in unit.members or () if member not in self.uses}
        return len(self.uses) + len(fresh) <= limit

    def free_in(self, asked: Iterable[Unit], limit: int, now_ns: int) -> int | None:
        """Return in how many nanoseconds they fit; None if that cannot be told."""
        wanted = {member for unit in asked for member in unit.members or ()}
        others = [uses for member, uses in self.uses.items() if member not in wanted]
        over = len(others) + len(wanted) - limit
        leaving = sorted(leave_ns for uses in others if (leave_ns := uses.leave_ns()) is not None)
        return leaving[over - 1] - now_ns if 0 < over <= len(leaving) else None

    def take(self, unit: Unit) -> None:
        """Count a unit that was reserved."""
        leased = unit.leaves_ns is not None
        if leased:
            self.leased.append(unit)
        for member in unit.members or ():
            uses = self.uses.setdefault(member, _Uses())
            if leased:
                uses.leased[unit] = None
            else:
                uses.held += 1

    def stamp(self, unit: Unit, leaves_ns: int) -> None:
        """Let a held unit leave at this moment; INVARIANT: none that was stamped before leaves later."""
        leased = unit.leaves_ns is not None
        unit.stamped = True
        unit.leaves_ns = leaves_ns
        self.stamped.append(unit)
        for member in unit.members or ():
            uses = self.uses[member]
            if leased:
                del uses.leased[unit]
            else:
                uses.held -= 1
            uses.stamped[unit] = None

    def give_back(self, unit: Unit) -> None:
        """Stop counting a unit that is still in the window."""
        self._drop(unit)
        unit.members = frozenset()

    def _drop(self, unit: Unit) -> None:
        for member in unit.members or ():
            uses = self.uses[member]
            if unit.leaves_ns is None:
                uses.held -= 1
            elif unit.stamped:
                del uses.stamped[unit]
            else:
                del uses.leased[unit]
            if not uses.held and not uses.leased and not uses.stamped:
                del self.uses[member]


BudgetWindow = AmountWindow | MemberWindow
