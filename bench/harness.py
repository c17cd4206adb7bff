"""How a figure is taken on a machine that others use as well.

The median (p50) is taken from the wall clock: one call is far shorter than a time slice.  The 99th
percentile and throughput are taken from the thread's or the process's CPU clock, which does not run while
others have the core.  Things that are compared take turns within one run, and each figure is the median
over the rounds.  The cost of reading the clock is taken off.
"""

import gc
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

T = TypeVar("T")
Clock = Callable[[], int]


@dataclass(frozen=True, slots=True)
class Row:
    """One figure; `goal` is the most it should be, or the least where `at_least` is set."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where there is none."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.at_least else self.value <= self.goal


def clock_cost_ns(clock: Clock) -> float:
    """Return what two readings of a clock cost."""
    return median(-clock() + clock() for _ in range(5_000))


WALL_NS = clock_cost_ns(time.perf_counter_ns)
CPU_NS = clock_cost_ns(time.thread_time_ns)


@dataclass(frozen=True, slots=True)
class Spread:
    """The median by the wall and the 99th percentile by the thread's CPU clock, in nanoseconds."""

    p50_ns: float
    p99_ns: float


def spread(work: Callable[[T], object], items: Sequence[T], *, rounds: int = 5) -> Spread:
    """Time `work` on each of `items`."""
    return compared([work], items, rounds=rounds)[0]


def compared(works: Sequence[Callable[[T], object]], items: Sequence[T], *, rounds: int = 5) -> list[Spread]:
    """Time several works on the same items, taking turns."""
    walls: list[list[float]] = [[] for _ in works]
    cpus: list[list[float]] = [[] for _ in works]
    for work in works:
        for item in items[: max(20, len(items) // 20)]:
            work(item)
    for _ in range(rounds):
        for index, work in enumerate(works):
            gc.collect()
            walls[index].append(_at(_timed(work, items, time.perf_counter_ns), 0.50) - WALL_NS)
            cpus[index].append(_at(_timed(work, items, time.thread_time_ns), 0.99) - CPU_NS)
    return [Spread(median(wall), median(cpu)) for wall, cpu in zip(walls, cpus, strict=True)]


async def compared_async(
    works: Sequence[Callable[[T], Awaitable[object]]], items: Sequence[T], *, rounds: int = 5
) -> list[Spread]:
    """Time several coroutine functions on the same items, taking turns."""
    walls: list[list[float]] = [[] for _ in works]
    cpus: list[list[float]] = [[] for _ in works]
    for work in works:
        for item in items[: max(20, len(items) // 20)]:
            await work(item)
    for _ in range(rounds):
        for index, work in enumerate(works):
            gc.collect()
            walls[index].append(_at(await _awaited(work, items, time.perf_counter_ns), 0.50) - WALL_NS)
            cpus[index].append(_at(await _awaited(work, items, time.thread_time_ns), 0.99) - CPU_NS)
    return [Spread(median(wall), median(cpu)) for wall, cpu in zip(walls, cpus, strict=True)]


def _timed(work: Callable[[T], object], items: Sequence[T], clock: Clock) -> list[int]:
    taken = []
    for item in items:
        start = clock()
        work(item)
        taken.append(clock() - start)
    return taken


async def _awaited(work: Callable[[T], Awaitable[object]], items: Sequence[T], clock: Clock) -> list[int]:
    taken = []
    for item in items:
        start = clock()
        await work(item)
        taken.append(clock() - start)
    return taken


def _at(taken: list[int], share: float) -> int:
    taken.sort()
    return taken[min(len(taken) - 1, int(len(taken) * share))]
