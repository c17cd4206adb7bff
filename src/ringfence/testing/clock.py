"""A clock that moves only when told to."""

import threading

_NS = 1_000_000_000

START_NS = 1_700_000_000 * _NS
"""Where a fake clock begins unless told otherwise: 2023-11-14 22:13:20 UTC."""


class FakeClock:
    """The engine's clock in a test's hands (`Guard.load(..., clock=FakeClock())`); usable from any thread.

    Both times stand still until `advance`; who sleeps on it advances it, and waits for nothing.
    `step_back` is what a corrected wall clock does: the monotonic time never follows it.
    """

    def __init__(self, start_ns: int = START_NS) -> None:
        self._lock = threading.Lock()
        self._now_ns = start_ns
        self._monotonic_ns = 0

    def now_ns(self) -> int:
        """Return nanoseconds since the Unix epoch."""
        with self._lock:
            return self._now_ns

    def monotonic_ns(self) -> int:
        """Return nanoseconds since the clock was made, steps back left out."""
        with self._lock:
            return self._monotonic_ns

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass on both; never less than nothing."""
        if seconds < 0:
            raise ValueError("time does not run backwards: use `step_back` for a corrected wall clock")
        with self._lock:
            self._now_ns += round(seconds * _NS)
            self._monotonic_ns += round(seconds * _NS)

    def sleep_until(self, mono_ns: int) -> None:
        """Let the time pass until the monotonic one is `mono_ns`; at once."""
        with self._lock:
            left_ns = max(mono_ns - self._monotonic_ns, 0)
            self._now_ns += left_ns
            self._monotonic_ns += left_ns

    async def asleep_until(self, mono_ns: int) -> None:
        """Like `sleep_until`."""
        self.sleep_until(mono_ns)

    def anchor(self, now_ns: int) -> None:
        """Stay as it is: this clock is the test's."""

    def step_back(self, seconds: float) -> None:
        """Set the wall time back by `seconds`; the monotonic time stays."""
        if seconds < 0:
            raise ValueError("a step back is at least 0 seconds: use `advance`")
        with self._lock:
            self._now_ns -= round(seconds * _NS)
