"""`ringfence purge` over real logs: what goes and what stays, what is said, and what can be proved after."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from ringfence.__main__ import main
from ringfence.engine.decision.events import RunEnded, RunEvent
from ringfence.testing.stores import ticket
from tests.backtests import Limits, recorded
from tests.cli.conftest import entries as handwritten
from tests.cli.conftest import started
from tests.cli.purges import AGES, DAY_NS, NEEDLE, Store, data, intact, stored


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.chdir(tmp_path)
    with stored(tmp_path) as made:
        yield made


def test_old_runs_lose_what_they_said_and_nothing_else(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {name: store.read(name) for name in AGES}
    assert main(["purge", "--before", "30d", "--by", "dana"]) == 0
    said = capsys.readouterr()
    bodies = len(before["run-a"]) + len(before["run-b"])
    assert said.out == f"purged 2 runs: {bodies} bodies, 2 tickets\n"
    assert said.err == ""
    assert intact(capsys, store.path)["purged"] == bodies
    for name in ("run-c", "run-d"):
        assert store.read(name) == before[name]
        assert main(["replay", name]) == 0
    for name in ("run-a", "run-b"):
        *gone, purge = store.read(name)
        assert gone == [entry._replace(body=None, salt=b"") for entry in before[name]]
        assert purge.body is not None and purge.kind == "BodiesPurged"
        event = json.loads(purge.body)
        assert (event["upto"], event["by"]) == (len(gone), "dana")
        assert abs(int(event["before_ns"]) - (purge.at_ns - 30 * DAY_NS)) < 600 * 10**9
        row = store.loop.submit(store.events.run(name)).result()
        assert row is not None and (row.status, row.session) == ("done", name)
    left = store.loop.submit(store.tickets.closed(set(AGES))).result()
    assert left == {name: [f"T-{name}"] for name in ("run-c", "run-d")}


def test_what_is_purged_is_said_by_every_command_that_would_want_it(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["purge", "--before", "30d"]) == 0
    capsys.readouterr()
    assert main(["replay", "run-a"]) == 1
    assert "was purged" in (told := capsys.readouterr().err) and "Traceback" not in told
    assert main(["replay", "run-a", "--policy", "same.fence"]) == 1
    assert "purged" in capsys.readouterr().err
    assert main(["why", "run-a", "1"]) == 1
    assert "purged" in (told := capsys.readouterr().err) and "Traceback" not in told
    assert main(["show", "run-a"]) == 0
    shown = capsys.readouterr()
    assert "done" in shown.out and "what it said was purged" in shown.out
    assert main(["runs"]) == 0
    assert capsys.readouterr().out.count("done") == 4
    tested = data(capsys, "backtest", "--policy", "same.fence", code=1)
    assert [one["run"] for one in tested["not_decided"]] == ["run-a", "run-b"]
    assert all("purged" in one["because"] for one in tested["not_decided"])
    assert (tested["runs"], tested["decisions"], tested["changes"]) == (4, 6, [])


def test_an_export_after_a_purge_verifies(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["purge", "--before", "30d"]) == 0
    capsys.readouterr()
    head = intact(capsys, store.path)["head"]
    assert main(["export"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    link = bytes(32)
    heads: dict[str, str] = {}
    for line in lines:
        link = sha256(link + bytes.fromhex(line["hash"])).digest()
        assert line["prev"] == heads.get(line["run"], "0" * 64)
        assert (line["body"] is None) == (line["salt"] == "")
        heads[line["run"]] = line["hash"]
    assert f"{len(lines)}:{link.hex()}" == head
    assert [line["run"] for line in lines if line["kind"] == "BodiesPurged"] == ["run-a", "run-b"]


def test_purging_twice_changes_nothing(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    first = data(capsys, "purge", "--before", "30d")
    assert first["runs"] == ["run-a", "run-b"] and first["scrubbed"] is True
    head = intact(capsys, store.path)["head"]
    for date in ("30d", "36d", "20d"):
        again = data(capsys, "purge", "--before", date)
        assert (again["runs"], again["bodies"], again["tickets"], again["kept"]) == ([], 0, 0, [])
    assert intact(capsys, store.path)["head"] == head
    assert data(capsys, "purge", "--before", "0s")["runs"] == ["run-c", "run-d"]
    assert data(capsys, "purge", "--before", "0s")["runs"] == []
    assert store.purged() == set(AGES)


def test_a_dry_run_counts_all_and_changes_nothing(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    before = {name: store.read(name) for name in AGES}
    dry = data(capsys, "purge", "--before", "30d", "--dry-run")
    assert before == {name: store.read(name) for name in AGES}
    assert len(store.loop.submit(store.tickets.closed(set(AGES))).result()) == 4
    done = data(capsys, "purge", "--before", "30d")
    for name in ("runs", "bodies", "tickets", "remembered", "kept"):
        assert dry[name] == done[name]
    assert main(["purge", "--before", "0s", "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("would purge 2 runs: ")


def test_a_run_that_is_not_over_stays(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    store.write("run-e", 50, over=False)
    halted = recorded(Limits(denies=0).plan, "run-f", [1] * 5, at_ns=time.time_ns() - 60 * DAY_NS)
    assert halted.events[-1].event.kind == "RunHalted", "too many denials; its end was not recorded yet"
    store.loop.submit(store.events.append(halted.entries("run-f"))).result()
    assert main(["purge", "--before", "30d"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("purged 2 runs") and "kept 2 older runs that never ended" in said.err
    assert store.purged() == {"run-a", "run-b"}


def test_a_run_that_was_changed_stays_so_that_it_can_be_seen(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else whoever took a body out would only have to wait for the next purge."""
    with closing(sqlite3.connect(store.path)) as db, db:
        db.execute("UPDATE event SET body = NULL, salt = x'' WHERE run_id = 1 AND seq = 3")
    assert main(["purge", "--before", "30d"]) == 2
    said = capsys.readouterr()
    assert "kept, since it was changed: event run-a:3: its body was removed, and no purge says so" in said.out
    assert "purged 1 run:" in said.out
    assert not data(capsys, "verify", code=2)["intact"]
    kept = data(capsys, "purge", "--before", "30d", code=2)["kept"]
    assert [(one["run"], one["because"], one["event"]) for one in kept] == [("run-a", "changed", "run-a:3")]


@pytest.mark.parametrize("field", ["session", "agent", "user", "workspace", "policy", "status", "parent"])
def test_what_the_list_of_runs_says_of_a_purged_run_still_cannot_be_changed(
    store: Store, field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["purge", "--before", "30d"]) == 0
    with closing(sqlite3.connect(store.path)) as db, db:
        db.execute(f"UPDATE run SET {field} = 'failed' WHERE id = 1")
    capsys.readouterr()
    assert "list of runs" in data(capsys, "verify", code=2)["fault"]["because"]
    assert "list of runs" in data(capsys, "verify", "run-a", code=2)["fault"]["because"]


@pytest.mark.parametrize(
    ("date", "goes"),
    [
        ("45d", set[str]()), ("37d", {"run-a"}), ("5w", {"run-a", "run-b"}), ("600h", {"run-a", "run-b"}),
        ("0s", set(AGES)),
        ("2001-01-01", set[str]()), ("2001-01-01T05:00+02:00", set[str]()),
    ],
)  # fmt: skip
def test_dates_are_said_as_everywhere(store: Store, date: str, goes: set[str]) -> None:
    assert main(["purge", "--before", date]) == 0
    assert store.purged() == goes


@pytest.mark.parametrize("date", ["yesterday", "", "-1d", "2999-01-01", "1900-01-01", "99999w", "30"])
def test_a_date_that_is_none_or_not_past_removes_nothing(
    store: Store, date: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["purge", f"--before={date}"]) == 1
    assert "help:" in capsys.readouterr().err
    assert store.purged() == set()


def test_who_purged_is_said(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["purge", "--before", "38d", "--by", "x" * 201]) == 1
    assert store.purged() == set()
    assert data(capsys, "purge", "--before", "38d", "--by", "a\x1b\udce9")["by"] == "a\\u001b\\udce9"
    body = store.read("run-a")[-1].body
    assert body is not None and json.loads(body)["by"] == "a\\u001b\\udce9"
    assert main(["show", "run-a"]) == 0
    assert "\x1b" not in capsys.readouterr().out


# ---- the file ------------------------------------------------------------------------------------


def test_nothing_of_what_was_removed_is_left_in_the_file_or_its_write_ahead_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Short and long bodies, and tickets whose text grew: no page keeps it, not one given up."""
    store = Store(tmp_path / "ringfence.db")
    for number in range(40):
        long = NEEDLE * (1 + number**2)
        events: list[RunEvent] = [started(session=f"s{number}"), RunEnded("failed", long)]
        store.loop.submit(store.events.append(handwritten(f"r{number}", events))).result()
        asked = ticket(f"T-{number}", run=f"r{number}", arguments={"x": long})
        store.loop.submit(store.tickets.open(asked)).result()
        for status in ("approved", "used"):
            answered = replace(asked, status=status, answers=(("dana", "approve", NEEDLE * 20),))
            assert store.loop.submit(store.tickets.swap(asked, answered)).result()
            asked = answered
    files = [store.path, store.path.with_name("ringfence.db-wal")]
    assert all(NEEDLE.encode() in file.read_bytes() for file in files[1:])
    said = data(capsys, "purge", "--before", "0s", "--store", str(store.path))
    assert (len(said["runs"]), said["tickets"], said["scrubbed"]) == (40, 40, True)
    for file in files:
        assert NEEDLE.encode() not in file.read_bytes(), file
    assert files[1].stat().st_size == 0
    intact(capsys, store.path)
    store.write("run-later", 0)
    intact(capsys, store.path)
    store.close()


def test_who_reads_all_the_time_keeps_the_write_ahead_log_and_that_is_said(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ringfence.plugins.sqlite.connection._ATTEMPTS", 2)
    with closing(sqlite3.connect(store.path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM event").fetchone()
        said = data(capsys, "purge", "--before", "30d", code=1)
        assert said["runs"] == ["run-a", "run-b"] and said["scrubbed"] is False
        assert main(["purge", "--before", "30d"]) == 1
        assert "run the command again" in capsys.readouterr().err
    assert data(capsys, "purge", "--before", "30d")["scrubbed"] is True
    assert store.path.with_name("ringfence.db-wal").stat().st_size == 0
