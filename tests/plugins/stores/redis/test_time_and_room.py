"""The server's clock, which never steps back here; keys that vanish; processes that share a limit."""

import asyncio
import random
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from ringfence.plugin import Charge, Ledger, Refusal, Reservation
from ringfence.plugins.memory import MemoryStore
from ringfence.plugins.redis.ledger import MOST
from ringfence.plugins.redis.store import RedisStore
from ringfence.testing.leased import charge, touch
from tests.plugins.stores.redis.places import WAIT_S, keys, ledger_of, opened, prefix_of, said, until, url_of
from tests.services import Redis

SECOND = 10**9
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
NOW = 1_795_000_000 * SECOND

CHILD = """
import asyncio, sys
from ringfence.plugin import Charge, Reservation
from ringfence.plugins.redis.store import RedisStore

async def main():
    store = RedisStore(sys.argv[1])
    await store.open()
    print("ready", flush=True)
    sys.stdin.readline()

    async def spend(number):
        name = f"{sys.argv[2]}/{number}"
        rate = Charge("mail", "w1", 1, 10, 3600 * 10**9)
        touched = Charge("blast", "", 1, 25, 3600 * 10**9, (f"account {number}",))
        if await store.ledger.reserve(Reservation(name, (rate, touched)), now_ns=0):
            return False
        return await store.ledger.dispatched(name, now_ns=0)

    print(sum(await asyncio.gather(*(spend(number) for number in range(50)))), flush=True)
    await store.close()

asyncio.run(main())
"""


def test_processes_that_share_nothing_but_the_url_take_exactly_the_limit(
    redis_server: Redis, tmp_path: Path
) -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, url_of(redis_server, tmp_path), f"run-{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        granted = [int(child.communicate("go\n", timeout=WAIT_S)[0]) for child in _started(children)]
    finally:
        for child in children:
            child.kill()
            child.wait(WAIT_S)
    assert sum(granted) == 10


def _started(children: list["subprocess.Popen[str]"]) -> list["subprocess.Popen[str]"]:
    """Let all of them begin before one is waited for."""
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    return children


async def test_the_time_is_the_servers_and_not_the_callers(redis_server: Redis, tmp_path: Path) -> None:
    async with opened(RedisStore(url_of(redis_server, tmp_path))) as store:
        server_s = (await said(redis_server, "TIME"))[0]
        now_ns = await store.now_ns()
        assert now_ns is not None and 0 <= now_ns - int(server_s) * SECOND < HOUR
        ledger = ledger_of(store)
        assert await ledger.reserve(Reservation("r/1", (charge(1),)), now_ns=now_ns) == ()
        assert await ledger.dispatched("r/1", now_ns=now_ns + HOUR)
        (refused,) = await ledger.reserve(Reservation("r/2", (charge(1),)), now_ns=now_ns + 9 * HOUR)
        assert refused.free_ns is not None and 0 < refused.free_ns <= MINUTE


async def test_a_clock_that_steps_back_an_hour_opens_no_window(redis_server: Redis, tmp_path: Path) -> None:
    hourly = charge(1, period_ns=HOUR)
    async with opened(RedisStore(url_of(redis_server, tmp_path), callers_clock=True)) as store:
        ledger = ledger_of(store)
        assert await ledger.reserve(Reservation("r/1", (hourly,)), now_ns=NOW) == ()
        assert await ledger.dispatched("r/1", now_ns=NOW)
        full = (Refusal("mail", "alice", HOUR),)
        assert await ledger.reserve(Reservation("r/2", (hourly,)), now_ns=NOW - HOUR) == full
        assert await ledger.reserve(Reservation("r/2", (hourly,)), now_ns=NOW + HOUR - 1000) != ()
        assert await ledger.reserve(Reservation("r/2", (hourly,)), now_ns=NOW + HOUR) == ()


async def test_a_server_clock_that_steps_back_opens_no_window(redis_server: Redis, tmp_path: Path) -> None:
    """The largest time seen stays, over all processes: it is kept beside the charges."""
    async with opened(RedisStore(url_of(redis_server, tmp_path))) as store:
        first_ns = await store.now_ns()
        assert first_ns is not None
        ahead_us = first_ns // 1000 + HOUR // 1000
        await said(redis_server, "HSET", "{" + prefix_of(tmp_path) + "}", "clock", ahead_us)
        assert await store.now_ns() == ahead_us * 1000
        ledger = ledger_of(store)
        short = charge(1, period_ns=1000)
        assert await ledger.reserve(Reservation("r/1", (short,)), now_ns=0) == ()
        assert await ledger.dispatched("r/1", now_ns=0)
        assert await ledger.reserve(Reservation("r/2", (short,)), now_ns=0) == (
            Refusal("mail", "alice", 1000),
        )


async def test_times_between_microseconds_are_rounded_so_that_no_window_holds_more(
    redis_server: Redis, tmp_path: Path
) -> None:
    async with opened(RedisStore(url_of(redis_server, tmp_path), callers_clock=True)) as store:
        ledger = ledger_of(store)
        odd = charge(1, period_ns=1_500)
        assert await ledger.reserve(Reservation("r/1", (odd,)), now_ns=NOW + 1) == ()
        assert await ledger.dispatched("r/1", now_ns=NOW + 1)
        assert await ledger.reserve(Reservation("r/2", (odd,)), now_ns=NOW + 1_500) != ()
        assert await ledger.reserve(Reservation("r/2", (odd,)), now_ns=NOW + 3_000) == ()


async def test_keys_vanish_when_they_are_idle(redis_server: Redis, tmp_path: Path) -> None:
    async with opened(RedisStore(url_of(redis_server, tmp_path), linger_s=0.05)) as store:
        ledger = ledger_of(store)
        for number in range(20):
            both = (charge(99, period_ns=SECOND // 10), touch(99, f"m{number}", "x", period_ns=SECOND // 20))
            name = f"r{number}/1"
            assert await ledger.reserve(Reservation(name, both, lease_ns=SECOND // 10), now_ns=0) == ()
            if number % 2:
                await ledger.dispatched(name, now_ns=0)

        async def nothing_is_left() -> bool:
            return await keys(redis_server, tmp_path) == {""}

        await until(nothing_is_left)


async def test_what_is_held_without_end_stays_until_it_is_stamped(
    redis_server: Redis, tmp_path: Path
) -> None:
    async with opened(RedisStore(url_of(redis_server, tmp_path), linger_s=0.05)) as store:
        ledger = ledger_of(store)
        both = (charge(9, period_ns=1000), touch(9, "a", period_ns=1000))
        assert await ledger.reserve(Reservation("r/1", both), now_ns=0) == ()
        assert await ledger.reserve(Reservation("r/2", both, lease_ns=1000), now_ns=0) == ()
        root = "{" + prefix_of(tmp_path) + "}"
        held = [name for name in await keys(redis_server, tmp_path) if name.startswith((":w:", ":h:"))]
        ends = {await said(redis_server, "PTTL", root + name) for name in held if not name.endswith(":s")}
        assert ends == {-1}
        await ledger.settle("r", now_ns=0)

        async def nothing_is_left() -> bool:
            return await keys(redis_server, tmp_path) == {""}

        await until(nothing_is_left)


async def test_a_busy_window_lets_go_of_reservations_that_left_it(
    redis_server: Redis, tmp_path: Path
) -> None:
    """Though keys linger: nothing grows with how many calls there were."""
    async with opened(RedisStore(url_of(redis_server, tmp_path), callers_clock=True)) as store:
        ledger = ledger_of(store)
        for number in range(300):
            at_ns = NOW + number * MINUTE // 10
            both = (charge(20), touch(20, f"m{number}"))
            name = f"r{number}/1"
            assert await ledger.reserve(Reservation(name, both, lease_ns=SECOND), now_ns=at_ns) == ()
            if number % 3:
                await ledger.dispatched(name, now_ns=at_ns)
        assert len(await keys(redis_server, tmp_path)) < 40


async def test_amounts_are_exact_up_to_the_largest_and_larger_ones_never_fit(
    redis_server: Redis, tmp_path: Path
) -> None:
    async with opened(RedisStore(url_of(redis_server, tmp_path), callers_clock=True)) as store:
        ledger = ledger_of(store)

        async def refused(name: str, *charges: Charge) -> list[int | None]:
            found = await ledger.reserve(Reservation(name, charges), now_ns=NOW)
            return [refusal.free_ns for refusal in found]

        wide = 10**30
        assert await refused("r/1", charge(wide, MOST + 1)) == [None]
        assert await refused("r/1", charge(MOST, MOST), charge(MOST, 1)) == [None]
        assert await refused("r/1", charge(MOST, MOST - 1)) == []
        assert await refused("r/2", charge(MOST, 1), charge(MOST, 1)) == [None]
        assert await refused("r/2", charge(wide, 1)) == []
        assert await refused("r/3", charge(wide, 1)) == [None]
        assert await refused("r/4", charge(-1, 0, key="nobody")) == [None]
        assert await refused("r/5", Charge("odd", "", -1, 5, MINUTE, ("a", "b"))) == [None]
        await ledger.refund("r/1")
        assert await refused("r/6", charge(MOST, MOST - 1)) == []
        assert await refused("r/7", charge(MOST, 1)) == [None]


async def test_a_refusal_looks_at_no_more_than_it_must(redis_server: Redis, tmp_path: Path) -> None:
    """In a window of many units the time it tells is one at which there is room for sure."""
    async with opened(RedisStore(url_of(redis_server, tmp_path), callers_clock=True)) as store:
        ledger = ledger_of(store)

        async def take(number: int) -> None:
            both = (charge(3000), touch(3000, f"m{number}"))
            at_ns = NOW + number * 1000
            assert await ledger.reserve(Reservation(f"r{number}/1", both), now_ns=at_ns) == ()
            assert await ledger.dispatched(f"r{number}/1", now_ns=at_ns)

        for number in range(300):
            await take(number)
        last_ns = NOW + 299 * 1000
        for few in (10, 150):
            both = (charge(300, few), touch(301 - few, "new"))
            found = await ledger.reserve(Reservation("x/1", both), now_ns=last_ns)
            assert [one.free_ns for one in found] == [MINUTE - (300 - few) * 1000] * 2
        many = Reservation("x/1", (charge(300, 250), touch(10, "new")))
        assert [one.free_ns for one in await ledger.reserve(many, now_ns=last_ns)] == [MINUTE, MINUTE]
        held = (charge(3000), touch(3000, "held"))
        assert await ledger.reserve(Reservation("h/1", held), now_ns=last_ns) == ()
        assert [one.free_ns for one in await ledger.reserve(many, now_ns=last_ns)] == [None, None]


async def test_a_window_that_was_full_is_empty_once_they_left(redis_server: Redis, tmp_path: Path) -> None:
    async with opened(RedisStore(url_of(redis_server, tmp_path), callers_clock=True)) as store:
        ledger = ledger_of(store)

        async def fill(name: str, count: int, at_ns: int) -> int:
            async def spend(number: int) -> bool:
                asked = Reservation(f"{name}/{number}", (charge(150), touch(150, f"{name}{number}")))
                full = await ledger.reserve(asked, now_ns=at_ns)
                return not full and await ledger.dispatched(asked.id, now_ns=at_ns)

            return (await asyncio.gather(*(spend(number) for number in range(count)))).count(True)

        assert await fill("a", 151, NOW) == 150
        # All have left, the first of them long ago.
        assert await fill("b", 130, NOW + 9 * MINUTE) == 130
        assert await fill("c", 20, NOW + 9 * MINUTE + SECOND) == 20
        await ledger.refund("a/1")
        # All but the last twenty have left.
        assert await fill("d", 131, NOW + 10 * MINUTE) == 130
        assert await ledger.reserve(Reservation("a/0", (charge(150),)), now_ns=NOW + 11 * MINUTE) == ()


async def test_names_of_any_kind_are_kept_apart(redis_server: Redis, tmp_path: Path) -> None:
    odd = ["", " ", "1 a", "a\0b", "a\nb", "é\u202e", "\ud800", "}{", "m", "x" * 5000, "held", "taken"]
    async with opened(RedisStore(url_of(redis_server, tmp_path), callers_clock=True)) as store:
        ledger = ledger_of(store)
        for number, name in enumerate(odd):
            single = charge(1, key=name, budget=odd[number - 1])
            reservation = Reservation(f"r/{number} {name}", (single, touch(len(odd), name)))
            assert await ledger.reserve(reservation, now_ns=NOW) == ()
            assert await ledger.dispatched(reservation.id, now_ns=NOW)
        assert await ledger.reserve(Reservation("r/one", (touch(len(odd), "one more"),)), now_ns=NOW) != ()
        assert await ledger.reserve(Reservation("r/all", (touch(len(odd), *odd),)), now_ns=NOW) == ()
        for number, name in enumerate(odd):
            await ledger.refund(f"r/{number} {name}")
        await ledger.refund("r/all")
        assert {name for name in await keys(redis_server, tmp_path) if name != ""} == set()


async def test_any_sequence_is_answered_as_in_memory(redis_server: Redis, tmp_path: Path) -> None:
    """Two thousand operations by chance, under a clock that jumps, seeds 0 to 9."""
    for seed in range(10):
        chance = random.Random(seed)
        memory = MemoryStore().ledger
        now_ns = NOW
        folder = tmp_path / str(seed)
        async with opened(RedisStore(url_of(redis_server, folder), callers_clock=True)) as store:
            ledger = ledger_of(store)
            for step in range(200):
                now_ns += chance.randrange(-20, 40) * 1000
                operation = _operation(chance, now_ns)
                assert await operation(memory) == await operation(ledger), (seed, step)


def _operation(chance: random.Random, now_ns: int) -> Callable[[Ledger], Awaitable[object]]:
    name = f"r{chance.randrange(3)}/{chance.randrange(12)}"
    match chance.randrange(6):
        case 0 | 1 | 2:
            asked = Reservation(name, _charges(chance), lease_ns=chance.choice([None, 0, 5_000, 30_000]))
            return lambda ledger: ledger.reserve(asked, now_ns=now_ns)
        case 3:
            return lambda ledger: ledger.dispatched(name, now_ns=now_ns)
        case 4:
            return lambda ledger: ledger.refund(name)
        case _:
            return lambda ledger: ledger.settle(name.partition("/")[0], now_ns=now_ns)


def _charges(chance: random.Random) -> tuple[Charge, ...]:
    made = []
    for _ in range(chance.randrange(1, 4)):
        period_ns = chance.choice([20_000, 100_000, None])
        if chance.randrange(2):
            made.append(charge(6, chance.randrange(4), key=chance.choice("ab"), period_ns=period_ns))
        else:
            members = (chance.choice("uvwxyz") for _ in range(chance.randrange(1, 4)))
            made.append(touch(4, *members, key=chance.choice("ab"), period_ns=period_ns))
    return tuple(made)


async def test_fifty_at_once_share_a_few_connections(redis_server: Redis, tmp_path: Path) -> None:
    async with opened(RedisStore(url_of(redis_server, tmp_path))) as store:
        ledger = ledger_of(store)
        asked = [ledger.reserve(Reservation(f"r/{n}", (charge(10),)), now_ns=0) for n in range(500)]
        answers = await asyncio.wait_for(asyncio.gather(*asked), WAIT_S)
        assert answers.count(()) == 10
