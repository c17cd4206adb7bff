"""Servers that tests share: one of each kind for every process that runs tests."""

from collections.abc import Iterator

import pytest

from tests.services import Postgres, Redis, server


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
