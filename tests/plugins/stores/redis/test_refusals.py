"""Servers and URLs that are refused, each with a message that says how to mend it and shows no password."""

import asyncio
import os
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import exceptions

from ringfence.plugin import EngineError, Examined, Reservation, StoreAwayError
from ringfence.plugins import redis as plugin
from ringfence.plugins.redis import server as server_module
from ringfence.plugins.redis.address import Address
from ringfence.plugins.redis.faults import fault_of
from ringfence.plugins.redis.server import settings_fault
from ringfence.plugins.redis.store import RedisStore
from ringfence.testing.leased import charge, touch
from tests.plugins.stores.redis.places import ledger_of, opened, prefix_of, said, switch_of, url_of
from tests.services import Redis, server

SECRET = "s3cr3t/pa%ss"
QUOTED = "s3cr3t%2Fpa%25ss"


@pytest.fixture
def locked() -> Iterator[Redis]:
    """A server that wants a password."""
    with server("redis") as made:
        assert isinstance(made, Redis)
        yield made


def everything(error: BaseException) -> str:
    """Return all that a person, a log or a debugger might be shown of an error."""
    shown = "".join(traceback.format_exception(error))
    return shown + repr(error) + (error.diagnostics() if isinstance(error, EngineError) else "")


async def refusal(store: RedisStore) -> BaseException:
    with pytest.raises((RuntimeError, StoreAwayError)) as raised:
        await store.open()
    assert store.ledger is None and store.kill_switch is None
    return raised.value


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "allkeys-random"])
async def test_a_server_that_would_throw_budgets_away_is_refused(
    redis_server: Redis, tmp_path: Path, policy: str
) -> None:
    store = RedisStore(url_of(redis_server, tmp_path))
    try:
        await said(redis_server, "CONFIG", "SET", "maxmemory-policy", policy)
        await store.open()  # no bound, so nothing is thrown away
        await store.close()
        await said(redis_server, "CONFIG", "SET", "maxmemory", 10**9)
        error = await refusal(RedisStore(url_of(redis_server, tmp_path)))
        assert policy in str(error) and "set `maxmemory-policy noeviction`" in str(error)
        await said(redis_server, "CONFIG", "SET", "maxmemory-policy", "noeviction")
        async with opened(RedisStore(url_of(redis_server, tmp_path))):
            pass
    finally:
        await said(redis_server, "CONFIG", "SET", "maxmemory", 0)
        await said(redis_server, "CONFIG", "SET", "maxmemory-policy", "noeviction")


async def test_a_server_that_is_set_otherwise_under_a_guard_takes_no_charge_until_it_is_mended(
    locked: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "LOOK_EVERY_S", 0.0)
    async with opened(RedisStore(url_of(locked, tmp_path))) as store:
        one = Reservation("r/1", (charge(9),))
        assert await ledger_of(store).reserve(one, now_ns=0) == ()
        await said(locked, "CONFIG", "SET", "maxmemory", 10**9)
        await said(locked, "CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
        for _ in range(2):
            with pytest.raises(EngineError, match="throws keys away"):
                await ledger_of(store).reserve(one, now_ns=0)
        await said(locked, "CONFIG", "SET", "maxmemory-policy", "noeviction")
        assert await ledger_of(store).reserve(one, now_ns=0) == ()


async def test_a_store_that_is_closed_connects_no_more(redis_server: Redis, tmp_path: Path) -> None:
    store = RedisStore(url_of(redis_server, tmp_path))
    await store.open()
    ledger, switch = ledger_of(store), switch_of(store)
    await store.close()
    await store.close()
    assert await store.now_ns() is None and await store.examined() == ()
    with pytest.raises(EngineError, match="is closed"):
        await ledger.refund("r/1")
    with pytest.raises(EngineError, match="is closed"):
        await switch.latest()


async def test_a_server_that_speaks_no_tls_is_away_for_one_who_wants_it(redis_server: Redis) -> None:
    url = f"rediss://:{QUOTED}@127.0.0.1:{redis_server.port}/0"
    error = await refusal(RedisStore(url, timeout_s=0.3))  # it waits for the rest of a command
    assert isinstance(error, StoreAwayError)
    assert SECRET not in everything(error)


async def test_a_server_without_memory_takes_no_charge_and_says_so(locked: Redis, tmp_path: Path) -> None:
    async with opened(RedisStore(url_of(locked, tmp_path))) as store:
        await said(locked, "CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(StoreAwayError, match="no memory left"):
            await ledger_of(store).settle("r", now_ns=0)
        await said(locked, "CONFIG", "SET", "maxmemory", 0)
        await ledger_of(store).settle("r", now_ns=0)


async def test_a_server_that_became_a_replica_is_away(locked: Redis, tmp_path: Path) -> None:
    async with opened(RedisStore(url_of(locked, tmp_path))) as store:
        await said(locked, "REPLICAOF", "127.0.0.1", 1)
        with pytest.raises(StoreAwayError, match="is a replica"):
            await ledger_of(store).settle("r", now_ns=0)
        error = await refusal(RedisStore(url_of(locked, tmp_path)))
        assert "name the primary" in str(error)
        await said(locked, "REPLICAOF", "NO", "ONE")
        await ledger_of(store).settle("r", now_ns=0)


async def test_a_wrong_password_is_refused_and_no_password_is_ever_shown(
    locked: Redis, tmp_path: Path
) -> None:
    await said(locked, "CONFIG", "SET", "requirepass", SECRET)
    place = f"127.0.0.1:{locked.port}"
    async with opened(RedisStore(f"redis://:{QUOTED}@{place}/0")) as store:
        assert await store.now_ns() is not None
        assert store.url == f"redis://:***@{place}/0"
        await said(locked, "CONFIG", "SET", "requirepass", "other", password=SECRET)
        await said(locked, "CLIENT", "KILL", "TYPE", "normal", password="other")
        with pytest.raises(EngineError, match="refuses the user or the password") as raised:
            await store.now_ns()
        assert not isinstance(raised.value, StoreAwayError)
        assert SECRET not in everything(raised.value) and QUOTED not in everything(raised.value)
    for url in (f"redis://:{QUOTED}@{place}", f"redis://dana:{QUOTED}@{place}", f"redis://{place}"):
        error = await refusal(RedisStore(url))
        assert "refuses the user or the password" in str(error)
        assert SECRET not in everything(error) and QUOTED not in everything(error)


async def test_a_user_with_the_rights_that_the_message_names_can_do_it_all(
    locked: Redis, tmp_path: Path
) -> None:
    root = "{" + prefix_of(tmp_path) + "}"
    url = f"redis://guard:{QUOTED}@127.0.0.1:{locked.port}/0?prefix={prefix_of(tmp_path)}"
    await said(locked, "ACL", "SETUSER", "guard", "on", f">{SECRET}", "~other*")
    error = await refusal(RedisStore(url))
    rights = str(error).partition("give it `")[2].partition("`")[0]
    assert "lets this user do less" in str(error) and root in rights
    await said(locked, "ACL", "SETUSER", "guard", "resetkeys", *rights.split())
    async with opened(RedisStore(url)) as store:
        ledger, switch = ledger_of(store), switch_of(store)
        both = (charge(9), touch(9, "a"))
        assert await ledger.reserve(Reservation("r/1", both, lease_ns=1), now_ns=0) == ()
        assert await ledger.dispatched("r/1", now_ns=0)
        await ledger.settle("r", now_ns=0)
        await ledger.refund("r/1")
        await switch.keep_alive("one")
        order = await switch.order(run=None, agent=None, by=None, at_ns=0)
        await switch.obeyed("one", order.id, in_flight=0)
        await switch.news(seconds=0)
        await switch.news(seconds=0.05)
        assert await store.examined()
        await said(locked, "ACL", "SETUSER", "guard", "-evalsha")
        with pytest.raises(EngineError, match="lets this user do less"):
            await ledger.refund("r/1")


async def test_a_server_that_is_not_there_is_away(locked: Redis) -> None:
    locked.kill()
    store = RedisStore(f"redis://:{QUOTED}@127.0.0.1:{locked.port}/0")
    error = await refusal(store)
    assert isinstance(error, StoreAwayError)
    assert f"the Redis at `127.0.0.1:{locked.port}` cannot be reached" in str(error)
    assert SECRET not in everything(error) and QUOTED not in everything(error)
    assert SECRET not in repr(store) and QUOTED not in store.url
    locked.start()
    await said(locked, "CONFIG", "SET", "requirepass", SECRET)
    async with opened(store):
        pass


async def test_a_frozen_server_does_not_hold_the_opening_up(locked: Redis) -> None:
    locked.freeze()
    try:
        error = await asyncio.wait_for(refusal(RedisStore(locked.url, timeout_s=0.3)), 60)
    finally:
        locked.thaw()
    assert isinstance(error, StoreAwayError) and "did not answer within 0.3 s" in str(error)


async def test_a_server_whose_clock_fell_far_behind_is_refused(redis_server: Redis, tmp_path: Path) -> None:
    async with opened(RedisStore(url_of(redis_server, tmp_path))) as store:
        now_ns = await store.now_ns()
        assert now_ns is not None
    ahead_us = now_ns // 1000 + 3 * 24 * 3600 * 10**6
    await said(redis_server, "HSET", "{" + prefix_of(tmp_path) + "}", "clock", ahead_us)
    error = await refusal(RedisStore(url_of(redis_server, tmp_path)))
    assert "3.0 days behind" in str(error)


async def test_keys_of_another_program_are_an_error_that_says_so(redis_server: Redis, tmp_path: Path) -> None:
    await said(redis_server, "SET", "{" + prefix_of(tmp_path) + "}", "theirs")
    error = await refusal(RedisStore(url_of(redis_server, tmp_path)))
    assert isinstance(error, RuntimeError) and "other programs write under this prefix" in str(error)


async def test_a_store_that_was_opened_before_a_fork_is_refused_in_the_child(
    redis_server: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(RedisStore(url_of(redis_server, tmp_path))) as store:
        assert await store.now_ns() is not None
        with monkeypatch.context() as child:
            parent = os.getpid()
            child.setattr(os, "getpid", lambda: parent + 1)
            with pytest.raises(EngineError, match="before the process forked"):
                await store.now_ns()
            with pytest.raises(EngineError, match="before the process forked"):
                await ledger_of(store).refund("r/1")
        assert await store.now_ns() is not None


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (f"redis://:{QUOTED}@", "names no Redis"),
        (f"redis://:{QUOTED}@h:port/0", "cannot be read"),
        (f"redis://:{QUOTED}@h/cache", "database of a Redis is a number"),
        (f"redis://:{QUOTED}@h/0?socket_timeout=900", "not `socket_timeout`"),
        (f"redis://:{QUOTED}@h/0?prefix=", "a prefix is one name"),
        (f"redis://:{QUOTED}@h/0?prefix=a%7Db", "a prefix is one name"),
        (f"redis://:{QUOTED}@h/0?prefix=a&prefix=b", "a prefix is one name"),
    ],
)
def test_a_url_that_cannot_be_one_says_why(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as raised:
        RedisStore(url)
    assert "s3cr3t" not in everything(raised.value)


async def test_doctor_is_told_what_the_server_could_lose(locked: Redis, tmp_path: Path) -> None:
    async with opened(RedisStore(url_of(locked, tmp_path))) as store:
        assert isinstance(store, Examined)
        version, written = await store.examined()
        assert prefix_of(tmp_path) in version.found and version.help == ""
        assert "on disk before it answers" in written.found and written.help == ""
        await said(locked, "CONFIG", "SET", "appendfsync", "everysec")
        assert (await store.examined())[1].help == "set `appendfsync always`"
        await said(locked, "CONFIG", "SET", "appendonly", "no")
        assert "no append-only file" in (await store.examined())[1].found
        await said(locked, "CONFIG", "SET", "appendonly", "yes")
        await said(locked, "ACL", "SETUSER", "default", "-config")
        assert "cannot be seen" in (await store.examined())[1].found
    assert not Address.of("redis://cache.example").private
    assert Address.of("rediss://cache.example").private


def test_a_url_names_place_and_prefix() -> None:
    plain = Address.of("redis://cache")
    assert (plain.place, plain.root, plain.shown) == ("cache:6379", "{ringfence}", "redis://cache")
    full = Address.of(f"rediss://dana:{QUOTED}@[::1]:7000/2?prefix=team-a&ssl_cert_reqs=none")
    assert (full.place, full.root) == ("[::1]:7000", "{team-a}")
    assert full.shown == "rediss://dana:***@[::1]:7000/2?prefix=team-a&ssl_cert_reqs=none"
    assert full.url == f"rediss://dana:{QUOTED}@[::1]:7000/2?ssl_cert_reqs=none"
    assert "s3cr3t" not in repr(full)


def test_the_plugin_takes_its_own_urls_and_no_others() -> None:
    assert plugin.ringfence_store_schemes() == ("redis", "rediss")
    taken = plugin.ringfence_open_store("redis://cache/0")
    assert taken is not None and taken.durable
    assert (taken.events, taken.tickets, taken.leases) == (None, None, None)
    for other in ("memory:", "sqlite:///x.db", "postgresql://h/d", "redis:/cache"):
        assert plugin.ringfence_open_store(other) is None


@pytest.mark.parametrize(
    ("said_by_info", "why"),
    [
        ({"redis_version": "5.0.14", "role": "master", "maxmemory": 0}, "version 5.0.14"),
        ({"redis_version": "7.0.15", "role": "slave", "maxmemory": 0}, "is a replica"),
        ({"redis_version": "7.0.15", "role": "master"}, "throws keys away"),
        ({"redis_version": "7.0.15", "role": "master", "maxmemory": 5}, "throws keys away"),
    ],
)
def test_what_is_not_known_of_a_server_counts_against_it(said_by_info: dict[str, object], why: str) -> None:
    assert why in str(settings_fault(said_by_info, "cache:6379"))


@pytest.mark.parametrize(
    ("error", "passes", "why"),
    [
        (exceptions.BusyLoadingError("Redis is loading the dataset in memory"), True, "loading its data"),
        (exceptions.ReadOnlyError("You can't write against a read only replica."), True, "is a replica"),
        (exceptions.ClusterDownError("CLUSTERDOWN The cluster is down"), True, "cluster that is down"),
        (exceptions.ResponseError("MISCONF Redis is configured to save"), True, "cannot write to its disk"),
        (exceptions.ResponseError("BUSY Redis is busy running a script."), True, "busy with a script"),
        (exceptions.ResponseError("call failed: @user_script:1: -OOM command not"), True, "no memory left"),
        (exceptions.ConnectionError("max number of clients reached"), True, "cannot be reached"),
        (TimeoutError(), True, "did not answer within 5 s"),
        (exceptions.TimeoutError("Timeout reading"), True, "did not answer within 5 s"),
        (ConnectionRefusedError(111, "Connection refused"), True, "reached: Connection refused"),
        (exceptions.MovedError("3999 127.0.0.1:6381"), False, "node of a cluster"),
        (exceptions.NoPermissionError("no permissions to run 'evalsha'"), False, "lets this user do less"),
        (exceptions.ResponseError(f"unknown command 'AUTH', with {SECRET}"), False, "AUTH', with ***"),
    ],
)
def test_what_the_server_says_is_told_in_a_sentence(error: Exception, passes: bool, why: str) -> None:
    address = Address.of(f"redis://:{QUOTED}@cache/0")
    fault = fault_of(error, address, timeout_s=5.0)
    assert why in fault.what and fault.passes is passes
    assert isinstance(fault.as_engine_error(), StoreAwayError) is passes
    assert SECRET not in str(fault)
