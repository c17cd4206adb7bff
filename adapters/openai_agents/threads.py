"""Threads: work that is seen through, and bodies that are not waited for."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


async def to_the_end(work: Callable[[], T]) -> T:
    """Do something on a thread, and see it through: who is cancelled meanwhile is so once it is done.

    Else what it begins would have nobody who ends it.
    """
    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait({working})
        raise


def loop_for_threads() -> asyncio.AbstractEventLoop:
    """Return an event loop that, when it is closed, leaves alone what its threads still do.

    The SDK runs plain functions on them; one that was abandoned, at its bound or by a kill, would hold up its
    caller until it returned.
    """
    loop = asyncio.new_event_loop()
    loop.set_default_executor(_Left())
    return loop


class _Left(ThreadPoolExecutor):
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait=False, cancel_futures=True)
