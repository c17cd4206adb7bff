"""The plugin in a pytest of its own, on a suite of four tests: what is seen, and what a bound ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.upstream.results import Results

PLUGIN = Path(__file__).parent / "plugin"
SUITE = '''
import sys

from langchain_core.tools import tool


def plain(a: int) -> int:
    """Add."""
    return a + 1


add = tool("add")(plain)


@tool
def around(a: int) -> int:
    """Call what is another tool's body, with no guard in between."""
    return plain(a)


def test_through():
    assert add.invoke({"a": 1}) == 2


def test_beside():
    assert around.invoke({"a": 1}) == 2


def test_memory():
    bytearray(5 * 1024**3)


def test_blind():
    sys.setprofile(None)
'''


@pytest.fixture(scope="module")
def allowed(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What came of the suite with a policy that allows everything around every tool that it makes."""
    folder = tmp_path_factory.mktemp("allowed")
    (folder / "suite").mkdir()
    (folder / "suite" / "test_small.py").write_text(SUITE, encoding="utf-8")
    options = ("-n", "1", "-q", "-p", "inserted.plugin", "-p", "no:cacheprovider", "-p", "no:ringfence")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "."],
        cwd=folder / "suite",
        env={
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "PYTHONPATH": os.pathsep.join((str(PLUGIN), str(Path(__file__).parents[2] / "src"))),
            "RINGFENCE_INSERTED": "allow",
            "RINGFENCE_INSERTED_INTO": "births",
            "RINGFENCE_RESULTS": str(folder),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return Results.read(folder)


def test_bodies_are_seen_through_the_guard_and_beside_it(allowed: Results) -> None:
    assert allowed.outcomes["test_small.py::test_through"] == "passed"
    assert (allowed.calls, allowed.bodies) == (2, 3)
    assert dict(allowed.beside) == {"test_small.py::test_beside": 1}


def test_a_test_that_takes_too_much_memory_fails_alone(allowed: Results) -> None:
    assert allowed.cut == ("test_small.py::test_memory",)


def test_a_test_that_takes_the_sight_away_is_named(allowed: Results) -> None:
    assert allowed.blind == ("test_small.py::test_blind",)
