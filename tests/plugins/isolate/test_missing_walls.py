"""A machine without a wall: `lockdown full` runs nothing there and says what is missing, `process` runs.

The workers are real and really go without: they are told not to put the wall up.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ringfence.plugins.isolate.executor import IsolatePool
from ringfence.plugins.isolate.worker.options import LEAVABLE
from tests.plugins.isolate.accounts import ROOT, Account
from tests.plugins.isolate.real import SETTINGS, leaving_out
from tests.plugins.isolate.scripts import LIVENESS, body
from tests.plugins.isolate.workers import SECOND, children, closing, echoes, none

pytest.importorskip("py_mini_racer", reason="the extra `isolate` is not installed")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="workers are processes of POSIX systems")

NEEDED_BY = {"no new privileges": ("Landlock", "seccomp")}


@pytest.mark.parametrize("wall", sorted(LEAVABLE))
async def test_full_refuses_where_a_wall_is_missing_and_process_does_not(wall: str) -> None:
    async with closing(IsolatePool(SETTINGS, program=leaving_out(wall))) as executor:
        outcome = await executor.run(body("a => tools.add({ x: 1 })"), none)
        assert (outcome.result, outcome.failure) == (None, "lockdown"), outcome
        assert "this machine lacks what `lockdown full` needs" in (outcome.message or "")
        assert f"{wall} (left out, as the worker was told)" in (outcome.message or "")
        fitness = await executor.fitness()
        assert set(fitness.lacks("full")) == {wall, *NEEDED_BY.get(wall, ())}
        assert fitness.lacks("process") == ()
        worked = await executor.run(body("async a => await tools.add({ x: 2 })", lockdown="process"), echoes)
        assert worked.result == "2"
        assert wall not in worked.layers and "V8 flags" in worked.layers


async def test_where_every_kernel_wall_is_missing_the_deadline_still_holds() -> None:
    async with closing(IsolatePool(SETTINGS, program=leaving_out(*LEAVABLE))) as executor:
        loop = body(LIVENESS["loop"], lockdown="process", time_ns=SECOND // 2)
        assert (await executor.run(loop, none)).failure == "time"
        worked = await executor.run(body("a => 3", lockdown="process"), none)
        assert (worked.result, set(worked.layers)) == ("3", {"process", "V8 flags"})


HOST = """
import asyncio, os, sys
from tests.plugins.isolate.scripts import body
from tests.plugins.isolate.workers import children, echoes
from ringfence.plugins.isolate.executor import IsolatePool
executor, answered = IsolatePool(), asyncio.Event()
async def answer(calls):
    print(*children(), flush=True)
    answered.set()
    return await echoes(calls)
async def use():
    source = "async a => { await tools.add({ x: 1 }); LOOP }"
    print((await executor.run(body(source, time_ns=600_000_000_000), answer)).failure, flush=True)
THEN
"""
ENDINGS = {
    "forgets to close": ("return 1", "asyncio.run(use())"),
    "forgets to close, in a thread": (
        "return 1",
        "import threading; t = threading.Thread(target=asyncio.run, args=[use()]); t.start(); t.join()",
    ),
    "leaves in the middle": (
        "for (;;);",
        "async def leave():\n"
        "    task = asyncio.create_task(use())\n"
        "    await answered.wait()\n"
        "asyncio.run(leave())",
    ),
}


@pytest.mark.parametrize("how", ENDINGS)
def test_no_worker_outlives_its_host_and_no_host_hangs_at_its_end(how: str) -> None:
    loop, then = ENDINGS[how]
    script = HOST.replace("LOOP", loop).replace("THEN", then)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    with subprocess.Popen(
        [Account().python, "-c", script], stdout=subprocess.PIPE, text=True, env=environment
    ) as host:
        assert host.stdout is not None
        workers = [int(word) for word in host.stdout.readline().split()]
        assert workers and not set(workers) & set(children())
        assert host.wait(60) == 0
    for worker in workers:
        ended(worker)


def ended(worker: int) -> None:
    """Wait until a process of somebody else's has ended."""
    until = time.monotonic() + 30
    while Path(f"/proc/{worker}").exists() and " Z " not in _stat(worker):
        assert time.monotonic() < until, "the worker outlived its host"


def _stat(worker: int) -> str:
    try:
        return Path(f"/proc/{worker}/stat").read_text("ascii")
    except OSError:  # it has ended just now
        return " Z "
