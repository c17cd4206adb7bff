"""What the guard adds around LangChain: to `tool.ainvoke` and `tool.invoke`, and to a turn of an agent.

All calls are allowed; bare and guarded take turns.  Of an agent's turn (two model calls and a tool call, by a
model that answers at once) the CPU of the whole process counts, for LangGraph works on threads: the least of
the rounds is what it takes, their median what a busy machine makes of it.
"""

import asyncio
import gc
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from statistics import median
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import StructuredTool

from bench.harness import Row, compared, compared_async
from bench.looking_up import ALICE, guard_in, look_up, look_up_now
from ringfence import Principal
from ringfence.adapters.langchain import GuardMiddleware, guard_tools
from ringfence.dsl.plan import Json


def rows() -> Iterator[Row]:
    """Measure both, interleaved."""
    inputs: list[dict[str, Json]] = [{"table": "users", "limit": 1 + i % 900} for i in range(1_000)]
    yield from _said("ainvoke", *asyncio.run(_asynchronous(inputs)), goal=30.0)
    yield from _said("invoke", *_synchronous(inputs), goal=None)
    yield from _turns()


def _said(name: str, bare_ns: float, guarded_ns: float, *, goal: float | None) -> Iterator[Row]:
    yield Row(f"LangChain tool.{name}, bare, p50", bare_ns / 1000, "us")
    yield Row(f"LangChain tool.{name}, guarded, p50", guarded_ns / 1000, "us")
    yield Row(f"what the guard adds to tool.{name}", (guarded_ns / bare_ns - 1) * 100, "%", goal)


async def _asynchronous(inputs: list[dict[str, Json]]) -> tuple[float, float]:
    bare_tool = StructuredTool.from_function(coroutine=look_up, name="look_up", description="Look rows up.")
    with tempfile.TemporaryDirectory() as folder:
        guard = guard_in(folder)
        (guarded_tool,) = guard_tools(guard, [bare_tool])
        bare, guarded = [], []
        for _ in range(5):  # the bare tool stands outside of any run, where nothing watches it
            (taken,) = await compared_async([bare_tool.ainvoke], inputs, rounds=1)
            bare.append(taken.p50_ns)
            async with guard.run(principal=ALICE):
                (taken,) = await compared_async([guarded_tool.ainvoke], inputs, rounds=1)
            guarded.append(taken.p50_ns)
        await guard.aclose()
    return median(bare), median(guarded)


def _synchronous(inputs: list[dict[str, Json]]) -> tuple[float, float]:
    bare_tool = StructuredTool.from_function(look_up_now, name="look_up", description="Look rows up.")
    with tempfile.TemporaryDirectory() as folder:
        guard = guard_in(folder)
        (guarded_tool,) = guard_tools(guard, [bare_tool])
        bare, guarded = [], []
        for _ in range(5):
            bare.append(compared([bare_tool.invoke], inputs, rounds=1)[0].p50_ns)
            with guard.run(principal=ALICE):
                guarded.append(compared([guarded_tool.invoke], inputs, rounds=1)[0].p50_ns)
        guard.close()
    return median(bare), median(guarded)


# ---- an agent's turn ---------------------------------------------------------------------------------

_TURNS, _ROUNDS = 20, 12


class _Model(BaseChatModel):
    """Calls the tool once, and then has said all."""

    @property
    def _llm_type(self) -> str:
        return "bench"

    def bind_tools(self, tools: Any, **_: Any) -> Any:
        return self

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **_: Any) -> ChatResult:
        call = {"name": "look_up", "args": {"table": "users", "limit": 9}, "id": f"c{len(messages)}"}
        first = isinstance(messages[-1], HumanMessage)
        message = AIMessage("", tool_calls=[call]) if first else AIMessage("that was all")
        return ChatResult(generations=[ChatGeneration(message=message)])


def _turns() -> Iterator[Row]:
    tool = StructuredTool.from_function(look_up_now, look_up, name="look_up", description="Look rows up.")
    with tempfile.TemporaryDirectory() as folder:
        guard = guard_in(folder)
        given: Any = {"messages": [("user", "look it up")]}
        bare: Any = create_agent(_Model(), [tool], context_schema=Principal)
        guarded: Any = create_agent(
            _Model(), [tool], middleware=[GuardMiddleware(guard)], context_schema=Principal
        )
        works = [partial(one.invoke, given, context=ALICE) for one in (bare, guarded)]
        yield from _turn("invoke", *_interleaved(works))
        aworks = [partial(one.ainvoke, given, context=ALICE) for one in (bare, guarded)]
        yield from _turn("ainvoke", *asyncio.run(_ainterleaved(aworks)))
        guard.close()


def _turn(name: str, bare_us: list[float], guarded_us: list[float]) -> Iterator[Row]:
    for kind, taken in (("bare", bare_us), ("guarded", guarded_us)):
        yield Row(f"create_agent.{name}, a turn, {kind}, CPU, least", min(taken), "us")
        yield Row(f"create_agent.{name}, a turn, {kind}, CPU, median", median(taken), "us")
    yield Row(f"what the guard adds to a turn of create_agent.{name}", min(guarded_us) - min(bare_us), "us")


def _interleaved(works: Sequence[Callable[[], object]]) -> list[list[float]]:
    """Return the CPU of the process per turn, in microseconds, round by round."""
    taken: list[list[float]] = [[] for _ in works]
    for each in range(_ROUNDS + 1):
        for index, work in enumerate(works):
            gc.collect()
            start = time.process_time_ns()
            for _ in range(_TURNS):
                work()
            if each > 0:  # the first round fills caches
                taken[index].append((time.process_time_ns() - start) / _TURNS / 1000)
    return taken


async def _ainterleaved(works: Sequence[Callable[[], Awaitable[object]]]) -> list[list[float]]:
    """Like `_interleaved`."""
    taken: list[list[float]] = [[] for _ in works]
    for each in range(_ROUNDS + 1):
        for index, work in enumerate(works):
            gc.collect()
            start = time.process_time_ns()
            for _ in range(_TURNS):
                await work()
            if each > 0:
                taken[index].append((time.process_time_ns() - start) / _TURNS / 1000)
    return taken
