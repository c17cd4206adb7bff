"""Budgets in PostgreSQL: exact sliding windows, one transaction per reservation, over all hosts.

What is done stands in `budget_functions`: one round trip each.  The time is the server's, so a host whose
clock is wrong refills nothing.  If the server's clock steps back, time stands still in each window until the
clock is there again.
"""

from typing import Final

from ringfence.plugin import Charge, Refusal, Reservation
from ringfence.plugins.postgres.door import Door
from ringfence.plugins.postgres.names import kept, key

MOST: Final = 2**53
"""The largest amount of one charge."""

_CEILING: Final = 2**61
"""What is longer (73 years) or larger than this makes no difference any more."""

_SWEEP_EVERY: Final = 256
_SWEPT_AT_ONCE: Final = 1_000


class PostgresLedger:
    """A `Ledger` in one schema.

    Args:
        callers_clock: For tests: go by the callers' times instead of the server's, the largest one staying.
    """

    def __init__(self, door: Door, *, callers_clock: bool = False) -> None:
        self._door = door
        self._callers_clock = callers_clock
        self._latest_ns = 0
        self._until_sweep = _SWEEP_EVERY
        self._swept_to = 0

    async def reserve(self, reservation: Reservation, *, now_ns: int) -> tuple[Refusal, ...]:
        """Reserve all charges, or none and say which had no room."""
        at_ns = self._at(now_ns)
        self._until_sweep -= 1
        if self._until_sweep <= 0:
            self._until_sweep = _SWEEP_EVERY
            self._swept_to = await self._door.value(
                "SELECT {s}.sweep($1, $2, $3)", self._swept_to, _SWEPT_AT_ONCE, at_ns
            )
        charges = reservation.charges
        windows = {_window(charge): charge for charge in charges}
        names = sorted(windows)
        number_of = {name: number for number, name in enumerate(names, 1)}
        touched = [(_member(c, m), number) for number, c in enumerate(charges, 1) for m in set(c.members)]
        found = await self._door.ask(
            "SELECT * FROM {s}.reserve($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
            key(reservation.id),
            kept(reservation.id),
            None if reservation.lease_ns is None else min(reservation.lease_ns, _CEILING),
            at_ns,
            names,
            [kept(windows[name].budget) for name in names],
            [kept(windows[name].key) for name in names],
            [_period_ns(windows[name]) for name in names],
            [bool(windows[name].members) for name in names],
            [number_of[_window(charge)] for charge in charges],
            [charge.amount if charge.amount <= MOST else -1 for charge in charges],
            [max(min(charge.limit, _CEILING), -1) for charge in charges],
            [member for member, _ in touched],
            [number for _, number in touched],
        )
        return tuple(
            Refusal(charges[number - 1].budget, charges[number - 1].key, free_ns) for number, free_ns in found
        )

    async def dispatched(self, reservation_id: str, *, now_ns: int) -> bool:
        """Stamp a held reservation with the moment of its dispatch; False if it stands no more."""
        return bool(
            await self._door.value("SELECT {s}.dispatched($1, $2)", key(reservation_id), self._at(now_ns))
        )

    async def refund(self, reservation_id: str) -> None:
        """Give a reservation back; unknown or already given back: nothing happens."""
        await self._door.ask("SELECT {s}.refund($1)", key(reservation_id))

    async def settle(self, run: str, *, now_ns: int) -> None:
        """Stamp all that the run still holds: its fate is unknown, so it is kept."""
        await self._door.ask("SELECT {s}.settle($1, $2)", kept(f"{run}/"), self._at(now_ns))

    def _at(self, now_ns: int) -> int | None:
        """Return the moment to decide at; None: the server's."""
        if not self._callers_clock:
            return None
        self._latest_ns = max(self._latest_ns, now_ns)
        return self._latest_ns


def _window(charge: Charge) -> bytes:
    """Return the name of the charge's window; amounts and members of one budget are counted apart."""
    return key(charge.budget, charge.key, _period_ns(charge), bool(charge.members))


def _member(charge: Charge, member: str) -> bytes:
    """Return the name of a member in the charge's window: in another window it is another one."""
    return key(charge.budget, charge.key, _period_ns(charge), member)


def _period_ns(charge: Charge) -> int | None:
    period_ns = charge.period_ns
    return None if period_ns is None or period_ns > _CEILING else period_ns
