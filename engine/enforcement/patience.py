"""Waits for what may never come: each ends in time, and none costs the engine's loop a task of its own.

One watcher sleeps until the earliest of them is overdue.  Most are over long before, so while runs begin and
end it wakes once in that time, however many they are.
"""

import asyncio
import contextlib
import math
import threading
import time
from collections import deque
from concurrent.futures import CancelledError, Future, InvalidStateError
from functools import partial
from typing import Any, TypeVar

from ringfence.engine.seams.loop import EngineLoop

T = TypeVar("T")


class Patience:
    """One per guard and process; any thread may wait."""

    def __init__(self, loop: EngineLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._waits: deque[tuple[float, Future[Any]]] = deque()
        """Moments on the monotonic clock, and who is told then: in the order in which they began."""
        self._watcher: object = None
        self._looks_s = math.inf
        """When the watcher looks."""

    def within(self, seconds: float, future: "Future[T]") -> "Future[T]":
        """Return a future of the same outcome, but of a TimeoutError after so long."""
        answer: Future[T] = Future()
        answer.set_running_or_notify_cancel()  # whoever waits may give up; the answer still has a place
        future.add_done_callback(partial(_hand_on, answer))
        until_s = time.monotonic() + seconds
        with self._lock:
            while self._waits and self._waits[0][1].done():
                self._waits.popleft()
            self._waits.append((until_s, answer))
            watcher = None
            if until_s < self._looks_s:
                self._looks_s = until_s
                watcher = self._watcher = object()
        if watcher is not None:
            self._loop.submit(self._watch(watcher))
        return answer

    async def _watch(self, watcher: object) -> None:
        try:
            while True:
                left_s = self._left_s(watcher)
                if left_s is None:
                    return
                await asyncio.sleep(left_s)
        except asyncio.CancelledError:  # the loop is closed: nothing will ever come
            for answer in self._over(watcher):
                _fail(answer, CancelledError())
            raise

    def _left_s(self, watcher: object) -> float | None:
        """Tell who is overdue; return how long the next one has; None: there is none, or another looks."""
        with self._lock:
            if self._watcher is not watcher:
                return None
            now_s = time.monotonic()
            overdue = [answer for until_s, answer in self._waits if until_s <= now_s]
            self._waits = deque(one for one in self._waits if one[0] > now_s and not one[1].done())
            self._looks_s = min((until_s for until_s, _ in self._waits), default=math.inf)
            looks_s = self._looks_s
        for answer in overdue:
            _fail(answer, TimeoutError())
        return None if looks_s == math.inf else looks_s - now_s

    def _over(self, watcher: object) -> list["Future[Any]"]:
        with self._lock:
            if self._watcher is not watcher:
                return []
            waits, self._waits, self._looks_s = self._waits, deque(), math.inf
        return [answer for _, answer in waits]


def _hand_on(answer: "Future[Any]", done: "Future[Any]") -> None:
    if done.cancelled():
        _fail(answer, CancelledError())
    elif (error := done.exception()) is not None:
        _fail(answer, error)
    else:
        with contextlib.suppress(InvalidStateError):  # too late
            answer.set_result(done.result())


def _fail(answer: "Future[Any]", error: BaseException) -> None:
    with contextlib.suppress(InvalidStateError):  # it has come meanwhile
        answer.set_exception(error)
