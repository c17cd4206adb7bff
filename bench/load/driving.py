"""Many runs at once under one guard; each is begun, makes its calls, and is ended, and another follows it.

All of them have begun before the first call is made.  Nothing waits between two calls, so the process works
as hard as it can.
"""

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bench.load.mix import PERSON, STEPS, End, Step
from bench.load.reports import Memory, Report
from ringfence import DeniedError, Guard, PendingError, Principal, ToolCall
from ringfence.dsl.plan import Json
from ringfence.engine.enforcement.runs import Run
from ringfence.plugins.isolate import gauges

USERS = 100
_LOOK_EVERY_S = 0.25
_RESULT = "done"


@dataclass(frozen=True, slots=True)
class Load:
    """How much; exactly one of `rounds` and `seconds` bounds it."""

    at_once: int
    rounds: int | None = None
    """So many whole runs one after another, in each of the places."""
    seconds: float | None = None
    """Until then new calls and runs begin; what has begun is ended in order."""

    def __post_init__(self) -> None:
        if (self.rounds is None) == (self.seconds is None):
            raise ValueError("a load is bounded by rounds or by seconds")


async def drive(guard: Guard, load: Load, *, first: int = 0) -> Report:
    """Put the load on the guard.

    Args:
        first: The number of the first place, where several processes share the places.
    """
    return await _Driven(guard, load, first).drive()


class _Driven:
    def __init__(self, guard: Guard, load: Load, first: int) -> None:
        self._guard = guard
        self._load = load
        self._places = range(first, first + load.at_once)
        self._until_s = 0.0
        self._report = Report(at_once=load.at_once)
        self._bodies = {step.name: self._body(step) for step in STEPS}

    async def drive(self) -> Report:
        report = self._report
        await self._place(0, await self._began(0), rounds=1)  # what is made once is made
        before = _resident_bytes()
        start = time.perf_counter()
        runs = await asyncio.gather(*(self._began(place) for place in self._places))
        begun = _resident_bytes()
        calls, ended, cpu_s = report.calls, report.runs, time.process_time()
        began_s = time.perf_counter()
        report.begin_s, report.slowest_s = began_s - start, 0.0
        if self._load.seconds is not None:
            self._until_s = began_s + self._load.seconds
        async with _watched() as peak:
            pairs = zip(self._places, runs, strict=True)
            await asyncio.gather(*(self._place(place, run) for place, run in pairs))
        report.wall_s = time.perf_counter() - began_s
        report.cpu_s = time.process_time() - cpu_s
        report.timed_calls, report.timed_runs = report.calls - calls, report.runs - ended
        after = _resident_bytes()
        if before is not None and begun is not None and after is not None:
            report.memory.append(Memory(before, begun, max(begun, peak()), after))
        return report

    @property
    def _over(self) -> bool:
        return self._load.seconds is not None and time.perf_counter() >= self._until_s

    async def _began(self, place: int) -> Run | None:
        try:
            principal = Principal(user=f"user{place % USERS}", workspace="w1")
            return await self._guard.abegin_run(principal=principal)
        except Exception as error:  # a mistake of what is measured: this place stays empty, and it is told
            self._report.wrong(f"a run did not begin: {_said(error)}")
            return None

    async def _place(self, place: int, run: Run | None, *, rounds: int | None = None) -> None:
        """Have one run after another; one that goes wrong is the last in its place."""
        most = rounds or self._load.rounds
        number = 0
        while run is not None:
            try:
                await self._calls(run, place + number, cut=rounds is None)
                await self._guard.aend_run(run)
            except Exception as error:  # a mistake of what is measured: no call may end like this
                self._report.wrong(f"run {run.id}: {_said(error)}")
                return
            self._report.runs += 1
            number += 1
            if number == most or (most is None and self._over):
                return
            run = await self._began(place)

    async def _calls(self, run: Run, turn: int, *, cut: bool) -> None:
        for number in range(len(STEPS)):
            if cut and self._over:
                return
            step = STEPS[(turn + number) % len(STEPS)]
            start = time.perf_counter()
            end = await self._ended(run, step, f"c{number}")
            if step.answer is None:
                self._report.slowest_s = max(self._report.slowest_s, time.perf_counter() - start)
            (self._report.ran if end == "ran" else self._report.denied)[step.name] += 1
            if end not in step.ends:
                self._report.wrong(f"run {run.id}: the call that is {step.name} {_ENDED[end]}")

    async def _ended(self, run: Run, step: Step, name: str) -> End:
        call, body = ToolCall(step.tool, step.arguments, call_id=name), self._bodies[step.name]
        try:
            if step.answer is None:
                result = await self._guard.aexecute(run, call, body)
            else:
                result = await self._asked(run, step, call, body)
        except DeniedError:
            return "denied"
        if result != _RESULT:
            self._report.wrong(f"run {run.id}: the call that is {step.name} gave something else")
        return "ran"

    async def _asked(
        self, run: Run, step: Step, call: ToolCall, body: Callable[[Mapping[str, Json]], Awaitable[Json]]
    ) -> Json:
        """Make a call that a person is asked about, and wait for it while that person answers."""
        try:
            await self._guard.aexecute(run, call, body, wait=False)
        except PendingError as error:
            tickets = error.tickets
        else:
            self._report.wrong(f"run {run.id}: nobody was asked about the call that is {step.name}")
            return _RESULT
        say = self._guard.aapprove if step.answer == "approve" else self._guard.adeny
        answers = asyncio.gather(*(say(ticket, by=PERSON) for ticket in tickets))
        try:
            result: Json = await self._guard.aexecute(run, call, body)
        finally:
            await answers
        return result

    def _body(self, step: Step) -> Callable[[Mapping[str, Json]], Awaitable[Json]]:
        async def body(arguments: Mapping[str, Json]) -> Json:
            self._report.bodies[step.name] += 1
            await asyncio.sleep(0)  # as one that waits for something: others go on meanwhile
            return _RESULT

        return body


_ENDED: Mapping[End, str] = {"ran": "ran", "denied": "was denied"}


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


@asynccontextmanager
async def _watched() -> AsyncIterator[Callable[[], int]]:
    """Look at the memory again and again; what is given returns the most that was seen."""
    most = 0

    async def look() -> None:
        nonlocal most
        gauge = gauges.Memory(os.getpid())
        try:
            while True:
                most = max(most, gauge.resident_bytes() or 0)
                await asyncio.sleep(_LOOK_EVERY_S)
        finally:
            gauge.close()

    looking = asyncio.create_task(look())
    try:
        yield lambda: most
    finally:
        looking.cancel()
        await asyncio.wait([looking])


def _resident_bytes() -> int | None:
    """Return what this process holds, garbage left out; None: this system does not tell."""
    gc.collect()
    gauge = gauges.Memory(os.getpid())
    try:
        return gauge.resident_bytes()
    finally:
        gauge.close()
