"""Budgets in this process's memory: exact sliding windows under one lock, at once and from any thread.

No window ever holds more than its limit: a unit is taken when it is reserved, counts while it is held,
is stamped at dispatch, and leaves one period later (ITU-T I.371 cells would let almost twice as many
through).  Every charge is added once and removed once, so a reservation costs the same after ten calls
and after ten thousand.
"""

import threading

from ringfence.plugin import Refusal, Reservation
from ringfence.plugins.memory.windows import AmountWindow, BudgetWindow, MemberWindow, Unit

_SWEEP_EVERY = 1024


_Key = tuple[str, str, int | None, bool]
"""Budget, key, period, and whether different members are counted."""


_Units = tuple[Unit, ...]
"""What one reservation has in its windows; at least one."""


def _any_counts(units: _Units, now_ns: int) -> bool:
    """Say whether any of a reservation's units is still in its window."""
    for unit in units:  # a plain loop: a sweep asks this of every reservation
        leaves_ns = unit.leaves_ns
        if leaves_ns is None or leaves_ns > now_ns:
            return True
    return False


def _stands(units: _Units, now_ns: int) -> bool:
    """Say whether the reservation was dispatched and counts, or may be dispatched: it left no window yet."""
    if units[0].stamped:
        return _any_counts(units, now_ns)
    for unit in units:
        leaves_ns = unit.leaves_ns
        if leaves_ns is not None and leaves_ns <= now_ns:
            return False
    return True


def _held(units: _Units, now_ns: int) -> bool:
    """Say whether the reservation is held: neither stamped, nor is its lease over."""
    for unit in units:
        leaves_ns, period_ns = unit.leaves_ns, unit.window.period_ns
        if unit.stamped or (
            leaves_ns is not None and period_ns is not None and leaves_ns <= now_ns + period_ns
        ):
            return False
    return True


class MemoryLedger:
    """A `Ledger` and an `InlineLedger`; time never steps back in it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._windows: dict[_Key, BudgetWindow] = {}
        self._kept: dict[str, _Units] = {}
        """Reservation id -> its units; INVARIANT: dropped only once all of them left their windows."""
        self._open: dict[str, _Units] = {}
        """Those of them that were not dispatched: few, so the end of a run looks at these alone."""
        self._latest_ns = 0
        self._until_sweep = _SWEEP_EVERY

    def reserve_now(self, reservation: Reservation, *, now_ns: int) -> tuple[Refusal, ...]:
        """Reserve all charges, or none and say which had no room."""
        with self._lock:
            now_ns = self._at(now_ns)
            reservation_id, charges = reservation.id, reservation.charges
            kept = self._kept.get(reservation_id)
            if kept is not None:
                if _stands(kept, now_ns):
                    return ()
                self._give_back(reservation_id)
            if len(charges) == 1:  # what most calls ask for: the only window is known and has room
                charge = charges[0]
                amount, period_ns = charge.amount, charge.period_ns
                key: _Key = (charge.budget, charge.key, period_ns, False)
                window = self._windows.get(key)
                if window.__class__ is AmountWindow and amount >= 0 and not charge.members:
                    if window.stamped:
                        window.slide(now_ns)
                    if window.taken + amount <= charge.limit:
                        lease_ns = reservation.lease_ns
                        if lease_ns is None or period_ns is None:
                            unit = Unit(window, amount, None, None)
                        else:
                            unit = Unit(window, amount, None, now_ns + lease_ns + period_ns)
                            window.leased.append(unit)
                        window.taken += amount
                        self._kept[reservation_id] = self._open[reservation_id] = (unit,)
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
            unit = Unit(window, charge.amount, members, leaves_ns)
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
        for unit in units:
            unit.window.take(unit)
        if units:
            self._kept[reservation.id] = self._open[reservation.id] = tuple(units)
        return ()

    def dispatched_now(self, reservation_id: str, *, now_ns: int) -> bool:
        """Stamp a held reservation with the moment of its dispatch; False if it counts no more."""
        with self._lock:
            now_ns = self._at(now_ns)
            kept = self._kept.get(reservation_id)
            if kept is None or not _stands(kept, now_ns):
                return False
            if not kept[0].stamped:
                self._stamp(kept, now_ns)
            self._open.pop(reservation_id, None)
            return True

    def settle_now(self, run: str, *, now_ns: int) -> None:
        """Stamp all that the run still holds: its fate is unknown, so it is kept."""
        with self._lock:
            now_ns = self._at(now_ns)
            for reservation_id in [name for name in self._open if name.startswith(f"{run}/")]:
                kept = self._open.pop(reservation_id)
                if _held(kept, now_ns):
                    self._stamp(kept, now_ns)

    def refund_now(self, reservation_id: str) -> None:
        """Give a reservation back; unknown or already given back: nothing happens."""
        with self._lock:
            self._give_back(reservation_id)

    def _give_back(self, reservation_id: str) -> None:
        self._open.pop(reservation_id, None)
        for unit in self._kept.pop(reservation_id, ()):
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
        self._until_sweep -= 1
        if self._until_sweep <= 0:
            self._sweep(self._latest_ns)
            self._until_sweep = max(_SWEEP_EVERY, 2 * len(self._kept))  # so a sweep costs O(1) a call
        return self._latest_ns

    def _stamp(self, kept: _Units, now_ns: int) -> None:
        for unit in kept:
            window = unit.window
            if window.period_ns is None:
                unit.stamped = True
            else:
                window.stamp(unit, now_ns + window.period_ns)  # now_ns never falls

    def _sweep(self, now_ns: int) -> None:
        """Forget what left every window; memory is bounded by what the windows hold."""
        self._kept = {
            reservation_id: units
            for reservation_id, units in self._kept.items()
            if _any_counts(units, now_ns)
        }
        self._open = {name: units for name, units in self._open.items() if name in self._kept}
        needed = {unit.window for units in self._kept.values() for unit in units}
        self._windows = {key: window for key, window in self._windows.items() if window in needed}
        for window in self._windows.values():
            window.lapse(now_ns)
