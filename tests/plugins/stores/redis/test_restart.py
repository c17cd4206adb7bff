"""A Redis that is killed, frozen, emptied or gone: charges stay, nothing is charged twice, nothing anew."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from ringfence.plugin import EngineError, Reservation, StoreAwayError
from ringfence.plugins.redis.store import RedisStore
from ringfence.testing.leased import charge, touch
from tests.plugins.stores.redis.places import WAIT_S, ledger_of, opened, said, switch_of, url_of
from tests.services import Redis, server

QUICK_S = 1.5
HOUR_NS = 3600 * 10**9


@pytest.fixture
def mine() -> Iterator[Redis]:
    """A server of this test alone, which may lose what it has."""
    with server("redis") as made:
        assert isinstance(made, Redis)
        yield made


async def reserve(store: RedisStore, name: str, *, limit: int = 3) -> bool:
    """Reserve and dispatch one of `limit`; say whether there was room."""
    ledger = ledger_of(store)
    if await ledger.reserve(Reservation(name, (charge(limit, period_ns=HOUR_NS),)), now_ns=0):
        return False
    return await ledger.dispatched(name, now_ns=0)


async def test_a_server_that_is_killed_keeps_what_was_charged_and_goes_on(
    mine: Redis, tmp_path: Path
) -> None:
    async with opened(RedisStore(url_of(mine, tmp_path))) as store:
        order = await switch_of(store).order(run="run-1", agent=None, by="dana", at_ns=5)
        assert await reserve(store, "r/1")
        assert (
            await ledger_of(store).reserve(Reservation("r/2", (charge(3, period_ns=HOUR_NS),)), now_ns=0)
            == ()
        )
        mine.kill()
        for _ in range(3):
            with pytest.raises(StoreAwayError, match="cannot be reached"):
                await reserve(store, "r/3")
        with pytest.raises(StoreAwayError):
            await switch_of(store).news(seconds=0)
        mine.start()
        assert await ledger_of(store).dispatched("r/2", now_ns=0)
        assert await reserve(store, "r/3")
        assert not await reserve(store, "r/4")
        assert await switch_of(store).orders() == [order]


async def test_calls_in_the_middle_of_a_kill_take_exactly_the_limit(mine: Redis, tmp_path: Path) -> None:
    async with opened(RedisStore(url_of(mine, tmp_path))) as store:

        async def insist(number: int) -> bool:
            while True:
                try:
                    return await reserve(store, f"r/{number}", limit=10)
                except StoreAwayError:
                    await asyncio.sleep(0.01)

        asked = [asyncio.create_task(insist(number)) for number in range(200)]
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        mine.kill()
        mine.start()
        granted = await asyncio.wait_for(asyncio.gather(*asked), WAIT_S)
        assert granted.count(True) == 10


async def test_a_frozen_server_is_away_in_time_and_charges_nothing_twice(mine: Redis, tmp_path: Path) -> None:
    async with opened(RedisStore(url_of(mine, tmp_path), timeout_s=QUICK_S)) as store:
        assert await reserve(store, "r/1")
        mine.freeze()
        try:
            names = [f"r/{number}" for number in (2, 3) for _ in range(4)]
            outcomes = await asyncio.wait_for(
                asyncio.gather(*(reserve(store, name) for name in names), return_exceptions=True), WAIT_S
            )
            assert [type(outcome) for outcome in outcomes] == [StoreAwayError] * len(names)
            assert "did not answer within 1.5 s" in str(outcomes[0])
            with pytest.raises(StoreAwayError):
                await asyncio.wait_for(switch_of(store).news(seconds=3600), WAIT_S)
        finally:
            mine.thaw()
        assert await reserve(store, "r/2")
        assert await reserve(store, "r/3")
        assert not await reserve(store, "r/4")
        # No connection answers a question that was asked before.
        assert await ledger_of(store).dispatched("r/4", now_ns=0) is False
        assert await switch_of(store).latest() == 0
        for name in ("r/1", "r/2", "r/3"):
            await ledger_of(store).refund(name)
        assert [await reserve(store, f"x/{number}") for number in range(4)] == [True, True, True, False]


async def test_whoever_waits_for_news_hears_that_the_server_went_away(mine: Redis, tmp_path: Path) -> None:
    async with opened(RedisStore(url_of(mine, tmp_path))) as store:
        await switch_of(store).news(seconds=0)
        waiting = asyncio.create_task(switch_of(store).news(seconds=3600))
        await asyncio.sleep(0)
        mine.kill()
        with pytest.raises(StoreAwayError):
            await asyncio.wait_for(waiting, WAIT_S)


async def test_under_a_guard_that_lives_data_that_is_lost_is_an_error(mine: Redis, tmp_path: Path) -> None:
    async with opened(RedisStore(url_of(mine, tmp_path))) as store:
        assert await reserve(store, "r/1", limit=1)
        await said(mine, "FLUSHALL")
        await refuses_everything(store)
        # One that is opened now begins anew; the one that lives does not go on with its budgets.
        async with opened(RedisStore(url_of(mine, tmp_path))) as other:
            assert await reserve(other, "r/2", limit=1)
            await refuses_everything(store)


async def test_a_server_that_comes_back_empty_is_an_error(mine: Redis, tmp_path: Path) -> None:
    async with opened(RedisStore(url_of(mine, tmp_path))) as store:
        first = await switch_of(store).order(run=None, agent=None, by=None, at_ns=5)
        assert await reserve(store, "r/1", limit=1)
        mine.kill()
        shutil.rmtree(mine.folder / "appendonlydir")
        mine.start()
        await refuses_everything(store)
    async with opened(RedisStore(url_of(mine, tmp_path))) as anew:
        assert await reserve(anew, "r/1", limit=1)
        second = await switch_of(anew).order(run=None, agent=None, by=None, at_ns=5)
        assert second.id > first.id


async def refuses_everything(store: RedisStore) -> None:
    """Nothing is answered on data that is not known: no charge, no order, no sign of life."""
    ledger, switch = ledger_of(store), switch_of(store)
    reservation = Reservation("r/9", (charge(1), touch(1, "a")))
    questions: list[Callable[[], Awaitable[object]]] = [
        lambda: ledger.reserve(reservation, now_ns=0),
        lambda: ledger.dispatched("r/1", now_ns=0),
        lambda: ledger.refund("r/1"),
        lambda: ledger.settle("r", now_ns=0),
        lambda: switch.keep_alive("one"),
        lambda: switch.gone("one"),
        lambda: switch.order(run=None, agent=None, by=None, at_ns=0),
        lambda: switch.orders(),
        lambda: switch.latest(),
        lambda: switch.obeyed("one", 1, in_flight=0),
        lambda: switch.attendants(),
        lambda: switch.news(seconds=3600),
        lambda: store.now_ns(),
    ]
    for ask in questions:
        with pytest.raises(EngineError, match="has lost its data") as raised:
            await asyncio.wait_for(ask(), WAIT_S)
        assert not isinstance(raised.value, StoreAwayError)
        assert "appendonly" in str(raised.value.help) and "restart the processes" in str(raised.value.help)


async def test_questions_that_are_given_up_leave_no_answer_behind(
    redis_server: Redis, tmp_path: Path
) -> None:
    """Whoever asks next on the same connection gets the answer to its own question."""
    async with opened(RedisStore(url_of(redis_server, tmp_path))) as store:
        switch = switch_of(store)
        for turn in range(20):
            asked = [asyncio.create_task(switch.latest()) for _ in range(30)]
            for _ in range(turn):
                await asyncio.sleep(0)
            for task in asked[::2]:
                task.cancel()
            await asyncio.wait(asked, timeout=WAIT_S)
            assert {task.result() for task in asked[1::2]} == {0}
            assert await ledger_of(store).dispatched("r/none", now_ns=0) is False
            assert await switch.attendants() == []


async def test_the_scripts_come_back_if_the_server_forgets_them(redis_server: Redis, tmp_path: Path) -> None:
    async with opened(RedisStore(url_of(redis_server, tmp_path))) as store:
        assert await reserve(store, "r/1", limit=1)
        await said(redis_server, "SCRIPT", "FLUSH")
        assert not await reserve(store, "r/2", limit=1)
