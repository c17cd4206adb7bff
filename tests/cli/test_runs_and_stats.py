"""`ringfence runs` with its filters and `ringfence stats`, over a real SQLite log; and the same in Python."""

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from ringfence.__main__ import main
from ringfence.cli.counted import tell
from ringfence.cli.say import Say
from ringfence.engine.decision import events as e
from ringfence.engine.retrospect.survey import gathered, search
from ringfence.engine.retrospect.survey.gathered import Unread
from ringfence.engine.seams.ports import Entry
from ringfence.plugins.sqlite import SqliteStore
from tests.cli.conftest import decided, entries, reason, requested, started
from tests.cli.test_say import Terminal
from tests.engine.retrospect.survey.test_stats import Log, stamped
from tests.guards import ALICE, call, make_guard


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole_run: list[e.RunEvent]) -> Path:
    monkeypatch.chdir(tmp_path)
    helper: list[e.RunEvent] = [
        started(agent="helper", session="s2", principal={"user": "bob", "workspace": "w"}),
        requested("aa.0", "crm", {}),
        decided("aa.0", "deny", reason("crm.ask", "deny", because="not today")),
    ]

    append(tmp_path / "ringfence.db", entries("R-WHOLE", whole_run), entries("R-HELPER", helper))
    return tmp_path / "ringfence.db"


def append(file: Path, *runs: list[Entry]) -> None:
    async def write() -> None:
        store = SqliteStore(f"sqlite:///{file}")
        await store.open()
        assert store.events is not None
        for run in runs:
            await store.events.append(run)
        await store.close()

    asyncio.run(write())


def data(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main([*words, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("words", "runs"),
    [
        ([], ["R-HELPER", "R-WHOLE"]),
        (["--user", "bob"], ["R-HELPER"]),
        (["--workspace", "w"], ["R-HELPER"]),
        (["--status", "halted"], ["R-WHOLE"]),
        (["--status", "running", "--agent", "main"], []),
        (["--until", "2026-11-01"], []),
        (["--since", "2026-11-01", "--until", "2027-01-01", "--session", "s1"], ["R-WHOLE"]),
        (["--tool", "crm"], ["R-HELPER", "R-WHOLE"]),
        (["--tool", "crm", "--limit", "1"], ["R-HELPER"]),
        (["--tool", "crm", "--verdict", "deny"], ["R-HELPER"]),
        (["--tool", "crm", "--verdict", "deny", "--rule", "send_email.allow"], []),
        (["--rule", "send_email.allow", "--verdict", "deny"], ["R-WHOLE"]),
        (["--verdict", "ask", "--agent", "helper"], []),
    ],
)
def test_runs_are_found_by_everything_that_is_said(
    log: Path, words: list[str], runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert [row["run"] for row in data(capsys, "runs", *words)] == runs


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["runs", "--verdict", "maybe"], "invalid choice"),
        (["runs", "--status", "odd"], "invalid choice"),
        (["runs", "--limit", "-1"], "negative"),
        (["stats", "--since", "soon"], "no time"),
    ],
)
def test_a_word_that_means_nothing_is_refused(
    log: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("words", [["runs", "--verdict", "deny"], ["stats"]])
@pytest.mark.parametrize(
    ("change", "because"), [("body = NULL, salt = x''", "purged"), ("schema = 99", "newer version")]
)
def test_a_run_that_cannot_be_read_is_counted_in_a_note(
    log: Path, words: list[str], change: str, because: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(log) as db:
        db.execute(f"UPDATE event SET {change} WHERE kind = 'CallDecided' AND run_id = 1")
    db.close()
    assert main(words) == 0
    said = capsys.readouterr()
    assert "1 run could not be read" in said.err and because in said.err
    assert "R-HELPER" in said.out or words == ["stats"]
    assert "R-WHOLE" not in said.out


@pytest.mark.parametrize("page", [1, 3, 1_000])
def test_runs_that_are_read_ahead_come_once_and_in_order(
    log: Path, page: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Though all of them began at one moment, and some have more events than are read at once."""
    monkeypatch.setattr(search, "PAGE", page)
    monkeypatch.setattr(gathered, "PAGE", 4)
    made: list[list[Entry]] = []
    for number in range(40):
        calls = [requested(f"k{n}", f"t{number % 3}", {}) for n in range(number % 11)]
        made.append(entries(f"R-{number}", [started(), *calls]))
    append(log, *made)
    rows = [row["run"] for row in data(capsys, "runs", "--limit", "0")]
    assert len(rows) == 42
    wanted = [run for run in rows if run[2:].isdecimal() and int(run[2:]) % 3 == 1 and int(run[2:]) % 11]
    assert [row["run"] for row in data(capsys, "runs", "--tool", "t1", "--limit", "0")] == wanted
    assert [row["run"] for row in data(capsys, "runs", "--tool", "t1", "--limit", "5")] == wanted[:5]
    found = data(capsys, "stats")
    assert (found["runs"], found["runs_unread"]) == (42, 0)
    assert found["calls"] == 4 + sum(number % 11 for number in range(40))


def test_stats_tell_what_happened(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats"]) == 0
    text = capsys.readouterr().out
    assert all(line.isprintable() for line in text.splitlines())
    lines = [" ".join(line.split()) for line in text.splitlines()]
    for line in (
        "2 runs: 1 halted, 1 running, 21 events",
        "4 calls: 2 allow, 2 deny",
        "TOOL CALLS ALLOW DENY FAILED",
        "crm 2 1 1 1",
        "send_email 2 1 1 -",
        "1 crm.ask at support.fence:5:3: not today",
        "lead 1 1 1 ms 1 ms 1 ms",
        "send_email 1 2.5 ms 2.5 ms 2.5 ms",
        "(not said) 1 12 3 7 ms 7 ms 7 ms",
        "main.stop 1",
        "ERRORS RAISED",
    ):
        assert line in lines, text


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_tables_fit_the_terminal(
    tmp_path: Path, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The names give way, never the numbers."""
    calls = [requested(f"k{number}", f"tool_{number}_" + "x" * 200, {}) for number in range(30)]
    facts = Log({"r1": stamped(started(), *calls)}).stats()
    out = Terminal()
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    tell(facts, Say(json=False, out=out))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= columns
    assert "and 10 more: --json has all" in lines
    assert all(line.endswith("1") for line in lines if line.startswith("tool_"))


def test_stats_under_json_are_those_of_python(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = data(capsys, "stats", "--agent", "main")
    assert (found["runs"], found["calls"], found["verdicts"]) == (1, 3, {"allow": 2, "deny": 1})
    assert found["denials"] == [
        {"rule": {"name": "send_email.allow", "place": "support.fence:5:3", "because": None}, "calls": 1}
    ]
    assert found["approvals"]["waited"]["median_ns"] == 1_000_000
    assert found["models"][0]["input_tokens"] == 12
    assert data(capsys, "stats", "--until", "2020-01-01")["runs"] == 0


async def test_a_guard_finds_and_counts_its_runs(tmp_path: Path) -> None:
    guard = make_guard(store=f"sqlite:///{tmp_path}/r.db")
    run = guard.begin_run(principal=ALICE, agent="main", session="s")
    guard.execute(run, call("look", what="x"), lambda arguments: "seen")
    guard.end_run(run)
    unread: list[Unread] = []
    assert [row.run for row in guard.runs.list(tool="look", verdict="allow", unread=unread.append)] == [
        run.id
    ]
    assert guard.runs.list(tool="look", verdict="deny") == guard.runs.list(user="nobody") == unread == []
    assert guard.runs.list(until_ns=1) == []
    assert [row.run for row in await guard.runs.alist(tool="look", limit=1)] == [run.id]
    found = guard.runs.stats(agent="main")
    assert (found.calls, found.tools[0].tool, found.tools[0].finished) == (1, "look", 1)
    assert await guard.runs.astats(agent="main") == found
    guard.close()
