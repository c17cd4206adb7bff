"""`replay --isolates`: what another process ran in isolates runs again from the log, through the command."""

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("py_mini_racer")

from ringfence.__main__ import main
from ringfence.engine.retrospect.record import RunRecord
from ringfence.engine.retrospect.rerun import Rerun
from tests.engine.retrospect.isolates_log import written


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A log, and the ids of its runs by what they are."""
    file = tmp_path_factory.mktemp("rerunning") / "log.db"
    return file, {name: run for name, (run, _) in written(file).items()}


@pytest.fixture
def log(recorded: tuple[Path, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the log, where the command finds it."""
    copy = tmp_path / "ringfence.db"
    copy.write_bytes(recorded[0].read_bytes())
    monkeypatch.chdir(tmp_path)
    return copy


@pytest.fixture
def runs(recorded: tuple[Path, dict[str, str]]) -> dict[str, str]:
    return recorded[1]


def told(capsys: pytest.CaptureFixture[str], run: str, *words: str, code: int = 0) -> tuple[str, str]:
    assert main(["replay", run, "--isolates", "--lockdown", "process", *words]) == code
    said = capsys.readouterr()
    return said.out, said.err


def edited(log: Path, run: str, seq: int, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the body of one event in the file."""
    of_run = "run_id = (SELECT id FROM run WHERE run = ?) AND seq = ?"
    with closing(sqlite3.connect(log)) as db, db:
        (body,) = db.execute(f"SELECT body FROM event WHERE {of_run}", (run, seq)).fetchone()
        said = json.loads(body)
        change(said)
        db.execute(f"UPDATE event SET body = ? WHERE {of_run}", (json.dumps(said).encode(), run, seq))


def test_a_run_is_decided_again_and_its_javascript_run_again(
    log: Path, runs: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = log.read_bytes()
    out, err = told(capsys, runs["five"])
    first, second = out.splitlines()
    assert first == f"identical: {runs['five']}, 6 decisions made again"
    assert re.fullmatch(
        f"identical: {runs['five']}, 2 isolates run again, 5 inner calls answered from the record, "
        "V8 [0-9.]+",
        second,
    )
    assert err == ""
    assert log.read_bytes() == before


def test_as_data_it_says_the_same(
    log: Path, runs: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    data = json.loads(told(capsys, runs["five"], "--json")[0])
    assert data["identical"] is True and data["decisions"] == 6
    isolates = data["isolates"]
    assert (isolates["identical"], isolates["isolates"], isolates["calls"]) == (True, 2, 5)
    assert (isolates["divergence"], isolates["not_rerun"], isolates["only_calls"]) == (None, [], [])


def test_without_the_word_nothing_runs_again(
    log: Path, runs: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", runs["five"], "--json"]) == 0
    assert "isolates" not in json.loads(capsys.readouterr().out)


def test_a_changed_seed_diverges_and_the_place_is_said(
    log: Path, runs: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    edited(log, runs["body"], 5, lambda said: said.update(seed="0" * 32))
    out, _ = told(capsys, runs["body"], code=2)
    lines = out.splitlines()
    assert lines[0].startswith("identical: ")  # no decision asks for chance
    assert lines[1] == f"diverges: {runs['body']}, isolate 1"
    assert re.fullmatch("event 6, call [0-9a-f.]+: output differ", lines[2])
    data = json.loads(told(capsys, runs["body"], "--json", code=2)[0])
    assert data["identical"] is True
    assert data["isolates"]["identical"] is False
    assert data["isolates"]["divergence"]["differs"] == ["output"]


def test_what_cannot_be_run_again_is_said_and_is_no_success(
    log: Path, runs: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = told(capsys, runs["quiet inside"], code=1)
    assert out.splitlines()[-1] == f"incomplete: {runs['quiet inside']}, 0 isolates run again, 1 not"
    assert "cannot be run again: `audit minimal` keeps the result of inner call 1 out of the record" in err


def test_an_end_by_chance_is_said(
    log: Path, runs: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = told(capsys, runs["time"])
    assert "identical" in out.splitlines()[-1]
    assert (
        "it ended by `time`, which the record does not determine: only its inner calls were compared" in err
    )


def test_the_walls_that_must_stand_here_are_said_by_the_command_and_not_by_the_log(
    log: Path,
    runs: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[object] = []

    def rerun(record: RunRecord, *, each: object, lockdown: object) -> Rerun:
        asked.append(lockdown)
        return Rerun(record.run)

    monkeypatch.setattr(RunRecord, "rerun", rerun)
    assert main(["replay", runs["body"], "--isolates"]) == 0
    told(capsys, runs["body"])
    assert asked == ["full", "process"]


def test_what_a_log_holds_does_not_fill_the_terminal_or_move_its_cursor(
    log: Path, runs: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    edited(log, runs["body"], 6, lambda said: said.update(output="\x1b[2J\x9b\u202e" * 100_000))
    out, _ = told(capsys, runs["body"], code=2)
    assert "output differ" in out
    assert len(out) < 20_000 and "characters are not shown]" in out
    assert not {"\x1b", "\x9b", "\u202e"} & set(out)


def test_a_run_without_isolates_says_that_nothing_ran(
    log: Path, runs: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = told(capsys, runs["none"])
    assert out.splitlines()[-1] == f"identical: {runs['none']}, nothing ran in an isolate"


def test_without_v8_the_command_says_how_to_get_it(
    log: Path, runs: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import ringfence._builtins as own

    given = own.builtins()
    monkeypatch.setattr(own, "builtins", lambda: {k: v for k, v in given.items() if k != "isolate"})
    out, err = told(capsys, runs["body"], code=1)
    assert out == "" and "nothing that runs isolates is installed" in err
    assert "pip install 'ringfence[isolate]'" in err


def test_another_policy_and_isolates_are_two_questions(
    log: Path, runs: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    _, err = told(capsys, runs["body"], "--policy", "x.fence", code=1)
    assert "not allowed with" in err
