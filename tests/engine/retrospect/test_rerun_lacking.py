"""What cannot be run again, wholly or not here, is said; never is it called identical."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("py_mini_racer")

from ringfence.engine.decision import events as e
from ringfence.engine.retrospect import rerun
from ringfence.engine.retrospect.record import RecordError, RunRecord
from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.isolates import (
    Fitness,
    IsolateJob,
    IsolateOutcome,
    Layer,
)
from ringfence.engine.seams.loop import EngineLoop
from tests.engine.retrospect.isolates_log import Log, changed, of, within
from tests.engine.retrospect.isolates_process import ENDS
from tests.isolates import V8, FakeExecutor, Tools

# ---- what cannot be run again --------------------------------------------------------------------


def without(record: RunRecord, *gone: e.Stamped) -> RunRecord:
    """Return the record with the bodies of some events purged."""
    seqs = {stamped.seq for stamped in gone}
    events = tuple(one for one in record.events if one.seq not in seqs)
    return replace(record, events=events, purged={one.seq: one.event.kind for one in gone})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("quiet inside", "`audit minimal` keeps the result of inner call 1 out of the record"),
        ("large inside", "the result of inner call 1 is not in the record: too large or too deep"),
        ("private", "`audit minimal` keeps its arguments out of the record"),
    ],
)
def test_what_the_record_does_not_hold_is_not_run_again_and_said(log: Log, name: str, said: str) -> None:
    again = log.records[name].rerun()
    assert not again.identical and again.divergence is None and again.isolates == 0
    assert [why.because for why in again.not_rerun] == [said]


def test_the_record_of_a_private_tool_holds_no_digest_of_what_it_gave(log: Log) -> None:
    private, quiet = (of(log.records[name], e.IsolateEnded).event for name in ("private", "quiet inside"))
    assert isinstance(private, e.IsolateEnded) and isinstance(quiet, e.IsolateEnded)
    assert (private.failure, private.output) == (None, None)
    assert quiet.answers == [[{"result": None, "withheld": "keyed"}]]


def test_a_refusal_of_a_private_tool_is_enough_to_run_again(log: Log) -> None:
    assert log.gave["quiet refused"] == "not authorized"
    assert log.records["quiet refused"].rerun().identical


@pytest.mark.parametrize(
    ("kind", "nth", "said"),
    [
        (e.CallRequested, 0, "its call was purged"),
        (e.CallDecided, 0, "its decision was purged"),
        (e.CallRequested, 1, "its inner call 1 was purged"),
        (e.CallFinished, 0, "the result of inner call 1 was purged"),
        (e.IsolateEnded, 1, "how it ended was purged"),
        (e.IsolateStarted, 0, "what it began with was purged"),
    ],
)
def test_what_was_purged_is_not_run_again_and_the_rest_is(log: Log, kind: type, nth: int, said: str) -> None:
    record = log.records["five"]
    again = without(record, of(record, kind, nth)).rerun()
    assert not again.identical and again.divergence is None
    assert said in [why.because for why in again.not_rerun]
    assert again.isolates == 1  # the quote


def test_a_run_whose_end_or_answers_were_never_recorded_says_so(log: Log) -> None:
    record = log.records["body"]
    ended = of(record, e.IsolateEnded)
    cut = replace(record, events=tuple(one for one in record.events if one.seq < ended.seq))
    assert [why.because for why in cut.rerun().not_rerun] == ["how it ended is not in the record"]
    old = changed(record, (ended, {"answers": None}))
    (why,) = old.rerun().not_rerun
    assert why.because == "it was recorded before what the code was given was"
    never_ran = changed(record, (ended, {"failure": "lockdown", "message": "no seccomp"}))
    assert [why.because for why in never_ran.rerun().not_rerun] == ["it did not run: no seccomp"]


def test_a_run_whose_beginning_was_purged_cannot_be_run_again(log: Log) -> None:
    record = log.records["body"]
    with pytest.raises(RecordError, match="it was purged"):
        without(record, of(record, e.RunStarted)).rerun()


@pytest.mark.parametrize(
    "told", [5, [5], [[5]], [[None]], [], [["x"]], [[{}]], [[{"result": 1, "withheld": None}]]]
)
def test_answers_of_another_shape_are_refused(log: Log, told: Any) -> None:
    record = log.records["stalled"]
    lied = changed(record, (of(record, e.IsolateEnded), {"answers": told}))
    try:
        assert not lied.rerun().identical
    except RecordError as error:
        assert "cannot be read" in str(error)


ODD = [None, 2**53, "x", [[1]], {"a": [1]}]
FIELDS = [
    (kind, nth, name)
    for kind, nth in (
        (e.IsolateStarted, 0), (e.IsolateEnded, 1), (e.CallRequested, 0), (e.CallRequested, 1),
        (e.CallDecided, 0), (e.CallFinished, 0), (e.CallFinished, 2),
    )
    for name in kind.__annotations__
    if name != "kind"
]  # fmt: skip


@pytest.mark.parametrize(("kind", "nth", "name"), FIELDS)
def test_no_field_of_any_shape_makes_a_rerun_fail_in_another_way(
    log: Log, loop: EngineLoop, kind: Any, nth: int, name: str
) -> None:
    for odd in ODD:
        record = changed(log.records["five"], (of(log.records["five"], kind, nth), {name: odd}))
        try:
            again = within(record, FakeExecutor(), loop).rerun()
        except RecordError:
            continue
        str(again.divergence)
        assert not again.identical  # that executor gives another end than the recorded one


def test_a_record_without_isolates_at_hand_says_so(log: Log) -> None:
    with pytest.raises(RecordError, match="none are at hand"):
        replace(log.records["body"], isolates=None).rerun()


# ---- who runs it again ---------------------------------------------------------------------------


class Absent(FakeExecutor):
    """There is no V8."""

    async def fitness(self) -> Fitness:
        """See `IsolateExecutor`."""
        return Fitness(None, problem="no V8 is installed: mend it")


def test_without_v8_nothing_is_said_to_be_identical(log: Log, loop: EngineLoop) -> None:
    with pytest.raises(EngineError, match="no JavaScript can be run again here: no V8 is installed"):
        within(log.records["body"], Absent(), loop).rerun()


def test_another_v8_is_named_as_what_differs(log: Log, loop: EngineLoop) -> None:
    async def shape(_: IsolateJob, __: Tools) -> Any:
        return IsolateOutcome("[]", v8="15.0.1.2")

    record = log.records["body"]
    began = of(record, e.CallRequested).event
    assert isinstance(began, e.CallRequested)
    fake = FakeExecutor({"({ n }) => Array.from({ length: n }, () => Math.random())": shape})
    found = within(record, fake, loop).rerun().divergence
    assert found is not None and found.differs == ("v8", "output")
    assert (found.recorded["v8"], found.recomputed["v8"]) == (V8, "15.0.1.2")


class Bare(FakeExecutor):
    """A machine that has V8, and no walls."""

    async def fitness(self) -> Fitness:
        """See `IsolateExecutor`."""
        return Fitness(V8, (Layer("process", False, "shared"),))


def test_recorded_code_does_not_run_behind_less_than_its_policy_demands(log: Log, loop: EngineLoop) -> None:
    fake = Bare()
    again = within(log.records["body"], fake, loop).rerun()
    assert not again.identical and again.isolates == 0 and fake.jobs == []
    assert [why.because for why in again.not_rerun] == [
        "this machine lacks what `lockdown process` needs: process"
    ]


class Partly(FakeExecutor):
    """A machine that has a process, and a wall too few."""

    async def fitness(self) -> Fitness:
        """See `IsolateExecutor`."""
        return Fitness(V8, (Layer("process", True, "its own"), Layer("seccomp", False, "not here")))


def test_a_record_whose_policy_is_content_with_less_does_not_say_what_is_enough_here(
    log: Log, loop: EngineLoop
) -> None:
    fake = Partly()
    record = within(log.records["body"], fake, loop)
    again = record.rerun(lockdown="full")
    assert not again.identical and again.isolates == 0 and fake.jobs == []
    assert [why.because for why in again.not_rerun] == [
        "this machine lacks what `lockdown full` needs: seccomp"
    ]
    record.rerun()
    assert [job.lockdown for job in fake.jobs] == ["process"]
    whole = FakeExecutor()
    within(log.records["body"], whole, loop).rerun(lockdown="full")
    assert [job.lockdown for job in whole.jobs] == ["full"], "the worker has to prove it"


def test_a_record_does_not_say_how_much_memory_is_taken_here(
    log: Log, loop: EngineLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeExecutor()
    monkeypatch.setattr(rerun, "MOST_MEMORY_BYTES", 2**20)
    again = within(log.records["body"], fake, loop).rerun()
    assert not again.identical and fake.jobs == []
    assert [why.because for why in again.not_rerun] == ["its isolate may take more than 1 MB of memory"]


async def raises(_: IsolateJob, __: Tools) -> Any:
    raise RuntimeError("broken")


async def short(_: IsolateJob, __: Tools) -> Any:
    return IsolateOutcome(None, "time", "it took longer than `time 1 ms`", v8=V8)


async def lies(_: IsolateJob, __: Tools) -> Any:
    return b"{"


async def much(_: IsolateJob, __: Tools) -> Any:
    return "x" * 100_000


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (raises, "what runs isolates failed (RuntimeError)"),
        (short, "here it ended by `time`: it took longer than `time 1 ms`"),
    ],
)
def test_what_cannot_be_brought_to_its_end_here_is_not_identical(
    log: Log, loop: EngineLoop, code: Any, said: str
) -> None:
    fake = FakeExecutor({_shape(log): code})
    again = within(log.records["body"], fake, loop).rerun()
    assert not again.identical and again.divergence is None
    assert [why.because for why in again.not_rerun] == [said]


@pytest.mark.parametrize(("code", "failure"), [(lies, "not JSON"), (much, "output")])
def test_what_is_no_result_diverges(log: Log, loop: EngineLoop, code: Any, failure: str) -> None:
    found = within(log.records["body"], FakeExecutor({_shape(log): code}), loop).rerun().divergence
    assert found is not None and "failure" in found.differs
    assert found.recomputed["failure"] == failure


def test_code_that_goes_on_beyond_its_record_is_stopped(log: Log, loop: EngineLoop) -> None:
    async def endless(_: IsolateJob, tools: Tools) -> Any:
        while True:
            await tools("query", table="orders")

    fake = FakeExecutor({ENDS["stalled"]: endless})
    found = within(log.records["stalled"], fake, loop).rerun().divergence
    assert found is not None and found.differs == ("calls",)
    assert (found.recorded["calls"], found.recomputed["calls"]) == (1, 2)
    assert fake.killed == [ENDS["stalled"]]


def test_a_rerun_that_is_given_up_kills_what_runs(log: Log, loop: EngineLoop) -> None:
    fake = FakeExecutor()
    begun: Future[None] = Future()

    async def hangs(_: IsolateJob, __: Tools) -> Any:
        begun.set_result(None)
        await asyncio.Event().wait()

    fake.code[_shape(log)] = hangs

    async def given_up() -> None:
        task = asyncio.create_task(within(log.records["body"], fake, loop).arerun())
        await asyncio.wrap_future(begun)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(given_up())
    loop.submit(_until(lambda: fake.killed == [_shape(log)])).result(timeout=30)


async def _until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.01)


def _shape(log: Log) -> str:
    scripts: Sequence[Any] = log.records["body"].started.files
    return str(next(one["text"] for one in scripts if one["name"] == "shape.js"))


def test_each_run_in_an_isolate_is_told_as_it_is_done(log: Log) -> None:
    done: list[int] = []
    again = log.records["five"].rerun(each=lambda: done.append(1))
    assert again.identical and len(done) == 2


def test_looking_back_needs_no_v8_to_be_imported() -> None:
    code = """
import sys
sys.modules["py_mini_racer"] = None
import ringfence.engine.retrospect.rerun, ringfence.engine.retrospect.isolates
print(sorted(name for name in sys.modules if name.startswith("ringfence.plugins")))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
