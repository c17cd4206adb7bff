"""Two hundred writers are killed at random: every log verifies, and what is not known is said to be."""

import json
import os
import runpy
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ringfence.__main__ import main
from ringfence.engine.seams.errors import RunHaltedError
from tests.faults.riddled import CHILDREN, FULL, PLAN, guard_at
from tests.guards import ALICE, call

ROOT = Path(__file__).parent.parent.parent
verify_alone = runpy.run_path(str(ROOT / "docs" / "verify_log.py"))["verify"]


@dataclass
class Told:
    """What a log says of one run, read by SQL and JSON alone."""

    requested: dict[str, str] = field(default_factory=dict)
    """Call -> tool."""
    allowed: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    outcome: dict[str, str] = field(default_factory=dict)
    ended: bool = False
    gone: bool = False
    """Somebody has recorded that its process is gone."""

    def expected(self, call: str) -> str:
        """Return how the outcome of a call must be shown once its process is dead."""
        if call in self.outcome:
            return self.outcome[call]
        in_order = self.ended and not self.gone
        return "not run" if in_order or call in self.refused - self.allowed else "unknown"


def runs_of(folder: Path) -> dict[str, Told]:
    """Read the events of a store's file with nothing of ours."""
    runs: dict[str, Told] = {}
    with closing(sqlite3.connect(f"{(folder / 'ringfence.db').as_uri()}?mode=ro", uri=True)) as db:
        if db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'event'").fetchone() == (0,):
            return runs  # it died while it made the file
        rows = db.execute(
            "SELECT run.run, kind, body FROM event JOIN run ON run.id = run_id ORDER BY position"
        )
        for run, kind, text in rows:
            told, body = runs.setdefault(run, Told()), json.loads(text)
            match kind:
                case "CallRequested":
                    told.requested[body["call"]] = body["tool"]
                case "CallDecided":
                    verdict = body["verdict"]
                    (told.allowed if verdict in ("allow", "ask") else told.refused).add(body["call"])
                    if verdict == "allow":
                        told.allowed.add(f"{body['call']} allowed")
                case "CallFinished":
                    told.outcome[body["call"]] = "finished"
                case "CallFailed":
                    told.outcome[body["call"]] = body["outcome"]
                case "RunHalted":
                    told.gone = body["reason"] == "unclean end"
                case "RunEnded":
                    told.ended = True
    return runs


def marks_of(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Yield run, call and tool of each body that has started there; the last mark may be torn."""
    file = folder / "marks"
    for line in file.read_text().splitlines(keepends=True) if file.exists() else ():
        if line.endswith("\n"):
            run, key, tool = json.loads(line)
            yield run, key, tool


def whole(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Refuse a log that does not verify, by us or by the verifier that imports nothing of ours."""
    store = folder / "ringfence.db"
    assert main(["verify", "--json", "--store", str(store)]) == 0, capsys.readouterr()
    ours = json.loads(capsys.readouterr().out)
    head, fault = verify_alone(store)
    assert fault is None and ours["intact"]
    assert head == (ours["head"] or "0:")


@dataclass
class Seen:
    """What was met over all the deaths, so that a test in which nothing happens does not pass."""

    bodies: int = 0
    unknown: int = 0
    unfinished: int = 0
    outcomes: set[str] = field(default_factory=set)


def look(folder: Path, capsys: pytest.CaptureFixture[str], seen: Seen) -> None:
    """Look at what one of the dead left behind."""
    if not (folder / "ringfence.db").exists():
        assert not list(marks_of(folder)), "a body started before there was a log"
        return
    runs = runs_of(folder)
    if not runs and main(["verify", "--store", str(folder / "ringfence.db")]) != 0:
        assert "is empty" in capsys.readouterr().err, "it died while it made the file"
        return
    whole(folder, capsys)
    for run, key, tool in marks_of(folder):
        if tool in FULL:
            seen.bodies += 1
            assert f"{key} allowed" in runs[run].allowed, f"{tool} ran without its decision in the log"
    for run, told in runs.items():
        if not told.ended:
            seen.unfinished += 1
            shown_as_unknown(folder, run, told, capsys, seen)


def shown_as_unknown(
    folder: Path, run: str, told: Told, capsys: pytest.CaptureFixture[str], seen: Seen
) -> None:
    """Refuse a run of which `show` says more, or less, of a call than is known."""
    store = str(folder / "ringfence.db")
    assert main(["show", run, "--json", "--store", store]) == 0
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert shown["gone"] is not told.ended
    outcomes = {step["call"]: step["outcome"] for step in shown["steps"] if step["step"] == "call"}
    assert outcomes == {key: told.expected(key) for key in told.requested}
    seen.outcomes |= set(outcomes.values())
    unknown = list(outcomes.values()).count("unknown")
    seen.unknown += unknown
    if unknown:
        assert main(["show", run, "--store", store]) == 0
        text = capsys.readouterr()
        assert text.out.count("is not recorded, and its process is gone") == unknown
        assert told.ended or "its process is gone" in text.err


def taken_over(folder: Path, capsys: pytest.CaptureFixture[str], seen: Seen) -> None:
    """End what the dead have left, go on in their sessions, and look again."""
    before = runs_of(folder)
    guard = guard_at(folder)
    dead = [run for run, told in before.items() if not told.ended]
    for run in dead:
        with pytest.raises(RunHaltedError, match="unclean"):
            guard.resume_run(run)
    for row in guard.runs.list():
        assert guard.runs.get(row.run).replay(PLAN).divergence is None
        assert row.status == "halted" if before[row.run].gone or row.run in dead else "done"
    session = guard.runs.list()[0].session
    again = guard.begin_run(principal=ALICE, agent="main", session=session)
    assert guard.execute(again, call("look", what="x"), lambda _: "ran") == "ran"
    guard.end_run(again)
    guard.close()
    after = runs_of(folder)
    assert all(told.ended for told in after.values())
    for run in dead:
        assert after[run].gone
        shown_as_unknown(folder, run, after[run], capsys, seen)
    whole(folder, capsys)


def test_two_hundred_processes_killed_at_random_leave_logs_that_are_whole_and_say_what_is_unknown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen, said, stores = Seen(), set[str](), dict[Path, None]()
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.riddled", str(tmp_path), "7"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        text=True,
    ) as killing:
        assert killing.stdout is not None
        try:
            number = 0
            for number, line in enumerate(killing.stdout, start=1):
                died = json.loads(line)
                stores[Path(died["folder"])] = None
                assert died["status"] == 9, (Path(died["folder"]) / f"stderr-{number - 1}").read_text()
                left = Path(died["left"])
                try:
                    look(left, capsys, seen)
                except BaseException as error:
                    raise AssertionError(f"after the death {number - 1}: {died}") from error
                ended = {a.removeprefix("run ") for a, b in pairs(died["said"]) if b == "ended"}
                said |= ended
                shutil.rmtree(left)
            assert number == CHILDREN
        finally:
            killing.kill()
    ended_in_order = set[str]()
    for store in stores:
        runs = runs_of(store)
        ended_in_order |= {run for run, told in runs.items() if told.ended and not told.gone}
        for run, told in runs.items():  # here is the file that the dead had open, with their locks beside it
            if not told.ended:
                shown_as_unknown(store, run, told, capsys, seen)
        taken_over(store, capsys, seen)
    assert said and said <= ended_in_order, "what was said to have ended did"
    assert seen.bodies > 100 and seen.unfinished > 100 and seen.unknown > 50, seen
    assert seen.outcomes >= {"unknown", "finished", "not run"}


def pairs(said: list[str]) -> Iterator[tuple[str, str]]:
    """Yield each run that a child began, and whether it said that it ended."""
    began: str | None = None
    for line in said:
        if line.startswith("run "):
            began = line
        elif line == "ended" and began is not None:
            yield began, line
