"""Budgets in Redis: exact sliding windows, one script per operation, over many hosts.

The server's clock is the time, in microseconds, and never steps back.  Amounts are exact up to 2^53; what is
larger never fits.
"""

import hashlib
from base64 import urlsafe_b64encode
from typing import Final

from ringfence.plugin import Charge, Refusal, Reservation
from ringfence.plugins.redis.door import Door, Word
from ringfence.plugins.redis.server import Watch

MOST: Final = 2**53
"""The largest whole number up to which doubles are exact: Lua knows no others."""

_ENDLESS_US: Final = 2**52
"""Periods and leases from 142 years on have no end: their sum with the time would not be exact."""


class RedisLedger:
    """A `Ledger`; whoever asks again after a time-out is charged once."""

    def __init__(self, door: Door, *, linger_s: float, callers_clock: bool) -> None:
        self._door = door
        self._watch = Watch(door)
        self._linger_ms = round(linger_s * 1000)
        self._callers_clock = callers_clock

    async def reserve(self, reservation: Reservation, *, now_ns: int) -> tuple[Refusal, ...]:
        """Reserve all charges, or none and say which had no room."""
        await self._watch.look()
        charges = reservation.charges
        words: list[Word] = [reservation.id, _us(reservation.lease_ns), len(charges)]
        for charge in charges:
            words += _charge(charge)
        found = await self._run("reserve", now_ns, *words)
        return tuple(
            Refusal(charges[place].budget, charges[place].key, None if free_us < 0 else free_us * 1000)
            for place, free_us in zip(found[::2], found[1::2], strict=True)
        )

    async def dispatched(self, reservation_id: str, *, now_ns: int) -> bool:
        """Stamp a held reservation with the moment of its dispatch; False if it stands no more."""
        (stands,) = await self._run("dispatched", now_ns, reservation_id)
        return stands == 1

    async def settle(self, run: str, *, now_ns: int) -> None:
        """Stamp all that the run still holds: its fate is unknown, so it is kept."""
        await self._run("settle", now_ns, run)

    async def refund(self, reservation_id: str) -> None:
        """Give a reservation back; unknown or already given back: nothing happens."""
        await self._run("refund", 0, reservation_id)

    async def _run(self, name: str, now_ns: int, *words: Word) -> list[int]:
        """Run a script; at the callers' time, if that is the time: rounded down to look, up to stamp."""
        times = (now_ns // 1000, -(-now_ns // 1000)) if self._callers_clock else (-1, -1)
        return await self._door.run(("windows", name), *times, self._linger_ms, *words)


def _charge(charge: Charge) -> list[Word]:
    period_us = _us(charge.period_ns)
    fits = 0 <= charge.amount <= MOST
    limit = max(-1, min(charge.limit, MOST))
    window = _window(charge, period_us)
    if not charge.members:
        return [window, period_us, limit, charge.amount if fits else -1, -1]
    if not fits:
        return [window, period_us, limit, -1, 0]
    return [window, period_us, limit, 0, len(charge.members), *charge.members]


def _us(span_ns: int | None) -> int:
    """Return a time span in microseconds, rounded up; -1 for one without end."""
    if span_ns is None:
        return -1
    span_us = max(0, -(-span_ns // 1000))
    return span_us if span_us < _ENDLESS_US else -1


def _window(charge: Charge, period_us: int) -> str:
    """Return a short name that no other window has: keys may be long, and people's names."""
    kind = "members" if charge.members else "amounts"
    said = b"\0".join(
        part.encode("utf-8", "surrogatepass").replace(b"\1", b"\1\1").replace(b"\0", b"\1\2")
        for part in (kind, str(period_us), charge.budget, charge.key)
    )
    return urlsafe_b64encode(hashlib.sha256(said).digest()[:18]).decode()
