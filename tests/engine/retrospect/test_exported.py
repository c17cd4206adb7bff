"""A run is read from a file of `ringfence export` if its chain holds; else the file is refused, and why."""

import json
import os
from pathlib import Path

import pytest

from ringfence.engine.decision.events import PromptGiven
from ringfence.engine.retrospect.exported import read_exported
from ringfence.engine.retrospect.record import RecordError
from ringfence.engine.seams.hookspecs import Event
from tests.engine.retrospect.test_replay import recorder
from tests.logs import entries_of


def lines(run: str = "r1") -> list[str]:
    return [Event.of(entry).line() for entry in entries_of(run, recorder().events)]


def written(folder: Path, *said: str) -> Path:
    file = folder / "run.jsonl"
    file.write_text("".join(f"{line}\n" for line in said), encoding="utf-8")
    return file


def test_what_was_exported_is_read_back(tmp_path: Path) -> None:
    record = read_exported(written(tmp_path, *lines()))
    assert record.run == "r1" and record.events == tuple(recorder().events)
    assert record.events[1].event == PromptGiven("user", "go")


def test_of_several_runs_one_is_named_and_the_others_are_at_hand(tmp_path: Path) -> None:
    file = written(tmp_path, *lines("r1"), *lines("r2"))
    with pytest.raises(RecordError, match=r"say which run.*`r1`, `r2`"):
        read_exported(file)
    record = read_exported(file, "r2")
    assert record.run == "r2" and record.others is not None
    assert [entry.run for entry in record.others("r1")][:1] == ["r1"] and record.others("r3") == ()
    with pytest.raises(RecordError, match="there is no run `r3`; it holds `r1`"):
        read_exported(file, "r3")


@pytest.mark.parametrize("at", range(6))
def test_an_edited_a_lost_and_a_moved_line_are_refused_by_name(tmp_path: Path, at: int) -> None:
    whole = lines()
    edited = json.loads(whole[at])
    edited["body"]["more"] = "x"
    for said in (
        [*whole[:at], json.dumps(edited), *whole[at + 1 :]],
        [*whole[:at], *whole[at + 1 :]],
        [*whole[:at], whole[at + 1], whole[at], *whole[at + 2 :]],
    ):
        with pytest.raises(RecordError, match=r"event r1:\d+.*ringfence export --run RUN > FILE"):
            read_exported(written(tmp_path, *said))


@pytest.mark.parametrize("line", ["", "{", "[]", "null", '{"run": 1}', "\x1b[31m", '{"body":{"a":1e999}}'])
def test_what_is_no_event_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(RecordError) as refused:
        read_exported(written(tmp_path, line))
    assert "run.jsonl" in str(refused.value) and "ringfence export --run RUN" in str(refused.value)
    assert "\x1b" not in str(refused.value)


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="cannot be read: No such file"):
        read_exported(tmp_path / "none.jsonl")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecordError, match="no event of a log"):
        read_exported(tmp_path / "binary")
    file = written(tmp_path, lines()[0].replace('"schema":1', '"schema":99'))
    with pytest.raises(RecordError, match="event r1:1"):
        read_exported(file)


@pytest.mark.parametrize("at", [0, 3])
@pytest.mark.parametrize(
    "more", ['"mono_ns":1e999', '"mono_ns":Infinity', '"run":"r1"', '"body":{"a":1,"a":1}']
)
def test_a_line_that_readers_may_understand_differently_is_refused(
    tmp_path: Path, at: int, more: str
) -> None:
    whole = lines()
    whole[at] = whole[at].rstrip()[:-1] + f",{more}}}"
    with pytest.raises(RecordError, match=f"run.jsonl:{at + 1}: this line is no event"):
        read_exported(written(tmp_path, *whole))


def test_a_number_that_is_too_large_is_refused(tmp_path: Path) -> None:
    said = {**json.loads(lines()[0]), "mono_ns": 1}
    line = json.dumps(said).replace('"mono_ns": 1', '"mono_ns": 1e999')
    with pytest.raises(RecordError, match=r"run.jsonl:1: this line is no event"):
        read_exported(written(tmp_path, line))


def test_a_pipe_in_the_place_of_the_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "run.jsonl")
    with pytest.raises(RecordError, match="it is no file"):
        read_exported(tmp_path / "run.jsonl")
