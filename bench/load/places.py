"""Where a load goes: one process over SQLite, several over PostgreSQL and Redis, started for it on loopback.

PostgreSQL writes without waiting for the disk, as `tests.services` starts it; Redis and SQLite wait.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tests.services import Postgres, Redis, missing, server


@dataclass(frozen=True, slots=True)
class Place:
    """Two stores, which may be one."""

    store: str
    ledger: str | None = None


@contextmanager
def _sqlite() -> Iterator[Place]:
    with tempfile.TemporaryDirectory() as folder:
        yield Place(f"sqlite:///{Path(folder) / 'load.db'}")


@contextmanager
def _servers() -> Iterator[Place]:
    with ExitStack() as stack:
        postgres = stack.enter_context(server("postgres"))
        redis = stack.enter_context(server("redis"))
        assert isinstance(postgres, Postgres) and isinstance(redis, Redis)
        yield Place(postgres.url, redis.url)


@dataclass(frozen=True, slots=True)
class Part:
    """One load of several that can be put on."""

    title: str
    several: bool
    """True: several processes share the runs."""
    needs: tuple[tuple[str, str], ...]
    """Servers, and the libraries that speak to them."""
    placed: Callable[[], AbstractContextManager[Place]]

    def lacking(self) -> str | None:
        """Return what is not installed here; None: nothing."""
        for service, library in self.needs:
            lacks = missing(service) or (None if find_spec(library) else f"the package {library}")
            if lacks is not None:
                return f"{lacks} is not installed"
        return None


PARTS = {
    "sqlite": Part("SQLite", False, (), _sqlite),
    "servers": Part(
        "log in PostgreSQL, budgets in Redis", True, (("postgres", "asyncpg"), ("redis", "redis")), _servers
    ),
}
