"""The kit for plugin authors: its clock, its fakes, and contracts that catch what they should."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import ringfence.testing
from ringfence.plugin import Clock, RingfenceError
from ringfence.testing import FakeAnswers, FakeClock


def test_time_moves_only_when_told_to() -> None:
    clock: Clock = FakeClock(start_ns=1_000)
    assert (clock.now_ns(), clock.monotonic_ns()) == (1_000, 0)
    assert (clock.now_ns(), clock.monotonic_ns()) == (1_000, 0)


def test_advancing_moves_both_times() -> None:
    clock = FakeClock(start_ns=0)
    clock.advance(1.5)
    clock.advance(0)
    assert (clock.now_ns(), clock.monotonic_ns()) == (1_500_000_000, 1_500_000_000)
    with pytest.raises(ValueError, match="step_back"):
        clock.advance(-1)


def test_a_step_back_leaves_the_monotonic_time() -> None:
    clock = FakeClock(start_ns=10_000_000_000)
    clock.advance(1)
    clock.step_back(5)
    assert (clock.now_ns(), clock.monotonic_ns()) == (6_000_000_000, 1_000_000_000)
    with pytest.raises(ValueError, match="advance"):
        clock.step_back(-1)


def test_every_name_of_the_kit_is_there() -> None:
    assert all(getattr(ringfence.testing, name) for name in ringfence.testing.__all__)
    with pytest.raises(AttributeError, match="no attribute 'FakeClok'"):
        _ = ringfence.testing.FakeClok


async def test_a_ticket_is_answered_once_and_by_those_who_may() -> None:
    answers = FakeAnswers(people=["dana"])
    with pytest.raises(RingfenceError, match="eve may not answer"):
        await answers.resolve("T-1", "approve", by="eve")
    await answers.resolve("T-1", "approve", by="dana")
    with pytest.raises(RingfenceError, match="no longer open"):
        await answers.resolve("T-1", "reject", by="dana")
    assert [(said.ticket, said.by) for said in await answers.wait()] == [("T-1", "dana")]
    assert [said.by for said in await answers.wait_refused(2)] == ["eve", "dana"]


async def test_an_answer_that_came_elsewhere_closes_the_ticket() -> None:
    answers = FakeAnswers()
    answers.close_ticket("T-1")
    with pytest.raises(RingfenceError):
        await answers.resolve("T-1", "approve", by="dana")
    waiting = asyncio.create_task(answers.wait())
    await answers.resolve("T-2", "approve", by="dana")
    assert [said.ticket for said in await waiting] == ["T-2"]


BAD_SINKS = """
from collections.abc import Sequence
import pytest
from ringfence.plugin import AuditSink, Event, NoSettings
from ringfence.testing import AuditSinkContract

class Place(AuditSinkContract):
    @pytest.fixture(autouse=True)
    def _place(self):
        self.kept, self.down = [], False
    def make(self): return self.kind(NoSettings(), self)
    async def taken(self): return list(self.kept)
    async def break_down(self): self.down = True

class Good(AuditSink):
    name = "good"
    def __init__(self, settings, place):
        super().__init__(settings)
        self.place, self.open_now = place, False
    async def open(self): self.open_now = True
    async def write(self, events):
        if self.place.down or not self.open_now: raise OSError("down")
        for event in events:
            if event not in self.place.kept: self.place.kept.append(event)
    async def close(self): self.open_now = False

class Swallows(Good):
    async def write(self, events):
        try: await super().write(events)
        except OSError: pass

class Repeats(Good):
    async def write(self, events):
        if self.place.down or not self.open_now: raise OSError("down")
        self.place.kept += events

class Forgets(Good):
    async def write(self, events):
        await super().write(events[:1000])

class Buffers(Good):
    def __init__(self, settings, place):
        super().__init__(settings, place)
        self.buffer = []
    async def write(self, events):
        if self.place.down or not self.open_now: raise OSError("down")
        self.buffer += [event for event in events if event not in self.buffer + self.place.kept]
    async def close(self):
        self.place.kept += self.buffer
        self.buffer = []
        self.open_now = False

class TestGood(Place): kind = Good
class TestSwallows(Place): kind = Swallows
class TestRepeats(Place): kind = Repeats
class TestForgets(Place): kind = Forgets
class TestBuffers(Place): kind = Buffers
"""


def test_the_contract_of_sinks_catches_those_that_break_it(tmp_path: Path) -> None:
    (tmp_path / "test_sinks.py").write_text(BAD_SINKS)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rf", "--tb=no", "test_sinks.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(ringfence.testing.__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    failed = _failed(done.stdout)
    assert "TestGood" not in failed and done.returncode == 1, done.stdout
    assert "test_what_cannot_be_delivered_raises" in failed["TestSwallows"]
    assert "test_writing_after_close_raises" in failed["TestSwallows"]
    assert len([name for name in failed["TestRepeats"] if "comes_again" in name]) == 5
    assert failed["TestForgets"] == ["test_a_big_batch_arrives_whole"]
    assert "test_what_it_returned_from_is_durable" in failed["TestBuffers"]


def _failed(output: str) -> dict[str, Sequence[str]]:
    found: dict[str, list[str]] = {}
    for line in output.splitlines():
        if line.startswith("FAILED"):
            _, kind, name = line.split()[1].split("::")
            found.setdefault(kind, []).append(name)
    return {kind: sorted(names) for kind, names in found.items()}
