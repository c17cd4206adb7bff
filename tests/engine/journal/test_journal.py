"""The journal: order, durability, bounds, and what it refuses once something fails."""

import asyncio
import json
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.engine.decision.events import (
    CallFailed,
    CallFinished,
    CallRequested,
    CallStarted,
    RunHalted,
    RunResumed,
    event_of,
)
from ringfence.engine.journal import journal as journal_module
from ringfence.engine.journal.chain import ZERO, entry_fault
from ringfence.engine.journal.failures import Away
from ringfence.engine.journal.journal import Feed, Journal
from ringfence.engine.journal.queued import Queued
from ringfence.engine.seams.errors import EngineError, StoreAwayError, TakenOverError
from ringfence.engine.seams.loop import EngineLoop
from ringfence.engine.seams.ports import Entry
from ringfence.plugins.memory.log import MemoryLog
from ringfence.testing import FakeClock

pytestmark = pytest.mark.not_replayed("its events are made up: no guard decided anything")

WAIT_S = 30
SHORT_S = 0.01
FAILED = CallFailed("c", "raised", "boom", 1)


class SteppingClock(FakeClock):
    """Says one nanosecond more each time it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.ns = 1_795_000_000_000_000_000

    def now_ns(self) -> int:
        self.ns += 1
        return self.ns

    def monotonic_ns(self) -> int:
        return self.ns


class GatedLog(MemoryLog):
    """A log that waits for its gate before each append, and can fail."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()
        self.sizes: list[int] = []
        self.fails: Exception | None = None

    async def append(self, batch: Sequence[Entry]) -> None:
        self.begun.set()
        await asyncio.to_thread(self.gate.wait)
        if self.fails is not None:
            raise self.fails
        self.sizes.append(len(batch))
        await super().append(batch)


class Desk:
    """A journal on a gated log, and how to look at what it wrote."""

    def __init__(self, loop: EngineLoop, *, feed: Feed | None = None, limit: int = 1000) -> None:
        self.loop = loop
        self.log = GatedLog()
        self.journal = Journal(self.log, loop, SteppingClock(), feed=feed, limit=limit, patience_s=WAIT_S)
        self.journal.open_run("r")

    def flush(self) -> None:
        self.journal.flush().result(WAIT_S)

    def entries(self, run: str = "r") -> list[Entry]:
        return self.loop.submit(self.log.read(run)).result(WAIT_S)

    def hold(self) -> None:
        """Record one event, and leave the writer waiting at the gate with it."""
        self.log.gate.clear()
        self.log.begun.clear()
        self.journal.record("r", FAILED)
        assert self.log.begun.wait(WAIT_S)


@pytest.fixture
def loop() -> Iterator[EngineLoop]:
    engine = EngineLoop()
    yield engine
    engine.close()


@pytest.fixture
def desk(loop: EngineLoop) -> Iterator[Desk]:
    made = Desk(loop)
    yield made
    made.log.gate.set()


def test_events_of_many_threads_become_one_unbroken_chain_per_run(desk: Desk) -> None:
    desk.journal.open_run("other")

    def work(number: int) -> None:
        for step in range(50):
            desk.journal.record(("r", "other")[step % 2], CallStarted(f"{number}.{step}"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    desk.flush()
    for run in ("r", "other"):
        prev = ZERO
        entries = desk.entries(run)
        assert len(entries) == 200
        for number, entry in enumerate(entries, 1):
            assert entry_fault(entry, prev=prev, seq=number) is None
            prev = entry.hash
        assert desk.journal.head(run) == prev
        assert [e.at_ns for e in entries] == sorted(e.at_ns for e in entries)


def test_an_event_is_encoded_before_record_returns(desk: Desk) -> None:
    result = {"rows": [1]}
    desk.journal.record("r", CallFinished("c", result, None, 5))
    result["rows"].append(2)
    desk.flush()
    (entry,) = desk.entries()
    assert entry.body is not None
    assert event_of(entry.kind, json.loads(entry.body)) == CallFinished("c", {"rows": [1]}, None, 5)


def test_a_result_that_is_no_json_is_described_and_the_rest_of_the_event_stays(desk: Desk) -> None:
    desk.journal.record("r", CallFinished("c", {1: b"x"}, None, 5))
    desk.flush()
    (entry,) = desk.entries()
    body = json.loads(entry.body or b"")
    assert body["call"] == "c"
    assert body["result"]["$type"] == "dict"


class Shaky(dict[str, int]):
    """A result that another thread changes while it is read."""

    def items(self) -> NoReturn:
        raise RuntimeError("dictionary changed size during iteration")


def test_a_result_that_changes_while_it_is_read_is_described_and_tears_no_sequence(desk: Desk) -> None:
    desk.journal.record("r", CallStarted("c"))
    desk.journal.record("r", CallFinished("c", {"rows": Shaky(a=1)}, None, 5))
    desk.journal.record("r", FAILED)
    desk.flush()
    assert [entry.seq for entry in desk.entries()] == [1, 2, 3]
    assert [entry.kind for entry in desk.entries()] == ["CallStarted", "CallFinished", "CallFailed"]


def test_a_clock_that_fails_tears_no_sequence(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.journal.record("r", FAILED)
    for name in ("now_ns", "monotonic_ns"):
        with monkeypatch.context() as broken:
            broken.setattr(SteppingClock, name, lambda self: 1 // 0)
            with pytest.raises(ZeroDivisionError):
                desk.journal.record("r", FAILED)
    desk.journal.record("r", FAILED)
    desk.flush()
    assert [entry.seq for entry in desk.entries()] == [1, 2]


@settings(max_examples=25)
@given(
    st.lists(st.lists(st.sampled_from(["r0", "r1", "r2"]), max_size=40), min_size=2, max_size=6),
    st.integers(3, 50),
)
def test_any_threads_in_any_order_give_gapless_chains(work: list[list[str]], limit: int) -> None:
    loop = EngineLoop()
    try:
        desk = Desk(loop, limit=limit)
        for run in ("r0", "r1", "r2"):
            desk.journal.open_run(run)
        begin = threading.Barrier(len(work))

        def record(runs: list[str]) -> list[tuple[str, int]]:
            begin.wait(WAIT_S)
            return [(run, desk.journal.record(run, FAILED).seq) for run in runs]

        with ThreadPoolExecutor(len(work)) as pool:
            told = [said for each in pool.map(record, work) for said in each]
        desk.journal.close().result(WAIT_S)
        assert len(set(told)) == len(told)
        for run in ("r0", "r1", "r2"):
            prev = ZERO
            found = desk.entries(run)
            assert {entry.seq for entry in found} == {seq for name, seq in told if name == run}
            for number, entry in enumerate(found, 1):
                assert entry_fault(entry, prev=prev, seq=number) is None
                prev = entry.hash
    finally:
        loop.close()


def test_a_sink_that_hangs_holds_the_flush_and_not_what_was_durable(loop: EngineLoop) -> None:
    let_go, held = threading.Event(), threading.Event()

    async def hang(entries: Sequence[Entry]) -> None:
        held.set()
        await asyncio.to_thread(let_go.wait)

    desk = Desk(loop, feed=hang)
    desk.journal.record("r", FAILED)
    done = desk.journal.flush()
    assert held.wait(WAIT_S)
    assert not done.done()
    assert len(desk.entries()) == 1
    assert desk.journal.record("r", FAILED).seq == 2, "recording goes on while there is room"
    last = desk.journal.close()
    let_go.set()
    done.result(WAIT_S)
    last.result(WAIT_S)
    assert len(desk.entries()) == 2


def test_a_huge_result_does_not_enter_the_log_whole(desk: Desk) -> None:
    desk.journal.record("r", CallFinished("c", ["x" * 1000] * 20_000, None, 5))
    desk.flush()
    (entry,) = desk.entries()
    assert len(entry.body or b"") < 10_000
    assert json.loads(entry.body or b"")["result"]["$size"] > 20_000_000


def test_what_is_queued_meanwhile_shares_one_commit(desk: Desk) -> None:
    desk.hold()
    for _ in range(100):
        desk.journal.record("r", FAILED)
    desk.log.gate.set()
    desk.flush()
    assert desk.log.sizes == [1, 100]


def test_a_commit_is_bounded(desk: Desk) -> None:
    desk.hold()
    for _ in range(900):
        desk.journal.record("r", FAILED)
    desk.log.gate.set()
    desk.flush()
    assert desk.log.sizes == [1, 512, 388]


def test_a_flush_is_answered_once_what_came_before_it_is_stored(desk: Desk) -> None:
    desk.hold()
    done = desk.journal.flush()
    assert not done.done()
    desk.log.gate.set()
    done.result(WAIT_S)
    assert len(desk.entries()) == 1


def test_a_flush_with_nothing_to_write_is_done_at_once(desk: Desk) -> None:
    assert desk.journal.flush().done()


def test_the_given_moment_is_stamped_exactly_and_later_events_do_not_precede_it(desk: Desk) -> None:
    late = 2_000_000_000_000_000_000
    assert desk.journal.record("r", FAILED, at_ns=late).at_ns == late
    assert desk.journal.record("r", FAILED).at_ns == late
    desk.flush()
    assert [entry.at_ns for entry in desk.entries()] == [late, late]


def test_a_run_goes_on_from_its_last_event(desk: Desk) -> None:
    desk.journal.open_run("old", seq=7, head=b"h" * 32)
    assert desk.journal.record("old", FAILED).seq == 8
    desk.flush()
    (entry,) = desk.entries("old")
    assert entry_fault(entry, prev=b"h" * 32, seq=8) is None


def test_a_run_that_is_not_open_is_refused(desk: Desk) -> None:
    desk.journal.close_run("r")
    for work in (lambda: desk.journal.record("r", FAILED), lambda: desk.journal.head("r")):
        with pytest.raises(EngineError, match="not being recorded"):
            work()


def test_a_run_is_opened_once(desk: Desk) -> None:
    with pytest.raises(EngineError, match="already"):
        desk.journal.open_run("r")


def test_a_failed_append_breaks_the_journal_for_good_and_keeps_the_cause(desk: Desk) -> None:
    cause = OSError("disk full")
    desk.log.fails = cause
    desk.hold()
    pending = desk.journal.flush()
    desk.log.gate.set()
    with pytest.raises(EngineError, match="disk full") as caught:
        pending.result(WAIT_S)
    assert caught.value.__cause__ is cause
    desk.log.fails = None
    for work in (lambda: desk.journal.record("r", FAILED), lambda: desk.journal.flush()):
        with pytest.raises(EngineError, match="disk full") as caught:
            work()
        assert caught.value.__cause__ is cause
        assert "mend the store" in caught.value.diagnostics()
    with pytest.raises(EngineError, match="disk full"):
        desk.journal.close().result(WAIT_S)
    assert desk.journal.failure is cause


class AwayLog(MemoryLog):
    """A log whose store is away until it is told to be back; it may have taken what it did not answer."""

    def __init__(self) -> None:
        super().__init__()
        self.away = threading.Event()
        self.takes = False
        self.tried: list[list[str]] = []
        self.asked = threading.Semaphore(0)

    async def append(self, batch: Sequence[Entry]) -> None:
        self.tried.append([entry.id for entry in batch])
        self.asked.release()
        if self.away.is_set():
            if self.takes:
                await super().append(batch)
            raise StoreAwayError("the server does not answer")
        await super().append(batch)


@pytest.fixture
def gone(loop: EngineLoop) -> "Desk":
    """A journal whose store has just gone away with one event under way."""
    made = Desk(loop, limit=20)
    made.log = log = AwayLog()  # type: ignore[assignment]
    made.journal._log = log
    made.journal.record("r", CallStarted("c"))
    made.flush()
    log.away.set()
    made.journal.record("r", FAILED)
    assert all(log.asked.acquire(timeout=WAIT_S) for _ in range(4)), "it is asked again"
    assert isinstance(made.journal.failure, StoreAwayError)
    made.journal._patience_s = SHORT_S
    return made


def back(desk: Desk) -> None:
    """Let the store come back, and wait for that."""
    log = desk.log
    assert isinstance(log, AwayLog)
    log.away.clear()
    desk.journal._patience_s = WAIT_S
    desk.flush()


@pytest.mark.parametrize("takes", [False, True])
def test_a_store_that_is_away_is_asked_again_with_the_same_events(gone: Desk, takes: bool) -> None:
    assert isinstance(gone.log, AwayLog)
    gone.log.takes = takes
    gone.journal.record("r", RunHalted("x", None, None))
    back(gone)
    assert [entry.kind for entry in gone.entries()] == ["CallStarted", "CallFailed", "RunHalted"]
    assert len(gone.loop.submit(gone.log.links()).result(WAIT_S)) == 3, "and none is there twice"
    assert gone.journal.failure is None and gone.journal.away is None
    assert gone.journal.record("r", CallStarted("d")).seq == 4


@pytest.mark.parametrize("event", [CallStarted("d"), RunResumed("h")])
def test_while_the_store_is_away_nothing_starts_and_the_error_says_since_when(
    gone: Desk, event: CallStarted | RunResumed
) -> None:
    with pytest.raises(StoreAwayError, match=r"away since 2026-\d\d-\d\d .* UTC") as caught:
        gone.journal.record("r", event)
    assert "does not answer" in str(caught.value) and "by itself" in (caught.value.help or "")
    with pytest.raises(StoreAwayError):
        gone.journal.check("r")
    back(gone)
    gone.journal.check("r")


def test_while_the_store_is_away_requests_take_half_of_the_queue_and_ends_all_of_it(gone: Desk) -> None:
    asked = CallRequested("c", "look", {}, None, None, None)
    taken = 0
    with pytest.raises(StoreAwayError):
        while taken < 100:
            gone.journal.record("r", asked)
            taken += 1
    assert taken == 9, "one event was waiting already"
    for _ in range(10):
        gone.journal.record("r", FAILED)
    with pytest.raises(EngineError, match="20 events wait"):
        gone.journal.record("r", FAILED)
    back(gone)
    assert len(gone.entries()) == 21


def test_whoever_waits_for_a_store_that_is_away_is_told_so_in_time(gone: Desk) -> None:
    with pytest.raises(StoreAwayError, match="away since"):
        gone.flush()
    with pytest.raises(StoreAwayError, match="away since"):
        gone.journal.close().result(WAIT_S)
    assert gone.journal.unwritten() == {"r": 1}
    back(gone)
    assert gone.journal.unwritten() == {}


def test_an_append_that_takes_too_long_counts_as_away_until_it_is_answered(desk: Desk) -> None:
    desk.journal._patience_s = SHORT_S
    desk.hold()
    with pytest.raises(StoreAwayError, match="no answer within"):
        desk.flush()
    with pytest.raises(StoreAwayError):
        desk.journal.record("r", CallStarted("d"))
    desk.journal._patience_s = WAIT_S
    desk.log.gate.set()
    desk.flush()
    assert desk.journal.record("r", CallStarted("d")).seq == 2
    desk.flush()
    assert [entry.seq for entry in desk.entries()] == [1, 2]


def test_another_failure_after_the_store_was_away_breaks_the_journal_for_good(gone: Desk) -> None:
    async def full(batch: Sequence[Entry]) -> None:
        raise OSError("disk full")

    gone.log.append = full  # type: ignore[method-assign]
    gone.journal._patience_s = WAIT_S
    with pytest.raises(EngineError, match="disk full"):
        gone.flush()
    with pytest.raises(EngineError, match="disk full"):
        gone.journal.record("r", FAILED)


# ---- runs that another process has taken over ----------------------------------------------------


def test_a_run_that_is_dropped_takes_no_more_and_the_others_go_on(desk: Desk) -> None:
    desk.journal.open_run("other")
    desk.hold()
    for run in ("r", "other", "r"):
        desk.journal.record(run, FAILED)
    desk.journal.drop_run("r")
    desk.journal.drop_run("nobody's")
    lost = desk.journal.flush("r")
    with pytest.raises(TakenOverError, match="`r` was taken over"):
        desk.journal.record("r", FAILED)
    with pytest.raises(TakenOverError):
        desk.journal.check("r")
    desk.log.gate.set()
    with pytest.raises(TakenOverError):
        lost.result(WAIT_S)
    desk.flush()
    assert len(desk.entries()) == 1, "what was on its way to the log arrived"
    assert len(desk.entries("other")) == 1
    assert desk.journal._bytes == 0 and desk.journal._settled == desk.journal._recorded


def test_a_conflict_in_the_log_loses_that_run_and_no_other(desk: Desk) -> None:
    desk.journal.open_run("other")
    taker = Journal(desk.log, desk.loop, SteppingClock())
    taker.open_run("r")
    taker.record("r", RunHalted("unclean end", None, None))
    taker.flush().result(WAIT_S)
    desk.hold()
    for run in ("other", "r", "other"):
        desk.journal.record(run, FAILED)
    mine, theirs = desk.journal.flush("r"), desk.journal.flush("other")
    desk.log.gate.set()
    with pytest.raises(TakenOverError):
        mine.result(WAIT_S)
    theirs.result(WAIT_S)
    assert [entry.kind for entry in desk.entries()] == ["RunHalted"]
    assert [entry.seq for entry in desk.entries("other")] == [1, 2]
    with pytest.raises(TakenOverError):
        desk.journal.record("r", FAILED)
    assert desk.journal.failure is None
    desk.journal.open_run("r", seq=1, head=desk.entries()[0].hash)
    assert desk.journal.record("r", FAILED).seq == 2, "it may come back, from where it is now"
    desk.flush()
    assert len(desk.entries()) == 2


def test_a_conflict_about_a_run_that_is_not_here_breaks_the_journal(desk: Desk) -> None:
    desk.log.fails = TakenOverError("whose is it", run="nobody's")
    desk.journal.record("r", FAILED)
    with pytest.raises(EngineError, match="whose is it"):
        desk.flush()
    assert desk.journal.failure is desk.log.fails


class Sink:
    """A required sink that can fail."""

    def __init__(self) -> None:
        self.fails = False
        self.seen: list[str] = []

    async def __call__(self, entries: Sequence[Entry]) -> None:
        if self.fails:
            raise ConnectionError("sink away")
        self.seen += [entry.id for entry in entries]


def test_a_flush_waits_for_the_required_sinks(loop: EngineLoop) -> None:
    sink = Sink()
    desk = Desk(loop, feed=sink)
    desk.journal.record("r", FAILED)
    desk.flush()
    assert sink.seen == ["r:1"]


def test_a_writer_that_is_stopped_before_its_first_step_leaves_nobody_waiting(desk: Desk) -> None:
    async def stopped() -> "Future[None]":
        desk.journal.record("r", FAILED)
        flushed = desk.journal.flush(bounded=True)
        while desk.journal._task is None:
            await asyncio.sleep(0)
        assert not desk.log.begun.is_set()
        desk.journal._task.cancel()
        return flushed

    flushed = desk.loop.submit(stopped()).result(WAIT_S)
    with pytest.raises(EngineError):
        flushed.result(WAIT_S)
    assert desk.journal.is_broken


def test_whoever_waits_as_long_as_the_journal_is_patient_is_told_that_a_sink_takes_too_long(
    loop: EngineLoop,
) -> None:
    gate = threading.Event()

    async def slow(_: Sequence[Entry]) -> None:
        await asyncio.to_thread(gate.wait)

    journal = Journal(MemoryLog(), loop, SteppingClock(), feed=slow, patience_s=SHORT_S)
    journal.open_run("r")
    journal.record("r", FAILED)
    patient, bounded = journal.flush(), journal.flush(bounded=True)
    with pytest.raises(TimeoutError):
        bounded.result(WAIT_S)
    assert not patient.done()
    gate.set()
    patient.result(WAIT_S)


def test_while_a_required_sink_fails_nothing_starts_but_what_began_may_end(loop: EngineLoop) -> None:
    sink = Sink()
    desk = Desk(loop, feed=sink)
    sink.fails = True
    desk.journal.record("r", CallStarted("c"))
    with pytest.raises(EngineError, match="sink away"):
        desk.flush()
    with pytest.raises(EngineError, match="nothing may start"):
        desk.journal.record("r", CallStarted("d"))
    desk.journal.record("r", FAILED)
    with pytest.raises(EngineError, match="sink away"):
        desk.flush()
    assert [entry.kind for entry in desk.entries()] == ["CallStarted", "CallFailed"]
    sink.fails = False
    desk.flush()
    assert sink.seen == ["r:1", "r:2"]
    assert desk.journal.record("r", CallStarted("d")).seq == 3


def test_a_refused_start_lets_the_sink_try_again(loop: EngineLoop) -> None:
    fed = threading.Event()

    class Mended(Sink):
        async def __call__(self, entries: Sequence[Entry]) -> None:
            await super().__call__(entries)
            fed.set()

    sink = Mended()
    desk = Desk(loop, feed=sink)
    sink.fails = True
    desk.journal.record("r", FAILED)
    with pytest.raises(EngineError):
        desk.flush()
    sink.fails = False
    with pytest.raises(EngineError):
        desk.journal.record("r", CallStarted("d"))
    assert fed.wait(WAIT_S)
    desk.flush()
    assert sink.seen == ["r:1"]


def test_a_full_queue_makes_the_caller_wait_for_room(loop: EngineLoop) -> None:
    desk = Desk(loop, limit=10)
    desk.journal._patience_s = WAIT_S
    desk.hold()
    with ThreadPoolExecutor(1) as pool:
        waiting: Future[object] = pool.submit(
            lambda: [desk.journal.record("r", FAILED).seq for _ in range(10)][-1]
        )
        desk.log.gate.set()
        assert waiting.result(WAIT_S) == 11
    desk.flush()
    assert len(desk.entries()) == 11


def test_a_queue_that_stays_full_refuses_and_loses_nothing(loop: EngineLoop) -> None:
    desk = Desk(loop, limit=10)
    desk.hold()
    for _ in range(9):
        desk.journal.record("r", FAILED)
    desk.journal._patience_s = SHORT_S
    with pytest.raises(EngineError, match="10 events wait"):
        desk.journal.record("r", RunHalted("x", None, None))
    desk.journal._patience_s = WAIT_S
    desk.log.gate.set()
    desk.flush()
    assert [entry.seq for entry in desk.entries()] == list(range(1, 11))


def test_on_the_engines_own_thread_a_full_queue_refuses_at_once(loop: EngineLoop) -> None:
    desk = Desk(loop, limit=10)
    desk.journal._patience_s = 1_000_000
    desk.hold()
    for _ in range(9):
        desk.journal.record("r", FAILED)

    async def inside() -> None:
        with pytest.raises(EngineError, match="no room"):
            desk.journal.record("r", FAILED)

    loop.submit(inside()).result(WAIT_S)
    desk.log.gate.set()


def test_the_bytes_of_what_waits_are_bounded_too_but_one_event_always_fits(loop: EngineLoop) -> None:
    desk = Desk(loop)
    desk.journal._limit_bytes = 100
    large = CallFinished("c", "x" * 1000, None, 1)
    desk.log.gate.clear()
    desk.journal.record("r", large)
    desk.journal._patience_s = SHORT_S
    with pytest.raises(EngineError, match="no room"):
        desk.journal.record("r", large)
    desk.journal._patience_s = WAIT_S
    desk.log.gate.set()
    desk.flush()
    desk.journal.record("r", large)
    desk.flush()
    assert len(desk.entries()) == 2


def test_close_flushes_and_refuses_what_comes_after(desk: Desk) -> None:
    desk.journal.record("r", FAILED)
    desk.journal.close().result(WAIT_S)
    assert len(desk.entries()) == 1
    with pytest.raises(EngineError, match="closed"):
        desk.journal.record("r", FAILED)
    desk.journal.close().result(WAIT_S)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_refused_instead_of_writing_to_the_parents_log(desk: Desk) -> None:
    desk.journal.record("r", FAILED)
    desk.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            desk.journal.record("r", FAILED)
        except EngineError:
            code = 7
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


THREE = [(CallStarted(key), f'{{"call":"{key}"}}'.encode()) for key in ("a", "b", "c")]


def test_events_of_one_moment_are_queued_together_as_one_by_one(desk: Desk) -> None:
    desk.journal.open_run("other")
    at_ns = 1_800_000_000_000_000_000
    together = desk.journal.record_all("r", THREE, at_ns=at_ns)
    one_by_one = [desk.journal.record("other", event, at_ns=at_ns, body=body) for event, body in THREE]
    assert together == one_by_one
    desk.flush()
    same = ("seq", "kind", "at_ns", "body")
    assert [[getattr(one, name) for name in same] for one in desk.entries()] == [
        [getattr(one, name) for name in same] for one in desk.entries("other")
    ]
    assert desk.journal.record("r", FAILED).seq == 4


def test_an_interrupt_between_events_of_one_moment_leaves_none_of_them(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = 0

    def interrupted(*about: Any) -> Queued:
        nonlocal made
        made += 1
        if made == 2:
            raise KeyboardInterrupt
        return Queued(*about)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(journal_module, "Queued", interrupted)
        desk.journal.record_all("r", THREE, at_ns=1)
    assert desk.journal.record("r", FAILED).seq == 1
    desk.flush()
    assert [one.seq for one in desk.entries()] == [1]


@pytest.mark.parametrize("why", ["room", "bytes", "closed", "away", "sink", "broken", "taken", "unknown"])
def test_where_one_of_them_would_be_refused_none_is_queued(desk: Desk, why: str) -> None:
    journal, run = desk.journal, "r"
    match why:
        case "room":
            journal._limit = 2
        case "bytes":
            journal._limit_bytes = 20
        case "closed":
            journal.close().result(WAIT_S)
        case "away":
            journal._away = Away(OSError("gone"), 0)
        case "sink":
            journal._sink_failure = OSError("full")
        case "broken":
            journal._broken = OSError("gone")
        case "taken":
            journal.drop_run("r")
        case "unknown":
            run = "another"
    assert journal.record_all(run, THREE, at_ns=1) is None
    assert journal._recorded == 0 and not journal._queue
    journal._away = journal._sink_failure = journal._broken = None
