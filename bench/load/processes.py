"""The processes of a load: started, told to begin at the same moment, and awaited within a bound."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from bench.load.reports import Report
from bench.load.worker import READY, Order

READY_WITHIN_S = 120.0
GRACE_S = 600.0
"""So long after its time a process may still end its runs and write what is queued."""
_LINE_BYTES = 1 << 20


class WorkerError(RuntimeError):
    """A process did not do its work."""


async def worked(orders: Sequence[Order], *, command: Sequence[str] = ()) -> list[Report]:
    """Have each order carried out by a process of its own, all at the same time.

    Raises:
        WorkerError: A process broke off, said nothing that can be read, or took too long.
    """
    words = command or (sys.executable, "-m", "bench.load.worker")
    async with _started(words, len(orders)) as processes:
        async with _bound(READY_WITHIN_S, "to open its guard"):
            await asyncio.gather(
                *(_open(process, order) for process, order in zip(processes, orders, strict=True))
            )
        async with _bound(GRACE_S + max(order.load.seconds or 0.0 for order in orders), "for its load"):
            return await asyncio.gather(*(_load(process) for process in processes))


@asynccontextmanager
async def _started(words: Sequence[str], count: int) -> AsyncIterator[list[Process]]:
    processes: list[Process] = []
    try:
        for _ in range(count):
            processes.append(
                await asyncio.create_subprocess_exec(*words, stdin=PIPE, stdout=PIPE, limit=_LINE_BYTES)
            )
        yield processes
    finally:  # whatever happened, none of them is left
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.communicate()


@asynccontextmanager
async def _bound(seconds: float, what: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise WorkerError(f"a process took longer than {seconds:.0f} s {what}") from None


async def _open(process: Process, order: Order) -> None:
    _say(process, order.line())
    if await _line(process) != READY:
        raise WorkerError("a process did not open its guard; its error stands above")


async def _load(process: Process) -> Report:
    _say(process, "begin\n")
    line = await _line(process)
    if not line or await process.wait() != 0:
        raise WorkerError("a process broke off under its load; its error stands above")
    return Report.of_json(json.loads(line))


def _say(process: Process, line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line.encode())


async def _line(process: Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()
