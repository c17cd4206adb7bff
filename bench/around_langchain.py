"""What the guard adds around LangChain's `tool.ainvoke` and `tool.invoke`: allowed calls, taking turns."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from langchain_core.tools import StructuredTool

from bench.harness import Row, compared, compared_async
from ringfence import Guard, Principal
from ringfence.adapters.langchain import guard_tools
from ringfence.dsl.plan import Json

_POLICY = """language 1
policy bench
capability work is read
agent main { holds work  stop after 1 hours }
tool look_up {
  needs work
  takes table: text, limit: integer
  allow when table in ["users", "orders"]
  require row_cap: limit >= 1 and limit <= 1000
  rate 1000000 per hour for each workspace
}
"""
_ALICE = Principal(user="alice", workspace="w1")


async def look_up(table: str, limit: int) -> str:
    """Look rows up."""
    return f"{limit} rows of {table}"


def look_up_now(table: str, limit: int) -> str:
    """Look rows up."""
    return f"{limit} rows of {table}"


def rows() -> Iterator[Row]:
    """Measure both, interleaved."""
    inputs: list[dict[str, Json]] = [{"table": "users", "limit": 1 + i % 900} for i in range(1_000)]
    yield from _said("ainvoke", *asyncio.run(_asynchronous(inputs)), goal=30.0)
    yield from _said("invoke", *_synchronous(inputs), goal=None)


def _said(name: str, bare_ns: float, guarded_ns: float, *, goal: float | None) -> Iterator[Row]:
    yield Row(f"LangChain tool.{name}, bare, p50", bare_ns / 1000, "us")
    yield Row(f"LangChain tool.{name}, guarded, p50", guarded_ns / 1000, "us")
    yield Row(f"what the guard adds to tool.{name}", (guarded_ns / bare_ns - 1) * 100, "%", goal)


def _guard(folder: str) -> Guard:
    policy = Path(folder) / "bench.fence"
    policy.write_text(_POLICY, "utf-8")
    return Guard.load(policy, store="memory:")


async def _asynchronous(inputs: list[dict[str, Json]]) -> tuple[float, float]:
    bare_tool = StructuredTool.from_function(coroutine=look_up, name="look_up", description="Look rows up.")
    with tempfile.TemporaryDirectory() as folder:
        guard = _guard(folder)
        (guarded_tool,) = guard_tools(guard, [bare_tool])
        bare, guarded = [], []
        for _ in range(5):  # the bare tool stands outside of any run, where nothing watches it
            (taken,) = await compared_async([bare_tool.ainvoke], inputs, rounds=1)
            bare.append(taken.p50_ns)
            async with guard.run(principal=_ALICE):
                (taken,) = await compared_async([guarded_tool.ainvoke], inputs, rounds=1)
            guarded.append(taken.p50_ns)
        await guard.aclose()
    return median(bare), median(guarded)


def _synchronous(inputs: list[dict[str, Json]]) -> tuple[float, float]:
    bare_tool = StructuredTool.from_function(look_up_now, name="look_up", description="Look rows up.")
    with tempfile.TemporaryDirectory() as folder:
        guard = _guard(folder)
        (guarded_tool,) = guard_tools(guard, [bare_tool])
        bare, guarded = [], []
        for _ in range(5):
            bare.append(compared([bare_tool.invoke], inputs, rounds=1)[0].p50_ns)
            with guard.run(principal=_ALICE):
                guarded.append(compared([guarded_tool.invoke], inputs, rounds=1)[0].p50_ns)
        guard.close()
    return median(bare), median(guarded)
