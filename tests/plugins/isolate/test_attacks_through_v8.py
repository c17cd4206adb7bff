"""Hostile JavaScript through real workers: each ends as it must, the host goes on, the next call works."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence

import pytest

from ringfence.engine.seams.isolates import InnerAnswer, InnerCall
from ringfence.plugins.isolate.executor import IsolatePool
from tests.plugins.isolate.real import full_pool, works
from tests.plugins.isolate.scripts import LIVENESS, MEMORY, QUICK, body
from tests.plugins.isolate.workers import MB, SECOND, children, echoes, gone, none

pytest.importorskip("py_mini_racer", reason="the extra `isolate` is not installed")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="workers are processes of POSIX systems")


@pytest.fixture
async def executor() -> AsyncIterator[IsolatePool]:
    async with full_pool() as made:
        yield made


@pytest.mark.parametrize("attack", LIVENESS)
async def test_what_does_not_end_is_ended(executor: IsolatePool, attack: str) -> None:
    ticks = 0

    async def ticking() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    host = asyncio.create_task(ticking())
    outcome = await executor.run(body(LIVENESS[attack], time_ns=SECOND // 2), echoes)
    host.cancel()
    assert (outcome.result, outcome.failure) == (None, "time"), outcome
    assert ticks > 0
    await works(executor)


async def test_a_loop_that_uses_too_much_processor_time_is_ended(executor: IsolatePool) -> None:
    outcome = await executor.run(body("a => { while (1); }", cpu_ns=SECOND // 10), none)
    assert outcome.failure == "cpu"
    await works(executor)


@pytest.mark.parametrize("attack", MEMORY)
async def test_memory_is_bounded(executor: IsolatePool, attack: str) -> None:
    outcome = await executor.run(body(MEMORY[attack], cpu_ns=2 * SECOND), echoes)
    assert outcome.failure in {"memory", "exception", "cpu"}, outcome
    await works(executor)


@pytest.mark.parametrize("attack", QUICK)
async def test_what_is_hostile_ends_as_it_must(executor: IsolatePool, attack: str) -> None:
    outcome = await executor.run(body(QUICK[attack].source), echoes)
    assert outcome.failure in QUICK[attack].ends, outcome
    assert "/" not in (outcome.message or "").replace("`/", ""), outcome
    assert "Traceback" not in (outcome.message or "")
    await works(executor)


async def test_a_worker_killed_in_the_middle_of_a_call_is_told(executor: IsolatePool) -> None:
    async def killing(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
        for worker in children():
            os.kill(worker, signal.SIGKILL)
            await gone(worker)
        return await echoes(calls)

    outcome = await executor.run(body("async a => await tools.add({ x: 1 })"), killing)
    assert outcome.failure == "killed"
    await works(executor)


async def test_the_same_job_gives_the_same_bytes_in_another_worker(executor: IsolatePool) -> None:
    source = """async a => {
      const seen = [Date.now(), Math.random(), new Date().toISOString()];
      for (let i = 0; i < 5; i++) seen.push(await tools.add({ x: i }), Math.random());
      return seen;
    }"""
    first = await executor.run(body(source, memory_bytes=32 * MB), echoes)
    second = await executor.run(body(source, memory_bytes=100 * MB), echoes)
    assert first.failure is None
    assert (first.result, first.v8) == (second.result, second.v8)
