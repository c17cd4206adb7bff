"""The JSON-lines sink keeps the contract, and survives rotation and torn lines."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from ringfence_example_plugins.jsonlines import JsonLinesSettings, JsonLinesSink

from ringfence.plugin import Event
from ringfence.testing import AuditSinkContract, event


def read(path: Path) -> list[Event]:
    if not path.is_file():
        return []
    return [Event(**json.loads(line)) for line in path.read_bytes().splitlines()]


class TestJsonLinesSink(AuditSinkContract):
    """The contract."""

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "audit.jsonl"

    def make(self) -> JsonLinesSink:
        return JsonLinesSink(JsonLinesSettings(path=self.path))

    async def taken(self) -> Sequence[Event]:
        return read(self.path)

    async def break_down(self) -> None:
        self.path.unlink(missing_ok=True)
        self.path.mkdir()


async def opened(path: Path) -> JsonLinesSink:
    sink = JsonLinesSink(JsonLinesSettings(path=path))
    await sink.open()
    return sink


async def test_a_file_that_is_rotated_away_is_followed_by_a_new_one(tmp_path: Path) -> None:
    path, old = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    sink = await opened(path)
    await sink.write([event(1)])
    path.rename(old)
    await sink.write([event(1), event(2)])
    await sink.close()
    assert (read(old), read(path)) == ([event(1)], [event(2)])


async def test_after_a_restart_the_rotated_file_still_counts(tmp_path: Path) -> None:
    path, old = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    sink = await opened(path)
    await sink.write([event(1)])
    await sink.close()
    path.rename(old)
    again = await opened(path)
    await again.write([event(1), event(2)])
    await again.close()
    assert read(path) == [event(2)]


async def test_a_line_that_was_torn_by_a_crash_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    whole = json.dumps(event(1).record()) + "\n"
    path.write_text(whole + json.dumps(event(2).record())[:40])
    sink = await opened(path)
    await sink.write([event(2), event(3)])
    await sink.close()
    assert read(path) == [event(1), event(2), event(3)]


async def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    sink = await opened(tmp_path / "audit.jsonl")
    await sink.close()
    assert (tmp_path / "audit.jsonl").stat().st_mode & 0o077 == 0
