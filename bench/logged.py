"""The log in SQLite: what it costs to wait for it, what one event costs its caller, and to replay runs."""

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median

from bench.harness import Row, spread
from bench.policies import calls_for
from ringfence import Guard, Principal
from ringfence.dsl.plan import Json
from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.decision.events import CallFinished
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.retrospect.replay import replay
from ringfence.engine.seams.settings import Settings

TASKS = 100
_ALICE = Principal(user="alice", workspace="w1")
_POLICY = """language 1
policy bench
capability work is read
agent main { holds work  stop after 10 hours }
tool look_up { needs work  takes table: text  allow when table in ["users", "orders"]  audit full }
"""
_OTHER_EVENTS = 20_000
_CORES = os.cpu_count() or 1


async def body(arguments: Mapping[str, Json]) -> Json:
    """Do nothing, as a tool's body does it."""
    return "done"


def rows() -> Iterator[Row]:
    """Measure the three."""
    yield from asyncio.run(_durable())
    yield _callers_share()
    yield _hidden()
    yield from asyncio.run(_replayed())


async def _durable() -> list[Row]:
    """Count calls that wait until their decision is durable, one after another and from many tasks."""
    serial, together = [], []
    with tempfile.TemporaryDirectory() as folder:
        policy = Path(folder) / "bench.fence"
        policy.write_text(_POLICY, "utf-8")
        guard = Guard.load(policy, store=f"sqlite:///{folder}/bench.db")
        run = await guard.abegin_run(principal=_ALICE)
        for _ in range(3):
            serial.append(await _per_second(guard, run, tasks=1, each=50))
            together.append(await _per_second(guard, run, tasks=TASKS, each=10))
        await guard.aend_run(run)
        await guard.aclose()
    one, many = median(serial), median(together)
    return [
        Row("decision awaited durable, serial (wall)", one, "1/s"),
        Row(f"decision awaited durable, {TASKS} tasks (wall)", many, "1/s"),
        Row(f"the same, {TASKS} tasks against serial", many / one, "x", 10.0, at_least=True),
    ]


async def _per_second(guard: Guard, run: Run, *, tasks: int, each: int) -> float:
    async def task(number: int) -> None:
        for index in range(each):
            await guard.aexecute(
                run, ToolCall("look_up", {"table": "users"}, call_id=f"{number}-{index}"), body
            )

    start = time.perf_counter()
    await asyncio.gather(*(task(number) for number in range(tasks)))
    return tasks * each / (time.perf_counter() - start)


def _callers_share() -> Row:
    """Time `record` of a result of one kilobyte: stamped, encoded and queued, written by others."""
    with tempfile.TemporaryDirectory() as folder:
        policy = Path(folder) / "bench.fence"
        policy.write_text(_POLICY, "utf-8")
        guard = Guard.load(policy, store=f"sqlite:///{folder}/bench.db")
        run = guard.begin_run(principal=_ALICE)
        journal = guard.opening.ready.journal
        events = [CallFinished(f"c{i}.0", "x" * 1_000, None, 1_000) for i in range(2_000)]
        taken = spread(lambda event: journal.record(run.id, event), events, rounds=3)
        guard.close()
    return Row("caller's share of one queued event of 1 KB, p50", taken.p50_ns / 1000, "us", 5.0)


def _hidden() -> Row:
    """Time a guarded call, in CPU, under 20 patterns of `[secrets]` that find nothing, against none."""
    patterns = [rf"k{number}-live-[A-Za-z0-9]{{16,}}" for number in range(20)]
    taken: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        policy = Path(folder) / "bench.fence"
        policy.write_text(_POLICY.replace("audit full", ""), "utf-8")
        for hides in (False, True) * 3:
            settings = Settings.of({"secrets": {"patterns": patterns if hides else []}}, folder=Path(folder))
            guard = Guard.load(policy, settings=settings, store="memory:")
            run = guard.begin_run(principal=_ALICE)
            start = time.process_time_ns()
            for number in range(500):
                asked = ToolCall("look_up", {"table": "users"}, call_id=str(number))
                guard.execute(run, asked, lambda _: "done")
            taken[hides].append((time.process_time_ns() - start) / 500)
            guard.close()
    return Row(
        "a guarded call with 20 secret patterns against one with none",
        median(taken[True]) / median(taken[False]),
        "x",
    )


async def _replayed() -> list[Row]:
    """Read and replay one run of about 200 events among those of many others."""
    calls = calls_for(1, count=70).allowed[:50]
    with tempfile.TemporaryDirectory() as folder:
        policy = Path(folder) / "bench.fence"
        policy.write_text(_POLICY.replace("audit full", ""), "utf-8")
        guard = Guard.load(policy, store=f"sqlite:///{folder}/bench.db")
        last = ""
        for _ in range(_OTHER_EVENTS // 200):
            async with guard.run(principal=_ALICE) as run:
                last = run.id
                for call in calls:
                    asked = ToolCall("look_up", {"table": "users"}, call_id=call.call_id)
                    await guard.aexecute(run, asked, body)
        read, again = [], []
        for _ in range(9):
            start = time.perf_counter_ns()
            record = await guard.runs.aget(last)
            read.append(time.perf_counter_ns() - start)
            start = time.perf_counter_ns()
            if replay(record, guard.plan).divergence is not None:
                raise RuntimeError("the run does not replay")
            again.append(time.perf_counter_ns() - start)
        alone = await _backtested(guard, processes=1)
        spread_out = await _backtested(guard, processes=_CORES)
        await guard.aclose()
    among = f"among {_OTHER_EVENTS:,}"
    return [
        Row(f"a run of {len(record.events)} events {among}: read from SQLite", median(read) / 1e6, "ms"),
        Row(f"a run of {len(record.events)} events: decided again", median(again) / 1e6, "ms"),
        Row("both: read and replayed", (median(read) + median(again)) / 1e6, "ms", 2.0),
        Row(f"backtest of {_OTHER_EVENTS:,} events, one process (wall)", alone, "s"),
        Row(f"the same in {_CORES} processes, their start included (wall)", spread_out, "s"),
    ]


async def _backtested(guard: Guard, *, processes: int) -> float:
    """Decide every run again, once; return the seconds that it took."""
    start = time.perf_counter()
    found = await guard.runs.abacktest(guard.plan, processes=processes)
    if found.changes or found.not_decided:
        raise RuntimeError("the recorded policy decides otherwise")
    return time.perf_counter() - start
