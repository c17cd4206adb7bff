"""Daemon threads for plain bodies that must be left behind when their time is up.

A thread is kept for the next body when its own has ended; one whose body never ends holds up nobody,
neither a caller nor the end of the process.
"""

import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context
from queue import SimpleQueue
from typing import Any

_IDLE_AT_MOST = 8
_Job = tuple[Context, Callable[[], Any], "Future[Any]"]
_idle: "deque[SimpleQueue[_Job]]" = deque()


def run_in_worker(context: Context, work: Callable[[], Any]) -> "Future[Any]":
    """Run `work` in `context` on an idle worker, or a new one."""
    answer: Future[Any] = Future()
    answer.set_running_or_notify_cancel()
    job: _Job = (context, work, answer)
    try:
        _idle.pop().put(job)
    except IndexError:
        jobs: SimpleQueue[_Job] = SimpleQueue()
        jobs.put(job)
        threading.Thread(target=_serve, args=(jobs,), name="ringfence-body", daemon=True).start()
    return answer


def _serve(jobs: "SimpleQueue[_Job]") -> None:
    while True:
        context, work, answer = jobs.get()
        error: BaseException | None = None
        value = None
        try:
            value = context.run(work)
        except BaseException as raised:  # whatever it is, it belongs to the caller
            error = raised
        spare = len(_idle) < _IDLE_AT_MOST
        if spare:
            _idle.append(jobs)  # before the answer: a caller in a loop finds this thread again
        if error is None:
            answer.set_result(value)
        else:
            answer.set_exception(error)
        del context, work, answer, value, error
        if not spare:
            return


os.register_at_fork(after_in_child=_idle.clear)
