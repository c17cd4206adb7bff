"""What another process recorded of isolates, to be looked at, changed and run again."""

import json
import os
import subprocess
import sys
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

ROOT = Path(__file__).parents[3]


def written(file: Path) -> dict[str, tuple[str, Any]]:
    """Have another process write the log; return the id and the result of each run, by what it is."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.engine.retrospect.isolates_process", f"sqlite:///{file}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return {name: (run, gave) for name, (run, gave) in json.loads(done.stdout).items()}


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
