"""An engine's loop that counts what is asked of it."""

import asyncio
import threading
from collections import deque
from dataclasses import dataclass, fields
from typing import Any

from ringfence.engine.enforcement.guard import Guard


@dataclass
class Counts:
    """What the loop of an engine was asked since it began to count."""

    submits: int = 0
    """Coroutines that callers handed over."""
    wakes: int = 0
    """Whatever callers handed over, coroutines too: each wakes the loop, which takes the interpreter."""
    answers: int = 0
    """The same from the threads of the store."""
    rounds: int = 0
    """Rounds of the loop in which it did something."""
    callbacks: int = 0
    """What it did in them."""

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, one.name) - getattr(other, one.name) for one in fields(self)))


class _Ready(deque[Any]):
    """What a loop does next; says so when it does."""

    def __init__(self, counts: Counts) -> None:
        super().__init__()
        self._counts = counts

    def popleft(self) -> Any:
        self._counts.callbacks += 1
        return super().popleft()


class CountingLoop(asyncio.SelectorEventLoop):
    """An event loop that counts."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = Counts()
        self.callers: set[int] = set()
        """The threads that count as callers."""
        self._ready = _Ready(self.counts)

    def call_soon_threadsafe(  # type: ignore[override]  # the typing of its arguments cannot be repeated
        self, callback: Any, *args: Any, context: Any = None
    ) -> Any:
        if threading.get_ident() in self.callers:
            self.counts.wakes += 1
        else:
            self.counts.answers += 1
        return super().call_soon_threadsafe(callback, *args, context=context)

    def _run_once(self) -> None:
        before = self.counts.callbacks
        super()._run_once()  # type: ignore[misc]  # of every event loop of asyncio
        if self.counts.callbacks != before:
            self.counts.rounds += 1


def counting(guard: Guard) -> CountingLoop:
    """Have a guard that is not open yet use a loop that counts."""
    loop = CountingLoop()
    loop.callers.add(threading.get_ident())
    engine = guard.opening.loop
    engine._new_loop = lambda: loop
    submit = engine.submit

    def counted(work: Any) -> Any:
        if threading.get_ident() in loop.callers:
            loop.counts.submits += 1
        return submit(work)

    engine.submit = counted  # type: ignore[method-assign]
    return loop
