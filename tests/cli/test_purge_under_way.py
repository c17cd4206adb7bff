"""`ringfence purge` that is interrupted or killed, and beside processes that are at work in the same log."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ringfence.__main__ import main
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.retrospect.retention import Due, due
from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.ports import Entry
from ringfence.plugins.sqlite.log import SqliteLog
from ringfence.testing import FakeClock
from tests.attending import attending
from tests.cli.purges import AGES, NEEDLE, Store, data, intact, stored
from tests.docs.pages import ROOT
from tests.guards import ALICE, call, make_guard
from tests.shared import SHARED, shared_settings

WITH_SOURCES = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.chdir(tmp_path)
    with stored(tmp_path) as made:
        yield made


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
