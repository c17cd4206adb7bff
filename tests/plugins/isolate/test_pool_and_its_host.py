"""What becomes of workers when their pool is closed or dropped, and when the host forks or ends."""

import asyncio
import concurrent.futures.thread as pools
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from ringfence.engine.seams.isolates import InnerAnswer, InnerCall
from ringfence.engine.seams.threads import Threads
from tests.plugins.isolate.workers import (
    alive,
    children,
    closing,
    gone,
    job,
    never,
    none,
    pid_of,
    pool,
    until_there_are,
)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="workers are processes of POSIX systems")


async def test_close_ends_runs_that_are_under_way_and_those_that_wait() -> None:
    executor = pool(workers=1)
    async with closing(executor):
        called = asyncio.Event()

        async def waiting(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
            called.set()
            return await never(calls)

        first = asyncio.create_task(executor.run(job("batch", 1), waiting))
        await called.wait()
        second = asyncio.create_task(executor.run(job("echo"), none))
        await asyncio.sleep(0)
        await executor.close()
        assert (await first).failure == "killed"
        assert (await second).failure == "executor"
        assert children() == []
        assert (await executor.run(job("echo"), none)).message == "the isolates are closed"
        await executor.close()


async def test_close_does_not_wait_for_a_worker_that_never_gets_ready() -> None:
    executor = pool("mute", start_s=300)
    run = asyncio.create_task(executor.run(job("echo"), none))
    await until_there_are(1)
    await executor.close()
    assert (await run).failure == "executor"
    await until_there_are(0)


async def test_a_worker_is_started_also_while_the_interpreter_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that outlives the main one may still call tools: `concurrent.futures` takes nothing then."""
    asyncio.get_running_loop().set_default_executor(Threads())  # as the engine's loop has it
    executor = pool()
    async with closing(executor):
        monkeypatch.setattr(pools, "_shutdown", True)
        assert (await executor.run(job("echo"), none)).failure is None


def test_a_pool_that_is_dropped_leaves_nothing() -> None:
    async def use() -> int:
        return await pid_of(pool())

    used = asyncio.run(use())
    gc.collect()
    assert used not in children()


def test_the_same_pool_serves_another_loop() -> None:
    executor = pool()
    first = asyncio.run(pid_of(executor))
    second = asyncio.run(pid_of(executor))
    assert first != second
    asyncio.run(executor.close())
    assert children() == []


def test_a_forked_child_has_workers_of_its_own_and_ends_none_of_its_parents() -> None:
    executor = pool()

    async def use() -> None:
        worker = await pid_of(executor)
        told, telling = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                asyncio._set_running_loop(None)
                own = asyncio.run(pid_of(executor))
                asyncio.run(executor.close())
                os.write(telling, str(own).encode())
                gc.collect()
                status = 0
            finally:
                os._exit(status)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert status == 0
        assert int(os.read(told, 20)) != worker
        os.close(told)
        os.close(telling)
        assert await pid_of(executor) == worker
        await executor.close()

    asyncio.run(use())
    assert children() == []


HOST = """
import asyncio, os, sys
sys.path[:0] = {path!r}
from tests.plugins.isolate.workers import job, none, pool
executor = pool()
async def use():
    print((await executor.run(job("pid"), none)).result, flush=True)
{then}
"""


@pytest.mark.parametrize(
    "then",
    [
        pytest.param("asyncio.run(use())", id="forgets"),
        pytest.param(
            "import threading; t = threading.Thread(target=asyncio.run, args=[use()]); t.start(); t.join()",
            id="forgets in a thread",
        ),
    ],
)
def test_workers_end_with_a_host_that_forgets_to_close(then: str) -> None:
    with running(HOST.format(path=PATH, then=then)) as host:
        assert host.stdout is not None
        worker = int(host.stdout.readline())
        assert host.wait(60) == 0
    assert not alive(worker)


KILLED_HOST = """
import asyncio, sys
sys.path[:0] = {path!r}
from ringfence.engine.seams.isolates import InnerAnswer
from ringfence.plugins.isolate.executor import IsolatePool
from tests.plugins.isolate.scripts import body
from tests.plugins.isolate.workers import children
async def says(calls):
    print(*children(), flush=True)
    return [InnerAnswer(call.id, "1") for call in calls]
asyncio.run(IsolatePool().run(body("async a => {{ await tools.add({{}}); while (true); }}"), says))
"""


def test_a_worker_in_an_endless_loop_ends_with_a_host_that_is_killed() -> None:
    pytest.importorskip("py_mini_racer", reason="the extra `isolate` is not installed")
    with running(KILLED_HOST.format(path=PATH)) as host:
        assert host.stdout is not None
        workers = [int(pid) for pid in host.stdout.readline().split()]
        host.kill()
        assert host.wait(60) == -signal.SIGKILL
    assert workers
    for worker in workers:
        asyncio.run(gone(worker))


STILL_HOST = """
import asyncio, sys
sys.path[:0] = {path!r}
from ringfence.plugins.isolate.executor import IsolatePool
from tests.plugins.isolate.scripts import body
from tests.plugins.isolate.test_idle_workers import stands_still
from tests.plugins.isolate.workers import children, none
async def use():
    executor = IsolatePool()
    await executor.run(body("a => 1"), none)
    worker = executor._pool._idle[0].child.pid
    await stands_still(worker)
    print(worker, flush=True)
    await asyncio.sleep(600)
asyncio.run(use())
"""


def test_a_worker_that_stands_still_ends_with_a_host_that_is_killed() -> None:
    """It cannot see that its socket was closed: the system must end it."""
    pytest.importorskip("py_mini_racer", reason="the extra `isolate` is not installed")
    with running(STILL_HOST.format(path=PATH)) as host:
        assert host.stdout is not None
        worker = int(host.stdout.readline())
        host.kill()
        assert host.wait(60) == -signal.SIGKILL
    asyncio.run(gone(worker))


PATH = [str(Path.cwd()), str(Path.cwd() / "src")]


def running(script: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
