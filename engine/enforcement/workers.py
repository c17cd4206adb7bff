"""Daemon threads for plain bodies that must be left behind when their time is up.

A thread is kept for the next body when its own has ended; one whose body never ends holds up nobody,
neither a caller nor the end of the process.
"""

import asyncio
import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context, copy_context
from queue import SimpleQueue
from typing import Any

_IDLE_AT_MOST = 8
Ended = Callable[[Any, BaseException | None], None]
"""Is told what the work gave, or what it raised; in the worker's thread, and it raises nothing."""
_Job = tuple[Context, Callable[[], Any], Ended]
_idle: "deque[SimpleQueue[_Job]]" = deque()


def run_in_worker(context: Context, work: Callable[[], Any]) -> "Future[Any]":
    """Run `work` in `context` on an idle worker, or a new one."""
    answer: Future[Any] = Future()
    answer.set_running_or_notify_cancel()

    def ended(value: Any, error: BaseException | None) -> None:
        if error is None:
            answer.set_result(value)
        else:
            answer.set_exception(error)

    start_in_worker(context, work, ended)
    return answer


def start_in_worker(context: Context, work: Callable[[], Any], ended: Ended) -> None:
    """Like `run_in_worker`, without a future: its locks cost as much as the rest of a hand-over."""
    job: _Job = (context, work, ended)
    try:
        _idle.pop().put(job)
    except IndexError:
        jobs: SimpleQueue[_Job] = SimpleQueue()
        jobs.put(job)
        threading.Thread(target=_serve, args=(jobs,), name="ringfence-body", daemon=True).start()


async def arun_in_worker(work: Callable[[], Any]) -> Any:
    """Run a plain function on a worker, with the caller's context, and await it.

    Cancelled, it stays until the function has ended, because nobody can stop that: whoever gave the call up
    sees that something of it still runs.  Cancelled once more, it goes.
    """
    arrived = asyncio.wrap_future(run_in_worker(copy_context(), lambda: _no_stop_iteration(work)))
    try:
        return await asyncio.shield(arrived)
    except asyncio.CancelledError:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({arrived})
        raise


def _no_stop_iteration(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except StopIteration as error:  # no future carries one: whoever waits would wait for ever
        raise RuntimeError("the body raised StopIteration") from error


def _serve(jobs: "SimpleQueue[_Job]") -> None:
    while True:
        context, work, ended = jobs.get()
        error: BaseException | None = None
        value = None
        try:
            value = context.run(work)
        except BaseException as raised:  # whatever it is, it belongs to the caller
            error = raised
        spare = len(_idle) < _IDLE_AT_MOST
        if spare:
            _idle.append(jobs)  # before the answer: a caller in a loop finds this thread again
        ended(value, error)
        del context, work, ended, value, error
        if not spare:
            return


os.register_at_fork(after_in_child=_idle.clear)
