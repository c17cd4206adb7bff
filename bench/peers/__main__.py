"""`make bench-peers`: the same decisions by other engines, taking turns in one run."""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.peers import page
from bench.peers.compared import SIZES, Effort, compare
from bench.peers.environments import ROOT, environment
from bench.peers.listed import ENGINES, PLOTTER, Engine
from ringfence.cli.say import Say

RESULTS = Path(__file__).with_name("results.json")
PAGE = ROOT / "docs" / "performance.md"
PLOT = ROOT / "docs" / "performance.png"


def main(arguments: Sequence[str]) -> int:
    """Compare; only a comparison of all engines at all sizes writes the page."""
    chosen = _parser().parse_args(arguments)
    known = {engine.module: engine for engine in ENGINES}
    unknown = [name for name in chosen.only if name not in known]
    if unknown:
        print(f"there is no engine `{unknown[0]}`; there are {', '.join(known)}", file=sys.stderr)
        return 2
    engines = [engine for engine in ENGINES if not chosen.only or engine.module in chosen.only]
    sizes = chosen.tools or SIZES
    folder = chosen.environments.resolve()
    effort = Effort(chosen.rounds, chosen.round_seconds, chosen.check_seconds)
    say = Say(json=chosen.json)

    pythons = _environments(engines, folder, say)
    before = os.getloadavg()[0]
    with say.progress("comparing", len(engines) * len(sizes), worth=1) as advance:
        measured = compare(pythons, sizes, effort, advance)
    taken = page.Circumstances(
        platform.python_version(), os.cpu_count() or 1, before, os.getloadavg()[0], effort.rounds,
        time.strftime("%Y-%m-%d", time.gmtime()),
    )  # fmt: skip
    results = page.record(measured, taken)
    if chosen.json:
        say.data(results)
    else:
        print(page.text(measured, taken))
    if not chosen.only and not chosen.tools:
        return _write(results, page.text(measured, taken), folder)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("only", nargs="*", metavar="ENGINE", help="these engines alone; nothing is written")
    parser.add_argument(
        "--tools", type=int, nargs="+", metavar="N", help="these sizes alone; nothing is written"
    )
    parser.add_argument("--rounds", type=int, default=Effort.rounds, help="(default: %(default)s)")
    parser.add_argument(
        "--round-seconds", type=float, default=Effort.round_s, metavar="S", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--check-seconds", type=float, default=Effort.check_s, metavar="S", help="(default: %(default)s)"
    )
    parser.add_argument("--environments", type=Path, default=ROOT / ".venv-peers", metavar="FOLDER")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def _environments(engines: Sequence[Engine], folder: Path, say: Say) -> dict[Engine, Path | None]:
    """Return each engine's interpreter; what cannot be installed has none, and is told in pip's words."""
    made: dict[tuple[str, ...], Path | str] = {(): Path(sys.executable)}
    packages = sorted({engine.requirements for engine in engines} - made.keys())
    with say.progress("environments", len(packages), worth=1) as advance:
        for requirements in packages:
            made[requirements] = environment(folder / requirements[0].replace("==", "-"), requirements)
            advance()
    for requirements, found in made.items():
        if isinstance(found, str):
            print(f"{requirements[0]} is left out:\n{found}", file=sys.stderr)
    found_for = {engine: made[engine.requirements] for engine in engines}
    return {engine: found if isinstance(found, Path) else None for engine, found in found_for.items()}


def _write(results: dict[str, Any], figures: str, environments: Path) -> int:
    """Write the record, the page and the plot: all three, or none of them."""
    python = environment(environments / "plot", PLOTTER)
    if isinstance(python, str):
        print(f"nothing is written, for want of {PLOTTER[0]}:\n{python}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        record, plot = Path(folder, "results.json"), Path(folder, "plot.png")
        record.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", "utf-8")
        subprocess.run([str(python), "-m", "bench.peers.plot", str(record), str(plot)], check=True, cwd=ROOT)
        page.write(PAGE, figures)
        PLOT.write_bytes(plot.read_bytes())
        RESULTS.write_text(record.read_text("utf-8"), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
