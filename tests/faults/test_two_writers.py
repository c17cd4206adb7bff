"""Two processes write the same run: one is refused, or loses it, and the log keeps one history."""

import asyncio
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ringfence.__main__ import main
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import EngineError, RingfenceError, TakenOverError
from ringfence.plugins.sqlite import SqliteStore
from tests.cli.conftest import entries, started
from tests.faults.intruder import TIMES
from tests.guards import ALICE, call, make_guard

ROOT = Path(__file__).parent.parent.parent
verify_alone = runpy.run_path(str(ROOT / "docs" / "verify_log.py"))["verify"]


def begun(how: str, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.intruder", how, *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: "subprocess.Popen[str]") -> dict[str, Any]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    said: dict[str, Any] = json.loads(out)
    return said


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ringfence.db"


@pytest.fixture
def guard(path: Path) -> Iterator[Guard]:
    made = make_guard(store=f"sqlite:///{path}")
    yield made
    made.close()


def whole(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--store", str(path)]) == 0, capsys.readouterr()
    assert verify_alone(path)[1] is None
    capsys.readouterr()


def look(guard: Guard, run: Run, id: str) -> Any:
    return guard.execute(run, call("look", id, what="x"), lambda _: "ran")


def test_a_second_process_is_refused_the_run_and_its_session_and_the_first_goes_on(
    guard: Guard, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = guard.begin_run(principal=ALICE, agent="main", session="s")
    assert look(guard, run, "a") == "ran"
    for answer in ended(begun("politely", str(path), run.id, "s"))["answers"]:
        assert answer.startswith("engine:") and "another living process" in answer and "help:" in answer, (
            answer
        )
    assert look(guard, run, "b") == "ran"
    guard.end_run(run)
    assert len(guard.runs.list()) == 1
    whole(path, capsys)


def test_a_run_that_another_process_ended_takes_no_more_here_and_the_log_has_one_history(
    guard: Guard, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = guard.begin_run(principal=ALICE, agent="main", session="s")
    other = guard.begin_run(principal=ALICE, agent="main", session="t")
    look(guard, run, "a")
    guard.opening.ready.journal.flush().result(60)
    ended(begun("ending", str(path), run.id, "s"))
    # Under `audit full` nothing starts from now on; under `standard` nothing once it is noticed.
    ran: list[str] = []
    with pytest.raises(TakenOverError) as caught:
        ticket = asked(guard, run)
        guard.approve(ticket, by="dana")
        guard.execute(run, call("pay", "p", amount=5), lambda _: ran.append("pay"))
    assert "taken over by another process" in str(caught.value) and caught.value.help
    with pytest.raises(TakenOverError):
        look(guard, run, "b")
    assert not ran
    assert look(guard, other, "c") == "ran", "the other runs go on"
    guard.end_run(other)
    with pytest.raises(TakenOverError):
        guard.end_run(run)
    kinds = [one.event.kind for one in guard.runs.get(run.id).events]
    assert kinds[-2:] == ["RunHalted", "RunEnded"] and kinds.count("CallFinished") == 1
    whole(path, capsys)


def asked(guard: Guard, run: Run) -> str:
    try:
        guard.execute(run, call("pay", "p", amount=5), lambda _: None, wait=False)
    except EngineError:
        raise
    except RingfenceError as pending:
        return str(getattr(pending, "tickets", ("",))[0])
    raise AssertionError("nobody was asked")


def test_two_processes_that_race_for_each_next_event_of_a_run_write_one_chain(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def begin() -> None:
        store = SqliteStore(f"sqlite:///{path}")
        await store.open()
        assert store.events is not None
        await store.events.append(entries("R-BOTH", [started()]))
        await store.close()

    asyncio.run(begin())
    racing = [begun("racing", str(path), "R-BOTH", name) for name in ("one", "two")]
    first = [ended(process)["first"] for process in racing]
    assert all(0 < won <= TIMES for won in first)
    assert main(["verify", "R-BOTH", "--json", "--store", str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["events"] == 1 + sum(first)
    whole(path, capsys)
