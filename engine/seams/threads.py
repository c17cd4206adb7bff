"""Threads for work that blocks, of one event loop or one plugin: they last until they are shut down.

The pool that asyncio makes by itself takes no work once the main thread has ended: `concurrent.futures` shuts
its pools down before other threads are waited for and before anything registered with `atexit` runs.  A sink
that writes by `asyncio.to_thread` would lose there what a guard still has to hand on.  These threads are
daemons of our own, so they work until the interpreter goes, and one that hangs holds up nobody's end.
"""

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_Job = tuple["Future[Any]", Callable[[], Any]]

AT_MOST: Final = 32
"""Threads of one event loop."""


@dataclass(slots=True)
class _Work:
    """What an executor and its threads share; the threads do not keep the executor alive."""

    jobs: SimpleQueue[_Job | None] = field(default_factory=SimpleQueue)
    lock: threading.Lock = field(default_factory=threading.Lock)
    threads: list[threading.Thread] = field(default_factory=list)
    unfinished: int = 0
    """Jobs that wait or run."""
    over: bool = False


class Threads(ThreadPoolExecutor):
    """An executor whose threads are daemons and work also at the end of the interpreter.

    It shares nothing but the type with the one of `concurrent.futures`, since `loop.set_default_executor`
    takes no other.  One thread more than are at work is kept, if there may be as many: from Python 3.12 on
    none can be started while the interpreter ends.  One that is forgotten ends its threads.

    Args:
        at_most: So many threads; what comes while all are busy waits for one.
        name: Of each thread.
    """

    def __init__(self, at_most: int = AT_MOST, name: str = "ringfence-blocking") -> None:
        super().__init__(max_workers=at_most, thread_name_prefix=name)
        self._at_most, self._name, self._work = at_most, name, _Work()
        self._start_one()
        weakref.finalize(self, _let_go, self._work).atexit = False  # there the guards are still to be closed

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Run `fn` on a thread; raise RuntimeError after the end."""
        answer: Future[T] = Future()
        work = self._work
        with work.lock:
            if work.over:
                raise RuntimeError("these threads were shut down")
            work.unfinished += 1
            work.jobs.put((answer, lambda: fn(*args, **kwargs)))
            if len(work.threads) <= work.unfinished and len(work.threads) < self._at_most:
                with suppress(RuntimeError):  # the interpreter ends: those that are there do it in turn
                    self._start_one()
        return answer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take nothing more; what was taken is still done, unless it is cancelled."""
        _end(self._work, cancel=cancel_futures)
        if wait:
            for thread in self._work.threads:
                thread.join()

    def _start_one(self) -> None:
        thread = threading.Thread(target=_serve, args=(self._work,), name=self._name, daemon=True)
        thread.start()
        self._work.threads.append(thread)


def _end(work: _Work, *, cancel: bool = False) -> None:
    with work.lock:
        if cancel:
            while not work.jobs.empty():
                if (job := work.jobs.get()) is not None:
                    job[0].cancel()
        if cancel or not work.over:
            _let_go(work)
        work.over = True


def _let_go(work: _Work) -> None:
    """Have each thread end; without the lock, since the collector may come here from anywhere."""
    for _ in work.threads:
        work.jobs.put(None)


def _serve(work: _Work) -> None:
    while (job := work.jobs.get()) is not None:
        answer, todo = job
        _do(answer, todo)
        del job, answer, todo  # nothing is kept alive while this thread waits
        with work.lock:
            work.unfinished -= 1


def _do(answer: "Future[Any]", work: Callable[[], Any]) -> None:
    if not answer.set_running_or_notify_cancel():
        return
    try:
        value = work()
    except BaseException as error:  # whatever it is, it belongs to whoever waits
        answer.set_exception(error)
    else:
        answer.set_result(value)
