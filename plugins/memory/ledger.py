"""Budgets in this process's memory: exact sliding windows under one lock, at once and from any thread.

No window ever holds more than its limit: a unit is taken when it is reserved, counts while it is held,
is stamped at dispatch, and leaves one period later (ITU-T I.371 cells would let almost twice as many
through).  Every charge is added once and removed once, so a reservation costs the same after ten calls
and after ten thousand.
"""

import threading
from itertools import zip_longest

from ringfence.plugin import Refusal, Reservation
from ringfence.plugins.memory.windows import AmountWindow, BudgetWindow, MemberWindow, Unit

_SWEEP_EVERY = 1024


_Key = tuple[str, str, int | None, bool]
"""Budget, key, period, and whether different members are counted."""


def _any_counts(first: Unit, now_ns: int) -> bool:
    """Say whether any of a reservation's units is still in its window."""
    unit: Unit | None = first
    while unit is not None:  # a plain loop: a sweep asks this of every reservation
        leaves_ns = unit.leaves_ns
        if leaves_ns is None or leaves_ns > now_ns:
            return True
        unit = unit.beside
    return False


def _stands(first: Unit, now_ns: int) -> bool:
    """Say whether the reservation was dispatched and counts, or may be dispatched: it left no window yet."""
    if first.stamped:
        return _any_counts(first, now_ns)
    unit: Unit | None = first
    while unit is not None:
        leaves_ns = unit.leaves_ns
        if leaves_ns is not None and leaves_ns <= now_ns:
            return False
        unit = unit.beside
    return True


def _held(first: Unit, now_ns: int) -> bool:
    """Say whether the reservation is held: neither stamped, nor is its lease over."""
    unit: Unit | None = first
    while unit is not None:
        leaves_ns, period_ns = unit.leaves_ns, unit.window.period_ns
        if unit.stamped or (
            leaves_ns is not None and period_ns is not None and leaves_ns <= now_ns + period_ns
        ):
            return False
        unit = unit.beside
    return True


class MemoryLedger:
    """A `Ledger` and an `InlineLedger`; time never steps back in it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._windows: dict[_Key, BudgetWindow] = {}
        self._open: dict[str, Unit] = {}
        """Reservation id -> the first of its units, until it is dispatched or its run ends: mostly few."""
        self._kept: dict[str, Unit] = {}
        """The same from then on.

        INVARIANT: neither drops a reservation before all its units have left their windows.
        """
        self._latest_ns = 0
        self._until_sweep = _SWEEP_EVERY

    def reserve_now(self, reservation: Reservation, *, now_ns: int) -> tuple[Refusal, ...]:
        """Reserve all charges, or none and say which had no room."""
        with self._lock:
            if now_ns > self._latest_ns:
                self._latest_ns = now_ns
            else:
                now_ns = self._latest_ns
            self._until_sweep -= 1
            if self._until_sweep <= 0:
                self._sweep(now_ns)
            reservation_id, charges, opened = reservation.id, reservation.charges, self._open
            if reservation_id in opened or reservation_id in self._kept:
                if _stands(opened.get(reservation_id) or self._kept[reservation_id], now_ns):
                    return ()
                self._give_back(reservation_id)
            if len(charges) == 1:  # what most calls ask for: the only window is known and has room
                charge = charges[0]
                amount, period_ns = charge.amount, charge.period_ns
                window = self._windows.get((charge.budget, charge.key, period_ns, False))
                if window.__class__ is AmountWindow and amount >= 0 and not charge.members:
                    if window.stamped:
                        window.slide(now_ns)
                    taken = window.taken + amount
                    if taken <= charge.limit:
                        unit = opened[reservation_id] = Unit()
                        unit.window = window
                        unit.amount = amount
                        unit.members = unit.beside = None
                        unit.stamped = False
                        window.taken = taken
                        lease_ns = reservation.lease_ns
                        if lease_ns is None or period_ns is None:
                            unit.leaves_ns = None
                        else:
                            unit.leaves_ns = now_ns + (lease_ns + period_ns)
                            window.leased.append(unit)
                        return ()
            return self._reserve(reservation, now_ns)

    def _reserve(self, reservation: Reservation, now_ns: int) -> tuple[Refusal, ...]:
        units: list[Unit] = []
        refused: list[Refusal] = []
        asked: dict[BudgetWindow, list[Unit]] = {}
        for charge in reservation.charges:
            leaves_ns = None
            if reservation.lease_ns is not None and charge.period_ns is not None:
                leaves_ns = now_ns + reservation.lease_ns + charge.period_ns
            members = frozenset(charge.members) if charge.members else None
            key = (charge.budget, charge.key, charge.period_ns, members is not None)
            window = self._windows.get(key)
            if window is None:
                made = AmountWindow if members is None else MemberWindow
                window = self._windows[key] = made(charge.period_ns)
            unit = Unit()
            unit.window, unit.amount, unit.leaves_ns = window, charge.amount, leaves_ns
            unit.members, unit.stamped = members, False
            window.slide(now_ns)
            together = asked.setdefault(window, [])
            together.append(unit)
            if charge.amount < 0:
                refused.append(Refusal(charge.budget, charge.key, None))
            elif not window.has_room(together, charge.limit):
                window.lapse(now_ns)
                if not window.has_room(together, charge.limit):
                    free_ns = window.free_in(together, charge.limit, now_ns)
                    refused.append(Refusal(charge.budget, charge.key, free_ns))
            units.append(unit)
        if refused:
            return tuple(refused)
        for unit, beside in zip_longest(units, units[1:]):
            unit.window.take(unit)
            unit.beside = beside
        if units:
            self._open[reservation.id] = units[0]
        return ()

    def dispatched_now(self, reservation_id: str, *, now_ns: int) -> bool:
        """Stamp a held reservation with the moment of its dispatch; False if it counts no more."""
        with self._lock:
            now_ns = self._at(now_ns)
            first = self._open.get(reservation_id) or self._kept.get(reservation_id)
            if first is None or not _stands(first, now_ns):
                return False
            if not first.stamped:
                self._stamp(first, now_ns)
            self._kept[reservation_id] = first
            self._open.pop(reservation_id, None)
            return True

    def settle_now(self, run: str, *, now_ns: int) -> None:
        """Stamp all that the run still holds: its fate is unknown, so it is kept."""
        with self._lock:
            now_ns = self._at(now_ns)
            for reservation_id in [name for name in self._open if name.startswith(f"{run}/")]:
                first = self._kept[reservation_id] = self._open[reservation_id]
                if _held(first, now_ns):
                    self._stamp(first, now_ns)
                del self._open[reservation_id]

    def refund_now(self, reservation_id: str) -> None:
        """Give a reservation back; unknown or already given back: nothing happens."""
        with self._lock:
            self._give_back(reservation_id)

    def _give_back(self, reservation_id: str) -> None:
        first = self._open.pop(reservation_id, None) or self._kept.pop(reservation_id, None)
        for unit in () if first is None else first.all():
            if unit.counts(self._latest_ns):
                unit.window.slide(self._latest_ns)
                unit.window.give_back(unit)

    async def reserve(self, reservation: Reservation, *, now_ns: int) -> tuple[Refusal, ...]:
        """See `reserve_now`."""
        return self.reserve_now(reservation, now_ns=now_ns)

    async def dispatched(self, reservation_id: str, *, now_ns: int) -> bool:
        """See `dispatched_now`."""
        return self.dispatched_now(reservation_id, now_ns=now_ns)

    async def settle(self, run: str, *, now_ns: int) -> None:
        """See `settle_now`."""
        self.settle_now(run, now_ns=now_ns)

    async def refund(self, reservation_id: str) -> None:
        """See `refund_now`."""
        self.refund_now(reservation_id)

    def _at(self, now_ns: int) -> int:
        """Return the moment to decide at: the largest time seen stays."""
        if now_ns > self._latest_ns:
            self._latest_ns = now_ns
        return self._latest_ns

    def _stamp(self, first: Unit, now_ns: int) -> None:
        unit: Unit | None = first
        while unit is not None:
            window = unit.window
            if window.period_ns is None:
                unit.stamped = True
            else:
                window.stamp(unit, now_ns + window.period_ns)  # now_ns never falls
            unit = unit.beside

    def _sweep(self, now_ns: int) -> None:
        """Forget what left every window; memory is bounded by what the windows hold."""
        self._open, self._kept = (
            {name: first for name, first in units.items() if _any_counts(first, now_ns)}
            for units in (self._open, self._kept)
        )
        counting = (*self._open.values(), *self._kept.values())
        needed = {unit.window for first in counting for unit in first.all()}
        self._windows = {key: window for key, window in self._windows.items() if window in needed}
        for window in self._windows.values():
            window.lapse(now_ns)
        self._until_sweep = max(_SWEEP_EVERY, 2 * len(counting))  # so a sweep costs O(1) a reservation
