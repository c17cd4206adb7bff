"""A pool with the fake worker, and what tests of it share."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from ringfence.engine.seams.isolates import InnerAnswer, InnerCall, IsolateJob, IsolateLimits, Lockdown
from ringfence.plugins.isolate.executor import IsolatePool
from ringfence.plugins.isolate.settings import IsolateSettings
from ringfence.plugins.isolate.starting import Kind

FAKE = str(Path(__file__).with_name("fake_worker.py"))
MB = 1 << 20
SECOND = 1_000_000_000

LIMITS = IsolateLimits(memory_bytes=64 * MB, cpu_ns=20 * SECOND, time_ns=60 * SECOND, output_bytes=100_000)


def job(
    source: str,
    arguments: object = None,
    *,
    lockdown: Lockdown = "process",
    owner: str = "a session",
    **limits: int,
) -> IsolateJob:
    """A job for the fake worker: `source` is the name of what it does."""
    return IsolateJob(
        source=source,
        kind="body",
        name="body.js",
        arguments=json.dumps({} if arguments is None else arguments),
        tools=("add",),
        limits=replace(LIMITS, **limits),
        lockdown=lockdown,
        now_ms=1_700_000_000_000,
        tick_ms=None,
        seed="0" * 32,
        owner=owner,
    )


def fake(manners: str = "good", python: str = sys.executable) -> Callable[[Kind, int], Sequence[str]]:
    """The command of the fake worker."""
    return lambda kind, descriptor: [python, "-I", "-S", "-B", FAKE, manners, str(descriptor)]


def pool(manners: str = "good", **settings: float) -> IsolatePool:
    """A pool of fake workers."""
    return IsolatePool(
        IsolateSettings.model_validate({"workers": 2, "spare": 0, **settings}),
        program=fake(manners),
        wanted=frozenset({"seccomp"}),
    )


@asynccontextmanager
async def closing(made: IsolatePool) -> AsyncIterator[IsolatePool]:
    """Close a pool and look that nothing of it is left."""
    before = descriptors()
    try:
        yield made
    finally:
        await made.close()
    assert children() == []
    assert descriptors() <= before + 1  # the loop may have opened one for its threads


async def none(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
    """Answer a job that must not call."""
    raise AssertionError("nobody calls here")


async def echoes(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
    """Answer each call with its `x`, or 0."""
    given = [(call.id, json.loads(call.arguments)) for call in calls]
    return [
        InnerAnswer(id, json.dumps(said.get("x", 0) if isinstance(said, dict) else 0)) for id, said in given
    ]


async def never(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
    """Answer nothing until cancelled."""
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


def children() -> list[int]:
    """The ids of this process's children that are workers; zombies too."""
    return [pid for pid in children_of(os.getpid()) if not alive(pid) or _is_worker(pid)]


def children_of(parent: int) -> list[int]:
    """The ids of a process's children; zombies too."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and _stat(int(name))[1] == parent]


def _is_worker(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline") as line:
            return "worker" in line.read()
    except OSError:  # it has ended
        return False


def _stat(pid: int) -> tuple[str, int]:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            state, parent = stat.read().rpartition(")")[2].split()[:2]
    except OSError:  # it has ended
        return "X", 0
    return state, int(parent)


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


def alive(pid: int) -> bool:
    """Whether a process runs, and is no zombie."""
    return _stat(pid)[0] not in "XZ"


async def gone(pid: int) -> None:
    """Wait until a process has ended."""
    async with asyncio.timeout(20):
        while alive(pid):
            await asyncio.sleep(0.005)


async def pid_of(executor: IsolatePool, memory_bytes: int = 64 * MB, *, owner: str = "a session") -> int:
    """The id of the worker that runs a job."""
    outcome = await executor.run(job("pid", owner=owner, memory_bytes=memory_bytes), none)
    assert outcome.result is not None, outcome
    return int(outcome.result)


async def until_there_are(count: int) -> list[int]:
    """Wait until so many workers live; their ids."""
    async with asyncio.timeout(20):
        while len(found := [pid for pid in children() if alive(pid)]) != count:
            await asyncio.sleep(0.005)
    return found
