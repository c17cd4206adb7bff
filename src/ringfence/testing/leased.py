"""What every ledger must do with reservations that are held under a lease: part of `LedgerContract`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from ringfence.engine.decision.calls import Charge, Refusal
from ringfence.engine.seams.ports import Ledger, Reservation
from ringfence.testing.stores import MINUTE_NS, NOW_NS, StoreContract

_LEASE_NS = MINUTE_NS // 2
_LAPSED_NS = NOW_NS + _LEASE_NS
_GONE_NS = _LAPSED_NS + MINUTE_NS
"""When a unit leaves a window of a minute that was reserved at `NOW_NS` and never stamped."""


def charge(
    limit: int,
    amount: int = 1,
    *,
    budget: str = "mail",
    key: str = "alice",
    period_ns: int | None = MINUTE_NS,
) -> Charge:
    """Return a charge of a budget per minute."""
    return Charge(budget, key, amount, limit, period_ns)


def touch(
    limit: int,
    *members: str,
    budget: str = "recipients",
    key: str = "",
    period_ns: int | None = MINUTE_NS,
) -> Charge:
    """Return a charge of a blast radius per minute: these members, of which `limit` may differ."""
    return Charge(budget, key, len(members), limit, period_ns, members)


class LedgerSubject(StoreContract):
    """A ledger under test."""

    tick_ns: ClassVar[int] = 1
    """The smallest step of time that the ledger tells apart: 1000 where it counts microseconds."""

    @asynccontextmanager
    async def ledger(self, folder: Path) -> AsyncIterator[Ledger]:
        """Open a store and give its ledger."""
        async with self.opened(folder) as store:
            assert store.ledger is not None
            yield store.ledger

    async def _spend(self, ledger: Ledger, name: str, at_ns: int, *charges: Charge) -> tuple[Refusal, ...]:
        refused = await ledger.reserve(Reservation(name, charges), now_ns=at_ns)
        if not refused:
            await ledger.dispatched(name, now_ns=at_ns)
        return refused

    async def _hold(self, ledger: Ledger, name: str, *charges: Charge) -> None:
        held = Reservation(name, charges, lease_ns=_LEASE_NS)
        assert await ledger.reserve(held, now_ns=NOW_NS) == ()


@pytest.mark.asyncio
class LeasedContract(LedgerSubject):
    """A lease that runs out is a dispatch at that moment, unless the holder says more in time."""

    async def test_a_lapsed_lease_is_kept_as_if_dispatched_at_that_moment(self, folder: Path) -> None:
        """It leaves one period after its lease, and not a tick before; the refusals say so from the start."""
        async with self.ledger(folder) as ledger:
            await self._hold(ledger, "r/1", charge(1))
            for at_ns in (NOW_NS, _LAPSED_NS, _GONE_NS - self.tick_ns):
                refused = await self._spend(ledger, "r/2", at_ns, charge(1))
                assert refused == (Refusal("mail", "alice", _GONE_NS - at_ns),)
            assert await self._spend(ledger, "r/2", _GONE_NS, charge(1)) == ()
            assert await self._spend(ledger, "r/3", _GONE_NS, charge(1)) != ()

    async def test_a_dispatch_within_the_lease_is_stamped_as_any(self, folder: Path) -> None:
        """Its period begins at the dispatch, though the lease would have ended later."""
        async with self.ledger(folder) as ledger:
            await self._hold(ledger, "r/1", charge(1), touch(1, "a"))
            at_ns = NOW_NS + self.tick_ns
            assert await ledger.dispatched("r/1", now_ns=at_ns)
            assert await ledger.dispatched("r/1", now_ns=at_ns + self.tick_ns)
            refused = await self._spend(ledger, "r/2", at_ns, charge(1), touch(1, "b"))
            assert [refusal.free_ns for refusal in refused] == [
                MINUTE_NS - self.tick_ns,
                MINUTE_NS - self.tick_ns,
            ]
            assert await self._spend(ledger, "r/2", at_ns + MINUTE_NS, charge(1), touch(1, "b")) == ()
            assert not await ledger.dispatched("r/1", now_ns=at_ns + MINUTE_NS)

    async def test_a_lapsed_one_that_still_counts_is_stamped_anew(self, folder: Path) -> None:
        """Once: from then on it is dispatched, and stamping it again changes nothing."""
        async with self.ledger(folder) as ledger:
            await self._hold(ledger, "r/1", charge(1), touch(1, "a"))
            late = _GONE_NS - self.tick_ns
            assert await ledger.dispatched("r/1", now_ns=late)
            assert await ledger.dispatched("r/1", now_ns=late + self.tick_ns)
            refused = await self._spend(ledger, "r/2", _GONE_NS, charge(1), touch(1, "b"))
            free_ns = MINUTE_NS - self.tick_ns
            assert [refusal.free_ns for refusal in refused] == [free_ns, free_ns]
            assert await self._spend(ledger, "r/2", late + MINUTE_NS, charge(1), touch(1, "b")) == ()

    async def test_one_that_has_left_is_dispatched_no_more(self, folder: Path) -> None:
        """Neither is one that was given back, refused, or never reserved; asked anew, it is charged anew."""
        async with self.ledger(folder) as ledger:
            await self._hold(ledger, "r/1", charge(1))
            assert not await ledger.dispatched("r/1", now_ns=_GONE_NS)
            assert not await ledger.dispatched("r/unknown", now_ns=_GONE_NS)
            assert await self._spend(ledger, "r/2", _GONE_NS, charge(1)) == ()
            assert await ledger.reserve(Reservation("r/1", (charge(1),)), now_ns=_GONE_NS) != ()
            assert not await ledger.dispatched("r/1", now_ns=_GONE_NS)
            await ledger.refund("r/2")
            assert not await ledger.dispatched("r/2", now_ns=_GONE_NS)
            assert await self._spend(ledger, "r/1", _GONE_NS, charge(1)) == ()
            assert await self._spend(ledger, "r/3", _GONE_NS, charge(1)) != ()

    async def test_one_that_has_left_one_of_its_windows_stands_no_more(self, folder: Path) -> None:
        """What is left of it counts on until its owner asks again: then that is given back for it."""
        async with self.ledger(folder) as ledger:
            hour = charge(1, budget="hour", period_ns=60 * MINUTE_NS)
            blast = touch(1, "a", period_ns=60 * MINUTE_NS)
            both = (hour, charge(1), blast)
            await self._hold(ledger, "r/1", *both)
            assert await self._spend(ledger, "r/2", _GONE_NS, charge(1)) == ()
            assert not await ledger.dispatched("r/1", now_ns=_GONE_NS)
            refused = await self._spend(
                ledger, "r/3", _GONE_NS, hour, touch(1, "b", period_ns=60 * MINUTE_NS)
            )
            assert [refusal.free_ns for refusal in refused] == [59 * MINUTE_NS, 59 * MINUTE_NS]
            again = Reservation("r/1", both)
            assert [r.budget for r in await ledger.reserve(again, now_ns=_GONE_NS)] == ["mail"]
            assert await self._spend(ledger, "r/3", _GONE_NS, hour, blast) == ()

    async def test_reserving_again_neither_charges_nor_prolongs(self, folder: Path) -> None:
        """While it is held and when it has lapsed: the lease goes on from the first time."""
        async with self.ledger(folder) as ledger:
            await self._hold(ledger, "r/1", charge(2), touch(2, "a"))
            same = Reservation("r/1", (charge(2), touch(2, "a")), lease_ns=_LEASE_NS)
            for at_ns in (NOW_NS, _LAPSED_NS - self.tick_ns, _LAPSED_NS):
                assert await ledger.reserve(same, now_ns=at_ns) == ()
            assert await self._spend(ledger, "r/2", _LAPSED_NS, charge(2), touch(2, "b")) == ()
            refused = await self._spend(ledger, "r/3", _LAPSED_NS, charge(2), touch(2, "c"))
            assert [refusal.free_ns for refusal in refused] == [MINUTE_NS, MINUTE_NS]
            assert await self._spend(ledger, "r/3", _GONE_NS, charge(2), touch(2, "c")) == ()

    async def test_a_refund_gives_a_lapsed_one_back(self, folder: Path) -> None:
        """Held, or lapsed and still counting: once; after it left: nothing."""
        async with self.ledger(folder) as ledger:
            for at_ns in (NOW_NS, _LAPSED_NS, _GONE_NS - self.tick_ns):
                name = f"r/{at_ns}"
                held = Reservation(name, (charge(1), touch(1, name)), lease_ns=_LEASE_NS)
                assert await ledger.reserve(held, now_ns=at_ns) == ()
                await ledger.refund(name)
            await ledger.refund(f"r/{NOW_NS}")
            at_ns = _GONE_NS
            held = Reservation("r/1", (charge(1), touch(1, "a")), lease_ns=_LEASE_NS)
            assert await ledger.reserve(held, now_ns=at_ns) == ()
            lapsed_ns = at_ns + _LEASE_NS + self.tick_ns
            assert await self._spend(ledger, "r/2", lapsed_ns, charge(1)) != ()
            await ledger.refund("r/1")
            assert await self._spend(ledger, "r/2", lapsed_ns, charge(1), touch(1, "b")) == ()
            await ledger.refund("r/1")
            assert await self._spend(ledger, "r/3", lapsed_ns, charge(1)) != ()
            assert await self._spend(ledger, "r/3", lapsed_ns, touch(1, "c")) != ()

    async def test_a_refund_of_a_lapsed_one_that_left_gives_nothing(self, folder: Path) -> None:
        """No window goes below what it holds."""
        async with self.ledger(folder) as ledger:
            await self._hold(ledger, "r/1", charge(1), touch(1, "a"))
            assert await self._spend(ledger, "r/2", _GONE_NS, charge(1), touch(1, "a")) == ()
            await ledger.refund("r/1")
            assert len(await self._spend(ledger, "r/3", _GONE_NS, charge(1), touch(1, "b"))) == 2

    async def test_a_killed_run_s_leases_end_and_those_that_ended_stay_ended(self, folder: Path) -> None:
        """What it holds is stamped; what has lapsed leaves when it would have."""
        async with self.ledger(folder) as ledger:
            await self._hold(ledger, "r/1", charge(1), touch(1, "a"))
            held = Reservation("r/2", (charge(1, key="b"), touch(1, "b", key="b")), lease_ns=MINUTE_NS)
            assert await ledger.reserve(held, now_ns=NOW_NS) == ()
            await ledger.settle("r", now_ns=_LAPSED_NS + self.tick_ns)
            left_ns = {}
            for key, member in (("alice", ""), ("b", "b")):
                asked = (charge(1, key=key), touch(1, "c", key=member))
                refused = await self._spend(ledger, "x/1", _LAPSED_NS + self.tick_ns, *asked)
                left_ns[key] = [refusal.free_ns for refusal in refused]
            early = MINUTE_NS - self.tick_ns
            assert left_ns == {"alice": [early, early], "b": [MINUTE_NS, MINUTE_NS]}

    async def test_a_budget_without_a_period_keeps_what_lapsed_for_ever(self, folder: Path) -> None:
        """It can be dispatched however late, and given back."""
        async with self.ledger(folder) as ledger:
            asked = (charge(1, period_ns=None), touch(1, "a", period_ns=None))
            await self._hold(ledger, "r/1", *asked)
            late = NOW_NS + 100 * MINUTE_NS
            for dispatched in (False, True):
                refused = await self._spend(ledger, "r/2", late, asked[0], touch(1, "b", period_ns=None))
                assert [refusal.free_ns for refusal in refused] == [None, None]
                assert dispatched or await ledger.dispatched("r/1", now_ns=late)
            await ledger.refund("r/1")
            assert await self._spend(ledger, "r/2", late, *asked) == ()

    async def test_a_refusal_waits_for_the_first_that_make_room(self, folder: Path) -> None:
        """Whether stamped or held under a lease; one that is held without end tells no time."""
        async with self.ledger(folder) as ledger:
            await self._hold(ledger, "r/1", charge(3), touch(3, "a"))
            assert await self._spend(ledger, "r/2", NOW_NS, charge(3), touch(3, "b")) == ()
            endless = Reservation("r/3", (charge(3), touch(3, "c")))
            assert await ledger.reserve(endless, now_ns=NOW_NS) == ()
            for amount, free_ns in ((1, MINUTE_NS), (2, MINUTE_NS + _LEASE_NS), (3, None)):
                members = [f"m{number}" for number in range(amount)]
                refused = await self._spend(ledger, "r/4", NOW_NS, charge(3, amount), touch(3, *members))
                assert [refusal.free_ns for refusal in refused] == [free_ns, free_ns]

    async def test_a_member_leaves_with_the_last_that_touched_it(self, folder: Path) -> None:
        """Under a lease or stamped, in whatever order; a refund takes back its own touch only."""
        async with self.ledger(folder) as ledger:
            await self._hold(ledger, "r/1", touch(1, "a"))
            assert await self._spend(ledger, "r/2", NOW_NS, touch(1, "a")) == ()
            (refusal,) = await self._spend(ledger, "r/3", NOW_NS, touch(1, "b"))
            assert refusal.free_ns == MINUTE_NS + _LEASE_NS
            await ledger.refund("r/1")
            (refusal,) = await self._spend(ledger, "r/3", NOW_NS, touch(1, "b"))
            assert refusal.free_ns == MINUTE_NS
            await self._hold(ledger, "r/1", touch(1, "a"))
            assert await self._spend(ledger, "r/4", NOW_NS + MINUTE_NS, touch(1, "a")) == ()
            (refusal,) = await self._spend(ledger, "r/3", _GONE_NS, touch(1, "b"))
            assert refusal.free_ns == 2 * MINUTE_NS - (_GONE_NS - NOW_NS)
