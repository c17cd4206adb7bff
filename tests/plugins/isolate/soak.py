"""Many calls into V8 isolates, half of them hostile, and what they leave in the host: nothing.

`python -m tests.plugins.isolate.soak 10000`
"""

import asyncio
import contextlib
import gc
import json
import os
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass

from ringfence.engine.seams.isolates import IsolateFailure
from ringfence.plugins.isolate import gauges
from ringfence.plugins.isolate.executor import IsolatePool
from ringfence.plugins.isolate.settings import IsolateSettings
from tests.plugins.isolate.scripts import LIVENESS, MEMORY, QUICK, Script, body
from tests.plugins.isolate.workers import MB, SECOND, children, descriptors, echoes

AT_ONCE = 2
GROWTH_BYTES = 24 * MB
"""What the host may grow by, from its first hundred calls on: caches and the allocator's waste, no leak."""
_DEAR_EVERY = 10

_CHEAP = [script for script in QUICK.values() if script.cheap and not script.ends & {"output", "calls"}]
_DEAR = [
    *(script for script in QUICK.values() if script.cheap and script.ends & {"output", "calls"}),
    Script(LIVENESS["loop"], frozenset({"time"})),
    Script(MEMORY["many buffers"], frozenset({"memory", "exception"})),
    Script(LIVENESS["microtasks"], frozenset({"time"})),
]
"""These cost a worker."""


@dataclass(frozen=True)
class Footprint:
    """What this process holds."""

    memory_bytes: int
    descriptors: int
    threads: int
    workers: int

    @classmethod
    def now(cls) -> "Footprint":
        """Measure it."""
        gc.collect()
        gauge = gauges.Memory(os.getpid())
        memory = gauge.resident_bytes() or 0
        gauge.close()
        return cls(memory, descriptors(), threading.active_count(), len(children()))


async def at_rest() -> Footprint:
    """Measure until the workers that were killed last are gone, or for a while all the same.

    The footprint itself is what is asked again: a killed worker and its successor may both be there
    for a moment, also between a look at the children and the measuring.
    """
    seen = Footprint.now()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(20):
            while seen.workers > AT_ONCE:
                await asyncio.sleep(0.005)
                seen = Footprint.now()
    return seen


@dataclass(frozen=True)
class Report:
    """What came of a soak."""

    before: Footprint
    """After the first hundred calls, with the pool at rest."""
    after: Footprint
    closed: Footprint
    ends: Counter[IsolateFailure | None]
    wrong: tuple[str, ...]
    """Calls that ended as they must not."""

    def leaks(self) -> list[str]:
        """Say what is left that was not there."""
        found = []
        if self.after.memory_bytes - self.before.memory_bytes > GROWTH_BYTES:
            found.append(f"{(self.after.memory_bytes - self.before.memory_bytes) >> 20} MB of memory")
        # a worker more or fewer at that moment is a descriptor more or fewer
        if self.after.descriptors - self.before.descriptors > AT_ONCE:
            found.append(f"{self.after.descriptors - self.before.descriptors} descriptors")
        if self.after.threads > self.before.threads:
            found.append(f"{self.after.threads - self.before.threads} threads")
        if self.after.workers > AT_ONCE or self.closed.workers:
            found.append(f"{self.after.workers} workers, {self.closed.workers} after the end")
        return found


async def soak(calls: int) -> Report:
    """Make so many calls, a few at once; every second one is hostile."""
    ends: Counter[IsolateFailure | None] = Counter()
    wrong: list[str] = []
    executor = IsolatePool(IsolateSettings(workers=AT_ONCE, spare=0))
    numbers = iter(range(100))

    async def calling() -> None:
        for nth in numbers:
            failure, mistake = await _call(executor, nth)
            ends[failure] += 1
            if mistake is not None:
                wrong.append(f"call {nth}: {mistake}")

    try:
        await asyncio.gather(*(calling() for _ in range(AT_ONCE)))
        before = await at_rest()
        numbers = iter(range(100, calls))
        await asyncio.gather(*(calling() for _ in range(AT_ONCE)))
        after = await at_rest()
    finally:
        await executor.close()
    return Report(before, after, Footprint.now(), ends, tuple(wrong))


async def _call(executor: IsolatePool, nth: int) -> tuple[IsolateFailure | None, str | None]:
    if nth % 2 == 0:
        outcome = await executor.run(body("async a => a.n + await tools.add({ x: 1 })", {"n": nth}), echoes)
        right = outcome.result is not None and json.loads(outcome.result) == nth + 1
    else:
        which = nth // 2
        dear = which % _DEAR_EVERY == 0
        script = _DEAR[which // _DEAR_EVERY % len(_DEAR)] if dear else _CHEAP[which % len(_CHEAP)]
        loops = "time" in script.ends
        outcome = await executor.run(
            body(script.source, time_ns=(SECOND // 4 if loops else 20 * SECOND)), echoes
        )
        right = outcome.failure in script.ends
    return outcome.failure, None if right else f"{outcome.failure}: {outcome.message}"


def main() -> int:
    """Soak, and say what was left."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    started = time.perf_counter()
    report = asyncio.run(soak(calls))
    print(f"{calls} calls in {time.perf_counter() - started:.0f} s")
    for failure, count in report.ends.most_common():
        print(f"  {count:6} {failure or 'a result'}")
    for name, seen in [("before", report.before), ("after", report.after), ("closed", report.closed)]:
        print(f"  {name}: {seen}")
    for line in [*report.wrong[:20], *report.leaks()]:
        print(f"  WRONG: {line}")
    return 1 if report.wrong or report.leaks() else 0


if __name__ == "__main__":
    sys.exit(main())
