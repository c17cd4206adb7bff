"""`ringfence purge` over real logs: what goes and what stays, what is said, and what can be proved after."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from ringfence.__main__ import main
from ringfence.engine.decision.events import BodiesPurged, RunEnded, RunEvent
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.retrospect.record import RecordError
from ringfence.engine.retrospect.retention import Due, due
from ringfence.engine.seams.errors import DeniedError, EngineError
from ringfence.engine.seams.loop import EngineLoop
from ringfence.engine.seams.ports import Entry
from ringfence.plugins.sqlite import SqliteStore
from ringfence.plugins.sqlite.log import SqliteLog
from ringfence.testing import FakeClock
from ringfence.testing.stores import ticket
from tests.attending import attending
from tests.backtests import Limits, recorded
from tests.cli.conftest import entries as handwritten
from tests.cli.conftest import started
from tests.cli.test_tampering import alone
from tests.docs.pages import ROOT
from tests.guards import ALICE, call, make_guard
from tests.shared import SHARED, shared_settings

DAY_NS = 86_400_000_000_000
WITH_SOURCES = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
NEEDLE = "needle-in-the-haystack"
AGES = {"run-a": 40, "run-b": 35, "run-c": 10, "run-d": 0}
"""Runs, each of a session of its own, and how many days ago they were."""


def written(
    log: SqliteLog, loop: EngineLoop, name: str, days: float, *, over: bool = True, session: str = ""
) -> None:
    made = recorded(
        Limits().plan, session or name, [1, 50, 95], at_ns=time.time_ns() - int(days * DAY_NS) - 10**9
    )
    if over:
        made.record(RunEnded("done", None))
    loop.submit(log.append(made.entries(name))).result()


class Store:
    """A log on the disk, and what stands in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.loop = EngineLoop()
        self.sqlite = SqliteStore(f"sqlite:///{path}")
        self.loop.submit(self.sqlite.open()).result()
        assert self.sqlite.events is not None and self.sqlite.tickets is not None
        self.events, self.tickets = self.sqlite.events, self.sqlite.tickets

    def write(self, name: str, days: float, *, over: bool = True, session: str = "") -> None:
        written(self.events, self.loop, name, days, over=over, session=session)

    def read(self, name: str) -> list[Entry]:
        return self.loop.submit(self.events.read(name)).result()

    def purged(self) -> set[str]:
        rows = self.loop.submit(self.events.runs()).result()
        found = {row.run: self.read(row.run) for row in rows}
        for run, of_run in found.items():
            bodies = {entry.body is None for entry in of_run[:-1]}
            assert len(bodies) == 1, f"{run} is neither whole nor purged"
            assert bodies == {of_run[-1].kind == BodiesPurged.kind}
        return {run for run, of_run in found.items() if of_run[-1].kind == BodiesPurged.kind}

    def close(self) -> None:
        self.loop.submit(self.sqlite.close()).result()
        self.loop.close()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A log that a guard has open: runs of several ages, and tickets."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "same.fence").write_text(Limits().text)
    made = Store(tmp_path / "ringfence.db")
    for name, days in AGES.items():
        made.write(name, days)
        made.loop.submit(
            made.tickets.open(ticket(f"T-{name}", run=name, status="used", arguments={"x": NEEDLE}))
        ).result()
    yield made
    made.close()


def data(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    found = main([*words, "--json"])
    said = capsys.readouterr()
    assert found == code, said.err
    return json.loads(said.out)


def intact(capsys: pytest.CaptureFixture[str], path: Path) -> Any:
    """Return what `verify` says of a log that must be intact; the verifier of the documentation agrees."""
    said = data(capsys, "verify", "--store", str(path))
    assert said["intact"] and alone(path, said["head"]) == (said["head"], None)
    return said


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
        assert gone == [replace(entry, body=None, salt=b"") for entry in before[name]]
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


# ---- interruptions, other processes ----------------------------------------------------------------


@pytest.mark.parametrize("after", range(5))
def test_an_interruption_leaves_each_run_whole_or_purged(
    store: Store, after: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ringfence.cli.purging._RUNS_AT_ONCE", 1)
    done: list[str] = []
    purge = SqliteLog.purge

    async def stopped(self: SqliteLog, entry: Entry, *, upto: int) -> int:
        if len(done) == after:
            raise EngineError("the power is gone")
        done.append(entry.run)
        return await purge(self, entry, upto=upto)

    monkeypatch.setattr(SqliteLog, "purge", stopped)
    assert main(["purge", "--before", "0s"]) == (1 if after < 4 else 0)
    assert store.purged() == set(done)
    capsys.readouterr()
    intact(capsys, store.path)
    monkeypatch.setattr(SqliteLog, "purge", purge)
    assert main(["purge", "--before", "0s"]) == 0
    assert store.purged() == set(AGES)
    assert store.loop.submit(store.tickets.closed(set(AGES))).result() == {}


def test_a_purge_that_is_killed_leaves_each_run_whole_or_purged(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(120):
        store.write(f"run-{number}", 50)
    script = (
        "import sys\n"
        "from ringfence.__main__ import main\n"
        "from ringfence.plugins.sqlite.log import SqliteLog\n"
        "purge = SqliteLog.purge\n"
        "async def told(self, entry, *, upto):\n"
        "    done = await purge(self, entry, upto=upto)\n"
        "    print(entry.run, flush=True)\n"
        "    return done\n"
        "SqliteLog.purge = told\n"
        "sys.exit(main(['purge', '--before', '30d']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=WITH_SOURCES
    ) as other:
        assert other.stdout is not None
        for _ in range(20):
            assert other.stdout.readline().startswith("run-")
        other.kill()
        other.wait(60)
    found = store.purged()
    assert len(found) >= 20
    intact(capsys, store.path)
    assert main(["purge", "--before", "30d"]) == 0
    assert store.purged() == {"run-a", "run-b", *(f"run-{number}" for number in range(120))}
    capsys.readouterr()
    intact(capsys, store.path)


WORKING = """
import sys
from tests.guards import ALICE, call, make_guard
from tests.shared import SHARED, shared_settings
guard = make_guard(store="sqlite:///" + sys.argv[1])
print("ready", flush=True)
done = 0
while True:
    run = guard.begin_run(agent="main", principal=ALICE, session=f"s{done % 3}")
    for number in range(3):
        assert guard.execute(run, call("look", f"c{number}", what="x"), lambda arguments: "seen") == "seen"
    guard.end_run(run)
    done += 1
    if done == 20:
        print("busy", flush=True)
        if sys.stdin.readline() == "":
            break
        print("going on", flush=True)
    if done > 20 and done % 10 == 0:
        print(done, flush=True)
        if sys.stdin.readline().strip() == "end":
            break
guard.close()
print("closed", done, flush=True)
"""


def test_a_guard_that_is_at_work_in_another_process_is_not_disturbed(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", WORKING, str(store.path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=WITH_SOURCES,
    ) as other:  # fmt: skip
        assert other.stdin is not None and other.stdout is not None
        assert other.stdout.readline() == "ready\n" and other.stdout.readline() == "busy\n"
        other.stdin.write("go\n")
        other.stdin.flush()
        assert main(["purge", "--before", "30d"]) == 0, "while it goes on"
        assert other.stdout.readline() == "going on\n"
        for word in ("go", "go"):
            assert int(other.stdout.readline()) > 20
            assert main(["purge", "--before", "0s", "--remembered"]) == 0, (
                "its own runs that are over as well"
            )
            other.stdin.write(f"{word}\n")
            other.stdin.flush()
        other.stdout.readline()
        other.stdin.write("end\n")
        other.stdin.flush()
        assert other.stdout.readline().startswith("closed")
        assert other.wait(60) == 0
    capsys.readouterr()
    said = intact(capsys, store.path)
    assert said["purged"] > 100
    rows = store.loop.submit(store.events.runs()).result()
    assert {row.status for row in rows} == {"done"}


def test_a_session_that_goes_on_while_it_is_purged_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def looked_at(*given: Any, **named: Any) -> Due:
        found = due(*given, **named)
        store.write("run-new", 0, over=False, session="run-a")
        return found

    monkeypatch.setattr("ringfence.cli.purging.due", looked_at)
    said = data(capsys, "purge", "--before", "30d")
    assert said["runs"] == ["run-b"] and said["tickets"] == 1
    assert said["kept"] == [{"run": "run-a", "because": "written meanwhile"}]
    assert store.purged() == {"run-b"}


@pytest.fixture(params=SHARED)
def shared(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command and a process with a live run share."""
    monkeypatch.chdir(tmp_path)
    said = shared_settings(request, tmp_path)
    (tmp_path / "ringfence.toml").write_text("".join(f"{name} = {value!r}\n" for name, value in said.items()))
    return said


def test_a_live_run_on_any_store_is_neither_purged_nor_disturbed(
    shared: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    guard = make_guard(clock=FakeClock(), **shared)
    over: list[str] = []
    for session in ("s1", "s2"):
        run = guard.begin_run(agent="main", principal=ALICE, session=session)
        assert guard.execute(run, call("look", "c1", what="x"), lambda _: NEEDLE) == NEEDLE
        guard.end_run(run)
        over.append(run.id)
    with attending(shared, "flying") as other:
        said = data(capsys, "purge", "--before", "0s", "--remembered")
        assert sorted(said["runs"]) == sorted(over) and said["scrubbed"] is True
        assert [(one["run"], one["because"]) for one in said["kept"]] == [(other.run, "not over")]
        assert data(capsys, "kill", other.run, "--within", "1m")["acknowledged"]
        other.end()
    run = guard.begin_run(agent="main", principal=ALICE, session="s1")
    assert guard.execute(run, call("look", "c1", what="x"), lambda _: "again") == "again"
    guard.end_run(run)
    assert all(NEEDLE.encode() not in (entry.body or b"") for one in over for entry in _entries(guard, one))
    guard.close()
    found = data(capsys, "verify")
    assert found["intact"] and found["purged"] == said["bodies"] > 0


def _entries(guard: Guard, run: str) -> list[Entry]:
    return guard.opening.loop.submit(guard.opening.ready.log.read(run)).result()


# ---- sessions that remember ------------------------------------------------------------------------

DESK = """
language 1
policy desk
levels public < secret
capability read_data is read
capability send is external
agent main { holds read_data, send stop after 50 minutes }
tool query {
  needs read_data
  takes table: text
  allow always
  result is secret when table == "payments"
  result is public otherwise
}
tool post { needs send takes body: text allow always }
rule leave: deny post when after reading secret
"""


class Desk:
    """A guard whose policy asks for what its sessions remember, on a clock that is turned by hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = FakeClock()
        self.guard: Guard = make_guard(DESK, store=f"sqlite:///{path}", clock=self.clock)

    def turn(self, session: str, tool: str, *, days: float = 1) -> str:
        """Have one run of a session call a tool, and say what came of it."""
        run: Run = self.guard.begin_run(agent="main", principal=ALICE, session=session)
        arguments = {"table": "orders"} if tool == "query" else {"body": "x"}
        try:
            self.guard.execute(run, call(tool, "c1", **arguments), lambda _: "done")
            said = "done"
        except DeniedError as denied:
            assert denied.reason is not None
            said = f"denied by {denied.reason.name}"
        self.guard.end_run(run)
        self.clock.advance(days * 86_400)
        return said


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.chdir(tmp_path)
    made = Desk(tmp_path / "ringfence.db")
    yield made
    made.guard.close()


def test_a_session_that_went_on_keeps_what_it_remembers(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    """The clock begins on 2023-11-14: three turns of one session, one of another, a day between them."""
    assert desk.turn("s1", "query", days=0) == desk.turn("s2", "query") == "done"
    assert desk.turn("s1", "query") == desk.turn("s1", "post") == "done"
    desk.guard.runs.list()
    assert main(["purge", "--before", "2023-11-16"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("purged 1 run: ")
    assert "kept 2 older runs: runs that are newer, or not over, may remember them" in said.err
    assert "--remembered" in said.err
    assert desk.turn("s1", "post") == "done", "it has all that it remembers"
    rows = desk.guard.runs.list(session="s1")
    assert all(desk.guard.runs.get(row.run).replay().identical for row in rows)
    intact(capsys, desk.path)


def test_who_wants_it_purges_what_is_remembered_too_and_what_follows_is_said(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        assert desk.turn("s1", "query") == "done"
    assert desk.turn("s1", "post") == "done"
    newest = desk.guard.runs.list(limit=1)[0].run
    assert main(["purge", "--before", "2023-11-16", "--remembered"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("purged 2 runs: ")
    assert "2 runs of them may be remembered" in said.err and "undecided" in said.err
    intact(capsys, desk.path)
    with pytest.raises(RecordError, match="was purged"):
        desk.guard.runs.get(newest).replay()
    assert main(["replay", newest]) == 1
    assert "Traceback" not in capsys.readouterr().err
    desk.guard.close()
    desk.guard = make_guard(DESK, store=f"sqlite:///{desk.path}", clock=desk.clock)
    assert desk.turn("s1", "post") == "denied by leave!error"
    assert desk.turn("s9", "post") == "done", "a session of its own is none of that"


def test_a_purged_run_that_was_halted_is_not_ended_again(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    run = desk.guard.begin_run(agent="main", principal=ALICE, session="s1")
    desk.guard.kill(run.id, by="dana", within_s=10)
    desk.guard.end_run(run)
    assert desk.guard.runs.list()[0].status == "halted"
    assert main(["purge", "--before", "2023-12-01"]) == 0
    capsys.readouterr()
    intact(capsys, desk.path)
    desk.guard.close()
    desk.guard = make_guard(DESK, store=f"sqlite:///{desk.path}", clock=desk.clock)
    assert desk.turn("s2", "query") == "done"
    store = Store(desk.path)
    kinds = [entry.kind for entry in store.read(run.id)]
    store.close()
    assert kinds.count("RunEnded") == 1 and kinds[-1] == "BodiesPurged"
