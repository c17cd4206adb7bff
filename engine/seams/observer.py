"""A sink that only observes: it has its own queue and task, and nobody ever waits for it."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from ringfence.engine.seams.bounded import PluginError, bounded
from ringfence.engine.seams.hookspecs import AuditSink, Event

Report = Callable[[str, int, str], None]
"""Told (sink, events lost so far, why), on the engine's loop, when a sink begins to fail."""

_BATCH = 500


class Observer:
    """Feeds one sink.  What it cannot take is counted and reported; the calls go on.

    `report` hears only the first of failures in a row: recording a failure makes an event, which the
    failing sink would be fed in turn.
    """

    def __init__(self, sink: AuditSink, *, most: int, seconds: float, report: Report) -> None:
        self.sink = sink
        self.lost = 0
        """Events that the sink did not get."""
        self._most = most
        self._seconds = seconds
        self._report = report
        self._waiting: deque[Event] = deque()
        self._writing = 0
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._opened = False
        self._failing = False
        self._stuck: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None

    def offer(self, events: Sequence[Event]) -> None:
        """Queue the events; those that do not fit are lost.  Never blocks."""
        room = self._most - len(self._waiting) - self._writing
        fitting = events[: max(room, 0)]
        self._waiting.extend(fitting)
        if len(fitting) < len(events):
            self._lose(len(events) - len(fitting), f"it is behind by {self._most} events")
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._feed())
        if self._waiting:
            self._idle.clear()
            self._changed.set()

    async def close(self) -> None:
        """Give the sink its time for what is queued, then close it; failures are reported."""
        if self._task is not None:
            try:
                async with asyncio.timeout(self._seconds):
                    await self._idle.wait()
            except TimeoutError:
                # Observers fail open: what is still queued is lost and counted.
                self._lose(len(self._waiting) + self._writing, "it did not finish before the end")
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None
        try:
            await bounded(self.sink.close, seconds=self._seconds)
        except PluginError as error:  # observers fail open
            self._lose(0, f"close: {error}")

    async def _feed(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
                self._writing = len(batch)
                await self._deliver(batch)
                self._writing = 0
            self._idle.set()

    async def _deliver(self, batch: list[Event]) -> None:
        if self._stuck is not None and not self._stuck.done():
            # INVARIANT: calls of one sink never overlap, not even with one that would not be cancelled.
            self._lose(len(batch), "an earlier write has not ended")
            return
        self._stuck = None
        try:
            if not self._opened:
                await bounded(self.sink.open, seconds=self._seconds)
                self._opened = True
            await bounded(lambda: self.sink.write(batch), seconds=self._seconds)
        except PluginError as error:  # observers fail open: counted, reported, and on
            self._stuck = error.task
            self._lose(len(batch), str(error))
        else:
            self._failing = False

    def _lose(self, events: int, why: str) -> None:
        self.lost += events
        if not self._failing:
            self._failing = True
            self._report(self.sink.name, self.lost, why)
