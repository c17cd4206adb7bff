"""The log in SQLite: what it costs to wait for it, and what one event costs its caller."""

import asyncio
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.harness import Row, spread
from ringfence import Guard, Principal
from ringfence.dsl.plan import Json
from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.decision.events import CallFinished
from ringfence.engine.seams.settings import Settings

TASKS = 100
_ALICE = Principal(user="alice", workspace="w1")
_POLICY = """language 1
policy bench
capability work is read
agent main { holds work  stop after 10 hours }
tool look_up { needs work  takes table: text  allow when table in ["users", "orders"]  audit full }
"""


async def body(arguments: Mapping[str, Json]) -> Json:
    """Do nothing, as a tool's body does it."""
    return "done"


def rows() -> Iterator[Row]:
    """Measure them."""
    yield from asyncio.run(_audited())
    yield _callers_share()
    yield _hidden()


async def _audited() -> list[Row]:
    """Count calls that are queued, and calls that wait for a durable decision: one at a time, and many."""
    found: dict[str, list[_Rate]] = {"queued": [], "alone": [], "together": []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(3):
            for name, audit, tasks, each in (
                ("queued", "standard", 1, 1_000),
                ("alone", "full", 1, 50),
                ("together", "full", TASKS, 10),
            ):
                found[name].append(await _rate(Path(folder), audit, tasks=tasks, each=each))
    wall = {name: median(rate.per_s for rate in rates) for name, rates in found.items()}
    cpu = {name: median(rate.per_cpu_s for rate in rates) for name, rates in found.items()}
    return [
        Row(
            "audited calls, `audit standard`, queued, per CPU-second",
            cpu["queued"],
            "1/s",
            20_000.0,
            at_least=True,
        ),
        Row("the same, `audit full`, awaited, 1 caller", cpu["alone"], "1/s"),
        Row(f"the same, `audit full`, awaited, {TASKS} callers", cpu["together"], "1/s"),
        Row(f"CPU of a call awaited by {TASKS} callers against queued", cpu["queued"] / cpu["together"], "x"),
        Row("decision awaited durable, serial (wall)", wall["alone"], "1/s"),
        Row(f"decision awaited durable, {TASKS} tasks (wall)", wall["together"], "1/s"),
        Row(
            f"the same, {TASKS} tasks against serial",
            wall["together"] / wall["alone"],
            "x",
            10.0,
            at_least=True,
        ),
    ]


@dataclass(frozen=True, slots=True)
class _Rate:
    """Calls per second, by the wall and by the CPU of the whole process, the writer's thread included."""

    per_s: float
    per_cpu_s: float


async def _rate(folder: Path, audit: str, *, tasks: int, each: int) -> _Rate:
    """Make so many calls from so many tasks; of those that are queued, until all is written."""
    policy = folder / "bench.fence"
    policy.write_text(_POLICY.replace("audit full", f"audit {audit}"), "utf-8")
    guard = Guard.load(policy, store=f"sqlite:///{folder}/bench.db")
    run = await guard.abegin_run(principal=_ALICE)

    async def task(name: str, calls: int) -> None:
        for index in range(calls):
            await guard.aexecute(
                run, ToolCall("look_up", {"table": "users"}, call_id=f"{name}-{index}"), body
            )

    await task("warm", 20)
    start, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(task(str(number), each) for number in range(tasks)))
    await guard.aend_run(run)
    took_s, took_cpu_s = time.perf_counter() - start, time.process_time() - cpu
    await guard.aclose()
    return _Rate(tasks * each / took_s, tasks * each / took_cpu_s)


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
