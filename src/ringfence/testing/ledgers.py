"""What every ledger must do: subclass `LedgerContract`, as said in `ringfence.testing.stores`."""

import asyncio
from pathlib import Path

import pytest

from ringfence.engine.decision.calls import Refusal
from ringfence.engine.seams.ports import Reservation
from ringfence.testing.leased import LeasedContract, charge, touch
from ringfence.testing.stores import MINUTE_NS, NOW_NS


@pytest.mark.asyncio
class LedgerContract(LeasedContract):
    """A ledger: exact sliding windows, all charges of a call or none, time that never steps back.

    A ledger that goes by a clock of its own is made so that it takes the caller's, for these tests alone.
    """

    async def test_a_window_slides_exactly_and_is_half_open(self, folder: Path) -> None:
        """A charge at time t leaves at t + period, not a nanosecond before."""
        async with self.ledger(folder) as ledger:
            for number in range(3):
                assert (
                    await self._spend(ledger, f"r/{number}", NOW_NS + number * self.tick_ns, charge(3)) == ()
                )
            almost = NOW_NS + MINUTE_NS - self.tick_ns
            assert await self._spend(ledger, "r/3", almost, charge(3)) == (
                Refusal("mail", "alice", self.tick_ns),
            )
            assert await self._spend(ledger, "r/3", NOW_NS + MINUTE_NS, charge(3)) == ()
            assert await self._spend(ledger, "r/4", NOW_NS + MINUTE_NS, charge(3)) != ()

    async def test_keys_and_budgets_do_not_touch_each_other(self, folder: Path) -> None:
        """One window per budget and key."""
        async with self.ledger(folder) as ledger:
            for name, each in (
                ("r/1", charge(1)),
                ("r/2", charge(1, key="bob")),
                ("r/3", charge(1, budget="web")),
                ("r/4", charge(1, key="")),
            ):
                assert await self._spend(ledger, name, NOW_NS, each) == ()
            assert await self._spend(ledger, "r/5", NOW_NS, charge(1)) != ()

    async def test_all_charges_are_reserved_or_none(self, folder: Path) -> None:
        """Every budget without room is named; the others stay as they were."""
        async with self.ledger(folder) as ledger:
            await self._spend(ledger, "r/1", NOW_NS, charge(1))
            both = (charge(1), charge(1, budget="web"), charge(0, budget="zero"))
            assert [r.budget for r in await self._spend(ledger, "r/2", NOW_NS, *both)] == ["mail", "zero"]
            assert await self._spend(ledger, "r/3", NOW_NS, charge(1, budget="web")) == ()

    async def test_reserving_again_is_the_same_reservation(self, folder: Path) -> None:
        """Held or dispatched: it answers as before and charges nothing."""
        async with self.ledger(folder) as ledger:
            for _ in range(3):
                assert await ledger.reserve(Reservation("r/1", (charge(2),)), now_ns=NOW_NS) == ()
            await ledger.dispatched("r/1", now_ns=NOW_NS)
            assert await ledger.reserve(Reservation("r/1", (charge(2),)), now_ns=NOW_NS) == ()
            assert await self._spend(ledger, "r/2", NOW_NS, charge(2)) == ()
            assert await self._spend(ledger, "r/3", NOW_NS, charge(2)) != ()

    async def test_a_refused_reservation_holds_nothing(self, folder: Path) -> None:
        """It is asked anew, and its dispatch or refund means nothing."""
        async with self.ledger(folder) as ledger:
            await self._spend(ledger, "r/1", NOW_NS, charge(1))
            assert await ledger.reserve(Reservation("r/2", (charge(1),)), now_ns=NOW_NS) != ()
            await ledger.dispatched("r/2", now_ns=NOW_NS)
            await ledger.refund("r/2")
            assert await self._spend(ledger, "r/2", NOW_NS + MINUTE_NS, charge(1)) == ()

    async def test_a_held_reservation_counts_until_it_is_stamped_at_dispatch(self, folder: Path) -> None:
        """However long it is held; its period begins at the dispatch."""
        async with self.ledger(folder) as ledger:
            await ledger.reserve(Reservation("r/1", (charge(1),)), now_ns=NOW_NS)
            later = NOW_NS + 100 * MINUTE_NS
            assert await self._spend(ledger, "r/2", later, charge(1)) == (Refusal("mail", "alice", None),)
            await ledger.dispatched("r/1", now_ns=later)
            await ledger.dispatched("r/1", now_ns=later + 5 * self.tick_ns)
            refused = await self._spend(ledger, "r/2", later + 10 * self.tick_ns, charge(1))
            assert refused == (Refusal("mail", "alice", MINUTE_NS - 10 * self.tick_ns),)
            assert await self._spend(ledger, "r/2", later + MINUTE_NS, charge(1)) == ()

    async def test_a_refund_gives_back_once(self, folder: Path) -> None:
        """Held or dispatched; again, or unknown: nothing happens."""
        async with self.ledger(folder) as ledger:
            for dispatch in (False, True):
                await ledger.reserve(Reservation("r/1", (charge(2, 2),)), now_ns=NOW_NS)
                if dispatch:
                    await ledger.dispatched("r/1", now_ns=NOW_NS)
                for _ in range(2):
                    await ledger.refund("r/1")
                await ledger.refund("r/unknown")
            assert await self._spend(ledger, "r/2", NOW_NS, charge(2, 2)) == ()
            assert await self._spend(ledger, "r/3", NOW_NS, charge(2)) != ()

    async def test_a_refund_of_what_left_its_window_gives_nothing(self, folder: Path) -> None:
        """No window goes below what it holds."""
        async with self.ledger(folder) as ledger:
            await self._spend(ledger, "r/1", NOW_NS, charge(1))
            assert await self._spend(ledger, "r/2", NOW_NS + MINUTE_NS, charge(1)) == ()
            await ledger.refund("r/1")
            assert await self._spend(ledger, "r/3", NOW_NS + MINUTE_NS, charge(1)) != ()

    async def test_a_clock_that_steps_back_opens_no_window(self, folder: Path) -> None:
        """The largest time seen stays, for reservations and for dispatches."""
        async with self.ledger(folder) as ledger:
            await self._spend(ledger, "r/1", NOW_NS, charge(1))
            early = NOW_NS - 10 * MINUTE_NS
            refused = await self._spend(ledger, "r/2", early, charge(1))
            assert refused == (Refusal("mail", "alice", MINUTE_NS),)
            await ledger.reserve(Reservation("r/3", (charge(1, key="bob"),)), now_ns=early)
            await ledger.dispatched("r/3", now_ns=early)
            assert (
                await self._spend(ledger, "r/4", NOW_NS + MINUTE_NS - self.tick_ns, charge(1, key="bob"))
                != ()
            )

    async def test_amounts_count_and_one_that_never_fits_says_so(self, folder: Path) -> None:
        """`free_ns` is None where no waiting helps; a negative amount is refused."""
        async with self.ledger(folder) as ledger:
            assert await self._spend(ledger, "r/1", NOW_NS, charge(10, 4)) == ()
            assert await self._spend(ledger, "r/2", NOW_NS + 5 * self.tick_ns, charge(10, 6)) == ()
            refused = await self._spend(ledger, "r/3", NOW_NS + 5 * self.tick_ns, charge(10, 5))
            assert refused == (Refusal("mail", "alice", MINUTE_NS),)
            assert await self._spend(ledger, "r/4", NOW_NS + 5 * self.tick_ns, charge(10, 11)) == (
                Refusal("mail", "alice", None),
            )
            assert await self._spend(ledger, "r/5", NOW_NS + 5 * self.tick_ns, charge(10, -1)) != ()
            assert await self._spend(ledger, "r/6", NOW_NS + 5 * self.tick_ns, charge(10, 0)) == ()

    async def test_two_charges_of_one_window_add_up(self, folder: Path) -> None:
        """A call cannot pass a limit by naming its budget twice."""
        async with self.ledger(folder) as ledger:
            assert await self._spend(ledger, "r/1", NOW_NS, charge(3, 2), charge(3, 2)) != ()
            assert await self._spend(ledger, "r/2", NOW_NS, charge(3, 2), charge(3, 1)) == ()

    async def test_a_budget_without_a_period_never_frees(self, folder: Path) -> None:
        """What is taken stays taken, unless it is given back."""
        async with self.ledger(folder) as ledger:
            forever = charge(1, period_ns=None)
            assert await self._spend(ledger, "r/1", NOW_NS, forever) == ()
            assert await self._spend(ledger, "r/2", NOW_NS * 2, forever) == (Refusal("mail", "alice", None),)
            await ledger.refund("r/1")
            assert await self._spend(ledger, "r/3", NOW_NS * 2, forever) == ()

    async def test_what_a_killed_run_holds_is_kept_and_stamped(self, folder: Path) -> None:
        """Its fate is unknown; other runs are left alone, also those with a similar name."""
        async with self.ledger(folder) as ledger:
            for name, key in (("r/1", "a"), ("r/2", "b"), ("r0/1", "c"), ("r-/1", "d"), ("R/1", "e")):
                await ledger.reserve(Reservation(name, (charge(1, key=key),)), now_ns=NOW_NS)
            await ledger.settle("r", now_ns=NOW_NS + 7 * self.tick_ns)
            free = {}
            for key in "abcde":
                (refusal,) = await self._spend(ledger, "x/1", NOW_NS + 7 * self.tick_ns, charge(1, key=key))
                free[key] = refusal.free_ns
            assert free == {"a": MINUTE_NS, "b": MINUTE_NS, "c": None, "d": None, "e": None}

    async def test_many_at_once_take_exactly_the_limit(self, folder: Path) -> None:
        """Fifty ask for ten."""
        async with self.ledger(folder) as ledger:
            asked = [
                self._spend(ledger, f"r/{number}", NOW_NS + number * self.tick_ns, charge(10))
                for number in range(50)
            ]
            assert [not refused for refused in await asyncio.gather(*asked)].count(True) == 10

    async def test_what_left_every_window_is_forgotten_without_a_trace(self, folder: Path) -> None:
        """After hundreds of calls the answers are those of an empty ledger."""
        async with self.ledger(folder) as ledger:
            for number in range(700):
                at_ns = NOW_NS + number * MINUTE_NS
                assert await self._spend(ledger, f"r/{number}", at_ns, charge(1, key=str(number % 7))) == ()
            assert await self._spend(ledger, "r/0", NOW_NS + 700 * MINUTE_NS, charge(1, key="0")) == ()

    # ---- blast radius: different members -------------------------------------------------------------

    async def test_only_different_members_count(self, folder: Path) -> None:
        """Touching one again takes no place, in the same call and in a later one."""
        async with self.ledger(folder) as ledger:
            assert await self._spend(ledger, "r/1", NOW_NS, touch(2, "a", "b", "a")) == ()
            assert await self._spend(ledger, "r/2", NOW_NS, touch(2, "b"), touch(2, "a", "b")) == ()
            assert await self._spend(ledger, "r/3", NOW_NS, touch(2, "a", "c")) == (
                Refusal("recipients", "", MINUTE_NS),
            )
            assert await self._spend(ledger, "r/4", NOW_NS, touch(2)) == ()
            assert await self._spend(ledger, "r/5", NOW_NS, touch(2, "c", key="w1")) == ()
            assert await self._spend(ledger, "r/6", NOW_NS, touch(2, "c", budget="accounts")) == ()

    async def test_more_members_than_the_limit_never_fit(self, folder: Path) -> None:
        """No waiting helps, also where two charges of one call name them."""
        async with self.ledger(folder) as ledger:
            never = (Refusal("recipients", "", None),)
            assert await self._spend(ledger, "r/1", NOW_NS, touch(2, "a", "b", "c")) == never
            assert await self._spend(ledger, "r/2", NOW_NS, touch(2, "a", "b"), touch(2, "c")) == never
            assert await self._spend(ledger, "r/3", NOW_NS, touch(0, "a")) == never
            assert await self._spend(ledger, "r/4", NOW_NS, touch(2, "a", "b")) == ()

    async def test_a_member_leaves_one_period_after_it_was_touched_last(self, folder: Path) -> None:
        """The window of members is half-open too; a touch renews the time of its members alone."""
        async with self.ledger(folder) as ledger:
            await self._spend(ledger, "r/1", NOW_NS, touch(2, "a", "b"))
            await self._spend(ledger, "r/2", NOW_NS + 10 * self.tick_ns, touch(2, "a"))
            almost = NOW_NS + MINUTE_NS - self.tick_ns
            assert await self._spend(ledger, "r/3", almost, touch(2, "c")) == (
                Refusal("recipients", "", self.tick_ns),
            )
            assert await self._spend(ledger, "r/3", almost + self.tick_ns, touch(2, "c")) == ()
            refused = await self._spend(ledger, "r/4", NOW_NS + MINUTE_NS, touch(2, "b"))
            assert refused == (Refusal("recipients", "", 10 * self.tick_ns),)
            assert (
                await self._spend(ledger, "r/4", NOW_NS + MINUTE_NS + 10 * self.tick_ns, touch(2, "b")) == ()
            )

    async def test_held_members_count_until_they_are_stamped_at_dispatch(self, folder: Path) -> None:
        """However long they are held, and though others touched them and left."""
        async with self.ledger(folder) as ledger:
            await ledger.reserve(Reservation("r/1", (touch(1, "a"),)), now_ns=NOW_NS)
            await self._spend(ledger, "r/2", NOW_NS, touch(1, "a"))
            later = NOW_NS + 100 * MINUTE_NS
            refused = await self._spend(ledger, "r/3", later, touch(1, "b"))
            assert refused == (Refusal("recipients", "", None),)
            await ledger.dispatched("r/1", now_ns=later)
            refused = await self._spend(ledger, "r/3", later + self.tick_ns, touch(1, "b"))
            assert refused == (Refusal("recipients", "", MINUTE_NS - self.tick_ns),)
            assert await self._spend(ledger, "r/3", later + MINUTE_NS, touch(1, "b")) == ()

    async def test_a_refund_takes_back_its_own_touches_alone(self, folder: Path) -> None:
        """A member that another call touched stays, for as long as that call's touch counts."""
        async with self.ledger(folder) as ledger:
            await self._spend(ledger, "r/1", NOW_NS, touch(2, "a"))
            await self._spend(ledger, "r/2", NOW_NS + 10 * self.tick_ns, touch(2, "a", "b"))
            for _ in range(2):
                await ledger.refund("r/2")
            assert await self._spend(ledger, "r/3", NOW_NS + 20 * self.tick_ns, touch(2, "c")) == ()
            refused = await self._spend(ledger, "r/4", NOW_NS + 20 * self.tick_ns, touch(2, "d"))
            assert refused == (Refusal("recipients", "", MINUTE_NS - 20 * self.tick_ns),)
            await ledger.refund("r/1")
            assert await self._spend(ledger, "r/4", NOW_NS + 20 * self.tick_ns, touch(2, "d")) == ()

    async def test_touches_that_left_their_window_are_not_taken_back(self, folder: Path) -> None:
        """No window goes below what it holds."""
        async with self.ledger(folder) as ledger:
            await self._spend(ledger, "r/1", NOW_NS, touch(1, "a"))
            assert await self._spend(ledger, "r/2", NOW_NS + MINUTE_NS, touch(1, "a")) == ()
            await ledger.refund("r/1")
            assert await self._spend(ledger, "r/3", NOW_NS + MINUTE_NS, touch(1, "b")) != ()

    async def test_members_units_and_amounts_are_reserved_together_or_not_at_all(self, folder: Path) -> None:
        """A call that a blast radius refuses is charged to no rate either, and the other way round."""
        async with self.ledger(folder) as ledger:
            size = 3 * 2**50
            whole = charge(2**53, size, budget="bytes", key="w1")
            both = (whole, charge(2), touch(1, "a"))
            assert await self._spend(ledger, "r/1", NOW_NS, *both) == ()
            other = (whole, charge(2), touch(1, "b"))
            assert [r.budget for r in await self._spend(ledger, "r/2", NOW_NS, *other)] == ["recipients"]
            assert await self._spend(ledger, "r/3", NOW_NS, *both) == ()
            refused = await self._spend(ledger, "r/4", NOW_NS, whole, charge(2), touch(1, "b"))
            assert [r.budget for r in refused] == ["bytes", "mail", "recipients"]
            await ledger.refund("r/3")
            assert await self._spend(ledger, "r/5", NOW_NS, *both) == ()
            assert await self._spend(ledger, "r/6", NOW_NS, touch(1, "a")) == ()

    async def test_members_of_a_budget_without_a_period_never_leave(self, folder: Path) -> None:
        """Unless they are given back."""
        async with self.ledger(folder) as ledger:
            await self._spend(ledger, "r/1", NOW_NS, touch(1, "a", period_ns=None))
            other = touch(1, "b", period_ns=None)
            assert await self._spend(ledger, "r/2", NOW_NS * 2, other) == (Refusal("recipients", "", None),)
            await ledger.refund("r/1")
            assert await self._spend(ledger, "r/2", NOW_NS * 2, other) == ()

    async def test_reserving_members_again_is_the_same_reservation(self, folder: Path) -> None:
        """Given back once, it is gone."""
        async with self.ledger(folder) as ledger:
            for _ in range(3):
                assert await ledger.reserve(Reservation("r/1", (touch(1, "a"),)), now_ns=NOW_NS) == ()
            await ledger.refund("r/1")
            assert await self._spend(ledger, "r/2", NOW_NS, touch(1, "b")) == ()

    async def test_a_killed_run_keeps_the_members_that_it_holds(self, folder: Path) -> None:
        """Every reservation of its calls: `run/call`, and those that count attempts or successes."""
        async with self.ledger(folder) as ledger:
            for name, member in (("r/1", "a"), ("r/1/attempt", "b"), ("r/1/success", "c")):
                await ledger.reserve(Reservation(name, (touch(3, member),)), now_ns=NOW_NS)
            await ledger.settle("r", now_ns=NOW_NS + 7 * self.tick_ns)
            refused = await self._spend(ledger, "x/1", NOW_NS + 7 * self.tick_ns, touch(3, "d"))
            assert refused == (Refusal("recipients", "", MINUTE_NS),)

    async def test_many_at_once_touch_exactly_as_many_as_may_differ(self, folder: Path) -> None:
        """Fifty calls touch 25 members, of which ten may differ: both calls of each of the ten pass."""
        async with self.ledger(folder) as ledger:
            asked = [
                self._spend(
                    ledger, f"r/{number}", NOW_NS + number * self.tick_ns, touch(10, f"m{number % 25}")
                )
                for number in range(50)
            ]
            passed = [not refused for refused in await asyncio.gather(*asked)]
            assert passed.count(True) == 20
            assert passed[:25] == passed[25:]

    async def test_large_amounts_are_exact(self, folder: Path) -> None:
        """Up to 2^53 units of a budget, one more does not fit; no sum is rounded."""
        async with self.ledger(folder) as ledger:
            limit = 2**53
            assert await self._spend(ledger, "r/1", NOW_NS, charge(limit, limit - 1)) == ()
            assert await self._spend(ledger, "r/2", NOW_NS + self.tick_ns, charge(limit, 1)) == ()
            refused = await self._spend(ledger, "r/3", NOW_NS + 2 * self.tick_ns, charge(limit, 1))
            assert refused == (Refusal("mail", "alice", MINUTE_NS - 2 * self.tick_ns),)
            for hopeless in (limit + 1, 2**63, 2**200):
                refused = await self._spend(ledger, "r/3", NOW_NS + 2 * self.tick_ns, charge(limit, hopeless))
                assert refused == (Refusal("mail", "alice", None),)
