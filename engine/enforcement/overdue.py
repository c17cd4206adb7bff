"""The time of whoever waits for a store's own threads: one timer for all of a guard.

A timer for each answer would cost as much as handing the work over, and wake the engine's loop for it.
"""

import asyncio
import threading
import time
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, Final, TypeVar

from ringfence.engine.seams.loop import EngineLoop

T = TypeVar("T")

_LOOKS_EVERY_S: Final = 1.0


class Overdue:
    """Fails what is waited for too long; from any thread.

    It looks once a second, so that a failure may come up to a second late.
    """

    def __init__(self, loop: EngineLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._waiting: list[tuple[float, Future[Any]]] = []
        """Until when each is waited for, on the monotonic clock; what was answered of late, too."""
        self._looks = False

    def bounded(self, future: "Future[T]", *, within_s: float) -> "Future[T]":
        """Return the future, which fails with a TimeoutError if it is not answered in time."""
        with self._lock:
            self._waiting.append((time.monotonic() + within_s, future))
            looks = self._looks
        if not looks:
            self._loop.call_soon(self._begin, min(within_s, _LOOKS_EVERY_S))
        return future

    def _begin(self, every_s: float) -> None:
        # Here, and not by whoever waits: an interrupt of that one would keep everybody from looking.
        with self._lock:
            if not self._looks:
                self._looks = True
                self._look_after(every_s)

    def _look_after(self, every_s: float) -> None:
        asyncio.get_running_loop().call_later(every_s, self._look, every_s)

    def _look(self, every_s: float) -> None:
        now_s = time.monotonic()
        with self._lock:
            self._looks = bool(self._waiting)
            waiting = [one for one in self._waiting if not one[1].done()]
            self._waiting = [one for one in waiting if one[0] > now_s]
            if self._looks:
                self._look_after(every_s)
        for until_s, future in waiting:
            if until_s <= now_s:
                with suppress(InvalidStateError):  # it was answered at this moment
                    future.set_exception(TimeoutError("no answer in time"))
