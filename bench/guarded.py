"""One guarded call as a host makes it: decided, bounded in time, recorded, around a bare coroutine."""

import asyncio
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.harness import Row, Spread, compared_async
from bench.policies import calls_for, policy_text
from ringfence import Guard, Principal
from ringfence.dsl.plan import Json
from ringfence.engine.decision.calls import ToolCall

TOOLS = 50


async def body(arguments: Mapping[str, Json]) -> Json:
    """Do nothing, as a tool's body does it."""
    return "done"


def rows() -> Iterator[Row]:
    """Measure the call's overhead, and how many calls a CPU-second records in SQLite."""
    bare, guarded = asyncio.run(_overhead())
    yield Row("bare await, p50", bare.p50_ns / 1000, "us")
    yield Row(
        "guarded async call over the bare await, p50", (guarded.p50_ns - bare.p50_ns) / 1000, "us", 30.0
    )
    yield Row("guarded async call, p99 (CPU)", guarded.p99_ns / 1000, "us", 150.0)
    queued = asyncio.run(_audited(rate=False))
    yield Row("audited calls, queued, per CPU-second", queued, "1/s", 20_000.0, at_least=True)
    charged = asyncio.run(_audited(rate=True))
    yield Row("the same, with a rate kept in SQLite, per CPU-second", charged, "1/s")


async def _overhead() -> tuple[Spread, Spread]:
    calls = calls_for(TOOLS, count=2_500).allowed
    with tempfile.TemporaryDirectory() as folder:
        guard = _guard(Path(folder), "memory:", rate=True)
        run = await guard.abegin_run(principal=Principal(user="alice", workspace="w1"))

        async def bare(call: ToolCall) -> Json:
            return await body(call.arguments)

        async def guarded(call: ToolCall) -> Json:
            return await guard.aexecute(run, call, body)

        bare_taken, guarded_taken = await compared_async([bare, guarded], calls, rounds=3)
        await guard.aend_run(run)
        await guard.aclose()
    return bare_taken, guarded_taken


async def _audited(*, rate: bool) -> float:
    """Return calls per second of the whole process's CPU, the writer's thread included."""
    calls = calls_for(TOOLS, count=4_000).allowed
    with tempfile.TemporaryDirectory() as folder:
        guard = _guard(Path(folder), f"sqlite:///{folder}/bench.db", rate=rate)
        run = await guard.abegin_run(principal=Principal(user="alice", workspace="w1"))
        for call in calls[:200]:
            await guard.aexecute(run, call, body)
        start = time.process_time()
        for call in calls[200:]:
            await guard.aexecute(run, call, body)
        await guard.aend_run(run)
        taken = time.process_time() - start
        await guard.aclose()
    return (len(calls) - 200) / taken


def _guard(folder: Path, store: str, *, rate: bool) -> Guard:
    policy = folder / "bench.fence"
    policy.write_text(policy_text(TOOLS, rate=rate), "utf-8")
    return Guard.load(policy, store=store)
