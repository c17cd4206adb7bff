"""What a comparison says: the record as JSON, and the tables of docs/performance.md."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.peers.compared import Measured
from bench.peers.listed import OURS

BEGIN = "<!-- the figures begin; `make bench-peers` writes them -->"
END = "<!-- the figures end -->"
_PLOT = "![CPU time of a decision: each engine with 50 tools, and as the tools become more](performance.png)"
USUAL = 50
"""The number of tools of the first table."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the figures were taken on."""

    python: str
    cores: int
    load_before: float
    load_after: float
    rounds: int
    day: str


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal of the design beside what was measured; `measured` is None where an engine gave no figure."""

    what: str
    wanted: float
    measured: float | None
    unit: str
    at_least: bool

    @property
    def met(self) -> str:
        """Whether it is met, in a word."""
        if self.measured is None:
            return "not measured"
        return (
            "yes"
            if (self.measured >= self.wanted if self.at_least else self.measured <= self.wanted)
            else "**no**"
        )


def record(all_measured: Sequence[Measured], taken: Circumstances) -> dict[str, Any]:
    """Return the whole comparison as one JSON document."""
    engines = [
        {
            "name": one.engine.name,
            "version": one.engine.version or None,
            "differs": one.engine.differs,
            "missing": one.said or None,
            "tools": {str(tools): asdict(figures) for tools, figures in one.sizes.items()},
        }
        for one in all_measured
    ]
    stated = [{**asdict(goal), "met": goal.met.strip("*")} for goal in goals(all_measured)]
    return {"taken": asdict(taken), "goals": stated, "engines": engines}


def goals(all_measured: Sequence[Measured]) -> list[Goal]:
    """Return the goals that speak of the decision and of other engines."""
    named = {one.engine.name: one for one in all_measured}
    ours = named[OURS].sizes if OURS in named else {}
    usual = ours.get(USUAL)
    found = [
        Goal(
            f"decision with rate limit and reasons, {USUAL} tools, p50",
            3.0,
            usual.p50_us if usual else None,
            "us",
            False,
        )
    ]
    for said, names, wanted in _AGAINST:
        theirs = [
            named[name].sizes[USUAL].cpu_us for name in names if name in named and USUAL in named[name].sizes
        ]
        measured = min(theirs) / usual.cpu_us if theirs and usual else None
        found.append(Goal(f"against {said}, CPU time", wanted, measured, "x", True))
    grown = ours[10_000].cpu_us / ours[10].cpu_us if {10, 10_000} <= ours.keys() else None
    found.append(Goal("10,000 tools against 10, CPU time", 2.0, grown, "x", False))
    return found


_AGAINST = (
    ("cedarpy", ("cedarpy",), 30.0),
    (
        "the faster way of agent-os-kernel",
        ("agent-os-kernel, shared rules", "agent-os-kernel, document"),
        7.0,
    ),
    ("jsonschema", ("jsonschema",), 12.0),
    ("pycasbin", ("pycasbin",), 1_000.0),
)


def text(all_measured: Sequence[Measured], taken: Circumstances) -> str:
    """Return what stands between the marks of the page."""
    sizes = sorted({tools for one in all_measured for tools in one.sizes})
    parts = [
        f"Taken on {taken.day} with Python {taken.python} on {taken.cores} cores; load average "
        f"{taken.load_before:.1f} before and {taken.load_after:.1f} after; medians of {taken.rounds} rounds.",
        _PLOT,
        _usual_table(all_measured),
        "### The goals",
        _goals_table(goals(all_measured)),
        "### More tools",
        "CPU time of a decision, in microseconds, by the number of tools; calls are spread evenly over them.",
        _scaling_table(all_measured, sizes),
    ]
    missing = [f"- {one.engine.title}: {_told(one.said)}." for one in all_measured if one.said]
    if missing:
        parts += ["### What is missing, and why", "\n".join(missing)]
    differs = [f"- {one.engine.title}: {one.engine.differs}." for one in all_measured if one.engine.differs]
    if differs:
        parts += ["### What differs", "\n".join(differs)]
    return "\n\n".join(parts)


def _usual_table(all_measured: Sequence[Measured]) -> str:
    standing = sorted(
        (one for one in all_measured if USUAL in one.sizes), key=lambda one: one.sizes[USUAL].cpu_us
    )
    ours = next((one.sizes[USUAL].cpu_us for one in standing if one.engine.name == OURS), None)
    lines = [
        f"| {USUAL} tools | p50, us | p99, us (CPU) | decisions per CPU-second | against ours "
        "| built in, ms (CPU) | verdicts checked |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for one in standing:
        figures = one.sizes[USUAL]
        against = "" if ours is None or one.engine.name == OURS else _against(figures.cpu_us / ours)
        p99 = "–" if figures.p99_us is None else number(figures.p99_us)
        lines.append(
            f"| {one.engine.title} | {number(figures.p50_us)} | {p99} | {1e6 / figures.cpu_us:,.0f} "
            f"| {against} | {number(figures.build_s * 1e3)} | {figures.checked:,} |"
        )
    return "\n".join(lines)


def _against(ratio: float) -> str:
    return f"{number(ratio)} times the time" if ratio >= 1 else f"**{number(1 / ratio)} times faster**"


def _goals_table(stated: Sequence[Goal]) -> str:
    lines = ["| goal | wanted | measured | met |", "|---|--:|--:|---|"]
    for goal in stated:
        measured = "–" if goal.measured is None else f"{number(goal.measured)} {goal.unit}"
        bound = "≥" if goal.at_least else "≤"
        lines.append(f"| {goal.what} | {bound} {goal.wanted:,g} {goal.unit} | {measured} | {goal.met} |")
    return "\n".join(lines)


def _scaling_table(all_measured: Sequence[Measured], sizes: Sequence[int]) -> str:
    lines = [
        "| tools | " + " | ".join(f"{tools:,}" for tools in sizes) + " | growth |",
        "|---|" + "--:|" * (len(sizes) + 1),
    ]
    for one in all_measured:
        if not one.sizes:
            continue
        cells = [number(one.sizes[tools].cpu_us) if tools in one.sizes else "–" for tools in sizes]
        first, last = min(one.sizes), max(one.sizes)
        growth = f"{number(one.sizes[last].cpu_us / one.sizes[first].cpu_us)} x" if last > first else "–"
        lines.append(f"| {one.engine.title} | " + " | ".join(cells) + f" | {growth} |")
    return "\n".join(lines)


def number(value: float) -> str:
    """Return three figures, and no exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _told(said: str) -> str:
    """Return what an engine said, fit for a line of the page."""
    plain = "".join(letter if letter.isprintable() else " " for letter in said)
    return plain.replace("|", "/").replace("<", "(").replace(">", ")").replace("`", "'").rstrip(".")


def write(page: Path, figures: str) -> None:
    """Put the figures between the marks; raise ValueError where the page does not have both."""
    before, begin, rest = page.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page.name} has no marks: `{BEGIN}` and `{END}`")
    page.write_text(f"{before}{BEGIN}\n\n{figures}\n\n{END}{after}", "utf-8")
