"""Budgets wider than a run while a policy test is rehearsed: the same windows as a run's, in a dictionary."""

from ringfence.engine.decision.budgets import Members, Window
from ringfence.engine.decision.calls import Charge, Refusal

_Key = tuple[str, str, int | None, bool]
"""Budget, key, period, and whether different members are counted."""


class Windows:
    """All that the reservations of one test hold or have taken; one call after another, on one clock."""

    def __init__(self) -> None:
        self._windows: dict[_Key, Window | Members] = {}
        self._held: dict[str, tuple[Charge, ...]] = {}
        self._taken: dict[str, tuple[tuple[Charge, ...], int]] = {}

    def reserve(self, reservation: str, charges: tuple[Charge, ...], *, now_ns: int) -> tuple[Refusal, ...]:
        """Reserve all charges, or none and say which had no room; what is held already stays as it is."""
        if reservation in self._held or reservation in self._taken:
            return ()
        together: dict[_Key, list[Charge]] = {}
        refused: list[Refusal] = []
        for charge in charges:
            same = together.setdefault(_key(charge), [])
            same.append(charge)
            if not self._has_room(same, now_ns):
                refused.append(Refusal(charge.budget, charge.key, None))
        if refused:
            return tuple(refused)
        for charge in charges:
            window = self._window(charge)
            if isinstance(window, Members):
                window.hold(charge.members, charge.period_ns, now_ns=now_ns)
            else:
                window.hold(charge.amount, charge.period_ns, now_ns=now_ns)
        self._held[reservation] = charges
        return ()

    def dispatched(self, reservation: str, *, now_ns: int) -> None:
        """Stamp what is held with the moment of its dispatch."""
        charges = self._held.pop(reservation, ())
        for charge in charges:
            window = self._window(charge)
            if isinstance(window, Members):
                window.stamp(charge.members, charge.period_ns, at_ns=now_ns)
            else:
                window.stamp(charge.amount, charge.period_ns, at_ns=now_ns)
        self._taken[reservation] = charges, now_ns

    def refund(self, reservation: str) -> None:
        """Give back what is held; nothing happens if there is nothing."""
        for charge in self._held.pop(reservation, ()):
            window = self._window(charge)
            if isinstance(window, Members):
                window.release(charge.members)
            else:
                window.release(charge.amount)

    def _has_room(self, same: list[Charge], now_ns: int) -> bool:
        first = same[0]
        window = self._window(first)
        if any(charge.amount < 0 for charge in same):
            return False
        if isinstance(window, Members):
            members = {member for charge in same for member in charge.members}
            return window.has_room(members, first.limit, first.period_ns, now_ns=now_ns)
        amount = sum(charge.amount for charge in same)
        return window.has_room(amount, first.limit, first.period_ns, now_ns=now_ns)

    def _window(self, charge: Charge) -> Window | Members:
        key = _key(charge)
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = Members() if charge.members else Window()
        return window


def _key(charge: Charge) -> _Key:
    return charge.budget, charge.key, charge.period_ns, bool(charge.members)
