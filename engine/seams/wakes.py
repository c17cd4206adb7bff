"""Waking event loops from another thread: once for all that is told there together.

Each wake is a write to a socket, in which Python's lock is let go: the loop that is woken takes it, and
whoever tells the next one waits for it.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import TypeVar

T = TypeVar("T")
Callback = Callable[[], None]


class _Gathered(threading.local):
    wakes: "dict[asyncio.AbstractEventLoop, list[Callback]] | None" = None


_GATHERED = _Gathered()


def soon(loop: asyncio.AbstractEventLoop, callback: Callback) -> None:
    """Call `callback` on a loop of another thread, soon; nothing happens if it is closed."""
    wakes = _GATHERED.wakes
    if wakes is None:
        _wake(loop, (callback,))
    else:
        wakes.setdefault(loop, []).append(callback)


async def arrival(waited: "Future[T]") -> T:
    """Await a future of another thread; giving up the wait leaves the work behind it alone."""
    if not waited.done():
        loop = asyncio.get_running_loop()
        arrived: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            if not arrived.done():
                arrived.set_result(None)

        waited.add_done_callback(lambda _: soon(loop, wake))
        await arrived
    return waited.result()


@contextmanager
def gathered() -> Iterator[None]:
    """Wake each loop once for all that this thread has to tell it meanwhile, at the end."""
    if _GATHERED.wakes is not None:  # whoever began with it ends it
        yield
        return
    wakes = _GATHERED.wakes = {}
    try:
        yield
    finally:
        _GATHERED.wakes = None
        for loop, callbacks in wakes.items():
            _wake(loop, callbacks)


def _wake(loop: asyncio.AbstractEventLoop, callbacks: Sequence[Callback]) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody waits there any more
        loop.call_soon_threadsafe(_call, callbacks)


def _call(callbacks: Sequence[Callback]) -> None:
    for callback in callbacks:
        callback()
