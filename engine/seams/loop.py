"""The engine's own event loop, on a thread of its own: stores and plugins live there, callers anywhere.

A caller with or without an event loop hands a coroutine in and gets a `concurrent.futures.Future`:
sync callers wait for its result, async ones wrap it.  What a plugin gives to `asyncio.to_thread` there runs
on threads of the loop's own, which last until it is closed.
"""

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ringfence.engine.seams.threads import Threads

T = TypeVar("T")


class EngineLoop:
    """Starts at the first `submit`; a daemon, so a forgotten guard never keeps a process alive.

    Args:
        new_loop: Makes the event loop; its time is the one by which the engine lingers and waits.
    """

    def __init__(self, new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop) -> None:
        self._new_loop = new_loop
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pid = 0

    def submit(self, work: Coroutine[Any, Any, T]) -> "concurrent.futures.Future[T]":
        """Run `work` on the engine's loop; its outcome arrives in the future."""
        return asyncio.run_coroutine_threadsafe(work, self._running())

    def call_soon(self, callback: Any, *arguments: Any) -> None:
        """Call `callback` on the engine's loop, soon, without an answer."""
        self._running().call_soon_threadsafe(callback, *arguments)

    def inside(self) -> bool:
        """True on the engine's own thread: waiting for the loop there would wait forever."""
        return threading.current_thread() is self._thread

    def _running(self) -> asyncio.AbstractEventLoop:
        loop = self._loop
        if loop is not None and self._pid == os.getpid():
            return loop
        with self._lock:
            if self._loop is None or self._pid != os.getpid():  # a forked child has no thread: start anew
                self._start()
            assert self._loop is not None
            return self._loop

    def _start(self) -> None:
        loop = self._new_loop()
        loop.set_default_executor(Threads())
        started = threading.Event()

        def run() -> None:
            asyncio.set_event_loop(loop)
            loop.call_soon(started.set)
            loop.run_forever()
            loop.run_until_complete(asyncio.sleep(0))  # what was submitted while it stopped is a task now
            while pending := asyncio.all_tasks(loop):
                for task in pending:
                    task.cancel()
                loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

        self._thread = threading.Thread(target=run, name="ringfence-engine", daemon=True)
        self._thread.start()
        started.wait()
        self._loop, self._pid = loop, os.getpid()

    def close(self, *, within_s: float | None = None) -> None:
        """Stop the loop and wait for its thread; safe to call twice, and from anywhere but the loop.

        Args:
            within_s: How long to wait: a plugin that blocks the loop keeps it from stopping; None: for ever.
        """
        with self._lock:
            loop, thread, self._loop = self._loop, self._thread, None
        if loop is not None and thread is not None and self._pid == os.getpid():
            loop.call_soon_threadsafe(loop.stop)
            if not self.inside():
                thread.join(within_s)
