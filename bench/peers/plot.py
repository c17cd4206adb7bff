"""Draws the comparison; runs where matplotlib is, and reads what the comparison has written."""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

_OURS, _THEIRS = "#0b6e4f", "#8a8f98"


def draw(results: dict[str, Any], target: Path) -> None:
    """Draw the usual number of tools on the left, and how each engine grows on the right."""
    figure, (bars, lines) = pyplot.subplots(1, 2, figsize=(14, 5.6), constrained_layout=True)
    engines = [engine for engine in results["engines"] if engine["tools"]]
    usual = sorted(
        (engine for engine in engines if "50" in engine["tools"]),
        key=lambda engine: -float(engine["tools"]["50"]["cpu_us"]),
    )
    bars.barh(
        [_title(engine) for engine in usual],
        [engine["tools"]["50"]["cpu_us"] for engine in usual],
        color=[_colour(engine) for engine in usual],
    )
    for row, engine in enumerate(usual):
        taken = engine["tools"]["50"]["cpu_us"]
        bars.text(
            taken * 1.1, row, f"{taken:,.3g}" if taken < 1000 else f"{taken:,.0f}", va="center", fontsize=8
        )
    bars.set(xscale="log", xlabel="CPU time of a decision, microseconds", title="50 tools")
    bars.margins(x=0.15)

    markers = "osv^D<>pP*Xh"
    for index, engine in enumerate(engines):
        sizes = sorted(int(tools) for tools in engine["tools"])
        taken = [engine["tools"][str(tools)]["cpu_us"] for tools in sizes]
        ours = engine["version"] is None
        colour = {"color": _OURS} if ours else {}
        lines.plot(
            sizes, taken, marker=markers[index % len(markers)], markersize=5, linewidth=2.4 if ours else 1.1,
            label=_title(engine), **colour,
        )  # fmt: skip
    lines.set(
        xscale="log", yscale="log", xlabel="tools in the policy", ylabel="microseconds", title="more tools"
    )
    lines.grid(alpha=0.3)
    lines.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    taken = results["taken"]
    figure.suptitle(
        f"Python {taken['python']}, {taken['cores']} cores, load average {taken['load_before']:.1f} before, "
        f"{taken['load_after']:.1f} after, medians of {taken['rounds']} rounds, {taken['day']}",
        fontsize=9,
    )
    figure.savefig(target, dpi=110, metadata={"Software": None})


def _title(engine: dict[str, Any]) -> str:
    return f"{engine['name']} {engine['version'] or ''}".strip()


def _colour(engine: dict[str, Any]) -> str:
    return _OURS if engine["version"] is None else _THEIRS


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text("utf-8")), Path(sys.argv[2]))
