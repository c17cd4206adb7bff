"""What a reservation costs in each store, and what a key costs in memory.

One reservation is what a call asks for: an hourly rate, reserved and then stamped at its dispatch.  Redis and
PostgreSQL are started for it, on loopback and without writing to the disk at each commit, so these rows say
what a round trip and the store's own work cost, not what a disk does.
"""

import asyncio
import gc
import sys
import tempfile
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from statistics import median

from bench.harness import Row
from ringfence.engine.decision.calls import Charge
from ringfence.engine.seams.ports import Ledger, Reservation, Store
from ringfence.plugins.memory import MemoryStore
from ringfence.plugins.sqlite import SqliteStore
from tests.services import Postgres, Redis, missing, server

IN_FLIGHT = 50
KEYS = 1_000_000
_HOUR_NS = 3_600_000_000_000
_START_NS = 1_795_000_000_000_000_000
_LEASE_NS = 60_000_000_000
_ALONE = 300
_ROUNDS = 3
_USERS = 100
"""Callers spread over so many windows; of each window little is used."""


def rows() -> Iterator[Row]:
    """Measure the stores that are installed, then the memory ledger at a million keys."""
    with tempfile.TemporaryDirectory() as folder:
        for name, make in _stores(Path(folder)):
            if isinstance(make, str):
                print(f"reservation, {name}: left out: {make}", file=sys.stderr)
                continue
            yield from asyncio.run(_measured(name, make))
    yield from at_many_keys(KEYS)


def _stores(folder: Path) -> Iterator[tuple[str, Callable[[], Store] | str]]:
    """Return how each store is made, or why it is not."""
    yield "memory", MemoryStore
    yield "sqlite", lambda: SqliteStore(f"sqlite:///{folder}/bench.db")
    for name, library in (("redis", "redis"), ("postgres", "asyncpg")):
        lacking = missing(name) or (None if find_spec(library) else f"the package {library}")
        if lacking is not None:
            yield name, f"{lacking} is not installed"
            continue
        with server(name) as running:
            if not isinstance(running, Redis | Postgres):
                raise RuntimeError(f"{name} has no URL")
            yield name, _remote(name, running.url)


def _remote(name: str, url: str) -> Callable[[], Store]:
    if name == "redis":
        from ringfence.plugins.redis.store import RedisStore

        return lambda: RedisStore(url)
    from ringfence.plugins.postgres.store import PostgresStore

    return lambda: PostgresStore(url)


@asynccontextmanager
async def _opened(store: Store) -> AsyncIterator[Ledger]:
    await store.open()
    try:
        if store.ledger is None:
            raise RuntimeError(f"{store.url} keeps no budgets")
        yield store.ledger
    finally:
        await store.close()


async def _measured(name: str, make: Callable[[], Store]) -> list[Row]:
    """Time reservations one after another, and count them with many callers in flight."""
    async with _opened(make()) as ledger:
        spend = spender(ledger)
        alone, together = [], []
        for _ in range(_ALONE // 10):
            await spend()
        for _ in range(_ROUNDS):
            taken = []
            for _ in range(_ALONE):
                start = time.perf_counter_ns()
                await spend()
                taken.append(time.perf_counter_ns() - start)
            alone.append(median(taken))
            together.append(await _per_second(spend))
    return [
        Row(f"reservation and dispatch, {name}, p50 (wall)", median(alone) / 1000, "us"),
        Row(f"the same, {name}, {IN_FLIGHT} in flight (wall)", median(together), "1/s"),
    ]


def spender(ledger: Ledger) -> Callable[[], Awaitable[None]]:
    """Return what reserves and dispatches one call after another, each for the next of the users."""
    numbers = count()

    async def spend() -> None:
        number = next(numbers)
        charge = Charge("mail", f"user{number % _USERS}", 1, 2**40, _HOUR_NS)
        made = Reservation(f"run{number % 7}/c{number}", (charge,), _LEASE_NS)
        now_ns = _START_NS + number * 1_000
        if await ledger.reserve(made, now_ns=now_ns) or not await ledger.dispatched(made.id, now_ns=now_ns):
            raise RuntimeError("the workload is wrong: a reservation was refused")

    return spend


async def _per_second(spend: Callable[[], Awaitable[None]]) -> float:
    async def caller() -> None:
        for _ in range(_ALONE // 10):
            await spend()

    start = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(IN_FLIGHT)))
    return IN_FLIGHT * (_ALONE // 10) / (time.perf_counter() - start)


def at_many_keys(keys: int) -> Iterator[Row]:
    """Say what one key of the memory ledger takes, with one call in its window, and a reservation then."""
    gc.collect()
    tracemalloc.start()
    ledger = MemoryStore().ledger
    assert ledger is not None
    before, _ = tracemalloc.get_traced_memory()
    for number in range(keys):
        charge = Charge("mail", f"user{number}", 1, 10, _HOUR_NS)
        made, now_ns = Reservation(f"run{number}/c1", (charge,), _LEASE_NS), _START_NS + number
        if ledger.reserve_now(made, now_ns=now_ns) or not ledger.dispatched_now(made.id, now_ns=now_ns):
            raise RuntimeError("the workload is wrong: a reservation was refused")
    del charge, made
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    yield Row(f"memory ledger at {keys:,} keys: each", (after - before) / keys, "B")
