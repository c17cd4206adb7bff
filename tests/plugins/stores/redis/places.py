"""Stores in a real Redis, each under a prefix of its own."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis as Client

from ringfence.plugin import KillSwitch, Ledger
from ringfence.plugins.redis.store import RedisStore
from tests.services import Redis

WAIT_S = 60


def prefix_of(folder: Path) -> str:
    """Return the prefix of this test: two stores of one folder share it."""
    return "t-" + hashlib.sha256(str(folder).encode()).hexdigest()[:16]


def url_of(server: Redis, folder: Path) -> str:
    """Return the URL of this test's store."""
    return f"{server.url}?prefix={prefix_of(folder)}"


async def said(server: Redis, *command: str | bytes | int, password: str | None = None) -> Any:
    """Run one command on a connection of its own."""
    client = Client(port=server.port, password=password, protocol=2)
    try:
        run: Callable[..., Any] = client.execute_command
        return await run(*command)
    finally:
        await client.connection_pool.disconnect()


async def keys(server: Redis, folder: Path) -> set[str]:
    """Return the keys of this test's store, without what they all begin with."""
    root = "{" + prefix_of(folder) + "}"
    return {found.decode()[len(root) :] for found in await said(server, "KEYS", root + "*")}


async def until(holds: Callable[[], Any]) -> None:
    """Wait until a coroutine function says True."""
    async with asyncio.timeout(WAIT_S):
        while not await holds():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def opened(store: RedisStore) -> AsyncIterator[RedisStore]:
    """Open a store, and close it after."""
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def ledger_of(store: RedisStore) -> Ledger:
    """Return the ledger of an open store."""
    assert store.ledger is not None
    return store.ledger


def switch_of(store: RedisStore) -> KillSwitch:
    """Return the kill switch of an open store."""
    assert store.kill_switch is not None
    return store.kill_switch


class InRedis:
    """Stores of a contract, which go by the callers' times."""

    tick_ns = 1000

    @pytest.fixture(autouse=True)
    def _server(self, redis_server: Redis) -> None:
        self.server = redis_server

    def make(self, folder: Path) -> RedisStore:
        return RedisStore(url_of(self.server, folder), callers_clock=True)
