"""An event loop on a time of its own: nobody waits, it jumps to whatever comes next."""

import asyncio
import selectors
from typing import Any

from ringfence.testing.clock import START_NS, FakeClock


class Jumping(selectors.DefaultSelector):
    """Instead of waiting for a moment, it is there."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        """Return what has come; if nothing has, and something is to come at a moment, let the time jump."""
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        come = super().select(0)
        if not come:
            self.now_s += timeout
        return come


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only while all wait for it."""

    def __init__(self) -> None:
        self.jumping = Jumping()
        super().__init__(self.jumping)

    def time(self) -> float:
        """Return seconds since the loop was made."""
        return self.jumping.now_s


class LoopClock(FakeClock):
    """The engine's clock that goes by such a loop."""

    def __init__(self, loop: JumpingLoop) -> None:
        super().__init__()
        self._loop = loop

    def now_ns(self) -> int:
        """Return the loop's time as nanoseconds of a wall clock."""
        return START_NS + self.monotonic_ns()

    def monotonic_ns(self) -> int:
        """Return the loop's time as nanoseconds."""
        return round(self._loop.time() * 1_000_000_000)
