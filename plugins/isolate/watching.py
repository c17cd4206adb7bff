"""One job with one worker, within its limits, which are held from outside of the worker."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ringfence.plugin import InnerAnswer, InnerAnswering, InnerCall, IsolateFailure, IsolateJob, IsolateLimits
from ringfence.plugins.isolate.conversation import (
    Ended,
    converse,
    failed,
    over_cpu,
    over_memory,
    over_time,
)
from ringfence.plugins.isolate.starting import Worker

_LOOK_S = 0.01
_GRACE_S = 1.0
"""How long a dead worker's last words, and inner calls that were cancelled, are waited for."""
_SLACK_BYTES = 16 << 20
"""What a worker may use beside the job's memory: texts on their way in and out, the isolate itself."""


@dataclass(frozen=True, slots=True)
class Breach:
    """A limit that was passed."""

    failure: IsolateFailure
    message: str


async def attended(worker: Worker, job: IsolateJob, frame: bytes, answer: InnerAnswering) -> Ended:
    """Have a worker do its job while its limits are watched; cancelled, it is killed.

    Args:
        frame: `first_frame` of the job.
    """

    async def answered(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
        return await _answered(answer, calls)

    watch = Watch(worker, job.limits)
    timer = asyncio.timeout(None)
    ended: Ended | None = None
    try:
        async with timer:
            watch.begin(timer)
            ended = await converse(worker, job, frame, answered)
    except TimeoutError:
        if not timer.expired():
            raise
    finally:
        watch.end()
        if ended is None:
            worker.child.kill()
    over = watch.passed or (watch.breach() if ended is not None else None)
    if over is not None and (ended is None or watch.passed or ended.outcome.failure is None):
        worker.child.kill()
        return Ended(failed(over.failure, over.message, worker.ready), clean=False)
    return ended or Ended(failed("killed", "the worker died", worker.ready), clean=False)


async def _answered(answer: InnerAnswering, calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
    """Have calls answered, and wait no longer for what does not let itself be cancelled."""
    answering = asyncio.ensure_future(answer(calls))
    try:
        await asyncio.wait({answering})
    except asyncio.CancelledError:  # the job is over
        answering.cancel()
        answering.add_done_callback(_heard)
        await asyncio.wait({answering}, timeout=_GRACE_S)
        raise
    return answering.result()


def _heard(task: "asyncio.Future[Sequence[InnerAnswer]]") -> None:
    if not task.cancelled():
        task.exception()


class Watch:
    """What a job may use, counted from now."""

    def __init__(self, worker: Worker, limits: IsolateLimits) -> None:
        self._worker, self._child = worker, worker.child
        self._limits = limits
        self._started_ns = time.monotonic_ns()
        self._cpu_ns = worker.child.cpu_ns()
        idle_bytes = max(worker.idle_bytes, worker.child.resident_bytes() or 0)
        self._allowed_bytes = limits.memory_bytes + _SLACK_BYTES + idle_bytes
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.Timeout | None = None
        self._next: asyncio.TimerHandle | None = None
        self.passed: Breach | None = None
        """The limit for which the worker was killed."""

    def begin(self, timer: asyncio.Timeout) -> None:
        """Look from time to time; expire this where there is nothing more to wait for."""
        self._timer = timer
        self._again()

    def end(self) -> None:
        """Look no more."""
        if self._next is not None:
            self._next.cancel()

    def breach(self) -> Breach | None:
        """Return the limit that has been passed by now, if any."""
        if self._left_ns() < 0:
            return Breach("time", over_time(self._limits))
        used = self._child.cpu_ns()
        if used is not None and self._cpu_ns is not None and used - self._cpu_ns > self._limits.cpu_ns:
            return Breach("cpu", over_cpu(self._limits))
        if (self._child.resident_bytes() or 0) > self._allowed_bytes:
            return Breach("memory", over_memory(self._limits))
        return None

    def _crowd(self) -> Breach | None:
        if not self._worker.crowded():
            return None
        return Breach("killed", "the worker made more threads than an isolate has")

    def _look(self) -> None:
        assert self._timer is not None
        self.passed = self.breach() or self._crowd()
        if self.passed is not None:
            self._child.kill()
            self._timer.reschedule(self._loop.time())
        elif self._child.exit_status is not None:
            # It died: what it said before, and how it died, is still heard; inner calls are not waited for.
            self._timer.reschedule(self._loop.time() + _GRACE_S)
        else:
            self._again()

    def _again(self) -> None:
        left_s = max(0.0, self._left_ns() / 1e9)
        self._next = self._loop.call_later(min(_LOOK_S, left_s), self._look)

    def _left_ns(self) -> int:
        return self._limits.time_ns - (time.monotonic_ns() - self._started_ns)
