"""Between its jobs nobody watches a worker, so it stands still: an intruder in it does, too."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from ringfence.plugins.isolate import gauges, starting
from ringfence.plugins.isolate.executor import IsolatePool
from tests.plugins.isolate.real import works
from tests.plugins.isolate.scripts import body
from tests.plugins.isolate.test_taken_over import framed, pool, taken_over
from tests.plugins.isolate.workers import SECOND, alive, children, closing, echoes, gone

pytest.importorskip("py_mini_racer", reason="the extra `isolate` is not installed")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="workers are processes of POSIX systems")

assert taken_over is not None  # the fixture

SPINS = "import _thread; _thread.start_new_thread(lambda: all(one == 0 for one in iter(int, 1)), ()); "
"""A thread that goes on after the result, for ever."""
CROWDS = """import _thread
    lock = _thread.allocate_lock(); lock.acquire(); _thread.stack_size(32768)
    while True: _thread.start_new_thread(lock.acquire, ())"""

LATER = """import _thread, time
    lock = _thread.allocate_lock(); lock.acquire(); _thread.stack_size(32768)
    def crowd():
        time.sleep(0.1)
        while True: _thread.start_new_thread(lock.acquire, ())
    _thread.start_new_thread(crowd, ()); """


@pytest.fixture
async def executor() -> AsyncIterator[IsolatePool]:
    async with closing(pool()) as made:
        yield made


def state(pid: int) -> str:
    """The state of a process: `T` where it stands still."""
    return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]


async def stands_still(pid: int) -> None:
    async with asyncio.timeout(20):
        while state(pid) != "T":
            await asyncio.sleep(0.01)


async def test_what_an_intruder_left_running_stands_still_until_the_next_job(
    executor: IsolatePool, taken_over: Callable[[str], None]
) -> None:
    taken_over(SPINS + framed({"done": {"result": "1"}}))
    assert (await executor.run(body("a => 1"), echoes)).result == "1"
    (worker,) = children()
    await stands_still(worker)
    used = gauges.cpu_ns(worker)
    spun = time.process_time_ns()
    while time.process_time_ns() - spun < SECOND // 5:
        await asyncio.sleep(0)
    assert gauges.cpu_ns(worker) == used
    # in the next job it is watched again, and what spins counts
    outcome = await executor.run(body("a => { for (;;); }", cpu_ns=SECOND // 5), echoes)
    assert outcome.failure == "cpu"
    await works(executor)


async def test_where_it_does_not_stand_still_the_intruder_goes_on(
    executor: IsolatePool, taken_over: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    monkeypatch.setattr(starting.Worker, "rest", lambda *_: None)
    taken_over(SPINS + framed({"done": {"result": "1"}}))
    assert (await executor.run(body("a => 1"), echoes)).result == "1"
    (worker,) = children()
    before = gauges.cpu_ns(worker)
    assert before is not None
    async with asyncio.timeout(20):
        while (gauges.cpu_ns(worker) or 0) - before < SECOND // 2:
            await asyncio.sleep(0.01)


async def test_an_honest_worker_that_stood_still_goes_on(executor: IsolatePool) -> None:
    await works(executor)
    (worker,) = children()
    await stands_still(worker)
    await works(executor)
    assert children() == [worker]
    await stands_still(worker)


async def test_a_worker_that_stands_still_is_ended_with_the_pool() -> None:
    async with closing(pool()) as executor:
        await works(executor)
        (worker,) = children()
        await stands_still(worker)
    assert not alive(worker)


async def test_a_crowd_of_threads_ends_the_worker(
    executor: IsolatePool, taken_over: Callable[[str], None]
) -> None:
    taken_over(CROWDS)
    outcome = await executor.run(body("a => 1"), echoes)
    assert outcome.failure == "killed"
    assert outcome.message == "the worker made more threads than an isolate has"
    await works(executor)


async def test_a_crowd_of_threads_ends_the_worker_after_its_job_too(
    executor: IsolatePool, taken_over: Callable[[str], None]
) -> None:
    """Stopped, they would still be there, and a machine has only so many."""
    taken_over(LATER + framed({"done": {"result": "1"}}))
    assert (await executor.run(body("a => 1"), echoes)).result == "1"
    (worker,) = children()
    await gone(worker)
    await works(executor)
