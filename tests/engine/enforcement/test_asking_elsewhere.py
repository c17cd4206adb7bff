"""Asked in one process, answered in another, run in a third, which share nothing but the store."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.errors import DeniedError
from ringfence.engine.seams.ports import Ticket
from tests.guards import POLICY, make_guard
from tests.shared import SHARED, shared_settings

ROOT = Path(__file__).parents[3]
SHORT = POLICY.replace("answer within 15 minutes otherwise deny", "answer within 2 seconds otherwise deny")


@pytest.fixture(params=SHARED)
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    return shared_settings(request, tmp_path)


@pytest.fixture
def effects(tmp_path: Path) -> Path:
    return tmp_path / "effects"


@pytest.fixture
def does(settings: dict[str, Any], effects: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start a process that does one step."""
    started: list[subprocess.Popen[str]] = []

    def start(step: str, run: str | None = None, **more: Any) -> "subprocess.Popen[str]":
        said = json.dumps({**settings, **more, "effects": str(effects)})
        words = [sys.executable, "-m", "tests.engine.enforcement.asking_process", said, step]
        process = subprocess.Popen(
            words if run is None else [*words, run],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def guard(settings: dict[str, Any]) -> Iterator[Guard]:
    """A guard of this process, which only answers and looks."""
    made = make_guard(**settings)
    yield made
    made.close()


def said(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """Return the next line of a process."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the process said nothing more"
    found: dict[str, Any] = json.loads(line)
    return found


def ran(effects: Path) -> int:
    return effects.read_text().count("ran") if effects.exists() else 0


def soon(happens: Callable[[], Any]) -> Any:
    """Wait, with a bound, until something is found."""
    waiting = threading.Event()
    for _ in range(600):
        if found := happens():
            return found
        waiting.wait(0.05)
    raise AssertionError("it did not happen within 30 s")


def kill(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait()


def pending(guard: Guard) -> list[Ticket]:
    list(guard.runs.list())  # opens the store
    return guard.opening.submit(guard.opening.ready.tickets.pending()).result()


def test_a_call_asked_in_a_process_that_is_killed_runs_once_in_a_third(
    does: Callable[..., "subprocess.Popen[str]"], guard: Guard, effects: Path
) -> None:
    first = does("ask")
    asked = said(first)
    kill(first)
    guard.approve(asked["ticket"], by="dana")
    assert said(does("resume", asked["run"])) == {"gave": "ran"}
    for _ in range(2):
        assert "refused" in said(does("resume", asked["run"]))
    assert ran(effects) == 1


def test_a_denial_from_another_process_stands_in_a_third(
    does: Callable[..., "subprocess.Popen[str]"], guard: Guard, effects: Path
) -> None:
    first = does("ask")
    asked = said(first)
    kill(first)
    guard.deny(asked["ticket"], by="dana")
    assert "a person said no" in said(does("resume", asked["run"]))["refused"]
    assert ran(effects) == 0


def test_who_waits_in_place_is_woken_by_an_answer_from_another_process(
    does: Callable[..., "subprocess.Popen[str]"], guard: Guard, effects: Path
) -> None:
    waits = does("ask in place")
    said(waits)
    (ticket,) = soon(lambda: pending(guard))
    with pytest.raises(DeniedError, match="not in the group"):
        guard.approve(ticket.id, by="mallory")
    guard.approve(ticket.id, by="dana")
    assert said(waits) == {"gave": "ran"}
    assert waits.wait(30) == 0
    assert ran(effects) == 1


def test_a_guard_that_is_open_elsewhere_ends_a_late_question_of_a_process_that_is_gone(
    does: Callable[..., "subprocess.Popen[str]"], guard: Guard
) -> None:
    first = does("ask", policy=SHORT)
    asked = said(first)
    kill(first)
    late = pending(guard)
    assert [one.id for one in late] in ([asked["ticket"]], [])
    watching = does("watch", policy=SHORT)  # its policy is another's, or the same: the run goes by its own
    assert said(watching) == {"open": True}
    soon(lambda: not pending(guard))
    soon(lambda: guard.runs.get(asked["run"]).events[-1].event.kind == "BudgetRefunded")
    row = guard.opening.submit(guard.opening.ready.log.run(asked["run"])).result()
    assert row is not None and row.status == "suspended"
    with pytest.raises(DeniedError, match="it is expired already"):
        guard.approve(asked["ticket"], by="dana")
