"""Stores in a real Redis, each under a prefix of its own."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import redis

from ringfence.plugins.redis import RedisStore
from tests.services import Redis


def prefix_of(folder: Path) -> str:
    """Return the prefix of this test: two stores of one folder share it."""
    return "t-" + hashlib.sha256(str(folder).encode()).hexdigest()[:16]


def url_of(server: Redis, folder: Path) -> str:
    """Return the URL of this test's store."""
    return f"{server.url}?prefix={prefix_of(folder)}"


def said(server: Redis, *command: str | bytes | int) -> Any:
    """Run one command on a connection of its own."""
    client = redis.Redis(port=server.port)
    try:
        return client.execute_command(*command)
    finally:
        client.close()


def keys(server: Redis, folder: Path) -> set[str]:
    """Return the keys of this test's store, without what they all begin with."""
    root = "{" + prefix_of(folder) + "}"
    return {found.decode()[len(root) :] for found in said(server, "KEYS", root + "*")}


class InRedis:
    """Stores of a contract, which go by the callers' times."""

    tick_ns = 1000

    @pytest.fixture(autouse=True)
    def _server(self, redis_server: Redis) -> None:
        self.server = redis_server

    def make(self, folder: Path) -> RedisStore:
        return RedisStore(url_of(self.server, folder), callers_clock=True)
