"""Budgets in SQLite: exact sliding windows, in one transaction per reservation, over many processes.

A unit stands in its window from the reservation on; `leaves_ns` is set at its dispatch.  While it is held it
is empty, or under a lease the moment at which the unit leaves if nobody stamps it.  Triggers keep each
window's sum (of a blast radius: how many different members are in it), so a reservation looks at sums, never
at units: it costs the same after ten calls and after ten thousand.
"""

import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Final

from ringfence.plugin import Charge, Refusal, Reservation
from ringfence.plugins.sqlite.connection import Door, Work

_NEVER: Final = 2**63 - 1
"""The period of a window that nothing leaves, and the moment at which nothing happens any more."""

_FORGIVEN_NS: Final = 24 * 3600 * 10**9
"""How far the store's time may stand ahead before it can be doubted: less than that is waited out."""

_AGREED_NS: Final = 3600 * 10**9
"""How close the guard's clock and the host's must be to be believed against the store's time."""

_PERIOD_NS: Final = "(SELECT period_ns FROM budget_window WHERE id = window_id)"
"""Of the window in which a unit stands."""

_SWEEP_EVERY: Final = 256
_SWEPT_AT_ONCE: Final = 10_000


class SqliteLedger:
    """A `Ledger` in one file; the largest time that any process brought is the time.

    So time never steps back, and a process whose clock runs behind refills nothing.  One whose clock runs
    ahead lets windows go early by as much, once; then time stands still for the others until they are there
    too.  Only a time that is more than a day ahead, as the guard and its host agree, is given up (see
    `_doubted`): a clock that was wrong once must not close every budget for ever.
    """

    def __init__(self, door: Door, *, wall_ns: Callable[[], int] = time.time_ns) -> None:
        self._door = door
        self._wall_ns = wall_ns
        self._until_sweep = 1
        self._doubts = True
        """These two are touched by the writer's thread alone."""

    async def reserve(self, reservation: Reservation, *, now_ns: int) -> tuple[Refusal, ...]:
        """Reserve all charges, or none and say which had no room."""
        return await self._door.write(self._reserving(reservation, now_ns), lasting=False)

    def reserve_soon(self, reservation: Reservation, *, now_ns: int) -> "Future[tuple[Refusal, ...]]":
        """Like `reserve`, from any thread."""
        return self._door.hand_over(self._reserving(reservation, now_ns), lasting=False)

    def _reserving(self, reservation: Reservation, now_ns: int) -> Work[tuple[Refusal, ...]]:
        due: tuple[int | None, bool] | None = None

        # A loss of power may forget what is only held, since its call has not begun.
        def reserve(db: sqlite3.Connection) -> tuple[Refusal, ...]:
            nonlocal due
            if due is None:  # where the group is undone and run again, what is due is done again, too
                due = self._due()
            return _reserve(db, reservation, now_ns, *due)

        return reserve

    def _due(self) -> tuple[int | None, bool]:
        """Return the host's time, if the store's is to be doubted, and whether to sweep."""
        self._until_sweep -= 1
        sweep = self._until_sweep <= 0
        if sweep:
            self._until_sweep = _SWEEP_EVERY
        # Once for each opened store: two clocks that disagree must not take turns.
        wall_ns = self._wall_ns() if self._doubts else None
        self._doubts = False
        return wall_ns, sweep

    async def dispatched(self, reservation_id: str, *, now_ns: int) -> bool:
        """Stamp a held reservation with the moment of its dispatch; False if it counts no more."""
        return await self._door.write(lambda db: _dispatched(db, reservation_id, now_ns))

    def dispatched_soon(self, reservation_id: str, *, now_ns: int) -> "Future[bool]":
        """Like `dispatched`, from any thread."""
        return self._door.hand_over(lambda db: _dispatched(db, reservation_id, now_ns))

    async def settle(self, run: str, *, now_ns: int) -> None:
        """Stamp all that the run still holds: its fate is unknown, so it is kept."""
        ids = (f"{run}/", f"{run}0")  # "0" comes after "/": every id that begins with `run/`
        # Forgotten by a loss of power, it stays held, until its lease ends: which only refuses more.
        await self._door.write(lambda db: _settle(db, ids, now_ns), lasting=False)

    async def refund(self, reservation_id: str) -> None:
        """Give a reservation back; unknown or already given back: nothing happens."""
        # Forgotten by a loss of power, it stays taken.
        await self._door.write(lambda db: _give_back(db, reservation_id), lasting=False)

    def refund_soon(self, reservation_id: str) -> "Future[None]":
        """Like `refund`, from any thread."""
        return self._door.hand_over(lambda db: _give_back(db, reservation_id), lasting=False)


def _reserve(
    db: sqlite3.Connection, reservation: Reservation, now_ns: int, wall_ns: int | None, sweep: bool
) -> tuple[Refusal, ...]:
    if wall_ns is not None:
        _doubted(db, now_ns, wall_ns)
    now_ns = _at(db, now_ns)
    if sweep:
        _sweep(db, now_ns)
    units_left, until_ns = _found(db, reservation.id, now_ns)
    if until_ns > now_ns:
        return ()
    if units_left:
        _give_back(db, reservation.id)
    wanted: dict[int, int] = {}
    touched: dict[int, set[str]] = {}
    units: list[tuple[int, Charge]] = []
    refused: list[Refusal] = []
    for charge in reservation.charges:
        window_id, taken = _window(db, charge, now_ns)
        units.append((window_id, charge))
        free_in: Callable[[], int | None]
        if charge.amount < 0:
            refused.append(Refusal(charge.budget, charge.key, None))
            continue
        if charge.members:
            members = touched.setdefault(window_id, set())
            members.update(charge.members)
            over = taken + _fresh(db, window_id, members) - charge.limit
            free_in = partial(_members_free_in, db, window_id, members, charge.limit, now_ns)
        else:
            amount = wanted[window_id] = wanted.get(window_id, 0) + charge.amount
            over = taken + amount - charge.limit
            fits = amount <= charge.limit
            free_in = partial(_free_in, db, window_id, over, now_ns) if fits else _never
        if over > 0:
            refused.append(Refusal(charge.budget, charge.key, free_in()))
    if not refused:
        lease_ns = reservation.lease_ns
        lapses_ns = None if lease_ns is None else now_ns + lease_ns
        stands_until_ns = None
        if lapses_ns is not None:
            stands_until_ns = min((_leave_ns(lapses_ns, charge) for _, charge in units), default=None)
        for window_id, charge in units:
            leaves_ns = None if lapses_ns is None else _leave_ns(lapses_ns, charge)
            _take(db, window_id, reservation.id, charge, leaves_ns, stands_until_ns)
    return tuple(refused)


def _leave_ns(from_ns: int, charge: Charge) -> int:
    return _NEVER if charge.period_ns is None else min(from_ns + charge.period_ns, _NEVER)


def _take(
    db: sqlite3.Connection,
    window_id: int,
    reservation_id: str,
    charge: Charge,
    leaves_ns: int | None,
    stands_until_ns: int | None,
) -> None:
    amount = 0 if charge.members else charge.amount
    made = db.execute(
        "INSERT INTO unit (window_id, reservation, amount, leaves_ns, stands_until_ns)"
        " VALUES (?, ?, ?, ?, ?)",
        (window_id, reservation_id, amount, leaves_ns, stands_until_ns),
    )
    if charge.members:
        last_ns = _NEVER if leaves_ns is None else leaves_ns
        db.executemany(
            "INSERT INTO touch (unit_id, member, window_id, leaves_ns) VALUES (?, ?, ?, ?)",
            [(made.lastrowid, member, window_id, last_ns) for member in set(charge.members)],
        )


def _at(db: sqlite3.Connection, now_ns: int) -> int:
    """Return the moment to decide at: the largest time seen in the store stays."""
    if db.execute("UPDATE clock SET latest_ns = ? WHERE latest_ns < ?", (now_ns, now_ns)).rowcount:
        return now_ns
    latest_ns: int = db.execute("SELECT latest_ns FROM clock").fetchone()[0]
    return latest_ns


def _doubted(db: sqlite3.Connection, now_ns: int, wall_ns: int) -> None:
    """Give up a time that lies more than a day ahead of what the guard and the host both say.

    What is in a window then counts as taken now: nothing leaves before a whole period has gone by.
    """
    (latest_ns,) = db.execute("SELECT latest_ns FROM clock").fetchone()
    if latest_ns - now_ns <= _FORGIVEN_NS or abs(wall_ns - now_ns) > _AGREED_NS:
        return
    db.execute("UPDATE clock SET latest_ns = ?", (now_ns,))
    db.execute(
        f"UPDATE unit SET leaves_ns = ? + {_PERIOD_NS} WHERE leaves_ns < ? AND leaves_ns > ? + {_PERIOD_NS}",
        (now_ns, _NEVER, now_ns),
    )
    # When a lease ends cannot be told any more: it has ended.
    db.execute("UPDATE unit SET stands_until_ns = ? WHERE stands_until_ns > ?", (now_ns, now_ns))


def _window(db: sqlite3.Connection, charge: Charge, now_ns: int) -> tuple[int, int]:
    """Return the window's id, and what it holds once all that left it is gone."""
    period_ns = _NEVER if charge.period_ns is None else min(charge.period_ns, _NEVER)
    name = (charge.budget, charge.key, period_ns)
    # A charge at time t leaves at t + period: the window is half open.
    left = "EXISTS (SELECT 1 FROM unit WHERE window_id = budget_window.id AND leaves_ns <= ?)"
    find = f"SELECT id, taken, {left} FROM budget_window WHERE budget = ? AND key = ? AND period_ns = ?"
    found = db.execute(find, (now_ns, *name)).fetchone()
    if found is None:
        made = db.execute("INSERT INTO budget_window (budget, key, period_ns) VALUES (?, ?, ?)", name)
        assert made.lastrowid is not None
        return made.lastrowid, 0
    window_id, taken, some_left = found
    if some_left:
        db.execute("DELETE FROM unit WHERE window_id = ? AND leaves_ns <= ?", (window_id, now_ns))
        (taken,) = db.execute("SELECT taken FROM budget_window WHERE id = ?", (window_id,)).fetchone()
    return window_id, taken


def _never() -> None:
    """Return that no waiting helps."""


def _free_in(db: sqlite3.Connection, window_id: int, over: int, now_ns: int) -> int | None:
    """Return in how many nanoseconds `over` units will have left; None if that cannot be told."""
    leaving = db.execute(
        "SELECT amount, leaves_ns FROM unit WHERE window_id = ? AND leaves_ns < ? ORDER BY leaves_ns",
        (window_id, _NEVER),
    )
    for amount, leaves_ns in leaving:
        over -= amount
        if over <= 0:
            return int(leaves_ns - now_ns)
    return None


def _fresh(db: sqlite3.Connection, window_id: int, members: set[str]) -> int:
    """Return how many of the members are not in the window."""
    find = "SELECT 1 FROM member WHERE window_id = ? AND member = ?"
    return sum(db.execute(find, (window_id, member)).fetchone() is None for member in members)


def _members_free_in(
    db: sqlite3.Connection, window_id: int, wanted: set[str], limit: int, now_ns: int
) -> int | None:
    """Return in how many nanoseconds enough other members will have left; None if that cannot be told."""
    last = (
        "SELECT max(leaves_ns) FROM touch"
        " WHERE touch.window_id = member.window_id AND touch.member = member.member"
    )
    found = db.execute(f"SELECT member, ({last}) FROM member WHERE window_id = ?", (window_id,))
    others = sorted(leaves_ns for member, leaves_ns in found if member not in wanted)
    over = len(others) + len(wanted) - limit
    if not 0 < over <= len(others) or others[over - 1] == _NEVER:
        return None
    return int(others[over - 1] - now_ns)


def _dispatched(db: sqlite3.Connection, reservation_id: str, now_ns: int) -> bool:
    now_ns = _at(db, now_ns)
    _, until_ns = _found(db, reservation_id, now_ns)
    stands = until_ns > now_ns
    if stands:
        unstamped = "reservation = ? AND (leaves_ns IS NULL OR stands_until_ns IS NOT NULL)"
        _stamp(db, unstamped, (reservation_id,), now_ns)
    return stands


def _settle(db: sqlite3.Connection, ids: tuple[str, str], now_ns: int) -> None:
    """Stamp what is held; what a lease has ended already leaves when it says."""
    now_ns = _at(db, now_ns)
    held = (
        "reservation >= ? AND reservation < ? AND"
        f" (leaves_ns IS NULL OR (stands_until_ns IS NOT NULL AND leaves_ns - {_PERIOD_NS} > ?))"
    )
    _stamp(db, held, (*ids, now_ns), now_ns)


def _give_back(db: sqlite3.Connection, reservation_id: str) -> None:
    db.execute("DELETE FROM unit WHERE reservation = ?", (reservation_id,)).close()


def _found(db: sqlite3.Connection, reservation_id: str, now_ns: int) -> tuple[int, int]:
    """Return how many units there are of a reservation, and until when it stands.

    It stands if it was dispatched and counts, or may be dispatched: then it left no window yet.
    """
    counts = "CASE WHEN leaves_ns IS NULL OR leaves_ns > ? THEN coalesce(stands_until_ns, ?) END"
    found = f"SELECT count(*), coalesce(max({counts}), 0) FROM unit WHERE reservation = ?"
    units, until_ns = db.execute(found, (now_ns, _NEVER, reservation_id)).fetchone()
    return units, until_ns


def _stamp(db: sqlite3.Connection, which: str, values: tuple[str | int, ...], now_ns: int) -> None:
    left_ns = _NEVER - now_ns
    db.execute(
        f"UPDATE unit SET stands_until_ns = NULL, leaves_ns = "
        f"CASE WHEN {_PERIOD_NS} < ? THEN {_PERIOD_NS} + ? ELSE ? END WHERE {which}",
        (left_ns, now_ns, _NEVER, *values),
    )


def _sweep(db: sqlite3.Connection, now_ns: int) -> None:
    """Forget what left every window, and the windows that nothing is in."""
    db.execute(
        "DELETE FROM unit WHERE id IN (SELECT id FROM unit WHERE leaves_ns <= ? LIMIT ?)",
        (now_ns, _SWEPT_AT_ONCE),
    )
    db.execute(
        "DELETE FROM budget_window WHERE taken = 0 "
        "AND NOT EXISTS (SELECT 1 FROM unit WHERE window_id = budget_window.id)"
    )
