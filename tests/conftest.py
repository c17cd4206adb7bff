"""Servers that tests share: one of each kind for every process that runs tests."""

from collections.abc import Iterator, Sequence

import pytest

from tests.services import Postgres, Redis, needed, server

_SERVERS = {"redis_server", "postgres_server"}


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Mark what needs a server: tests with one of the fixtures, and those of files that start their own."""
    for item in items:
        has = vars(item.module) if isinstance(item, pytest.Function) else {}
        starts_its_own = has.get("server") is server or has.get("needed") is needed
        if starts_its_own or not _SERVERS.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker("services")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """A Redis that runs; a test that stops it starts it again."""
    with server("redis") as made:
        assert isinstance(made, Redis)
        yield made


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A PostgreSQL that runs; a test that stops it starts it again."""
    with server("postgres") as made:
        assert isinstance(made, Postgres)
        yield made
