"""Threads for work that blocks, for one event loop: they last until that loop is closed.

The pool that asyncio makes by itself takes no work once the main thread has ended: `concurrent.futures` shuts
its pools down before other threads are waited for and before anything registered with `atexit` runs.  A sink
that writes by `asyncio.to_thread` would lose there what a guard still has to hand on.  These threads are
daemons of our own, so they work until the interpreter goes, and one that hangs holds up nobody's end.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_Job = tuple["Future[Any]", Callable[[], Any]]

AT_MOST: Final = 32
"""Threads of one loop; what comes while all are busy waits for one."""


class Threads(ThreadPoolExecutor):
    """An executor for `loop.set_default_executor`, which takes no other kind; it shares nothing but the type.

    One thread more than are at work is kept: from Python 3.12 on none can be started while the
    interpreter ends.
    """

    def __init__(self) -> None:
        super().__init__(max_workers=AT_MOST, thread_name_prefix="ringfence-blocking")
        self._lock = threading.Lock()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._ours: list[threading.Thread] = []
        self._unfinished = 0
        """Jobs that wait or run."""
        self._over = False
        self._start_one()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Run `fn` on a thread; raise RuntimeError if the loop was closed."""
        answer: Future[T] = Future()
        with self._lock:
            if self._over:
                raise RuntimeError("the threads of this event loop were closed with it")
            self._unfinished += 1
            self._jobs.put((answer, lambda: fn(*args, **kwargs)))
            if len(self._ours) <= self._unfinished and len(self._ours) < AT_MOST:
                with suppress(RuntimeError):  # the interpreter ends: those that are there do it in turn
                    self._start_one()
        return answer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take nothing more; what was taken is still done, unless it is cancelled."""
        with self._lock:
            over, self._over = self._over, True
            if cancel_futures:
                while not self._jobs.empty():
                    if (job := self._jobs.get()) is not None:
                        job[0].cancel()
            if not over or cancel_futures:
                for _ in self._ours:
                    self._jobs.put(None)
        if wait:
            for thread in self._ours:
                thread.join()

    def _start_one(self) -> None:
        thread = threading.Thread(target=self._serve, name=self._thread_name_prefix, daemon=True)
        thread.start()
        self._ours.append(thread)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            answer, work = job
            _do(answer, work)
            del job, answer, work  # nothing is kept alive while this thread waits
            with self._lock:
                self._unfinished -= 1


def _do(answer: "Future[Any]", work: Callable[[], Any]) -> None:
    if not answer.set_running_or_notify_cancel():
        return
    try:
        value = work()
    except BaseException as error:  # whatever it is, it belongs to whoever waits
        answer.set_exception(error)
    else:
        answer.set_result(value)
