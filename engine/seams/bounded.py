"""Awaiting a plugin: within its time, and whatever it does to itself.

The rules, which every dispatch to a plugin follows:

- The plugin's coroutine runs in a task of its own.  If its time is over, that task is cancelled and not
  waited for: a plugin that swallows the cancellation cannot hold a call.
- If *we* are cancelled, the plugin's task is cancelled too and CancelledError goes on upwards: it is
  never taken for a plugin's answer.
- A plugin that raises CancelledError without being cancelled has failed: PluginError.
- KeyboardInterrupt, SystemExit and other BaseExceptions of a plugin would end the engine's loop and with
  it every guarded call: they are failures of that plugin.  GeneratorExit alone goes on: it is
  Python closing the coroutine.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from ringfence.engine.seams.errors import StoreAwayError

T = TypeVar("T")


class PluginError(Exception):
    """A plugin failed or ran out of time; the message says how, in one line."""

    task: "asyncio.Task[Any] | None" = None
    """Set after a time-out: the plugin's task, perhaps still running."""


async def bounded(work: Callable[[], Awaitable[T]], *, seconds: float) -> T:
    """Call a plugin and await it for at most `seconds`; raise PluginError if it fails or is late."""
    return await ended(begun(work), seconds=seconds)


def begun(work: Callable[[], Awaitable[T]]) -> "asyncio.Task[T]":
    """Have a plugin called in a task of its own, before whatever else is begun from here on."""
    return asyncio.ensure_future(_contained(work))


async def ended(task: "asyncio.Task[T]", *, seconds: float) -> T:
    """Await what was `begun`, as `bounded` does."""
    try:
        await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if not task.done():
        task.cancel()
        task.add_done_callback(_forget)
        late = PluginError(f"no answer within {seconds:g} s")
        late.task = task
        raise late
    if task.cancelled():
        raise PluginError("it cancelled itself")
    error = task.exception()
    if error is not None:
        raise PluginError(said(error)) from error
    return task.result()


def is_away(error: PluginError) -> bool:
    """Say whether a store that failed may answer later: it ran out of time, or said that it is away."""
    return error.task is not None or isinstance(error.__cause__, StoreAwayError | TimeoutError)


def said(error: BaseException) -> str:
    """Return what an exception says, in one line, for people."""
    words = str(error).strip().splitlines()
    return f"{type(error).__name__}: {words[0]}" if words else type(error).__name__


async def _contained(work: Callable[[], Awaitable[T]]) -> T:
    try:
        return await work()
    except (Exception, asyncio.CancelledError, GeneratorExit):
        raise
    except BaseException as error:  # fails closed: a plugin must not take the engine's loop down
        raise PluginError(said(error)) from error


def _forget(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled():
        task.exception()  # retrieved, so that asyncio does not report what was reported already
