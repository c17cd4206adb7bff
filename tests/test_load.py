"""A short form of `make load`, by counts and without a clock: what came out is checked, not how fast."""

import json
import sqlite3
import sys
from pathlib import Path

import pytest
from bench.load import places
from bench.load.__main__ import main
from bench.load.checking import checked
from bench.load.driving import Load, drive
from bench.load.mix import ALLOWED, APPROVED, AUDITED, DENIED, POLICY, RATIONED, REJECTED, SCARCE, UNKNOWN
from bench.load.processes import WorkerError, worked
from bench.load.reports import Report, together
from bench.load.worker import Order, guard_of

from tests.guards import make_guard
from tests.services import Postgres, Redis

ROUND = Load(1, rounds=1)
GROUPS = {"leads": ["dana"]}


async def test_runs_at_once_come_out_as_the_policy_says_and_so_says_the_log(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/load.db"
    guard = guard_of(tmp_path, store=store)
    report = await drive(guard, Load(60, rounds=2))
    await guard.aclose()
    assert report.faults() == []
    runs = 1 + 60 * 2
    assert (report.runs, report.calls) == (runs, runs * 10)
    assert report.ran == {
        ALLOWED.name: runs * 4,
        AUDITED.name: runs,
        APPROVED.name: runs,
        RATIONED.name: SCARCE,
    }
    assert report.denied == {
        DENIED.name: runs,
        UNKNOWN.name: runs,
        REJECTED.name: runs,
        RATIONED.name: runs - SCARCE,
    }
    log = checked(store, report)
    assert log.faults == () and log.intact and log.runs == runs


async def test_once_time_is_up_no_call_begins_and_every_run_is_ended(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/load.db"
    guard = guard_of(tmp_path, store=store)
    report = await drive(guard, Load(5, seconds=1e-9))
    await guard.aclose()
    assert (report.runs, report.calls) == (1 + 5, 10)
    assert (report.timed_runs, report.timed_calls) == (5, 0)
    assert checked(store, report).faults == ()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('["users", "orders"]', '["users", "salaries"]', "the call that is denied ran"),
        ('["users", "orders"]', '["orders"]', "the call that is allowed was denied"),
        ("allow always  ask lead", "allow always", "nobody was asked about the call that is asked, rejected"),
        ("stop after 2 hours", "stop after 2 hours  at most 3 calls", "RunHaltedError"),
    ],
)
async def test_a_verdict_that_is_not_the_wanted_one_is_told(old: str, new: str, told: str) -> None:
    assert POLICY.count(old) == 1
    guard = make_guard(POLICY.replace(old, new), groups=GROUPS, approvals={"default": []})
    report = await drive(guard, ROUND)
    await guard.aclose()
    assert any(told in fault for fault in report.faults())


async def test_runs_that_cannot_begin_are_told_and_nothing_is_measured(tmp_path: Path) -> None:
    guard = guard_of(tmp_path, store=f"sqlite:///{tmp_path}/no/such/folder/load.db")
    report = await drive(guard, Load(20, rounds=1))
    await guard.aclose()
    assert report.mistakes == 21 and "a run did not begin: EngineError" in report.told[0]
    assert report.faults()[-2:] == ["and 11 mistakes more", "no call was allowed: nothing was measured"]


def test_counts_that_do_not_fit_together_are_told() -> None:
    report = Report()
    report.ran.update({ALLOWED.name: 4, RATIONED.name: SCARCE + 1})
    report.denied[RATIONED.name] = 50
    report.bodies.update({ALLOWED.name: 4, RATIONED.name: SCARCE + 1, DENIED.name: 1})
    assert report.faults() == [
        "denied: 1 bodies for 0 calls that ran",
        f"{SCARCE + 1} rationed calls ran of {SCARCE + 51}; {SCARCE} may",
    ]


async def test_a_log_that_was_changed_or_says_something_else_is_told(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/load.db"
    guard = guard_of(tmp_path, store=store)
    report = await drive(guard, ROUND)
    await guard.aclose()
    report.ran[AUDITED.name] += 1
    assert checked(store, report).faults == (
        "calls: the log says 20, the processes 21",
        "bodies of note that were started: the log says 2, the processes 3",
        "bodies of note that finished: the log says 2, the processes 3",
    )
    with sqlite3.connect(tmp_path / "load.db") as db:
        db.execute("UPDATE event SET at_ns = at_ns + 1 WHERE position = 5")
    db.close()
    log = checked(store, report)
    assert not log.intact and log.faults[0].startswith("the log does not verify: ")


def test_a_load_is_bounded_in_one_way() -> None:
    for rounds, seconds in ((None, None), (1, 1.0)):
        with pytest.raises(ValueError, match="bounded"):
            Load(1, rounds=rounds, seconds=seconds)


def test_what_processes_counted_is_added_up_and_what_they_took_side_by_side_is_not() -> None:
    one, two = Report(runs=2, wall_s=3.0, cpu_s=1.0), Report(runs=5, wall_s=2.0, cpu_s=1.5)
    one.ran["allowed"], two.ran["allowed"] = 3, 4
    whole = together([one, Report.of_json(json.loads(json.dumps(two.to_json())))])
    assert (whole.processes, whole.runs, whole.ran["allowed"]) == (2, 7, 7)
    assert (whole.wall_s, whole.cpu_s) == (3.0, 2.5)


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("pass", "did not open its guard"),
        ("print('ready', flush=True)", "broke off under its load"),
        ("print('ready', flush=True); print('{}', flush=True); raise SystemExit(3)", "broke off"),
    ],
)
async def test_a_process_that_breaks_off_is_told(program: str, told: str) -> None:
    with pytest.raises(WorkerError, match=told):
        await worked([Order(ROUND, "memory:", None, 0)], command=(sys.executable, "-c", program))


def test_the_command_says_all_in_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sqlite", "--at-once", "3", "--rounds", "1", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["held"] and said["left_out"] == {}
    part = said["parts"]["sqlite"]
    assert (part["runs"], part["timed_calls"], part["faults"]) == (4, 30, [])
    assert part["log"]["intact"] and part["figures"]["calls_per_cpu_s"] > 0


def test_servers_that_are_not_installed_are_left_out_and_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(places, "missing", lambda name: f"{name}-server")
    assert main(["servers", "--json"]) == 1, "it was asked for by name"
    said = capsys.readouterr()
    assert json.loads(said.out)["left_out"] == {"servers": "postgres-server is not installed"}
    assert "left out: postgres-server is not installed" in said.err


@pytest.mark.parametrize("words", [["sqlight"], ["--at-once", "0"], ["--seconds", "nan"], ["--at-once", "3"]])
def test_words_that_make_no_load_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2 and "error: " in capsys.readouterr().err


async def test_processes_on_servers_share_one_log_and_one_budget(
    postgres_server: Postgres, redis_server: Redis
) -> None:
    pytest.importorskip("asyncpg")
    store, ledger = f"{postgres_server.url}?schema=load", f"{redis_server.url}?prefix=load"
    load = Load(7, rounds=8)
    report = together(await worked([Order(load, store, ledger, 0), Order(load, store, ledger, 7)]))
    assert report.faults() == []
    assert (report.processes, report.runs) == (2, 2 * (7 * 8 + 1))
    assert report.ran[RATIONED.name] == SCARCE and report.denied[RATIONED.name] == 14
    assert checked(store, report).faults == ()
