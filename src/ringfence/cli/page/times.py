"""The run's time as a line of a hundred percent, and where on it something lies."""

from ringfence.cli.drawing import duration, moment
from ringfence.cli.page.model import Bar
from ringfence.dsl.plan import Json

_THINNEST = 0.25
"""Percent: what took less is drawn so wide, with its number beside it."""


class Times:
    """From the first event of a run to its last."""

    def __init__(self, start_ns: int, end_ns: int) -> None:
        self.start_ns = start_ns
        self.end_ns = max(end_ns, start_ns)

    def percent(self, at_ns: int) -> float:
        """Return where a moment lies, from 0 to 100."""
        whole = self.end_ns - self.start_ns
        if whole == 0:
            return 0.0
        return round(100 * min(max((at_ns - self.start_ns) / whole, 0.0), 1.0), 3)

    def offset(self, at_ns: int) -> str:
        """Return how long after the beginning a moment is."""
        passed = at_ns - self.start_ns
        if abs(passed) < 120_000_000_000:
            return f"{passed / 1_000_000_000:+.3f} s"
        return f"{'+' if passed > 0 else '-'}{took(abs(passed))}"

    def bar(self, lane: str, what: str, start_ns: int, end_ns: int, anchor: str) -> Bar:
        """Return a stretch of time, never too thin to be seen."""
        left, right = self.percent(start_ns), self.percent(end_ns)
        width = max(right - left, _THINNEST)
        left = min(left, 100 - width)
        return Bar(
            lane, round(left, 3), round(width, 3), end_ns - start_ns, took(end_ns - start_ns), what, anchor
        )

    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Return five moments of the line."""
        whole = self.end_ns - self.start_ns
        return tuple((25.0 * part, f"+{took(whole * part // 4)}" if part else "0") for part in range(5))


def number(value: Json) -> int | None:
    """Return what the record says is an integer, else None."""
    return value if type(value) is int else None


def took(ns: Json) -> str:
    """Return a duration for people; what is none is said to be unknown."""
    known = number(ns)
    return "unknown" if known is None else duration(known)


def when(at_ns: int) -> str:
    """Return a moment for people; what no calendar has as its number."""
    try:
        return moment(at_ns)
    except (OverflowError, ValueError, OSError):  # no guard writes such a moment
        return f"{at_ns} ns"
