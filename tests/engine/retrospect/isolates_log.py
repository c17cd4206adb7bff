"""What another process recorded of isolates, to be looked at, changed and run again."""

from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ringfence.engine.decision import events as e
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.retrospect.record import RunRecord
from ringfence.engine.seams.isolates import IsolateExecutor
from ringfence.engine.seams.loop import EngineLoop


@dataclass
class Log:
    """What another process recorded."""

    file: Path
    gave: dict[str, Any]
    records: dict[str, RunRecord]
    guard: Guard


def within(record: RunRecord, executor: IsolateExecutor, loop: EngineLoop) -> RunRecord:
    """Return the record with nothing at hand but this."""

    def isolates(work: Callable[[IsolateExecutor], Awaitable[Any]]) -> "Future[Any]":
        async def done() -> Any:
            return await work(executor)

        return loop.submit(done())

    return RunRecord(record.run, record.events, record.purged, None, isolates)


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
