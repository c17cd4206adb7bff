"""Runs jobs in isolates: the executor that the guard asks."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from contextvars import ContextVar

from ringfence.plugin import (
    EngineError,
    Fitness,
    InnerAnswering,
    IsolateJob,
    IsolateOutcome,
    Layer,
    Lockdown,
    Threads,
)
from ringfence.plugins.isolate.conversation import Ended, failed, first_frame
from ringfence.plugins.isolate.frames import FrameError
from ringfence.plugins.isolate.installed import Installed, installed
from ringfence.plugins.isolate.pool import Pool
from ringfence.plugins.isolate.program import LAYERS, program
from ringfence.plugins.isolate.settings import IsolateSettings
from ringfence.plugins.isolate.starting import Kind, Program, UnavailableError, Worker, started
from ringfence.plugins.isolate.watching import attended

_LOG = logging.getLogger("ringfence.isolate")
_NOT_HERE = "isolates need a POSIX system: their workers' walls are made of its system calls"
_DEEPEST = 4
_depth: ContextVar[int] = ContextVar("runs in isolates around this one", default=0)


class IsolatePool:
    """Isolates in locked-down worker processes; fork-safe: a child of the host has none of its workers."""

    def __init__(
        self,
        settings: IsolateSettings | None = None,
        *,
        program: Program | None = None,
        wanted: frozenset[str] = LAYERS,
        look: Callable[[], Installed] = installed,
    ) -> None:
        """Nothing is looked for or started yet.

        Args:
            program: Another worker than ours, for tests; no V8 is looked for then.
            wanted: The walls that `lockdown full` must have.
            look: Finds V8.
        """
        self.settings = settings or IsolateSettings()
        self._given = program
        self._wanted = wanted
        self._look = look
        self._found: Installed | None = None
        self._pool: Pool | None = None
        self._starter: Threads | None = None
        self._home: tuple[int, asyncio.AbstractEventLoop] | None = None
        self._closed = False

    async def run(self, job: IsolateJob, answer: InnerAnswering) -> IsolateOutcome:
        """Run one job in a fresh isolate; cancelled, its worker is killed."""
        try:
            return await self._run(job, answer)
        except UnavailableError as error:
            return failed(error.failure, error.message)
        except Exception:  # fails closed: there is no result
            _LOG.exception("a run in an isolate failed by our own fault")
            return failed("executor", "the executor of isolates failed; its log says why")

    async def fitness(self) -> Fitness:
        """Say what this machine can enforce, as a worker proves it."""
        problem = self._problem()
        if problem is not None:
            return Fitness(None, problem=problem)
        try:
            ready = await self._living().report()
        except UnavailableError as error:
            return Fitness(None, problem=error.message)
        except Exception:  # nothing is promised that was not seen
            _LOG.exception("a worker could not be asked for its walls")
            return Fitness(None, problem="no worker could be started; the log says why")
        named = {layer.name for layer in ready.layers}
        missing = tuple(
            Layer(name, False, "not in the worker's report") for name in sorted(self._wanted - named)
        )
        return Fitness(ready.v8, (*ready.layers, *missing))

    def check(self) -> None:
        """Raise EngineError if nothing can run here; no worker is started for it."""
        if sys.platform == "win32":
            raise EngineError(_NOT_HERE, help="run the host on Linux")
        if self._given is None and (found := self._installed()).folder is None:
            raise EngineError(found.why_not, help=found.mend)

    def prewarm(self, lockdown: Lockdown, memory_bytes: int) -> None:
        """Have a worker for such jobs started in the background; nothing is said if it cannot."""
        if self._problem() is None and not self._closed:
            self._living().prewarm(Kind.of(lockdown, memory_bytes))

    @property
    def at_work(self) -> tuple[int, ...]:
        """The process ids of the workers that run a job at this moment."""
        return self._pool.at_work if self._pool is not None else ()

    async def close(self) -> None:
        """End all workers; safe to call twice."""
        self._closed = True
        pool, starter = self._pool, self._starter
        if pool is not None and self._home == (os.getpid(), asyncio.get_running_loop()):
            await pool.close()
        elif pool is not None:
            pool.drop()
        if starter is not None:
            starter.shutdown(wait=False)

    def _problem(self) -> str | None:
        """Return why nothing can run here at all, if so."""
        if sys.platform == "win32":
            return _NOT_HERE
        return None if self._given is not None else self._installed().problem

    def _installed(self) -> Installed:
        if self._found is None or self._found.problem is not None:
            self._found = self._look()
        return self._found

    async def _run(self, job: IsolateJob, answer: InnerAnswering) -> IsolateOutcome:
        problem = self._problem()
        if problem is not None:
            return failed("executor", problem)
        try:
            frame = first_frame(job)
        except FrameError as error:
            return failed("executor", f"source and arguments cannot be sent to a worker: {error}")
        depth = _depth.get()
        if depth > _DEEPEST:
            return failed("executor", f"more than {_DEEPEST} runs in isolates inside one another")
        pool = self._living()
        worker = await pool.take(Kind.of(job.lockdown, job.limits.memory_bytes), job.owner, depth=depth)
        token = _depth.set(depth + 1)
        ended: Ended | None = None
        try:
            ended = await attended(worker, job, frame, answer)
        finally:
            _depth.reset(token)
            pool.give_back(worker, clean=ended is not None and ended.clean)
        return ended.outcome

    def _living(self) -> Pool:
        """Return the pool of this process and loop: what another one had is not ours."""
        if self._closed:
            raise UnavailableError("executor", "the isolates are closed")
        home = (os.getpid(), asyncio.get_running_loop())
        if self._pool is None or self._home != home:
            if self._pool is not None and self._home is not None and self._home[0] == home[0]:
                self._pool.drop()
            if self._starter is None or self._home is None or self._home[0] != home[0]:
                self._starter = Threads(1, "ringfence-isolates")
            self._home = home
            self._pool = Pool(self._start, self.settings)
        return self._pool

    async def _start(self, kind: Kind) -> Worker:
        assert self._starter is not None
        within_s = self.settings.start_s
        command = self._given or program(self._installed(), cpu_seconds=self.settings.worker_cpu_s)
        return await started(kind, command, self._starter, wanted=self._wanted, within_s=within_s)
