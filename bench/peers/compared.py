"""One comparison: every engine builds, is checked, and then they take turns, round by round."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.peers.listed import Engine
from bench.peers.workers import Asked, NoFigureError
from bench.peers.workload import BLOCK, COUNT

SIZES = (10, 50, 100, 1_000, 10_000)
_LONGEST_BUILD_S = 60.0
_LONGEST_CALL_S = 0.03


@dataclass(frozen=True, slots=True)
class Figures:
    """One engine at one number of tools: medians over the rounds."""

    p50_us: float
    """By the wall."""
    p99_us: float | None
    """By the thread's CPU clock; None where a round had fewer than 100 calls."""
    cpu_us: float
    """The process's CPU time for one call, all calls taken together."""
    build_s: float
    """CPU time to build the engine from the workload; what it leaves to first calls is not in it."""
    checked: int
    """Calls whose verdict was compared with the workload's; all agreed."""
    calls: int
    """Calls in a round."""


@dataclass(slots=True)
class Measured:
    """One engine: its figures by number of tools, and why some are missing."""

    engine: Engine
    sizes: dict[int, Figures] = field(default_factory=dict)
    said: str = ""


@dataclass(frozen=True)
class Effort:
    """How long is measured."""

    rounds: int = 5
    round_s: float = 0.3
    """About what one pass of a round takes."""
    check_s: float = 10.0


def compare(
    pythons: Mapping[Engine, Path | None],
    sizes: Sequence[int],
    effort: Effort,
    advance: Callable[[], object],
) -> list[Measured]:
    """Measure every engine that has an interpreter; `advance` is called once per engine and size."""
    all_measured = [Measured(engine) for engine in pythons]
    with ExitStack() as running:
        asked: dict[str, Asked] = {}
        for measured in all_measured:
            python = pythons[measured.engine]
            if python is None:
                measured.said = "it could not be installed from wheels"
            else:
                asked[measured.engine.module] = running.enter_context(Asked(python, measured.engine.module))
        for tools in sizes:
            standing = [one for one in all_measured if not one.said]
            _one_size(standing, asked, tools, effort)
            for _ in all_measured:
                advance()
    return all_measured


def _one_size(standing: Sequence[Measured], asked: Mapping[str, Asked], tools: int, effort: Effort) -> None:
    ready: dict[str, dict[str, Any]] = {}
    for measured in standing:
        try:
            _expected_to_end(measured, tools)
            ready[measured.engine.module] = _prepared(asked[measured.engine.module], tools, effort)
        except NoFigureError as error:  # closed: no figure from here on, and the page says why
            measured.said = f"{tools:,} tools: {error}"
    rounds: dict[str, list[dict[str, float]]] = {module: [] for module in ready}
    for _ in range(effort.rounds):
        for measured in standing:
            module = measured.engine.module
            if measured.said:
                continue
            try:
                rounds[module].append(asked[module].ask("round", calls=ready[module]["calls"]))
            except NoFigureError as error:  # closed: half of the rounds is no figure
                measured.said = f"{tools:,} tools: {error}"
    for measured in standing:
        if not measured.said:
            module = measured.engine.module
            measured.sizes[tools] = _figures(ready[module], rounds[module])


def _expected_to_end(measured: Measured, tools: int) -> None:
    """Raise NoFigureError where the last size says that this one would take too long."""
    if not measured.sizes:
        return
    last = max(measured.sizes)
    before, factor = measured.sizes[last], tools / last
    if before.build_s * factor > _LONGEST_BUILD_S:
        raise NoFigureError(f"not tried, {last:,} tools took {before.build_s:.1f} s of CPU to build")
    if before.cpu_us * factor > _LONGEST_CALL_S * 1e6:
        raise NoFigureError(f"not tried, {last:,} tools took {before.cpu_us / 1e3:,.1f} ms of CPU a decision")


def _prepared(asked: Asked, tools: int, effort: Effort) -> dict[str, Any]:
    built = asked.ask("build", tools=tools)
    checked = asked.ask("check", seconds=effort.check_s)
    if checked["wrong"]:
        raise NoFigureError(f"another verdict on {checked['wrong']:,} of {checked['checked']:,} calls")
    fitting = int(effort.round_s / max(checked["call_s"], 1e-9)) // BLOCK * BLOCK
    return {**built, "checked": checked["checked"], "calls": min(COUNT, max(BLOCK, fitting))}


def _figures(ready: Mapping[str, Any], rounds: Sequence[Mapping[str, float]]) -> Figures:
    middle = {key: median(one[key] for one in rounds) for key in ("p50_us", "p99_us", "cpu_us")}
    return Figures(
        p50_us=_four(middle["p50_us"]),
        p99_us=_four(middle["p99_us"]) if ready["calls"] >= 100 else None,
        cpu_us=_four(middle["cpu_us"]),
        build_s=_four(ready["build_s"]),
        checked=ready["checked"],
        calls=ready["calls"],
    )


def _four(value: float) -> float:
    """Return four figures of it: what is recorded is what the tables are made of."""
    return float(f"{value:.4g}")
