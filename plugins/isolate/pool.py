"""Workers kept ready, and who gets the next one.

First come, first served, whatever kind is wanted: a worker of another kind that has nothing to do makes way.
A run inside a run must not wait for the one around it, so each step inwards has room of its own.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass

from ringfence.plugins.isolate.settings import IsolateSettings
from ringfence.plugins.isolate.starting import Kind, UnavailableError, Worker

_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 30.0
_GIVEN_BACK_WITHIN_S = 5.0
_GROWN_BYTES = 32 << 20
"""A worker whose memory has grown by so much since it was ready is replaced."""

Start = Callable[[Kind], Awaitable[Worker]]


@dataclass(slots=True, eq=False)
class _Wait:
    kind: Kind
    depth: int
    worker: "asyncio.Future[Worker]"


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Why workers of a kind do not start, and from when on it is tried again."""

    error: UnavailableError
    pause_s: float
    until_s: float


class Pool:
    """The workers of one event loop."""

    def __init__(self, start: Start, settings: IsolateSettings) -> None:
        self._start = start
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._idle: list[Worker] = []
        self._busy: set[Worker] = set()
        self._starting: Counter[Kind] = Counter()
        self._trouble: dict[Kind, _Trouble] = {}
        self._again: dict[Kind, asyncio.TimerHandle] = {}
        self._waiting: list[_Wait] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._starts: set[asyncio.Task[None]] = set()
        self._closed = False

    async def take(self, kind: Kind, *, depth: int = 0) -> Worker:
        """Return a worker that nobody else has; give it back.

        Args:
            depth: How many runs this one is inside of.

        Raises:
            UnavailableError: There is none, and why.
        """
        trouble = self._trouble.get(kind)
        if trouble is not None and self._loop.time() < trouble.until_s and not self._has(kind):
            raise trouble.error
        wait = _Wait(kind, depth, self._loop.create_future())
        self._waiting.append(wait)
        try:
            self._serve()
            async with asyncio.timeout(self._settings.wait_s):
                return await wait.worker
        except BaseException as error:
            if wait in self._waiting:
                self._waiting.remove(wait)
            if wait.worker.done() and not wait.worker.cancelled() and wait.worker.exception() is None:
                self.give_back(wait.worker.result(), clean=True)
            if isinstance(error, TimeoutError):
                message = f"no worker became free within {self._settings.wait_s:g} s"
                raise UnavailableError("executor", message) from None
            raise

    def give_back(self, worker: Worker, *, clean: bool) -> None:
        """Take a worker back.

        Args:
            clean: Its last job ended as jobs should; else it is ended and replaced.
        """
        self._busy.discard(worker)
        grown = (worker.child.resident_bytes() or 0) - worker.idle_bytes > _GROWN_BYTES
        worn = worker.jobs >= self._settings.jobs_per_worker
        if clean and not self._closed and not grown and not worn and worker.child.silent():
            self._idle.append(worker)
        else:
            self._retire(worker)
        self._serve()
        self._refill(worker.kind)

    def prewarm(self, kind: Kind) -> None:
        """Have a worker of this kind started, if there is room."""
        self._refill(kind)

    async def close(self) -> None:
        """End all workers, busy ones too, and wait until they are gone; safe to repeat."""
        self._closed = True
        for timer in self._again.values():
            timer.cancel()
        for wait in self._waiting:
            if not wait.worker.done():
                wait.worker.set_exception(_closed())
        self._waiting.clear()
        for task in self._starts:
            task.cancel()
        for worker in self._busy:  # whoever has it gives it back
            worker.child.kill()
        while self._idle:
            self._retire(self._idle.pop())
        until = self._loop.time() + _GIVEN_BACK_WITHIN_S
        while self._tasks or (self._busy and self._loop.time() < until):  # noqa: ASYNC110  # both change while we wait
            await asyncio.sleep(0.002)

    def drop(self) -> None:
        """Let go of all workers at once; for a loop that is gone."""
        self._closed = True
        for worker in [*self._idle, *self._busy]:
            worker.child.close_now()
        self._idle.clear()
        self._busy.clear()

    @property
    def count(self) -> int:
        """Workers that live or start."""
        return len(self._idle) + len(self._busy) + self._starting.total()

    def _has(self, kind: Kind) -> bool:
        return self._starting[kind] > 0 or any(worker.kind == kind for worker in self._idle)

    def _serve(self) -> None:
        if self._closed:
            for wait in self._waiting:
                if not wait.worker.done():
                    wait.worker.set_exception(_closed())
            self._waiting.clear()
            return
        promised: Counter[Kind] = Counter()
        for wait in list(self._waiting):
            if wait.worker.done():
                self._waiting.remove(wait)
                continue
            # INVARIANT: nobody takes the room of who is further in, or both would wait for ever.
            if len(self._busy) >= self._settings.workers * (wait.depth + 1):
                continue
            worker = self._ready(wait.kind)
            if worker is not None:
                self._waiting.remove(wait)
                self._busy.add(worker)
                worker.jobs += 1
                wait.worker.set_result(worker)
                self._refill(wait.kind)
                continue
            promised[wait.kind] += 1
            if self._starting[wait.kind] < promised[wait.kind] and self._room(wait.depth):
                self._launch(wait.kind)

    def _ready(self, kind: Kind) -> Worker | None:
        """Return an idle worker of this kind that still lives; the latest used is the warmest."""
        for worker in reversed([worker for worker in self._idle if worker.kind == kind]):
            self._idle.remove(worker)
            if worker.child.silent():
                return worker
            self._retire(worker)
        return None

    def _room(self, depth: int) -> bool:
        """Say whether one more may start; an idle one makes way for it."""
        if self.count < self._settings.workers * (depth + 1):
            return True
        if self._idle:
            self._retire(self._idle.pop(0))
            return True
        return False

    def _refill(self, kind: Kind) -> None:
        """Keep `spare` workers of a kind ready while nobody waits for the room."""
        trouble = self._trouble.get(kind)
        if self._closed or self._waiting or (trouble and self._loop.time() < trouble.until_s):
            return
        ready = self._starting[kind] + sum(worker.kind == kind for worker in self._idle)
        while ready < self._settings.spare and self.count < self._settings.workers:
            self._launch(kind)
            ready += 1

    def _launch(self, kind: Kind) -> None:
        self._starting[kind] += 1
        start = self._keep(self._started(kind))
        self._starts.add(start)
        start.add_done_callback(self._starts.discard)

    async def _started(self, kind: Kind) -> None:
        try:
            worker = await self._start(kind)
        except UnavailableError as error:
            self._starting[kind] -= 1
            self._failed(kind, error)
        except Exception:  # whatever it is, it is told as ours, and nobody waits for it
            self._starting[kind] -= 1
            self._failed(kind, UnavailableError("executor", "a worker could not be started"))
        except asyncio.CancelledError:  # closed
            self._starting[kind] -= 1
            raise
        else:
            self._starting[kind] -= 1
            self._trouble.pop(kind, None)
            if self._closed:
                self._retire(worker)
            else:
                self._idle.append(worker)
        self._serve()

    def _failed(self, kind: Kind, error: UnavailableError) -> None:
        before = self._trouble.get(kind)
        pause = _FIRST_PAUSE_S if before is None else min(_LONGEST_PAUSE_S, before.pause_s * 2)
        self._trouble[kind] = _Trouble(error, pause, self._loop.time() + pause)
        for wait in [wait for wait in self._waiting if wait.kind == kind]:
            self._waiting.remove(wait)
            if not wait.worker.done():
                wait.worker.set_exception(error)
        if kind in self._again:
            self._again.pop(kind).cancel()
        # Trouble that lasts is left to the next run; a machine without a wall will not grow one.
        if pause < _LONGEST_PAUSE_S and error.failure != "lockdown" and not self._closed:
            self._again[kind] = self._loop.call_later(pause, self._refill, kind)

    def _retire(self, worker: Worker) -> None:
        worker.child.kill()
        self._keep(worker.child.close())

    def _keep(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _closed() -> UnavailableError:
    return UnavailableError("executor", "the isolates are closed")
