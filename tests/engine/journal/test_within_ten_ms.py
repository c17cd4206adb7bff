"""How long an event that nobody waits for stays in memory, on a clock of the test's own: nothing is slept."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ringfence.engine.decision.events import CallFailed
from ringfence.engine.journal.journal import BATCH, Journal
from ringfence.engine.seams.loop import EngineLoop
from ringfence.engine.seams.ports import Entry
from ringfence.plugins.memory.log import MemoryLog
from tests.engine.journal.still import JumpingLoop, LoopClock

pytestmark = pytest.mark.not_replayed("its events are made up: no guard decided anything")

MS = 1_000_000
WAIT_S = 30
FAILED = CallFailed("c", "raised", "boom", 1)


@dataclass(frozen=True)
class Commit:
    """One append: when it was asked, when it was done, and of what."""

    asked_ns: int
    done_ns: int
    entries: tuple[Entry, ...]


class TimedLog(MemoryLog):
    """A log whose appends take as long as they are told, on the loop's own time."""

    def __init__(self, clock: LoopClock, takes_ms: Sequence[int]) -> None:
        super().__init__()
        self.clock = clock
        self.takes_ms = list(takes_ms)
        self.commits: list[Commit] = []

    async def append(self, batch: Sequence[Entry]) -> None:
        asked_ns = self.clock.now_ns()
        if self.takes_ms:
            await asyncio.sleep(self.takes_ms.pop(0) / 1000)
        await super().append(batch)
        self.commits.append(Commit(asked_ns, self.clock.now_ns(), tuple(batch)))


@dataclass
class Bench:
    """A journal on such a log, all of it on one loop whose time is the test's."""

    takes_ms: Sequence[int] = ()
    feed_s: float | None = None
    loop: JumpingLoop = field(default_factory=JumpingLoop)
    fed_ns: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine = EngineLoop(lambda: self.loop)
        self.clock = LoopClock(self.loop)
        self.log = TimedLog(self.clock, self.takes_ms)
        feed = None if self.feed_s is None else self.feed
        self.journal = Journal(self.log, self.engine, self.clock, feed=feed, limit=100_000)
        self.journal.open_run("r")

    async def feed(self, _: Sequence[Entry]) -> None:
        """A required sink."""
        assert self.feed_s is not None
        await asyncio.sleep(self.feed_s)
        self.fed_ns.append(self.clock.now_ns())

    def play(self, scene: Callable[[], Awaitable[None]]) -> Sequence[Commit]:
        """Let a scene happen on the loop, and then whatever time brings; return the commits."""

        async def played() -> None:
            await scene()
            await asyncio.sleep(WAIT_S)

        try:
            self.engine.submit(played()).result(WAIT_S)
            return tuple(self.log.commits)
        finally:
            self.engine.close()


def late_by_ns(commits: Sequence[Commit]) -> int:
    """Return how late the latest event was handed over: after its record, or after the commit before it."""
    latest, before_ns = 0, 0
    for commit in commits:
        for entry in commit.entries:
            latest = max(latest, commit.asked_ns - max(entry.at_ns, before_ns))
        before_ns = commit.done_ns
    return latest


BURSTS = st.lists(st.tuples(st.integers(0, 12_000), st.sampled_from([1, 2, 30, 600, 1_500])), max_size=8)
"""Each so many microseconds after the one before it, so many events at once."""


@settings(max_examples=40, deadline=None)
@given(bursts=BURSTS, takes_ms=st.lists(st.integers(0, 40), max_size=8))
@example(bursts=[(0, 4_999)], takes_ms=[])
@example(bursts=[(0, 1), (2_999, 2_500), (1, 2_499)], takes_ms=[1, 1])
def test_whatever_is_recorded_is_handed_to_the_log_within_10_ms_or_when_the_commit_before_is_done(
    bursts: list[tuple[int, int]], takes_ms: list[int]
) -> None:
    bench = Bench(takes_ms)

    async def scene() -> None:
        for gap_us, events in bursts:
            await asyncio.sleep(gap_us / 1e6)
            for _ in range(events):
                bench.journal.record("r", FAILED)

    commits = bench.play(scene)
    handed = [entry.seq for commit in commits for entry in commit.entries]
    recorded = sum(events for _, events in bursts)
    assert handed == list(range(1, recorded + 1)), "all of it, in order, and nobody asked for it"
    assert late_by_ns(commits) <= 10 * MS
    assert all(len(commit.entries) <= BATCH for commit in commits)


def test_on_a_log_that_answers_at_once_no_event_of_a_long_burst_is_older_than_10_ms() -> None:
    bench = Bench()

    async def scene() -> None:
        for _ in range(40):
            for _ in range(120):
                bench.journal.record("r", FAILED)
            await asyncio.sleep(0.0001)

    ages = [commit.asked_ns - entry.at_ns for commit in bench.play(scene) for entry in commit.entries]
    assert len(ages) == 4_800 and max(ages) <= 10 * MS


def test_the_clock_of_these_tests_sees_an_event_that_lingers() -> None:
    bench = Bench()

    async def scene() -> None:
        bench.journal.record("r", FAILED)

    (commit,) = bench.play(scene)
    assert commit.asked_ns - commit.entries[0].at_ns >= 1 * MS


def test_whoever_waits_makes_the_writer_hurry() -> None:
    bench = Bench()

    async def scene() -> None:
        bench.journal.record("r", FAILED)
        await asyncio.sleep(0.001)  # it lingers by now
        await asyncio.wrap_future(bench.journal.flush())

    (commit,) = bench.play(scene)
    assert commit.asked_ns - commit.entries[0].at_ns == 1 * MS


def test_a_required_sink_that_is_slow_holds_up_what_is_recorded_meanwhile_and_no_longer() -> None:
    bench = Bench(feed_s=0.5)

    async def scene() -> None:
        bench.journal.record("r", FAILED)
        await asyncio.sleep(0.1)
        bench.journal.record("r", FAILED)

    first, second = bench.play(scene)
    assert first.asked_ns - first.entries[0].at_ns <= 10 * MS
    assert second.asked_ns - bench.fed_ns[0] <= 10 * MS
