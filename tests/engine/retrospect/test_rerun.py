"""What ran in isolates runs again from its record alone: the same bytes, or where it diverges."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("py_mini_racer")

from ringfence.dsl.canonical import canonical, digest
from ringfence.engine.decision import events as e
from ringfence.engine.decision.calls import digest_of
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.journal.isolated import digest_of_text
from ringfence.engine.retrospect.record import RecordError, RunRecord
from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.isolates import (
    Answer,
    Fitness,
    IsolateExecutor,
    IsolateJob,
    IsolateOutcome,
    Lockdown,
)
from ringfence.engine.seams.loop import EngineLoop
from tests.engine.retrospect.isolates_process import ENDS, FIVE, guard_of, never
from tests.guards import ALICE, call
from tests.isolates import V8, FakeExecutor, Tools

ROOT = Path(__file__).parents[3]
BY_CHANCE = ("memory", "time", "cpu")


@dataclass
class Log:
    """What another process recorded."""

    file: Path
    gave: dict[str, Any]
    records: dict[str, RunRecord]
    guard: Guard


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    file = tmp_path_factory.mktemp("rerun") / "log.db"
    done = subprocess.run(
        [sys.executable, "-m", "tests.engine.retrospect.isolates_process", f"sqlite:///{file}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    guard = guard_of(f"sqlite:///{file}")
    records = {name: guard.runs.get(run) for name, (run, _) in told.items()}
    yield Log(file, {name: gave for name, (_, gave) in told.items()}, records, guard)
    guard.close()


@dataclass
class Watched:
    """Runs isolates elsewhere, and notes what they gave."""

    executor: IsolateExecutor
    outcomes: list[IsolateOutcome] = field(default_factory=list)

    async def run(self, job: IsolateJob, answer: Answer) -> IsolateOutcome:
        """See `IsolateExecutor`."""
        self.outcomes.append(await self.executor.run(job, answer))
        return self.outcomes[-1]

    async def fitness(self) -> Fitness:
        """See `IsolateExecutor`."""
        return await self.executor.fitness()

    def prewarm(self, lockdown: Lockdown, memory_bytes: int) -> None:
        """See `IsolateExecutor`."""
        self.executor.prewarm(lockdown, memory_bytes)

    async def close(self) -> None:
        """See `IsolateExecutor`."""
        await self.executor.close()


def within(record: RunRecord, executor: IsolateExecutor, loop: EngineLoop) -> RunRecord:
    """Return the record with nothing at hand but this."""

    def isolates(work: Callable[[IsolateExecutor], Awaitable[Any]]) -> "Future[Any]":
        async def done() -> Any:
            return await work(executor)

        return loop.submit(done())

    return RunRecord(record.run, record.events, record.purged, None, isolates)


@pytest.fixture
def loop() -> Iterator[EngineLoop]:
    made = EngineLoop()
    yield made
    made.close()


def of(record: RunRecord, kind: type, nth: int = 0) -> e.Stamped:
    return [stamped for stamped in record.events if isinstance(stamped.event, kind)][nth]


def changed(record: RunRecord, *changes: tuple[e.Stamped, dict[str, Any]]) -> RunRecord:
    """Return the record with some fields of some events altered."""
    fields = {stamped.seq: said for stamped, said in changes}
    events = tuple(
        replace(one, event=replace(one.event, **fields[one.seq])) if one.seq in fields else one
        for one in record.events
    )
    return replace(record, events=events)


# ---- identical -----------------------------------------------------------------------------------


def test_five_inner_calls_recorded_by_another_process_run_again_to_the_same_bytes(
    log: Log, loop: EngineLoop
) -> None:
    from ringfence.plugins.isolate.executor import IsolatePool

    record, gave = log.records["five"], log.gave["five"]
    decided = [one.event.verdict for one in record.events if isinstance(one.event, e.CallDecided)]
    assert decided == ["allow", "allow", "deny", "allow", "allow", "unknown"]
    outer = of(record, e.IsolateEnded, 1).event
    assert isinstance(outer, e.IsolateEnded) and outer.calls == 5
    assert [len(batch) for batch in outer.answers] == [3, 1, 1]
    # The coarse clock went on by its step for each of the three batches; chance is not always the same.
    assert (gave["middle"] - gave["began"][0], gave["ended"]) == (100, 300)
    assert len({gave["began"][1], *gave["chance"]}) == 3
    assert gave["told"][1:] == ["not authorized", "the tool failed"] and gave["unknown"] == "tool not found"

    watched = Watched(IsolatePool())
    again = within(record, watched, loop).rerun()
    assert again.identical and again.divergence is None
    assert (again.isolates, again.calls, again.only_calls, again.not_rerun) == (2, 5, (), ())
    assert again.v8 == outer.v8
    whole, quote = (one.result for one in watched.outcomes)
    assert whole is not None and quote is not None
    assert json.loads(whole) == gave and json.loads(quote) == gave["quote"]
    assert digest_of_text(whole) == outer.output
    assert digest_of_text(quote) == of(record, e.IsolateEnded, 0).event.output  # type: ignore[union-attr]
    loop.submit(watched.close()).result()


def test_a_run_again_touches_no_tool_and_no_store(log: Log, loop: EngineLoop, tmp_path: Path) -> None:
    from ringfence.plugins.isolate.executor import IsolatePool

    # The log is read whole, and gone; there is no guard, no policy file and no script in this process.
    copy = tmp_path / "log.db"
    copy.write_bytes(log.file.read_bytes())
    guard = guard_of(f"sqlite:///{copy}")
    record = guard.runs.get(log.records["five"].run)
    guard.close()
    for left in tmp_path.iterdir():
        left.unlink()
    pool = IsolatePool()
    assert within(record, pool, loop).rerun().identical
    assert list(tmp_path.iterdir()) == []
    loop.submit(pool.close()).result()


def test_a_run_again_leaves_the_log_of_a_guard_as_it_is(log: Log) -> None:
    record = log.records["five"]
    before = log.guard.runs.list()
    assert record.rerun().identical
    assert log.guard.runs.list() == before
    assert log.guard.runs.get(record.run).events == record.events


def test_a_body_of_ours_runs_again_with_its_chance_and_its_limits_of_the_result(log: Log) -> None:
    assert len(log.gave["body"]) == 3 and len(set(log.gave["body"])) == 3
    again = log.records["body"].rerun()
    assert again.identical and (again.isolates, again.calls) == (1, 0)


@pytest.mark.parametrize("name", sorted({*ENDS, "no function"} - {*BY_CHANCE}))
def test_a_failure_that_the_inputs_determine_comes_again(log: Log, name: str) -> None:
    record = log.records[name]
    ended = of(record, e.IsolateEnded).event
    assert isinstance(ended, e.IsolateEnded) and ended.failure == name
    again = record.rerun()
    assert again.identical and again.isolates == 1 and again.only_calls == ()
    lied = changed(record, (of(record, e.IsolateEnded), {"message": "nothing of the kind"})).rerun()
    assert lied.divergence is not None and lied.divergence.differs == ("message",)


@pytest.mark.parametrize("name", BY_CHANCE)
def test_of_an_end_by_chance_the_calls_are_compared_and_that_is_said(log: Log, name: str) -> None:
    record = log.records[name]
    ended = of(record, e.IsolateEnded).event
    assert isinstance(ended, e.IsolateEnded) and ended.failure == name
    again = record.rerun()
    assert again.identical and again.isolates == 1
    (why,) = again.only_calls
    assert f"it ended by `{name}`, which the record does not determine" in why.because
    if ended.calls:
        lied = changed(record, (of(record, e.CallRequested, 1), {"arguments": {"table": "x"}})).rerun()
        assert lied.divergence is not None and lied.divergence.differs == ("arguments",)


def test_a_run_without_isolates_has_nothing_to_run_again(log: Log) -> None:
    again = log.records["none"].rerun()
    assert again.identical and (again.isolates, again.v8) == (0, None)


async def test_what_an_event_loop_recorded_runs_again_in_it(log: Log) -> None:
    guard = guard_of("memory:")
    asked: list[Any] = []

    async def query(arguments: Any) -> Any:
        asked.append(arguments)
        return [{"id": 1}]

    async with guard.run(principal=ALICE) as run:
        code = "return (await Promise.all([1, 2].map(() => tools.query({ table: 'orders' })))).length"
        await guard.aexecute(run, call("code", code=code), never, inner={"db/query": query})
    record = await guard.runs.aget(run.id)
    again = await record.arerun()
    assert again.identical and (again.isolates, again.calls) == (1, 2)
    assert len(asked) == 2  # while it was recorded, and never again
    await guard.aclose()


# ---- tampered ------------------------------------------------------------------------------------

OTHER = FIVE.replace("wipe", "swipe")


def answers(record: RunRecord, change: Callable[[list[Any]], None]) -> tuple[e.Stamped, dict[str, Any]]:
    outer = of(record, e.IsolateEnded, 1)
    assert isinstance(outer.event, e.IsolateEnded)
    told = json.loads(json.dumps(outer.event.answers))
    change(told)
    return outer, {"answers": told}


def source(record: RunRecord, *, decided: bool, began: bool) -> RunRecord:
    """Change the code, and as many of the digests over it as are said."""
    changes: list[tuple[e.Stamped, dict[str, Any]]] = [
        (of(record, e.CallRequested), {"arguments": {"code": OTHER}})
    ]
    if decided:
        own = digest_of("code", canonical({"code": OTHER}))
        changes.append((of(record, e.CallDecided), {"digest": own}))
    if began:
        changes.append((of(record, e.IsolateStarted), {"source": digest(OTHER)}))
    return changed(record, *changes)


def another_result(record: RunRecord, *, answered: bool) -> RunRecord:
    rows = [{"id": "o1", "total": 13}]
    changes = [(of(record, e.CallFinished), {"result": rows})]
    if answered:
        own = digest_of_text(canonical(rows).decode())
        changes.append(answers(record, lambda told: told[0][0].update(result=own)))
    return changed(record, *changes)


TAMPERED: dict[str, tuple[Callable[[RunRecord], RunRecord], type, int, tuple[str, ...]]] = {
    "an inner result": (lambda r: another_result(r, answered=False), e.CallFinished, 0, ("given",)),
    "an inner result and its digest": (
        lambda r: another_result(r, answered=True), e.IsolateEnded, 1, ("output",),
    ),
    "a refusal's text": (
        lambda r: changed(r, answers(r, lambda told: told[0][1].update(error="no"))),
        e.IsolateEnded, 1, ("output",),
    ),
    "a refusal that became a result": (
        lambda r: changed(r, answers(r, lambda told: told[0].__setitem__(0, {"error": "no"}))),
        e.IsolateEnded, 1, ("output",),
    ),
    "the seed": (
        lambda r: changed(r, (of(r, e.IsolateStarted), {"seed": "0" * 32})),
        e.CallRequested, 3, ("arguments",),
    ),
    "the clock": (
        lambda r: changed(r, (of(r, e.IsolateStarted), {"now_ms": 0})), e.IsolateEnded, 1, ("output",),
    ),
    "the clock's step": (
        lambda r: changed(r, (of(r, e.IsolateStarted), {"tick_ms": 1})), e.IsolateStarted, 0, ("tick_ms",),
    ),
    "a limit": (
        lambda r: changed(r, (of(r, e.IsolateStarted), {"limits": {"time_ms": 1}})),
        e.IsolateStarted, 0, ("limits",),
    ),
    "the source": (lambda r: source(r, decided=False, began=False), e.CallDecided, 0, ("digest",)),
    "the source and its decision": (
        lambda r: source(r, decided=True, began=False), e.IsolateStarted, 0, ("source",),
    ),
    "the source and all its digests": (
        lambda r: source(r, decided=True, began=True), e.CallRequested, 5, ("tool",),
    ),
    "the script": (
        lambda r: changed(r, (of(r, e.RunStarted), {"files": _scripts(r)})),
        e.RunStarted, 0, ("policy_digest",),
    ),
    "the output": (
        lambda r: changed(r, (of(r, e.IsolateEnded, 1), {"output": "sha256:0"})),
        e.IsolateEnded, 1, ("output",),
    ),
    "what the call gave": (
        lambda r: changed(r, (of(r, e.CallFinished, 2), {"result": {}})), e.CallFinished, 2, ("result",),
    ),
    "an inner call's arguments": (
        lambda r: changed(r, (of(r, e.CallRequested, 2), {"arguments": {"table": "orders"}})),
        e.CallRequested, 2, ("arguments",),
    ),
    "an inner call's tool": (
        lambda r: changed(r, (of(r, e.CallRequested, 5), {"tool": "rm"})), e.CallRequested, 5, ("tool",),
    ),
    "calls that were made at once": (
        lambda r: changed(r, answers(r, lambda told: told.insert(1, [told[0].pop()]))),
        e.CallRequested, 1, ("made at once",),
    ),
    "a call left out": (
        lambda r: changed(r, answers(r, lambda told: told.pop())), e.IsolateEnded, 1, ("calls",),
    ),
    "a call left out and not counted": (
        lambda r: changed(r, _last_left_out(r)), e.IsolateEnded, 1, ("calls",),
    ),
    "the number of calls": (
        lambda r: changed(r, (of(r, e.IsolateEnded, 1), {"calls": 4})), e.IsolateEnded, 1, ("calls",),
    ),
    "a failure that was a result": (
        lambda r: changed(r, (of(r, e.IsolateEnded, 1), {"failure": "stalled", "output": None})),
        e.IsolateEnded, 1, ("output", "failure"),
    ),
    "V8": (
        lambda r: changed(r, (of(r, e.IsolateEnded, 1), {"v8": "13.1.2.3"})), e.IsolateEnded, 1, ("v8",),
    ),
    "V8 and the output": (
        lambda r: changed(r, (of(r, e.IsolateEnded, 1), {"v8": "13.1.2.3", "output": "sha256:0"})),
        e.IsolateEnded, 1, ("v8", "output"),
    ),
}  # fmt: skip


def _last_left_out(record: RunRecord) -> tuple[e.Stamped, dict[str, Any]]:
    outer, said = answers(record, lambda told: told.pop())
    return outer, {**said, "calls": 4}


def _scripts(record: RunRecord) -> tuple[Any, ...]:
    return tuple({**one, "text": one["text"].replace("2900", "1")} for one in record.started.files)


@pytest.mark.parametrize("what", TAMPERED)
def test_a_record_that_was_tampered_with_diverges_and_says_where(log: Log, what: str) -> None:
    tamper, kind, nth, differs = TAMPERED[what]
    record = tamper(log.records["five"])
    found = record.rerun()
    assert not found.identical and found.divergence is not None, found
    assert found.divergence.differs == differs
    where = of(record, kind, nth)
    assert found.divergence.seq == where.seq
    assert found.divergence.call == getattr(where.event, "call", None)
    assert str(found.divergence).startswith(f"event {where.seq}, ")
    for name in differs:
        assert found.divergence.recorded.get(name) != found.divergence.recomputed.get(name)


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
        ("large inside", "the result of inner call 1 is not in the record: too large"),
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


@pytest.mark.parametrize("told", [5, [5], [[5]], [["x"]], [[{}]], [[{"result": 1, "withheld": None}]]])
def test_answers_of_another_shape_are_refused(log: Log, told: Any) -> None:
    record = log.records["stalled"]
    lied = changed(record, (of(record, e.IsolateEnded), {"answers": told}))
    try:
        assert not lied.rerun().identical
    except RecordError as error:
        assert "cannot be read" in str(error)


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
