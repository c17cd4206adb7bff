"""The limits of one job, held from outside the worker while it runs."""

import asyncio
import time
from dataclasses import dataclass

from ringfence.plugin import IsolateFailure, IsolateLimits
from ringfence.plugins.isolate.conversation import over_cpu, over_memory, over_time
from ringfence.plugins.isolate.starting import Worker

_LOOK_S = 0.01
_SLACK_BYTES = 16 << 20
"""What a worker may use beside the job's memory: texts on their way in and out, the isolate itself."""


@dataclass(frozen=True, slots=True)
class Breach:
    """A limit that was passed, or a worker that died (None)."""

    failure: IsolateFailure | None
    message: str = ""


class Watch:
    """What a job may use, counted from now."""

    def __init__(self, worker: Worker, limits: IsolateLimits) -> None:
        self._child = worker.child
        self._limits = limits
        self._started_ns = time.monotonic_ns()
        self._cpu_ns = worker.child.cpu_ns()
        self._allowed_bytes = limits.memory_bytes + _SLACK_BYTES + max(worker.idle_bytes, _idle(worker))

    def breach(self) -> Breach | None:
        """Return the limit that has been passed by now, if any."""
        if time.monotonic_ns() - self._started_ns > self._limits.time_ns:
            return Breach("time", over_time(self._limits))
        used = self._child.cpu_ns()
        if used is not None and self._cpu_ns is not None and used - self._cpu_ns > self._limits.cpu_ns:
            return Breach("cpu", over_cpu(self._limits))
        if (self._child.resident_bytes() or 0) > self._allowed_bytes:
            return Breach("memory", over_memory(self._limits))
        return None

    async def breached(self) -> Breach:
        """Return the first limit that is passed, or that the worker has died."""
        while True:
            over = self.breach()
            if over is not None:
                return over
            if self._child.exit_status is not None:
                return Breach(None)
            left_s = (self._limits.time_ns - (time.monotonic_ns() - self._started_ns)) / 1e9
            await asyncio.sleep(max(0.0, min(_LOOK_S, left_s)))


def _idle(worker: Worker) -> int:
    return worker.child.resident_bytes() or 0
