"""V8 and the walls of this machine, as a worker proves them, for tests that need all of them."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest

from ringfence.plugins.isolate.executor import IsolatePool


def needed() -> None:
    """Skip the test, and say why, where V8 or a wall is missing; with `TEST_ISOLATES=required` it fails."""
    if missing := _missing():
        pytest.skip(f"this machine lacks {', '.join(missing)}")


@cache
def _missing() -> tuple[str, ...]:
    with ThreadPoolExecutor(1) as thread:  # the test may have a loop of its own
        return thread.submit(asyncio.run, _asked()).result()


async def _asked() -> tuple[str, ...]:
    pool = IsolatePool()
    try:
        fitness = await pool.fitness()
        return fitness.lacks("full") if fitness.problem is None else (fitness.problem,)
    finally:
        await pool.close()
