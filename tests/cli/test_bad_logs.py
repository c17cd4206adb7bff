"""Logs that are cut off, of a newer version, or without the run asked for: a word on mending, always."""

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.__main__ import main
from ringfence.dsl.canonical import canonical
from ringfence.engine.decision import events as e
from ringfence.engine.journal.chain import ZERO, chained
from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.ports import Entry
from ringfence.plugins.sqlite import SqliteStore
from tests.cli.conftest import START_NS, decided, reason, requested, started
from tests.guards import ALICE, BLOG, call, make_guard

OF_A_RUN = (
    *(["show", "RUN"], ["why", "RUN", "1"], ["replay", "RUN"], ["replay", "RUN", "--policy", str(BLOG)]),
    *(["replay", "RUN", "--isolates"], ["verify", "RUN"], ["export", "--run", "RUN"], ["kill", "RUN"]),
)
OF_A_LOG = (["runs"], ["verify"], ["export"], ["backtest", "--policy", str(BLOG)], ["approvals"])
READING = (*OF_A_LOG, *OF_A_RUN[:-1])


def said(
    capsys: pytest.CaptureFixture[str], path: Path, words: list[str], run: str = "last"
) -> tuple[int, str]:
    """Run a command; return its code and all that it said, which is no traceback."""
    code = main([run if word == "RUN" else word for word in words] + ["--store", str(path)])
    shown = capsys.readouterr()
    text = shown.out + shown.err
    assert "Traceback" not in text and "RINGFENCE_DEBUG" not in text, text
    return code, text


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a few runs in it, closed in order: all of it is in one file."""
    path = tmp_path_factory.mktemp("written") / "ringfence.db"
    guard = make_guard(store=f"sqlite:///{path}")
    for _ in range(20):
        with guard.run(principal=ALICE, agent="main") as run:
            for step in range(4):
                guard.execute(run, call("look", f"c{step}", what="x" * 300), lambda _: "done")
    guard.close()
    return path


def cut(path: Path, folder: Path, length: int) -> Path:
    """Return a file of the first so many bytes of another, alone in a folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    made = folder / "ringfence.db"
    made.write_bytes(path.read_bytes()[:length])
    return made


# ---- cut off -------------------------------------------------------------------------------------

PAGE = 4096


@pytest.mark.parametrize("words", READING, ids=" ".join)
@pytest.mark.parametrize("length", [0, 1, 15, 16, 99, 100, PAGE - 1, PAGE, PAGE + 1, 5 * PAGE, -PAGE])
def test_every_command_that_reads_says_of_a_file_that_was_cut_off_what_to_do(
    written: Path, tmp_path: Path, length: int, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    size = written.stat().st_size
    made = cut(written, tmp_path / "cut", length % size)
    before = made.read_bytes()
    code, text = said(capsys, made, words)
    assert code == 1, text
    assert "bring back the last backup" in text or "name another" in text, text
    assert made.read_bytes() == before, "who only reads changes nothing"


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_file_that_was_cut_off_anywhere_never_verifies(
    written: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    size = written.stat().st_size
    length = data.draw(st.integers(0, size - 1) | st.integers(size - 300, size - 1))
    made = cut(written, tmp_path_factory.getbasetemp() / "cut-anywhere", length)
    assert main(["verify", "--json", "--store", str(made)]) in (1, 2), f"of {size} bytes {length} are there"


class Running:
    """A log that a process has open: what was committed last stands beside the file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ringfence.db"
        self.guard = make_guard(store=f"sqlite:///{self.path}")
        for _ in range(8):
            with self.guard.run(principal=ALICE, agent="main") as run:
                self.guard.execute(run, call("look", what="x" * 300), lambda _: "done")
        self.guard.opening.ready.journal.flush().result(30)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    made = Running(tmp_path_factory.mktemp("running"))
    yield made
    made.guard.close()


@pytest.mark.parametrize("part", [0.0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0])
def test_a_write_ahead_log_that_was_cut_off_loses_only_the_end_and_a_noted_head_tells(
    running: Running, tmp_path: Path, part: float, capsys: pytest.CaptureFixture[str]
) -> None:
    noted = noted_head(running.path)
    made = cut(running.path, tmp_path / "cut", running.path.stat().st_size)
    beside = running.path.with_name("ringfence.db-wal").read_bytes()
    made.with_name("ringfence.db-wal").write_bytes(beside[: int(len(beside) * part)])
    code, text = said(capsys, made, ["verify"])
    assert code == (0 if "intact" in text else 1), text
    whole = code == 0 and f"head {noted}" in text
    code, text = said(capsys, made, ["verify", "--head", noted])
    assert (code == 0) is whole, "what is missing shows against a head that was noted"
    assert whole or part < 1


def noted_head(path: Path) -> str:
    """Return the head of a log, read by SQL alone."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
        position, link = db.execute(
            "SELECT position, link FROM event ORDER BY position DESC LIMIT 1"
        ).fetchone()
    return f"{position}:{link.hex()}"


# ---- a newer version -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [*READING, ["kill", "RUN"], ["approve", "T-1", "--by", "dana"]], ids=" ".join
)
def test_a_file_of_a_newer_version_is_left_as_it_is(
    written: Path, tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    made = cut(written, tmp_path / "newer", written.stat().st_size)
    with closing(sqlite3.connect(made)) as db, db:
        db.execute("INSERT INTO ringfence_schema VALUES (99)")
    before = made.read_bytes()
    code, text = said(capsys, made, words)
    assert code == 1 and "has schema 99" in text and "upgrade Ringfence" in text
    assert made.read_bytes() == before


def newer(run: str, events: list[e.RunEvent]) -> list[Entry]:
    """Return the entries of a run as a later version may write it: a field more, and a kind more."""
    said = [(event.kind, {**e.body_of(event), "a_new_field": 1}) for event in events]
    made: list[Entry] = []
    for seq, (kind, body) in enumerate([*said, ("ANewKind", {"x": 1})], start=1):
        prev = made[-1].hash if made else ZERO
        made.append(
            chained(
                prev, run=run, seq=seq, kind=kind, schema=e.SCHEMA + 1, at_ns=START_NS + seq,
                mono_ns=seq, salt=b"s" * 16, body=canonical(body),
            )
        )  # fmt: skip
    return made


@pytest.fixture
def mixed(written: Path, tmp_path: Path) -> Path:
    """A log to which a later version has added a run."""
    path = cut(written, tmp_path / "mixed", written.stat().st_size)
    events: list[e.RunEvent] = [
        started(session="s9"),
        requested("aa.0", "send_email", {"to": "a@b.example"}),
        decided("aa.0", "allow", reason("t.allow", "allow")),
    ]

    async def add() -> None:
        store = SqliteStore(f"sqlite:///{path}")
        await store.open()
        assert store.events is not None
        await store.events.append(newer("R-NEWER", events))
        await store.close()

    asyncio.run(add())
    return path


@pytest.mark.parametrize("words", [["show", "RUN"], ["why", "RUN", "1"], ["replay", "RUN"]], ids=" ".join)
def test_a_run_of_a_newer_version_is_not_told_but_named(
    mixed: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = said(capsys, mixed, words, "R-NEWER")
    assert code == 1
    assert "was written by a newer version (schema 2, this reads 1): read it with that version" in text


def test_what_needs_no_reading_of_bodies_is_done_with_events_of_a_newer_version_too(
    mixed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = said(capsys, mixed, ["runs", "--limit", "0"])
    assert code == 0 and "R-NEWER" in text
    for words in (["verify"], ["verify", "RUN"]):
        code, text = said(capsys, mixed, words, "R-NEWER")
        assert code == 0 and "intact" in text
    code, text = said(capsys, mixed, ["export", "--run", "RUN"], "R-NEWER")
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert code == 0 and [line["schema"] for line in lines] == [2] * 4
    assert lines[-1]["kind"] == "ANewKind" and lines[0]["body"]["a_new_field"] == 1
    code, text = said(capsys, mixed, ["backtest", "--policy", str(BLOG)])
    assert code == 2 and "R-NEWER: cannot be decided again" in text


def test_a_guard_goes_on_with_no_run_of_a_newer_version_and_begins_its_own(mixed: Path) -> None:
    guard = make_guard(store=f"sqlite:///{mixed}")
    with pytest.raises(EngineError, match=r"was written by a newer version"):
        guard.resume_run("R-NEWER")
    with guard.run(principal=ALICE, agent="main") as run:
        assert guard.execute(run, call("look", what="x"), lambda _: "ran") == "ran"
    guard.close()


# ---- a run that is not there ---------------------------------------------------------------------


@pytest.mark.parametrize("as_json", [[], ["--json"]])
@pytest.mark.parametrize("words", OF_A_RUN, ids=" ".join)
def test_a_run_that_does_not_exist_is_named_with_those_that_do(
    written: Path, tmp_path: Path, words: list[str], as_json: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    made = cut(written, tmp_path / "log", written.stat().st_size)
    code, text = said(capsys, made, [*words, *as_json], "run-nowhere")
    assert code == 1
    assert "there is no run `run-nowhere`" in text and ("ringfence runs" in text or "did you mean" in text)


def test_a_run_that_does_not_exist_is_an_error_of_the_guard_that_says_how_to_find_one(written: Path) -> None:
    guard = make_guard(store=f"sqlite:///{written}")
    for ask in (guard.runs.get, guard.resume_run):
        with pytest.raises(EngineError) as caught:
            ask("run-nowhere")
        assert "run-nowhere" in str(caught.value) and caught.value.help
    guard.close()
