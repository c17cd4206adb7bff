import pytest

from ringfence.dsl.canonical import canonical
from ringfence.engine.decision.events import SCHEMA, ModelAnswered
from ringfence.engine.retrospect.living import read_living
from ringfence.engine.retrospect.record import RecordError, RunRecord
from ringfence.plugins.memory.leases import MemoryLeases
from ringfence.plugins.memory.log import MemoryLog
from tests.logs import Recorder
from tests.plans import parameter, plan, tool

PLAN = plan(tool("t", takes=[parameter("x", kind="integer")]))


def recorder() -> Recorder:
    run = Recorder(PLAN)
    run.call("a.0", {"x": 1})
    run.call("b.0", {"x": 2})
    return run


def test_a_run_is_read_back_as_it_was_recorded() -> None:
    run = recorder()
    record = RunRecord.read(run.entries())
    assert record.events == tuple(run.events) and record.run == "r1"
    assert record.started.agent == "main" and not record.purged


def test_a_large_number_is_read_back_as_the_number_it_was() -> None:
    run = recorder()
    run.record(ModelAnswered("m", {"score": 1e17, "tiny": 1e-9, "whole": 5}, None, 1, None))
    said = RunRecord.read(run.entries()).events[-1].event
    assert isinstance(said, ModelAnswered) and said == run.events[-1].event
    assert canonical(said.messages) == canonical({"score": 1e17, "tiny": 1e-9, "whole": 5})


def test_purged_bodies_are_left_out_and_named() -> None:
    entries = recorder().entries()
    entries[2] = entries[2]._replace(body=None, salt=b"")
    record = RunRecord.read(entries)
    assert record.purged == {3: "CallDecided"} and len(record.events) == len(entries) - 1


def test_a_run_whose_beginning_was_purged_says_so() -> None:
    entries = recorder().entries()
    entries[0] = entries[0]._replace(body=None, salt=b"")
    with pytest.raises(RecordError, match="purged"):
        _ = RunRecord.read(entries).started


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": SCHEMA + 1}, "newer version"),
        ({"kind": "Unheard"}, "unknown kind `Unheard`"),
        ({"kind": "CallStarted"}, "no CallStarted"),
        ({"kind": "RunStarted"}, "begins with RunStarted, once"),
        ({"body": b"{"}, "no CallRequested"),
        ({"body": b"[]"}, "no CallRequested"),
        ({"body": b"\xff"}, "no CallRequested"),
        ({"seq": 9}, "r1:2 is missing"),
        ({"run": "r2"}, "another run"),
    ],
)
def test_an_entry_that_cannot_be_read_is_named(change: dict[str, object], message: str) -> None:
    entries = recorder().entries()
    entries[1] = entries[1]._replace(**change)  # type: ignore[arg-type]
    with pytest.raises(RecordError, match=message):
        RunRecord.read(entries)


def test_an_unknown_run_is_said_to_be_none() -> None:
    with pytest.raises(RecordError, match="no such run"):
        RunRecord.read([])


@pytest.mark.parametrize("answer", [None, "host/1-x", OSError("away")])
async def test_a_run_whose_end_nobody_recorded_is_gone_if_nobody_is_known_to_live_it(
    answer: str | Exception | None,
) -> None:
    class Asked(MemoryLeases):
        async def holder(self, session: str) -> str | None:
            if isinstance(answer, Exception):
                raise answer
            return answer

    log, leases = MemoryLog(), Asked()
    run = recorder()
    await log.append(run.entries("r1"))
    entries, gone = await read_living(log, leases, "r1")
    assert gone is (answer is None) and len(entries) == len(run.events)
    assert await read_living(log, None, "r1") == (entries, False)
    assert await read_living(log, leases, "r2") == ([], False)
