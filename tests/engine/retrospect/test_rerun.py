"""What ran in isolates runs again from its record alone: the same bytes, or where it diverges."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("py_mini_racer")

from ringfence.dsl.canonical import canonical, digest
from ringfence.engine.decision import events as e
from ringfence.engine.decision.calls import digest_of
from ringfence.engine.enforcement.filled import FillingBody
from ringfence.engine.journal.isolated import digest_of_text
from ringfence.engine.retrospect.record import RunRecord
from ringfence.engine.seams.errors import PendingError, RunHaltedError
from ringfence.engine.seams.isolates import (
    Fitness,
    InnerAnswering,
    IsolateExecutor,
    IsolateJob,
    IsolateOutcome,
    Lockdown,
)
from ringfence.engine.seams.loop import EngineLoop
from tests.engine.retrospect.isolates_log import Log, changed, of, within
from tests.engine.retrospect.isolates_process import ENDS, FIVE, guard_of, never
from tests.guards import ALICE, call

BY_CHANCE = ("memory", "time", "cpu")


@dataclass
class Watched:
    """Runs isolates elsewhere, and notes what they gave."""

    executor: IsolateExecutor
    outcomes: list[IsolateOutcome] = field(default_factory=list)

    async def run(self, job: IsolateJob, answer: InnerAnswering) -> IsolateOutcome:
        """See `IsolateExecutor`."""
        self.outcomes.append(await self.executor.run(job, answer))
        return self.outcomes[-1]

    async def fitness(self) -> Fitness:
        """See `IsolateExecutor`."""
        return await self.executor.fitness()

    def prewarm(self, lockdown: Lockdown, memory_bytes: int) -> None:
        """See `IsolateExecutor`."""

    async def close(self) -> None:
        """See `IsolateExecutor`."""
        await self.executor.close()


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
    ended = of(record, e.IsolateEnded, -1).event
    assert isinstance(ended, e.IsolateEnded) and ended.failure == name
    again = record.rerun()
    assert again.identical and again.isolates == (2 if name == "time" else 1)
    (why,) = again.only_calls
    assert f"it ended by `{name}`, which the record does not determine" in why.because
    if ended.calls:
        lied = changed(record, (of(record, e.CallRequested, -1), {"arguments": {"table": "x"}})).rerun()
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


# ---- what was not run as it was asked for, or not to its end ---------------------------------------

EDITED = """
language 1
policy edited
capability run is code
approver lead { group "leads" never the requester answer within 15 minutes otherwise deny }
agent main { holds run }
isolate box { lockdown process time 60 seconds cpu 20 seconds }
tool code { needs run takes code: text runs code in box allow when size(code) > 0 bytes ask lead }
tool shout {
  needs run
  takes text: text, count: number, loud: boolean optional
  runs "shout.js" in box
  allow always
}
"""


def test_code_that_a_person_changed_runs_again_as_it_was_run() -> None:
    guard = guard_of("memory:", EDITED, groups={"leads": ["dana"]})
    run = guard.begin_run(principal=ALICE)
    asked = call("code", "c1", code="return 1")
    with pytest.raises(PendingError) as pending:
        guard.execute(run, asked, never, wait=False)
    (ticket,) = pending.value.tickets
    guard.approve(ticket, by="dana", edited={"code": "return 2"})
    assert guard.execute(run, asked, never, wait=False) == 2
    assert guard.execute(run, call("shout", text="é", count=2.0), never) == "é2undefined"
    record = guard.runs.get(run.id)
    assert record.replay().identical
    again = record.rerun()
    assert again.identical and again.isolates == 2
    answered = of(record, e.ApprovalAnswered)
    found = changed(record, (answered, {"edited": {"code": "return 3"}})).rerun().divergence
    assert found is not None and found.differs == ("digest",)
    guard.close()


FEW = """
language 1
policy few
capability look is read
capability run is code
agent main { holds look, run at most 3 calls }
isolate box { lockdown process time 60 seconds cpu 20 seconds may call query }
tool query { needs look takes limit: integer optional allow always }
tool code { needs run takes code: text runs code in box allow when size(code) > 0 bytes }
"""


def test_of_a_run_that_was_halted_inside_the_calls_are_compared() -> None:
    guard = guard_of("memory:", FEW)
    run = guard.begin_run(principal=ALICE)
    code = "let n = 0; for (;;) n += await Promise.all([tools.query(), tools.query()])"
    with pytest.raises(RunHaltedError):
        guard.execute(
            run, call("code", code=code), never, inner={"query": FillingBody(lambda _: 1, {"limit": 5})}
        )
    record = guard.runs.get(run.id)
    ended = of(record, e.IsolateEnded).event
    assert isinstance(ended, e.IsolateEnded)
    assert (ended.failure, [len(batch) for batch in ended.answers]) == ("stopped", [2, 2])
    assert ended.answers[1] == [{"filled": ["limit"]}, None]
    again = record.rerun()
    assert again.identical and (again.isolates, again.calls) == (1, 2)
    assert [why.because for why in again.only_calls] == [
        "it ended by `stopped`, which the record does not determine"
    ]
    guard.close()


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
