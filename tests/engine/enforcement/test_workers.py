"""Plain functions that are awaited: on a thread, with the caller's context, and never lost sight of."""

import asyncio
import threading
from contextvars import ContextVar
from typing import Any

import pytest

from ringfence.engine.enforcement.workers import arun_in_worker

WHO: ContextVar[str] = ContextVar("who", default="nobody")


async def test_a_plain_function_runs_on_a_thread_with_the_callers_context() -> None:
    WHO.set("ann")
    assert await arun_in_worker(lambda: (WHO.get(), threading.current_thread().name)) == (
        "ann",
        "ringfence-body",
    )


@pytest.mark.parametrize("error", [ValueError("no"), StopIteration("no")])
async def test_what_it_raises_is_raised(error: Exception) -> None:
    def raises() -> Any:
        raise error

    async with asyncio.timeout(30):
        with pytest.raises((ValueError, RuntimeError)) as caught:
            await arun_in_worker(raises)
    assert error in (caught.value, caught.value.__cause__)


async def test_cancelled_it_stays_until_the_function_has_ended_and_cancelled_twice_it_goes() -> None:
    begun, release = threading.Event(), threading.Event()

    def stays() -> None:
        begun.set()
        release.wait(30)

    first, second = (asyncio.create_task(arun_in_worker(stays)) for _ in range(2))
    await asyncio.to_thread(begun.wait, 30)
    for task in (first, second):
        task.cancel()
    for _ in range(20):  # turns of the loop, in which the cancellation arrives
        await asyncio.sleep(0)
    assert not first.done() and not second.done()
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert not first.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await first
