"""The sink keeps the contract, and its file holds whole lines whatever happens to it."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ringfence.__main__ import main
from ringfence.engine.seams.errors import EngineError
from ringfence.plugin import Event
from ringfence.plugins.export_jsonl import JsonlSettings, JsonlSink
from ringfence.testing import AuditSinkContract, event
from tests.guards import ALICE, call, make_guard


def read(path: Path) -> list[Event]:
    if not path.is_file():
        return []
    return [Event(**json.loads(line)) for line in path.read_bytes().splitlines()]


class TestJsonlSink(AuditSinkContract):
    """The contract."""

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "audit.jsonl"

    def make(self) -> JsonlSink:
        return JsonlSink(JsonlSettings(path=self.path))

    async def taken(self) -> Sequence[Event]:
        return read(self.path)

    async def break_down(self) -> None:
        self.path.unlink(missing_ok=True)
        self.path.mkdir()


async def opened(path: Path) -> JsonlSink:
    sink = JsonlSink(JsonlSettings(path=path))
    await sink.open()
    return sink


async def test_a_file_that_is_renamed_is_followed_by_a_new_one(tmp_path: Path) -> None:
    path, old = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    sink = await opened(path)
    await sink.write([event(1)])
    path.rename(old)
    await sink.write([event(1), event(2)])
    await sink.close()
    assert (read(old), read(path)) == ([event(1)], [event(2)])
    again = await opened(path)
    await again.write([event(1), event(2), event(3)])
    await again.close()
    assert read(path) == [event(2), event(3)]


@pytest.mark.parametrize("kept", [0, 1, 40, -1])
async def test_a_line_that_a_crash_has_torn_is_written_anew(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_text(event(1).line() + "\n" + event(2).line()[:kept])
    sink = await opened(path)
    await sink.write([event(2), event(3)])
    await sink.close()
    assert read(path) == [event(1), event(2), event(3)]


async def test_a_line_that_another_process_has_left_torn_meanwhile_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    sink = await opened(path)
    await sink.write([event(1)])
    with path.open("a") as other:
        other.write("{" + "x" * 200_000)
    await sink.write([event(2)])
    await sink.close()
    assert read(path) == [event(1), event(2)]


async def test_a_batch_that_fails_leaves_nothing_behind_and_may_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit.jsonl"
    sink = await opened(path)
    await sink.write([event(1)])

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            await sink.write([event(2)])
    assert read(path) == [event(1)]
    await sink.write([event(2)])
    await sink.close()
    assert read(path) == [event(1), event(2)]


async def test_several_at_once_never_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    sinks = [await opened(path) for _ in range(4)]
    batches = [
        sink.write([event(seq, run=f"run-{number}", text="x" * 5_000) for seq in range(first, first + 10)])
        for first in range(1, 41, 10)
        for number, sink in enumerate(sinks)
    ]
    await asyncio.gather(*batches[:4])
    for rest in range(4, len(batches), 4):
        await asyncio.gather(*batches[rest : rest + 4])
    for sink in sinks:
        await sink.close()
    found = read(path)
    assert len(found) == 160
    for number in range(4):
        assert [one.seq for one in found if one.run == f"run-{number}"] == list(range(1, 41))


@pytest.mark.parametrize(
    "text", ["no JSON\n", '{"id":7,"run":"r"}\n', '{"id":"r","run":"r"}\n', "\n", "[]\n"]
)
async def test_a_file_that_is_something_elses_is_refused_and_left_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_text(event(1).line() + "\n" + text)
    with pytest.raises(ValueError, match=r"line 2 of .* is no event: name a file of the sink's own"):
        await opened(path)
    assert path.read_text() == event(1).line() + "\n" + text


async def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    sink = await opened(tmp_path / "audit.jsonl")
    await sink.close()
    assert (tmp_path / "audit.jsonl").stat().st_mode & 0o077 == 0


def test_its_file_is_what_export_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    guard = make_guard(
        store=f"sqlite:///{tmp_path}/ringfence.db",
        sinks={"export_jsonl": {"path": str(tmp_path / "audit.jsonl")}},
    )
    with (
        guard.run(principal=ALICE, prompt="Grüße \x7f \u202e") as first,
        guard.run(principal=ALICE) as second,
    ):
        for run, what in ((first, "a"), (second, "b"), (first, "c")):
            assert guard.execute(run, call("look", what=what), lambda _: {"of": "it"}) == {"of": "it"}
    guard.close()
    assert main(["export"]) == 0
    written = (tmp_path / "audit.jsonl").read_text(encoding="ascii")
    assert written == capsys.readouterr().out and written.count("\n") > 12


def test_what_the_file_cannot_take_does_not_happen(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    guard = make_guard(sinks={"export_jsonl": {"path": str(path)}})
    did: list[str] = []
    with guard.run(principal=ALICE) as run:
        guard.execute(run, call("look", what="a"), lambda _: did.append("a"))
        path.unlink()
        path.mkdir()
        with pytest.raises(EngineError, match="export_jsonl"):
            guard.execute(run, call("pay", amount=5), lambda _: did.append("b"))
        path.rmdir()
    guard.close()
    assert did == ["a"]


class Log:
    """The log that a sink may read."""

    def __init__(self, *events: Event) -> None:
        self.events = events
        self.asked: list[tuple[str, int, int]] = []

    async def read(self, run: str, *, after_seq: int = 0, limit: int = 250) -> Sequence[Event]:
        self.asked.append((run, after_seq, limit))
        return [one for one in self.events if one.run == run and one.seq > after_seq][:limit]


async def test_what_a_killed_process_has_not_told_comes_before_what_is_told_next(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    events = [event(seq) for seq in range(1, 701)]
    before = await opened(path)
    await before.write(events[:2])
    await before.close()
    sink = await opened(path)
    sink.past = Log(*events)
    await sink.write([event(1, run="run-2"), events[-1], event(2, run="run-2")])
    await sink.close()
    assert read(path) == [*events[:2], event(1, run="run-2"), *events[2:], event(2, run="run-2")]


async def test_what_another_process_has_written_meanwhile_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    sink, other = await opened(path), await opened(path)
    sink.past = log = Log(*(event(seq) for seq in range(1, 6)))
    await other.write([event(1), event(2), event(3)])
    await sink.write([event(5)])
    assert read(path) == [event(seq) for seq in range(1, 6)] and log.asked == [("run-1", 3, 1)]
    await sink.close()
    await other.close()


async def test_a_run_that_was_put_away_is_gone_on_with_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    sink = await opened(path)
    sink.past = log = Log(*(event(seq) for seq in range(1, 10)))
    resumed = replace(event(5), kind="RunResumed")
    await sink.write([resumed, event(6)])
    await sink.write([event(7)])
    await sink.close()
    assert read(path) == [resumed, event(6), event(7)] and log.asked == []


DIES = """
import os, sys
from tests.guards import ALICE, call, make_guard
guard = make_guard(store=sys.argv[1])
run = guard.begin_run(principal=ALICE, agent="main", session="s")
guard.execute(run, call("look", what="a"), dict)
guard.opening.ready.journal.flush().result(20)
print(run.id, flush=True)
os._exit(9)
"""


def test_a_run_whose_process_died_before_its_sinks_were_told_is_in_the_file_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, store = tmp_path / "audit.jsonl", f"sqlite:///{tmp_path}/ringfence.db"
    died = subprocess.run(
        [sys.executable, "-c", DIES, store],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert died.returncode == 9, died.stderr
    guard = make_guard(store=store, sinks={"export_jsonl": {"path": str(path)}})
    with guard.run(principal=ALICE, agent="main", session="s"):
        pass
    guard.close()
    dead = [one for one in read(path) if one.run == died.stdout.strip()]
    assert [one.kind for one in dead][-2:] == ["RunHalted", "RunEnded"]
    assert [one.seq for one in dead] == list(range(1, len(dead) + 1))
    assert main(["export", "--run", died.stdout.strip(), "--store", store]) == 0
    assert capsys.readouterr().out.splitlines() == [one.line() for one in dead]
