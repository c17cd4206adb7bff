"""From text to plan: parsed with places, checked, compiled, digested; and what commands cost at their start.

Commands are processes of their own, where there are no settings: their CPU, the least of several.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import ringfence
from bench.harness import Row
from bench.policies import text_of_lines
from bench.whole import whole_text
from ringfence.dsl.load import load_text


def rows() -> Iterator[Row]:
    """Measure 500 and 5,000 lines, by CPU time, with the parser's tables read before; then whole commands."""
    load_text(text_of_lines(60), name="bench.fence")
    for kind, text_of in (("", text_of_lines), (" of the whole language", whole_text)):
        medians = {}
        for lines, goal, rounds in ((500, 80.0, 7), (5_000, 800.0, 3)):
            medians[lines] = median(_load_ns(text_of(lines)) for _ in range(rounds))
            yield Row(f"policy load, {lines:,} lines{kind}", medians[lines] / 1e6, "ms", goal)
        yield Row(f"the same, 5,000 lines{kind} against 500", medians[5_000] / medians[500], "x")
    yield from _commands()


def _commands() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bench.fence").write_text(text_of_lines(500), "utf-8")
        bare, version, check = [], [], []
        for _ in range(10):
            bare.append(_process_ms(folder, "-c", ""))
            version.append(_process_ms(folder, "-m", "ringfence", "--version"))
            check.append(_process_ms(folder, "-m", "ringfence", "check", "bench.fence"))
    above = min(version) - min(bare)
    yield Row("`ringfence --version` above a bare interpreter, CPU, least", above, "ms", 30.0)
    yield Row("`ringfence check` of 500 lines, interpreter included, CPU, least", min(check), "ms", 210.0)


def _process_ms(folder: str, *words: str) -> float:
    said = {name: value for name, value in os.environ.items() if not name.startswith("RINGFENCE_")}
    said.pop("PYTHONDONTWRITEBYTECODE", None)  # the first round compiles, as installing does
    said["PYTHONPYCACHEPREFIX"] = folder
    said["PYTHONPATH"] = str(Path(ringfence.__file__).absolute().parent.parent)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], cwd=folder, env=said, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def _load_ns(text: str) -> int:
    start = time.thread_time_ns()
    loaded = load_text(text, name="bench.fence")
    taken = time.thread_time_ns() - start
    if loaded.plan is None:
        raise RuntimeError("\n".join(f"{found.code} {found.message}" for found in loaded.diagnostics[:5]))
    return taken
