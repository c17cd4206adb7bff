"""Bodies in flight: run one, within its bound, and say how it ended.

A coroutine gets a task of its own: it is cancelled at the bound, and if it swallows the cancellation it
is abandoned.  From Python 3.12 on the task begins at once, so a body that waits for nothing costs no turn of
the event loop; before that it costs one.  A plain function with a bound gets a daemon thread of its own
(`workers`) and is abandoned at the bound: Python cannot stop it.  An abandoned body's late result is thrown
away.
"""

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import copy_context
from dataclasses import dataclass
from inspect import isawaitable, iscoroutine
from types import CoroutineType
from typing import Any, Literal, Protocol

from ringfence.engine.enforcement.workers import start_in_worker

GRACE_S = 0.25
"""How long a cancelled coroutine may clean up before it counts as abandoned."""

How = Literal["returned", "raised", "timeout", "halted", "cancelled"]


@dataclass(slots=True)
class Landed:
    """How a body ended; `gone` is False if it may still be running, or returned too late (abandoned)."""

    how: How
    value: Any = None
    error: BaseException | None = None
    gone: bool = True


class Flight(Protocol):
    """A body in flight, to be stopped from anywhere when its run is halted."""

    def halt(self) -> None:
        """Stop waiting for the body and cancel it where Python can; from any thread, more than once."""
        ...

    @property
    def over(self) -> bool:
        """True once nothing of the body runs any more, or ever will."""
        ...


class AsyncFlight:
    """One coroutine in flight on the caller's loop."""

    __slots__ = ("_begun", "_loop", "_moved", "_task", "_woken", "halted")

    def __init__(self) -> None:
        self._begun = False
        self._moved = False
        """True once the body has begun to take its first step."""
        self._task: asyncio.Task[Any] | None = None
        """None, too, while the body takes its first step at once."""
        self._loop = asyncio.get_running_loop()
        self._woken: asyncio.Future[None] | None = None
        """None: nobody waits."""
        self.halted = False

    @property
    def over(self) -> bool:
        """See `Flight`."""
        if self._task is None:
            return self.halted and not self._begun
        return self._task.done()

    def halt(self) -> None:
        """See `Flight`."""
        self.halted = True
        with contextlib.suppress(RuntimeError):  # that loop is closed: nothing flies there any more
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self, _: object = None) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    async def fly(self, work: Callable[[], Any], within_s: float | None) -> Landed:
        """Run `work`, awaiting what it returns, for at most `within_s` seconds."""
        self._begun = True
        if self.halted:  # SECURITY: the halt came before the body could start
            self._begun = False
            return Landed("halted")
        until_s = None if within_s is None else self._loop.time() + within_s
        task = self._task = _begin(self._loop, self._settle(work))
        cancelled: asyncio.CancelledError | None = None
        timer: asyncio.TimerHandle | None = None
        try:
            if not self._moved:
                # One turn of the loop, in which the body takes its first step: most need no other, and so
                # neither a timer nor a second turn to be woken in.
                await asyncio.sleep(0)
            if task.done():  # it had to wait for nothing
                return _landed(task)
            woken = self._woken = self._loop.create_future()
            if not self._moved:  # it may be cancelled before it has begun
                task.add_done_callback(self._wake)
            if until_s is not None:
                timer = self._loop.call_at(until_s, self._wake)
            if self.halted:  # while it took its first step
                self._wake()
            await woken
        except asyncio.CancelledError as error:  # the caller gives up: the body goes with it
            cancelled = error
        finally:
            if timer is not None:
                timer.cancel()
        if task.done() and cancelled is None:
            return _landed(task)
        how: How = "cancelled" if cancelled else "halted" if self.halted else "timeout"
        gone = await self._cancel(task)
        return Landed(how, error=cancelled, gone=gone)

    async def _settle(self, work: Callable[[], Any]) -> Any:
        self._moved = True
        try:
            result = work()
            if type(result) is CoroutineType or isawaitable(result):
                result = await result
            return result if type(result) in _WHOLE else _whole(result)
        except (SystemExit, KeyboardInterrupt) as error:  # out of a task they would stop the host's loop
            return _Exit(error)
        finally:
            # At once: the task's own callbacks would come one turn of the loop later.
            if self._woken is not None and not self._woken.done():
                self._woken.set_result(None)

    async def _cancel(self, task: "asyncio.Task[Any]") -> bool:
        """Cancel the task and wait a little; return whether it is gone, without a result."""
        task.add_done_callback(_throw_away)
        if not task.done():
            task.cancel()
            # Cancelled twice: no more grace; the first cancellation is raised by the caller.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({task}, timeout=GRACE_S)
        return _gone(task)


if sys.version_info >= (3, 12):

    def _begin(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Return a task whose first step is taken at once: most bodies that do not wait need no other."""
        if loop.get_task_factory() is not None:
            return loop.create_task(work)
        return asyncio.Task(work, loop=loop, eager_start=True)

else:

    def _begin(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Return a task of the body's own."""
        return loop.create_task(work)


class SyncFlight:
    """One plain function in flight on a worker thread."""

    __slots__ = ("_begun", "_landed", "_woken", "halted")

    def __init__(self) -> None:
        self._begun = False
        self._landed: Landed | None = None
        """How it ended; None: it has not."""
        self._woken = threading.Lock()
        """Held until whoever waits is to look."""
        self._woken.acquire()
        self.halted = False

    @property
    def over(self) -> bool:
        """See `Flight`."""
        return self._landed is not None if self._begun else self.halted

    def halt(self) -> None:
        """See `Flight`."""
        self.halted = True
        self._wake()

    def _wake(self) -> None:
        try:
            self._woken.release()
        except RuntimeError:  # it was woken already
            pass

    def _ended(self, value: Any, error: BaseException | None) -> None:
        self._landed = Landed("returned", value) if error is None else Landed("raised", error=error)
        self._wake()

    def fly(self, work: Callable[[], Any], within_s: float | None) -> Landed:
        """Run `work` in a thread of its own, with the caller's context, for at most `within_s` seconds."""
        if self.halted:  # SECURITY: the halt came before the body could start
            return Landed("halted")
        self._begun = True
        try:
            start_in_worker(copy_context(), lambda: _plain(work), self._ended)
        except Exception:  # no thread can be had, so nothing runs; after an interrupt something may
            self._begun = False
            raise
        try:
            self._woken.acquire(timeout=-1 if within_s is None else within_s)
        except BaseException as error:  # an interrupt: the caller goes, the thread cannot be stopped
            return Landed("cancelled", error=error, gone=self._gone())
        landed = self._landed
        if landed is not None and not self.halted:
            return landed
        return Landed("halted" if self.halted else "timeout", gone=self._gone())

    def _gone(self) -> bool:
        """Say whether it is over and gave nothing: what returned after all had its effect."""
        return self._landed is not None and self._landed.how == "raised"

    def wait(self, seconds: float) -> bool:
        """Wait for a body that was given up; say whether nothing of it runs any more."""
        until_s = time.monotonic() + seconds
        while self._begun and self._landed is None:
            left_s = until_s - time.monotonic()
            if left_s <= 0 or not self._woken.acquire(timeout=left_s):
                break
        return not self._begun or self._landed is not None


def run_inline(work: Callable[[], Any]) -> Landed:
    """Run `work` here: nothing bounds it."""
    try:
        return Landed("returned", value=_plain(work))
    except BaseException as error:  # recorded and raised again by the caller
        return Landed("raised", error=error)


def _plain(work: Callable[[], Any]) -> Any:
    result = work()
    if iscoroutine(result):
        result.close()
        raise TypeError("the body is a coroutine function: use the asynchronous calls of the guard")
    return _whole(result)


_WHOLE = frozenset({str, dict, list, tuple, int, float, bool, bytes, type(None)})


def _whole(result: Any) -> Any:
    """Return a result that is there; raise TypeError for one whose work is still to be done.

    SECURITY: a generator would run when the caller reads it: outside of its bounds, after a halt even.
    """
    kind = type(result)
    if kind in _WHOLE or not any(hasattr(kind, name) for name in ("__next__", "__anext__", "__await__")):
        return result
    raise TypeError(f"the body returned a {kind.__name__}, which would run after the call: return a list")


@dataclass(frozen=True, slots=True)
class _Exit:
    """The body wants the process to end; its caller is told, as the caller of a plain function would be."""

    error: BaseException


def _landed(ended: "asyncio.Task[Any]") -> Landed:
    if ended.cancelled():
        return Landed("raised", error=asyncio.CancelledError())
    error = ended.exception()
    if error is not None:
        return Landed("raised", error=error)
    value = ended.result()
    return Landed("raised", error=value.error) if type(value) is _Exit else Landed("returned", value=value)


def _gone(ended: "asyncio.Task[Any]") -> bool:
    """Say whether it is over and gave nothing: what returned after all had its effect."""
    return ended.done() and (ended.cancelled() or ended.exception() is not None)


def _throw_away(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled():
        task.exception()  # looked at, so that the loop does not complain of it


Body = Callable[..., Any]
AsyncBody = Callable[..., Awaitable[Any]]
