"""What hosts share: a store's URL and nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Settings = Callable[[Path], dict[str, Any]]
"""The settings of a host that works in this folder."""


def in_sqlite(request: pytest.FixtureRequest, name: str, folder: Path) -> Settings:
    """One file, of several processes on one host."""
    return lambda _: {"store": f"sqlite:///{folder / name}.db"}


def in_redis(request: pytest.FixtureRequest, name: str, folder: Path) -> Settings:
    """Budgets in one Redis; each host keeps a log of its own."""
    url = request.getfixturevalue("redis_server").url
    return lambda own: {"store": f"sqlite:///{own}/ringfence.db", "ledger": f"{url}?prefix={name}"}


def in_postgres(request: pytest.FixtureRequest, name: str, folder: Path) -> Settings:
    """Everything in one PostgreSQL."""
    url = request.getfixturevalue("postgres_server").url
    return lambda _: {"store": f"{url}?schema={name}"}


SHARED = [
    pytest.param(in_sqlite, id="sqlite"),
    pytest.param(in_redis, id="redis", marks=pytest.mark.services),
    pytest.param(in_postgres, id="postgres", marks=pytest.mark.services),
]


@pytest.fixture(params=SHARED)
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Settings]:
    """Give the settings of hosts that share a place of this name, which is empty before."""
    place: Callable[[pytest.FixtureRequest, str, Path], Settings] = request.param
    return lambda name: place(request, name, tmp_path)
