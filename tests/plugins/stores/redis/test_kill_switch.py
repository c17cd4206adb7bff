"""The kill switch of several hosts: orders that rise, guards that fall silent, news at once."""

import asyncio
import secrets
from pathlib import Path

import pytest

from ringfence.plugins.redis import kill_switch as module
from ringfence.plugins.redis.store import RedisStore
from tests.plugins.stores.redis.places import WAIT_S, keys, opened, prefix_of, said, switch_of, until, url_of
from tests.services import Redis


def root(folder: Path) -> str:
    return "{" + prefix_of(folder) + "}"


async def test_an_order_wakes_another_guard_and_its_answer_the_operator(
    redis_server: Redis, tmp_path: Path
) -> None:
    url = url_of(redis_server, tmp_path)
    async with opened(RedisStore(url)) as guard, opened(RedisStore(url)) as operator:
        attends, orders = switch_of(guard), switch_of(operator)
        assert await attends.keep_alive("host/1-a") == 15.0
        await attends.news(seconds=0)
        waiting = [asyncio.create_task(attends.news(seconds=3600)) for _ in range(3)]
        order = await orders.order(run=None, agent="support", by="dana: \u202e", at_ns=7)
        await asyncio.wait_for(asyncio.gather(*waiting), WAIT_S)
        assert await attends.orders() == [order]
        await orders.news(seconds=0)
        heard = asyncio.create_task(orders.news(seconds=3600))
        await attends.obeyed("host/1-a", order.id, in_flight=1)
        await asyncio.wait_for(heard, WAIT_S)
        (found,) = await orders.attendants()
        assert (found.holder, found.obeyed, found.in_flight) == ("host/1-a", order.id, 1)
        assert 0 <= found.silent_s < 15


async def test_news_that_do_not_come_end_after_their_time(redis_server: Redis, tmp_path: Path) -> None:
    async with opened(RedisStore(url_of(redis_server, tmp_path))) as store:
        await switch_of(store).news(seconds=0)
        await asyncio.wait_for(switch_of(store).news(seconds=0.05), WAIT_S)


async def test_who_is_silent_falls_out_and_comes_back_with_what_it_had_obeyed(
    redis_server: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(RedisStore(url_of(redis_server, tmp_path))) as store:
        switch = switch_of(store)
        first = await switch.order(run=None, agent=None, by=None, at_ns=0)
        await switch.keep_alive("one")
        second = await switch.order(run=None, agent=None, by=None, at_ns=0)
        with monkeypatch.context() as soon:
            soon.setattr(module, "VALID_S", 0.05)

            async def fell_out() -> bool:
                return await switch.attendants() == []

            await until(fell_out)
        await switch.keep_alive("one")
        (found,) = await switch.attendants()
        assert found.obeyed == first.id < second.id  # its runs may still be there
        await switch.obeyed("one", second.id, in_flight=3)
        await switch.obeyed("one", first.id, in_flight=0)
        assert [(k.obeyed, k.in_flight) for k in await switch.attendants()] == [(second.id, 3)]


async def test_who_was_silent_for_a_day_is_forgotten(
    redis_server: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(RedisStore(url_of(redis_server, tmp_path))) as store:
        await switch_of(store).keep_alive("one")
        monkeypatch.setattr(module, "_FORGOTTEN_S", 0)
        await switch_of(store).keep_alive("two")
        found = await said(redis_server, "HKEYS", root(tmp_path) + ":attendants")
        assert found == [b"two"]


async def test_an_order_that_is_asked_twice_by_one_word_is_one_order(
    redis_server: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(RedisStore(url_of(redis_server, tmp_path))) as store:
        switch = switch_of(store)
        monkeypatch.setattr(secrets, "token_hex", lambda _: "word")
        first = await switch.order(run="r", agent=None, by=None, at_ns=0)
        between = await switch.order(run="other", agent=None, by=None, at_ns=0)
        again = await switch.order(run="r", agent=None, by=None, at_ns=0)
        assert again == first
        assert await switch.orders() == [first, between]


async def test_orders_rise_though_the_clock_steps_back(redis_server: Redis, tmp_path: Path) -> None:
    async with opened(RedisStore(url_of(redis_server, tmp_path))) as store:
        first = await switch_of(store).order(run=None, agent=None, by=None, at_ns=0)
        ahead = first.id + 3600 * 10**6
        await said(redis_server, "HSET", root(tmp_path), "order", ahead)
        second = await switch_of(store).order(run=None, agent=None, by=None, at_ns=0)
        assert second.id == ahead + 1 == await switch_of(store).latest()


async def test_news_are_kept_short(redis_server: Redis, tmp_path: Path) -> None:
    async with opened(RedisStore(url_of(redis_server, tmp_path))) as store:
        for _ in range(500):
            await switch_of(store).obeyed("one", 0, in_flight=0)
        assert await said(redis_server, "XLEN", root(tmp_path) + ":news") < 300
        assert await keys(redis_server, tmp_path) == {"", ":news", ":attendants"}
