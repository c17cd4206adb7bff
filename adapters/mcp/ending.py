"""From the first server that is started to the last: a signal ends the gateway, and the gateway ends them."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, Final

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


async def until_told(work: Coroutine[Any, Any, None]) -> None:
    """Run `work`; on a signal it is cancelled, once, and may clean up."""
    task = asyncio.create_task(work)
    told = False

    def stop() -> None:
        nonlocal told
        if not told:  # told again, it goes on cleaning up
            told = True
            task.cancel()

    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        await task
    except asyncio.CancelledError:
        if not told:
            raise
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
