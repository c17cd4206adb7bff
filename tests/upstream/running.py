"""Runs one part: pytest in a process of its own, with the plugin, without a network, and with a bound."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree

from tests.upstream.results import ResultError, Results
from tests.upstream.suites import Part

_PLUGIN = Path(__file__).parent / "plugin"
_TEST_S = 60
_PART_S = 1200
_DENIED = {"LANGGRAPH_DEFAULT_RECURSION_LIMIT": "20"}
"""A scripted model that asks for a tool until it has run repeats all that was said in each of its answers: a
refused one takes twice the memory at every turn, for the 10,007 steps that LangGraph gives it."""
_OPTIONS = (
    *("-p", "inserted.plugin", "-p", "no:cacheprovider", "-p", "no:ringfence", "-q", "-rf"),
    *("--disable-socket", "--allow-unix-socket", f"--timeout={_TEST_S}", "-o", "addopts=--strict-markers"),
)


def run(part: Part, source: Path, results: Path, processes: int, progress: Callable[[int], None]) -> Results:
    """Run a part; `progress` is told how many of its tests are over.

    Raises:
        ResultError: pytest did not come to its end; its output is in `results`.
    """
    rmtree(results, ignore_errors=True)
    results.mkdir(parents=True)
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ},
        **part.suite.environment,
        **(_DENIED if part.inserted == "deny" else {}),
        "PYTHONPATH": str(_PLUGIN),
        "RINGFENCE_INSERTED": part.inserted,
        "RINGFENCE_INSERTED_INTO": "" if part.way is None else part.suite.ways[part.way],
        "RINGFENCE_RESULTS": str(results),
    }
    with (results / "log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", part.suite.tests, "-n", str(processes), *_OPTIONS],
            cwd=source,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        _wait(process, results / "progress", progress)
    try:
        found = Results.read(results)
    except ResultError as error:
        raise ResultError(f"{part.title}: {error}; see {results / 'log'}") from error
    if process.returncode not in (0, 1):  # neither all passed nor some failed
        raise ResultError(f"{part.title}: pytest ended with {process.returncode}; see {results / 'log'}")
    return found


def _wait(process: "subprocess.Popen[bytes]", file: Path, progress: Callable[[int], None]) -> None:
    for _ in range(_PART_S):
        try:
            process.wait(timeout=1)
            return
        except subprocess.TimeoutExpired:
            progress(file.stat().st_size if file.exists() else 0)
    process.terminate()
    process.wait()
