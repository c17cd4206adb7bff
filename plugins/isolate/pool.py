"""Workers kept ready, and who gets the next one.

Who has fewest workers is served first, then all in turn, then who came first, whatever kind is wanted: an
owner who asks for much at once keeps no other waiting.  A worker is its first job's owner's for good; one
that has nothing to do makes way where others need the room, the longest unused first.  Beside those that
are somebody's, spares are kept that are nobody's yet.
A run inside a run must not wait for the one around it, so each step inwards has room of its own.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from operator import itemgetter

from ringfence.plugins.isolate.settings import IsolateSettings
from ringfence.plugins.isolate.starting import Kind, Ready, UnavailableError, Worker
from ringfence.plugins.isolate.walls import Walls

_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 30.0
_GIVEN_BACK_WITHIN_S = 5.0
_GROWN_BYTES = 32 << 20
"""A worker whose memory has grown by so much since it was ready is replaced."""

Start = Callable[[Kind], Awaitable[Worker]]


@dataclass(slots=True, eq=False)
class _Wait:
    kind: Kind
    owner: str
    depth: int
    turn: int
    """Each of an owner's has a later one; a newcomer's is that of whoever was served last."""
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
        self._turn = 0
        self._turns: dict[str, int] = {}
        """The last turn that was given to an owner, while anybody waits."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._starts: set[asyncio.Task[None]] = set()
        self._tidying: asyncio.TimerHandle | None = None
        self._walls = Walls(self._loop)
        self._wanted = Kind.of("process", 0)
        """What was asked for last: the kind that is started when nothing but its walls are asked for."""
        self._closed = False

    async def take(self, kind: Kind, owner: str, *, depth: int = 0) -> Worker:
        """Return a worker that nobody else has, and nobody but this owner ever had; give it back.

        Args:
            depth: How many runs this one is inside of.

        Raises:
            UnavailableError: There is none, and why.
        """
        self._wanted = kind
        trouble = self._in_trouble(kind)
        if trouble is not None and not self._has(kind, owner):
            raise trouble
        if not self._waiting and len(self._busy) < (at_most := self._room(depth)):
            worker = self._ready(kind, owner)
            if worker is not None:
                self._hand_over(worker, owner, at_most)
                return worker
        wait = _Wait(kind, owner, depth, self._next_turn(owner), self._loop.create_future())
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
            self._rest(worker)
        else:
            self._retire(worker)
        self._serve()
        self._refill(worker.kind)

    def prewarm(self, kind: Kind) -> None:
        """Have spares of this kind started."""
        self._wanted = kind
        self._refill(kind)

    async def report(self) -> Ready:
        """Return what the worker that started last has said of itself; one is started where none has.

        Raises:
            UnavailableError: It did not start.
        """
        ready = self._walls.proved()
        if ready is not None:
            return ready
        if self._closed:
            raise _closed()
        if not self._starting.total():
            trouble = self._in_trouble(self._wanted)
            if trouble is not None:
                raise trouble
            self._launch(self._wanted)
        return await self._walls.next()

    async def close(self) -> None:
        """End all workers, busy ones too, and wait until they are gone; safe to repeat."""
        self._closed = True
        for timer in [*self._again.values(), *([self._tidying] if self._tidying else [])]:
            timer.cancel()
        self._walls.failed(_closed())
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
    def at_work(self) -> tuple[int, ...]:
        """The process ids of the workers that somebody has."""
        return tuple(worker.child.pid for worker in self._busy)

    def _has(self, kind: Kind, owner: str) -> bool:
        ready = any(worker.kind == kind and worker.owner in (None, owner) for worker in self._idle)
        return ready or self._starting[kind] > 0

    def _in_trouble(self, kind: Kind) -> UnavailableError | None:
        trouble = self._trouble.get(kind)
        return trouble.error if trouble is not None and self._loop.time() < trouble.until_s else None

    def _room(self, depth: int) -> int:
        """Return how many may be at work, seen from a run that is inside of so many others."""
        # INVARIANT: nobody takes the room of who is further in, or both would wait for ever.
        return self._settings.at_most * (depth + 1)

    def _serve(self) -> None:
        if not self._waiting:
            return
        if self._closed:
            for wait in self._waiting:
                if not wait.worker.done():
                    wait.worker.set_exception(_closed())
            self._waiting.clear()
            return
        promised: Counter[Kind] = Counter()
        for wait in self._in_turn():
            if wait.worker.done():
                self._waiting.remove(wait)
                continue
            room = self._room(wait.depth) - promised.total()
            if len(self._busy) >= room:
                continue
            worker = self._ready(wait.kind, wait.owner)
            if worker is not None:
                self._waiting.remove(wait)
                self._turn = max(self._turn, wait.turn)
                self._hand_over(worker, wait.owner, room)
                wait.worker.set_result(worker)
                continue
            promised[wait.kind] += 1
            self._make_way(room - 1 - len(self._busy))
            if self._starting[wait.kind] < promised[wait.kind]:
                self._thin_out(wait.kind)
                self._launch(wait.kind)

    def _hand_over(self, worker: Worker, owner: str, at_most: int) -> None:
        """Make an idle worker somebody's who has work for it."""
        self._busy.add(worker)
        worker.bind(owner)
        worker.jobs += 1
        self._make_way(at_most - len(self._busy))
        self._refill(worker.kind)

    def _next_turn(self, owner: str) -> int:
        if not self._waiting:
            self._turns.clear()
        turn = self._turns[owner] = max(self._turn, self._turns.get(owner, -1) + 1)
        return turn

    def _in_turn(self) -> list[_Wait]:
        """Return who waits, in the order in which they are served."""
        ahead = Counter(worker.owner for worker in self._busy)
        order: list[tuple[int, int, _Wait]] = []
        for wait in self._waiting:
            order.append((ahead[wait.owner], wait.turn, wait))
            ahead[wait.owner] += 1
        return [wait for _, _, wait in sorted(order, key=itemgetter(0, 1))]

    def _ready(self, kind: Kind, owner: str) -> Worker | None:
        """Return an idle worker of this kind that still lives: this owner's latest used, or nobody's."""
        for whose in (owner, None):
            for worker in [one for one in reversed(self._idle) if one.kind == kind and one.owner == whose]:
                self._idle.remove(worker)
                if worker.child.silent():
                    worker.rouse()
                    return worker
                self._retire(worker)
        return None

    def _make_way(self, room: int) -> None:
        """End those that are somebody's and have nothing to do, beyond `room`: the longest unused first."""
        owned = [worker for worker in self._idle if worker.owner is not None]
        for worker in owned[: max(0, len(owned) - max(0, room))]:
            self._idle.remove(worker)
            self._retire(worker)

    def _thin_out(self, kind: Kind) -> None:
        """End the spares of other kinds beyond what is kept of each."""
        kept: Counter[Kind] = Counter()
        for worker in [worker for worker in self._idle if worker.owner is None and worker.kind != kind]:
            kept[worker.kind] += 1
            if kept[worker.kind] > self._settings.spare:
                self._idle.remove(worker)
                self._retire(worker)

    def _rest(self, worker: Worker) -> None:
        worker.idle_since_s = self._loop.time()
        self._idle.append(worker)
        worker.rest(self._loop)
        if worker.owner is not None and self._tidying is None:
            self._tidying = self._loop.call_later(self._settings.idle_s, self._tidy)

    def _tidy(self) -> None:
        """End those whose owner has had nothing for them for so long; its session may be over."""
        self._tidying = None
        due_s = self._loop.time() - self._settings.idle_s
        for worker in [worker for worker in self._idle if worker.owner is not None]:
            if worker.idle_since_s <= due_s:
                self._idle.remove(worker)
                self._retire(worker)
            elif self._tidying is None:  # INVARIANT: `_idle` is in the order of `idle_since_s`
                left_s = worker.idle_since_s - due_s
                self._tidying = self._loop.call_later(left_s, self._tidy)

    def _refill(self, kind: Kind) -> None:
        """Keep `spare` workers of a kind ready that are nobody's, while nobody waits."""
        if self._closed or self._waiting or self._in_trouble(kind):
            return
        ready = self._starting[kind] + sum(one.kind == kind and one.owner is None for one in self._idle)
        for _ in range(self._settings.spare - ready):
            self._launch(kind)

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
            self._walls.heard(worker.ready)
            if self._closed:
                self._retire(worker)
            else:
                self._rest(worker)
        self._serve()

    def _failed(self, kind: Kind, error: UnavailableError) -> None:
        if error.ready is not None:
            self._walls.heard(error.ready)
        else:
            self._walls.failed(error)
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
