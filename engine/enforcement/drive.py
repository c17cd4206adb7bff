"""One logic for callers with and without an event loop.

The steps of the guard are generators that yield `concurrent.futures.Future`s and are sent their
results.  `run_sync` waits for them in the caller's thread, `run_async` in the caller's event loop.
What interrupts the wait (a cancelled task, a keyboard interrupt) is thrown into the steps, so they give
back what they hold; the work behind the future is never cancelled from here, because a store that is
stopped half-way leaves a fate unknown.
"""

import asyncio
import time
from collections.abc import Generator
from concurrent.futures import Future
from typing import Any, TypeVar

from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.loop import EngineLoop
from ringfence.engine.seams.wakes import arrival

T = TypeVar("T")
Steps = Generator["Future[Any]", Any, T]


def run_sync(steps: Steps[T], loop: EngineLoop, *, until_s: float | None = None) -> T:
    """Drive `steps` to their end; futures are waited for in this thread.

    Args:
        until_s: From then on, on the monotonic clock, a wait is a TimeoutError; None: each may last.

    Raises:
        EngineError: Where waiting would never end: on the engine's own thread, or in an event loop one of
            whose tasks has the turn.
    """
    try:
        waited = next(steps)
        while True:
            if loop.inside():
                waited = steps.throw(
                    EngineError(
                        "the guard was called synchronously on its own event loop",
                        help="a plugin must use the asynchronous calls (`aexecute`, `aapprove`, …)",
                    )
                )
                continue
            if not waited.done() and asyncio._get_running_loop() in getattr(waited, "before", ()):
                waited = steps.throw(
                    EngineError(
                        "a synchronous call waits for an asynchronous one of the event loop that it blocks",
                        help="inside an event loop use the asynchronous calls (`aexecute`, …)",
                    )
                )
                continue
            try:
                value = waited.result(None if until_s is None else max(0.0, until_s - time.monotonic()))
            except BaseException as error:  # thrown on: the steps say which way it fails
                waited = steps.throw(error)
            else:
                waited = steps.send(value)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]


async def run_async(steps: Steps[T]) -> T:
    """Drive `steps` to their end; futures are awaited, and a cancellation is thrown into the steps."""
    try:
        waited = next(steps)
        while True:
            try:
                value = await arrival(waited)
            except BaseException as error:  # thrown on, cancellation included: the steps clean up
                waited = steps.throw(error)
            else:
                waited = steps.send(value)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
