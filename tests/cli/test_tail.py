"""`ringfence tail`: what other processes write, told as it comes; nothing here sleeps.

Where the command would wait, the test writes the next events instead, and at last presses Ctrl-C.
"""

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from argparse import Namespace
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from ringfence.__main__ import main
from ringfence.cli import following, telling
from ringfence.cli.commands import tail
from ringfence.cli.say import Say
from ringfence.cli.words import parser
from ringfence.engine.decision import events as e
from ringfence.engine.seams.ports import Entry
from ringfence.plugins.sqlite import SqliteStore
from ringfence.plugins.sqlite.log import SqliteLog
from tests.cli.conftest import decided, entries, reason, requested, started
from tests.cli.test_tampering import KINDS


async def _write(file: Path, batch: Sequence[Entry]) -> None:
    store = SqliteStore(f"sqlite:///{file}")
    await store.open()
    assert store.events is not None
    await store.events.append(batch)
    await store.close()


def write(file: Path, batch: Sequence[Entry]) -> None:
    """Write as another process would: with a store of its own, on a loop of its own."""
    thread = threading.Thread(target=lambda: asyncio.run(_write(file, batch)))
    thread.start()
    thread.join()


class Watched:
    """A command that follows a log; each of `steps` is done where it would wait."""

    def __init__(self, file: Path, *words: str) -> None:
        self.asked: Namespace = parser().parse_args(["tail", *words, "--store", str(file)])
        self.out, self.err = StringIO(), StringIO()
        self.waited: list[float] = []

    def follow(self, *steps: Callable[[], object]) -> "Watched":
        coming = list(steps)

        def wait(seconds: float) -> None:
            self.waited.append(seconds)
            if not coming:
                raise KeyboardInterrupt
            coming.pop(0)()

        say = Say(json=self.asked.json, out=self.out, err=self.err)
        with pytest.raises(KeyboardInterrupt):
            tail.run(self.asked, say, wait=wait)
        return self

    @property
    def lines(self) -> list[str]:
        """What was told, without the lines of the days."""
        text = self.out.getvalue()
        assert all(line.isprintable() for line in text.splitlines())
        return [line for line in text.splitlines() if line[2:3] == ":"]

    @property
    def steps(self) -> list[str]:
        return [line[11:].split("  ", 1)[1].split()[0] for line in self.lines]

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.getvalue().splitlines()]


@pytest.fixture
def whole(whole_run: list[e.RunEvent]) -> list[Entry]:
    return entries("run-0123456789abcdef", whole_run)


@pytest.fixture
def going() -> list[Entry]:
    return entries("run-ffff", [started(agent="helper"), *(requested(f"c{n}", "t", {}) for n in range(9))])


@pytest.fixture
def log(tmp_path: Path, whole: list[Entry]) -> Path:
    write(tmp_path / "r.db", whole[:3])
    return tmp_path / "r.db"


STEPS = [
    "begins", "prompt", "model", "allowed", "ran", "denied", "to", "asked", "approved", "allowed", "failed",
    "halted", "ended",
]  # fmt: skip


def test_one_line_a_step_whenever_it_was_written(log: Path, whole: list[Entry]) -> None:
    watched = Watched(log).follow(
        lambda: write(log, whole[3:5]), lambda: write(log, whole[5:13]), lambda: write(log, whole[13:])
    )
    assert watched.steps == STEPS
    said = "\n".join(watched.lines)
    assert "run-01234567  " in said and "run-012345678" not in said
    assert 'denied    send_email by send_email.allow  (body="hi", to="eve@evil.example")' in said
    assert 'ran       send_email in 2.5 ms -> "sent"' in said
    assert 'asked     lead, ticket T-AAAAAAAA: crm(field="note")' in said
    assert "approved  T-AAAAAAAA by dana after 1 ms: fine" in said
    assert "failed    crm raised after 1 ms: ValueError: no such account" in said
    assert set(watched.waited) == {following.INTERVAL_S}


@pytest.mark.parametrize("page", [1, 2, 7])
def test_the_page_changes_nothing(
    log: Path, whole: list[Entry], going: list[Entry], page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "PAGE", page)
    write(log, [*whole[3:9], *going[:4], *whole[9:], *going[4:]])
    assert Watched(log, "--from-start").follow().steps == [*STEPS[:6], "begins", *STEPS[6:]]


@pytest.mark.parametrize(("lines", "steps"), [("0", []), ("1", ["ended"]), ("4", STEPS[-4:]), ("99", STEPS)])
def test_it_begins_so_many_lines_before_the_end(
    log: Path, whole: list[Entry], lines: str, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "PAGE", 3)
    write(log, whole[3:])
    assert Watched(log, "-n", lines).follow().steps == steps


def test_a_call_that_began_before_is_looked_up(log: Path, whole: list[Entry]) -> None:
    write(log, whole[3:6])
    watched = Watched(log, "-n", "0").follow(lambda: write(log, whole[6:7]))
    assert "send_email in 2.5 ms" in watched.lines[0]


def test_filters_leave_out(log: Path, whole: list[Entry], going: list[Entry]) -> None:
    write(log, [*whole[3:9], *going, *whole[9:]])
    assert Watched(log, "--agent", "helper").follow().steps == ["begins"]
    assert Watched(log, "--run", "run-f").follow().steps == ["begins"]
    assert Watched(log, "--verdict", "deny").follow().steps == ["denied"]
    assert Watched(log, "--verdict", "deny", "--agent", "helper").follow().steps == []


def test_a_run_that_is_not_there_is_a_sentence(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tail", "--run", "run-x", "--store", str(log)]) == 1
    assert "there is no run `run-x`" in capsys.readouterr().err


def test_under_json_every_event_is_a_line_as_export_writes_it(
    log: Path, whole: list[Entry], capsys: pytest.CaptureFixture[str]
) -> None:
    watched = Watched(log, "--json", "-n", "2").follow(lambda: write(log, whole[3:]))
    assert [record["id"] for record in watched.records] == [entry.id for entry in whole[1:]]
    assert main(["export", "--store", str(log)]) == 0
    assert watched.out.getvalue().splitlines() == capsys.readouterr().out.splitlines()[1:]


def test_a_log_that_is_not_there_is_said_with_how_to_mend_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tail", "--store", str(tmp_path / "none.db")]) == 1
    said = capsys.readouterr().err
    assert "there is no log at" in said and "run an agent first" in said


def test_a_log_that_is_away_for_a_while_is_waited_for_and_nothing_is_lost(
    log: Path, whole: list[Entry]
) -> None:
    away = log.with_name("away.db")
    watched = Watched(log, "-n", "0").follow(
        lambda: log.rename(away),
        lambda: write(away, whole[3:9]),
        lambda: None,
        lambda: away.rename(log),
    )
    assert watched.steps == ["allowed", "ran", "denied"]
    assert watched.err.getvalue().count("cannot be read now, and is waited for") == 1
    assert watched.err.getvalue().count("the log is there again") == 1
    assert following.AWAY_S in watched.waited


def test_a_store_that_fails_in_the_middle_of_a_page_doubles_and_loses_nothing(
    log: Path, whole: list[Entry], going: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, failures = SqliteLog.read, [1, 0, 1]

    async def failing(self: SqliteLog, run: str, **asked: Any) -> list[Entry]:
        if failures and failures.pop():
            raise OSError("the disk is gone")
        return await read(self, run, **asked)

    write(log, [*whole[3:], *going])
    monkeypatch.setattr(SqliteLog, "read", failing)
    watched = Watched(log, "--from-start").follow(lambda: None, lambda: None)
    assert watched.steps == [*STEPS, "begins"] and not failures


def test_a_log_that_was_replaced_is_told_from_its_beginning(
    log: Path, tmp_path: Path, whole: list[Entry], going: list[Entry]
) -> None:
    other = tmp_path / "other.db"
    write(other, [*going[:2], *whole])
    watched = Watched(log, "-n", "0").follow(lambda: os.replace(other, log), lambda: None)
    assert watched.steps == ["begins", *STEPS]
    assert "was replaced" in watched.err.getvalue()


def test_a_log_that_lost_its_end_is_told_anew_and_no_more_than_its_last_events(
    log: Path, whole: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "REPLACED", 2)
    older = log.with_name("older.db")
    write(log, whole[3:9])
    shutil.copy(log, older)
    write(log, whole[9:])
    watched = Watched(log, "-n", "0").follow(lambda: os.replace(older, log), lambda: None)
    assert watched.steps == ["denied"]


def test_events_that_nobody_can_read_are_lines_and_end_nothing(log: Path, whole: list[Entry]) -> None:
    write(log, whole[3:])
    with sqlite3.connect(log) as db:
        db.execute("UPDATE event SET body = NULL, salt = x'' WHERE seq = 2")
        db.execute("UPDATE event SET schema = 99, kind = 'Dreamt' WHERE seq = 3")
        db.execute("UPDATE event SET body = x'ff00' WHERE seq = 5")
        db.execute("UPDATE event SET body = '{\"reasons\": 7}' WHERE seq = 9")
        db.execute("UPDATE event SET at_ns = 'never' WHERE seq = 18")
        db.execute("DELETE FROM event WHERE seq = 16")
    db.close()
    watched = Watched(log, "--from-start").follow()
    said = watched.out.getvalue()
    assert "PromptGiven, its body was purged" in said
    assert "Dreamt, as a newer version writes it" in said
    assert said.count("cannot be read: see `ringfence verify`") == 3
    assert "halted" in said


def test_over_days_no_more_is_held_than_the_latest_calls(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "_KEPT", 20)
    teller = telling.Teller()
    for number in range(500):
        run = entries(
            f"run-{number}", [started(), requested("k", "t", {}), e.ApprovalAsked("k", "T-1", "lead", None)]
        )
        for entry in run:
            teller.learn(entry)
            teller.lines(None, [entry])  # type: ignore[arg-type]
    assert len(teller._calls) == len(teller._asked) == 20


def test_every_kind_of_event_has_its_line_or_is_no_step(log: Path) -> None:
    run = [*KINDS, e.BodiesPurged(len(KINDS), 1, "dana", "sha256:0")]
    write(log, entries("run-kinds", run))
    lines = Watched(log, "--run", "run-kinds", "--from-start").follow().lines
    assert {event.kind for event in run} == set(e.KINDS) and set(e.KINDS) > telling.QUIET
    assert len(lines) == sum(event.kind not in telling.QUIET for event in run)
    assert not any("cannot be read" in line or line[25] == " " for line in lines), lines


def test_a_line_before_each_new_day_says_which(log: Path) -> None:
    assert Watched(log).follow().out.getvalue().splitlines()[0] == "2026-11-18"


def test_ctrl_c_ends_it_as_it_ends_every_command(
    log: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(following, "sleep", stop)
    assert main(["tail", "--store", str(log)]) == 130
    said = capsys.readouterr()
    assert "begins" in said.out and said.err == "ringfence: stopped\n"


def test_a_reader_that_goes_away_ends_it_without_a_word(log: Path) -> None:
    """Though nothing more is ever written: the command sees that the pipe has no other end."""
    with subprocess.Popen(
        [sys.executable, "-m", "ringfence", "tail", "--store", str(log)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        try:
            assert process.stdout.readline() != b""
            process.stdout.close()
            assert process.wait(timeout=60) == 1
            assert process.stderr.read() == b""
        finally:
            process.kill()


def test_a_refusal_by_a_rule_says_the_authors_words(log: Path) -> None:
    said: list[e.RunEvent] = [
        started(),
        requested("k", "pay", {"x": 5}),
        decided("k", "deny", reason("large", "deny", because="no")),
    ]
    write(log, entries("run-2", said))
    assert "denied    pay by large: no  (x=5)" in Watched(log).follow().lines[-1]
