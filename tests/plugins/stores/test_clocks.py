"""Several processes on one ledger whose clocks do not agree."""

import sqlite3
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from ringfence.engine.decision.calls import Charge
from ringfence.engine.seams.ports import Reservation
from ringfence.plugins.sqlite import SqliteStore
from ringfence.plugins.sqlite.ledger import SqliteLedger

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
YEAR = 365 * 24 * HOUR
NOW = 1_795_000_000 * SECOND
LIMIT = 3


class Ledgers:
    """Store objects on one file, each as a process of its own with a host clock of its own."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ringfence.db"
        self.stores: list[SqliteStore] = []
        self.asked = 0

    async def process(self, wall_ns: int) -> SqliteLedger:
        store = SqliteStore(f"sqlite:///{self.path}")
        await store.open()
        self.stores.append(store)
        assert store.ledger is not None
        store.ledger._wall_ns = lambda: wall_ns
        return store.ledger

    async def spend(self, ledger: SqliteLedger, at_ns: int) -> bool:
        self.asked += 1
        name = f"r/{self.asked}"
        refused = await ledger.reserve(
            Reservation(name, (Charge("mail", "alice", 1, LIMIT, HOUR),)), now_ns=at_ns
        )
        if not refused:
            await ledger.dispatched(name, now_ns=at_ns)
        return not refused

    async def take(self, ledger: SqliteLedger, at_ns: int, tries: int = 5) -> int:
        return [await self.spend(ledger, at_ns) for _ in range(tries)].count(True)


@pytest.fixture
async def ledgers(tmp_path: Path) -> AsyncIterator[Ledgers]:
    made = Ledgers(tmp_path)
    yield made
    for store in made.stores:
        await store.close()


async def test_a_clock_an_hour_behind_refills_nothing(ledgers: Ledgers) -> None:
    right, behind = await ledgers.process(NOW), await ledgers.process(NOW - HOUR)
    assert await ledgers.take(right, NOW) == LIMIT
    for minute in range(0, 60, 7):
        at_ns = NOW + minute * 60 * SECOND
        assert await ledgers.take(behind, at_ns - HOUR) == 0
        assert await ledgers.take(right, at_ns) == 0
    assert await ledgers.take(right, NOW + HOUR) == LIMIT
    assert await ledgers.take(behind, NOW) == 0


async def test_a_clock_an_hour_ahead_lets_a_window_go_early_once_and_never_again(ledgers: Ledgers) -> None:
    right, ahead = await ledgers.process(NOW), await ledgers.process(NOW + HOUR)
    assert await ledgers.take(right, NOW) == LIMIT
    taken = 0
    for minute in range(0, 60, 7):
        at_ns = NOW + minute * 60 * SECOND
        taken += await ledgers.take(ahead, at_ns + HOUR)
        taken += await ledgers.take(right, at_ns)
    assert taken == LIMIT


async def test_a_clock_that_was_wrong_by_years_does_not_close_a_budget_for_ever(ledgers: Ledgers) -> None:
    wrong = await ledgers.process(NOW + 80 * YEAR)
    assert await ledgers.take(wrong, NOW + 80 * YEAR) == LIMIT
    right = await ledgers.process(NOW)
    assert await ledgers.take(right, NOW) == 0, "what was taken counts as taken now"
    assert await ledgers.take(right, NOW + HOUR - 1) == 0, "and for a whole period"
    assert await ledgers.take(right, NOW + HOUR) == LIMIT


async def test_a_clock_is_doubted_though_the_first_attempt_at_its_commit_was_undone(ledgers: Ledgers) -> None:
    wrong = await ledgers.process(NOW + YEAR)
    assert await ledgers.take(wrong, NOW + YEAR) == LIMIT
    right = await ledgers.process(NOW)
    door, gate = ledgers.stores[-1]._door, threading.Event()
    assert door is not None and door._writer is not None

    def wait(db: sqlite3.Connection) -> None:
        gate.wait(30)

    door._writer.put(wait)

    def fails(db: sqlite3.Connection) -> None:
        raise RuntimeError("another's mistake")

    one = Reservation("r/doubting", (Charge("other", "alice", 1, LIMIT, HOUR),))
    together = right.reserve_soon(one, now_ns=NOW), door.hand_over(fails)
    gate.set()
    assert together[0].result(30) == () and together[1].exception(30) is not None
    assert await ledgers.take(right, NOW + HOUR) == LIMIT, "the windows of a year ahead have been given up"


async def test_members_that_were_touched_under_a_wrong_clock_leave_after_a_whole_period(
    ledgers: Ledgers,
) -> None:
    def touch(member: str) -> Charge:
        return Charge("blast", "", 1, 1, HOUR, (member,))

    wrong = await ledgers.process(NOW + 80 * YEAR)
    assert await wrong.reserve(Reservation("r/1", (touch("a"),)), now_ns=NOW + 80 * YEAR) == ()
    await wrong.dispatched("r/1", now_ns=NOW + 80 * YEAR)
    right = await ledgers.process(NOW)
    (refused,) = await right.reserve(Reservation("r/2", (touch("b"),)), now_ns=NOW)
    assert refused.free_ns == HOUR
    assert await right.reserve(Reservation("r/2", (touch("b"),)), now_ns=NOW + HOUR) == ()


async def test_no_member_is_taken_for_another(ledgers: Ledgers) -> None:
    ledger = await ledgers.process(NOW)
    members = ("a", "A", "a ", "a\x00", "a\x00b", "1", "01", "1.0", "", "%", "_", "é", "e\u0301")
    charge = Charge("blast", "", len(members), len(members) - 1, HOUR, members)
    assert len(await ledger.reserve(Reservation("r/1", (charge,)), now_ns=NOW)) == 1
    assert await ledger.reserve(Reservation("r/1", (replace(charge, limit=len(members)),)), now_ns=NOW) == ()
    more = replace(charge, limit=len(members), members=("b",))
    assert len(await ledger.reserve(Reservation("r/2", (more,)), now_ns=NOW)) == 1


async def test_a_clock_that_alone_says_it_is_earlier_is_not_believed(ledgers: Ledgers) -> None:
    right = await ledgers.process(NOW)
    assert await ledgers.take(right, NOW) == LIMIT
    for host in (NOW, NOW + YEAR):
        behind = await ledgers.process(host)
        assert await ledgers.take(behind, NOW - 10 * YEAR) == 0
    assert await ledgers.take(right, NOW + HOUR - 1) == 0


async def test_two_processes_that_disagree_by_years_cannot_refill_by_taking_turns(ledgers: Ledgers) -> None:
    right, wrong = await ledgers.process(NOW), await ledgers.process(NOW + 80 * YEAR)
    taken = await ledgers.take(right, NOW)
    for _ in range(5):
        taken += await ledgers.take(wrong, NOW + 80 * YEAR)
        taken += await ledgers.take(right, NOW + 60 * SECOND)
    assert taken == 2 * LIMIT, "the window goes once, and is then full for both"


@pytest.mark.parametrize(
    "keys",
    [
        ["a", "A", "a ", "a\x00", "a\x00b", "1", "01", "1.0", "", "a/b", "a|b", "a:b", "é", "e\u0301"],
        ["' OR 1=1 --", "%", "_", "*", "a%", "a_", "x'61'", "NULL"],
    ],
)
async def test_no_key_is_taken_for_another(ledgers: Ledgers, keys: list[str]) -> None:
    ledger = await ledgers.process(NOW)
    for number, key in enumerate(keys):
        for budget in ("mail", f"mail{key}"):
            once = Reservation(f"r/{number}{budget}", (Charge(budget, key, 1, 1, HOUR),))
            assert await ledger.reserve(once, now_ns=NOW) == ()
            again = Reservation(f"s/{number}{budget}", (Charge(budget, key, 1, 1, HOUR),))
            assert len(await ledger.reserve(again, now_ns=NOW)) == 1
