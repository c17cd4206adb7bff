"""What the guard adds around LangChain's own `tool.ainvoke`: allowed calls, taking turns."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from langchain_core.tools import StructuredTool

from bench.harness import Row, compared_async
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


async def look_up(table: str, limit: int) -> str:
    """Look rows up."""
    return f"{limit} rows of {table}"


def rows() -> Iterator[Row]:
    """Measure both, interleaved."""
    yield from asyncio.run(_measure())


async def _measure() -> list[Row]:
    bare_tool = StructuredTool.from_function(coroutine=look_up, name="look_up", description="Look rows up.")
    inputs: list[dict[str, Json]] = [{"table": "users", "limit": 1 + i % 900} for i in range(1_000)]
    with tempfile.TemporaryDirectory() as folder:
        policy = Path(folder) / "bench.fence"
        policy.write_text(_POLICY, "utf-8")
        guard = Guard.load(policy, store="memory:")
        (guarded_tool,) = guard_tools(guard, [bare_tool])
        bare, guarded = [], []
        for _ in range(5):  # the bare tool stands outside of any run, where nothing watches it
            (taken,) = await compared_async([bare_tool.ainvoke], inputs, rounds=1)
            bare.append(taken.p50_ns)
            async with guard.run(principal=Principal(user="alice", workspace="w1")):
                (taken,) = await compared_async([guarded_tool.ainvoke], inputs, rounds=1)
            guarded.append(taken.p50_ns)
        await guard.aclose()
    bare_ns, guarded_ns = median(bare), median(guarded)
    return [
        Row("LangChain tool.ainvoke, bare, p50", bare_ns / 1000, "us"),
        Row("LangChain tool.ainvoke, guarded, p50", guarded_ns / 1000, "us"),
        Row("what the guard adds to tool.ainvoke", (guarded_ns / bare_ns - 1) * 100, "%", 30.0),
    ]
