"""An event loop for a caller without one, which does not wait for what the guard has abandoned."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from ringfence.engine.seams.threads import Threads

T = TypeVar("T")


class _Leaving(Threads):
    """Its end waits for no thread.

    The SDK runs plain functions on the loop's own threads, and the loop joins those at its end: a body past
    its bound, or of a killed run, would hold its caller up for as long as it likes.
    """

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take nothing more, and let go of what still runs."""
        super().shutdown(wait=False, cancel_futures=cancel_futures)


def run_here(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, as `asyncio.run` does."""
    with asyncio.Runner() as runner:
        runner.get_loop().set_default_executor(_Leaving())
        return runner.run(work)
