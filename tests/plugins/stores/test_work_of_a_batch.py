"""How much work storing is, counted: no clock is asked.

The ceilings stand about a tenth above what is counted today.
"""

import asyncio
import gc
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from ringfence.engine.decision.events import CallFinished, CallStarted, RunStarted, Stamped
from ringfence.engine.journal.chain import ZERO
from ringfence.engine.journal.journal import Journal
from ringfence.engine.journal.queued import Place, Queued, encoded, linked
from ringfence.engine.seams.loop import EngineLoop
from ringfence.engine.seams.ports import Entry
from ringfence.engine.seams.wakes import arrival
from ringfence.plugins.memory.log import MemoryLog
from ringfence.plugins.sqlite.log import _append
from ringfence.plugins.sqlite.opening import connect_writer, make_file
from ringfence.testing import FakeClock

MOST_TO_LINK = 12
"""Calls of functions for each event, those of C too: three hashes, a header, an entry."""
MOST_TO_STORE = 9
MOST_STATEMENTS = 3
"""Of a batch beside its rows: the run, the last link, what has grown of the run."""


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    make_file(tmp_path / "x.db")
    with closing(connect_writer(tmp_path / "x.db", busy_s=5)) as opened:
        yield opened


def queued(count: int, *, runs: int = 1) -> list[Queued]:
    """Return so many events, by turns of so many runs."""
    places = [Place(0, ZERO) for _ in range(runs)]
    made: list[Queued] = []
    for number in range(count):
        which = number % runs
        place = places[which]
        place.seq += 1
        event = (
            RunStarted(f"s{which}", None, "main", {}, (), "p", "d", "t", "enforce", "none", None, None, None)
            if place.seq == 1
            else CallStarted("c.0")
            if number % 2
            else CallFinished("c.0", {"rows": [1, 2]}, None, 5)
        )
        stamped = Stamped(place.seq, 1_800_000_000_000_000_000 + number, event)
        made.append(Queued(f"run-{which}", place, stamped, number, encoded(event)))
    return made


def calls_of(work: Callable[[], object]) -> int:
    """Return how many functions are called, those of C too."""
    count = 0

    def note(frame: FrameType, event: str, _: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    gc.disable()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        gc.enable()
    return count


def test_linking_an_event_calls_few_functions() -> None:
    few, many = queued(101), queued(1_101)
    calls = calls_of(lambda: linked(many)) - calls_of(lambda: linked(few))
    assert 0 < calls / 1_000 <= MOST_TO_LINK


def test_storing_an_event_calls_few_functions(db: sqlite3.Connection) -> None:
    entries = linked(queued(1_201))
    _append(db, entries[:1])
    few = calls_of(lambda: _append(db, entries[1:101]))
    many = calls_of(lambda: _append(db, entries[101:]))
    assert 0 < (many - few) / 1_000 <= MOST_TO_STORE


@pytest.mark.parametrize("events", [2, 500])
def test_a_batch_of_one_run_is_few_statements_beside_its_rows(db: sqlite3.Connection, events: int) -> None:
    entries = linked(queued(events + 1))
    _append(db, entries[:1])
    said: list[str] = []
    db.set_trace_callback(said.append)
    _append(db, entries[1:])
    db.set_trace_callback(None)
    rows = [one for one in said if one.startswith("INSERT INTO event")]
    assert len(rows) == events
    assert len(said) - len(rows) <= MOST_STATEMENTS
    assert not any("started_ns = " in one for one in said), "no index has to change"


def test_each_further_run_of_a_batch_is_two_statements_more(db: sqlite3.Connection) -> None:
    entries = linked(queued(100, runs=10))
    _append(db, entries[:50])
    said: list[str] = []
    db.set_trace_callback(said.append)
    _append(db, entries[50:])
    db.set_trace_callback(None)
    assert len([one for one in said if not one.startswith("INSERT INTO event")]) <= 2 * 10 + 1


class _CountingLoop(asyncio.SelectorEventLoop):
    wakes = 0

    def call_soon_threadsafe(self, *given: Any, **named: Any) -> Any:  # type: ignore[override]
        self.wakes += 1
        return super().call_soon_threadsafe(*given, **named)


class _HeldLog(MemoryLog):
    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()

    async def append(self, batch: Sequence[Entry]) -> None:
        await self.gate.wait()
        await super().append(batch)


@pytest.mark.not_replayed("its events are made up: no guard decided anything")
def test_a_hundred_callers_that_wait_for_one_commit_wake_their_loop_once() -> None:
    log, engine, mine = _HeldLog(), EngineLoop(), _CountingLoop()
    journal = Journal(log, engine, FakeClock())
    journal.open_run("r")

    async def wait() -> None:
        await arrival(journal.flush("r", bounded=True))

    async def all_of_them() -> int:
        journal.record("r", CallStarted("c.0"))
        waiting = [asyncio.create_task(wait()) for _ in range(100)]
        while len(journal._waiting) < 100:
            await asyncio.sleep(0)
        before = mine.wakes
        engine.call_soon(log.gate.set)
        await asyncio.gather(*waiting)
        return mine.wakes - before

    assert mine.run_until_complete(all_of_them()) == 1
    mine.close()
    engine.close()
