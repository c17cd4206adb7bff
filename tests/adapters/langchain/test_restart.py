"""The process ends while people are asked; another one goes on."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ringfence

ROOT = Path(__file__).parents[3]
PROGRAM = "tests.adapters.langchain.restarted"


def step(folder: Path, *words: str, ends_with: int = 0) -> dict[str, Any]:
    """Take one step in a new process and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", PROGRAM, str(folder), *words], capture_output=True, text=True
    )
    assert done.returncode == ends_with, done.stderr
    result: dict[str, Any] = json.loads(done.stdout or "{}")
    return result


def ran(folder: Path) -> list[str]:
    """Return what the tools did, over all processes."""
    file = folder / "done.txt"
    return file.read_text(encoding="utf-8").split() if file.exists() else []


@pytest.mark.parametrize("kind", ["agent", "graph"])
def test_another_process_goes_on_after_the_approval(tmp_path: Path, kind: str) -> None:
    # An agent's turn waits as one; a raw graph runs what asks nobody.
    before = ["1"] if kind == "graph" else []
    asked = step(tmp_path, kind, "ask")
    assert (len(asked["asked"]), asked["runs"], ran(tmp_path)) == (1, ["suspended"], before)
    waiting = step(tmp_path, kind, "look")
    assert (waiting["asked"], ran(tmp_path)) == (asked["asked"], before)
    went_on = step(tmp_path, kind, "approve")
    assert went_on["asked"] == []
    assert sorted(ran(tmp_path)) == ["1", "bob"], (
        "the sibling did not run again, and the budget was not forgotten"
    )
    assert went_on["replies"][:2] == ["2", "sent to bob"]
    if kind == "agent":
        assert went_on["replies"][2:] == ["not authorized"], "one `send` per run, over both processes"
    assert went_on["runs"] == ["done"]


@pytest.mark.parametrize("kind", ["agent", "graph"])
def test_another_principal_may_not_go_on_in_another_process(tmp_path: Path, kind: str) -> None:
    step(tmp_path, kind, "ask")
    assert step(tmp_path, kind, "approve", "eve")["error"] == "DeniedError"
    assert "bob" not in ran(tmp_path)
    assert step(tmp_path, kind, "look")["asked"] == []
    assert sorted(ran(tmp_path)) == ["1", "bob"]


def test_a_run_whose_process_died_is_halted_and_its_agent_ends(tmp_path: Path) -> None:
    step(tmp_path, "agent", "die", ends_with=9)
    after = step(tmp_path, "agent", "look")
    assert after["replies"] == ["not authorized"]
    assert after["runs"] == ["halted"]
    assert ran(tmp_path) == []


@pytest.mark.parametrize("kind", ["agent", "graph"])
def test_a_process_is_killed_while_people_are_asked_a_second_approves_and_a_third_goes_on(
    tmp_path: Path, kind: str
) -> None:
    (asked,) = step(tmp_path, kind, "killed", ends_with=-signal.SIGKILL)["asked"]
    settings = f'store = "sqlite:///{tmp_path}/guard.db"\n[groups]\nleads = ["dana"]\n'
    (tmp_path / "ringfence.toml").write_text(settings, encoding="utf-8")
    words = [sys.executable, "-m", "ringfence", "approve", asked, "--by", "dana"]
    found = {**os.environ, "PYTHONPATH": str(Path(ringfence.__file__).parents[1])}
    approved = subprocess.run(words, cwd=tmp_path, env=found, capture_output=True, text=True)
    assert approved.returncode == 0, approved.stderr
    went_on = step(tmp_path, kind, "look")
    assert (went_on["asked"], went_on["runs"], went_on["divergence"]) == ([], ["done"], False)
    assert ran(tmp_path).count("bob") == 1
    assert step(tmp_path, kind, "replay")["went on"] >= 2
    assert ran(tmp_path).count("bob") == 1, "the same state, gone on with again, runs no approved call"
