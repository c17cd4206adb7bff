"""What the guard adds to an agent of the OpenAI Agents SDK: a turn with calls, and a last word.

The least CPU time of the whole process over many turns that take turns: the guard's own threads are counted,
and what waits for a core that others use is not.
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from agents import Agent, Model, ModelResponse, RunConfig, Runner, Usage, function_tool, set_tracing_disabled
from agents.testing import assistant_message, function_call

from bench.harness import Row
from bench.looking_up import ALICE, guard_in, look_up
from ringfence.adapters.openai_agents import GuardedRunner

_CALLS = 5
"""Calls of one turn: what is added once for a run shows beside what each call adds."""
_ROUNDS = 200


class _Scripted(Model):
    """A model that asks for rows once, and is then done: far cheaper than the SDK's own scripted one."""

    def __init__(self, calls: int) -> None:
        self.calls = calls

    async def get_response(self, *given: Any, **more: Any) -> ModelResponse:
        items = given[1] if given else more["input"]
        if isinstance(items, list) and items[-1].get("type") == "function_call_output":
            return ModelResponse(output=[assistant_message("done")], usage=Usage(), response_id=None)
        calls = [
            function_call("look_up", {"table": "users", "limit": 1 + at}, call_id=f"c{at}")
            for at in range(self.calls)
        ]
        return ModelResponse(output=calls, usage=Usage(), response_id=None)

    def stream_response(self, *given: Any, **more: Any) -> Any:
        raise AssertionError("nothing streams here")


def rows() -> Iterator[Row]:
    """Measure both, interleaved."""
    set_tracing_disabled(True)  # the SDK would send traces away
    for calls in (1, _CALLS):
        bare_ns, guarded_ns = asyncio.run(_measured(calls))
        what = f"OpenAI Agents run, {calls} call{'s' if calls > 1 else ''}"
        yield Row(f"{what}, bare, least CPU", bare_ns / 1000, "us")
        yield Row(f"{what}, guarded, least CPU", guarded_ns / 1000, "us")
        yield Row(
            f"what the guard adds to it, {calls} call{'s' if calls > 1 else ''}",
            (guarded_ns / bare_ns - 1) * 100,
            "%",
        )


async def _measured(calls: int) -> tuple[float, float]:
    agent: Agent[Any] = Agent(name="main", tools=[function_tool(look_up)], model=_Scripted(calls))
    config = RunConfig(tracing_disabled=True)
    with tempfile.TemporaryDirectory() as folder:
        guard = guard_in(folder)
        runner = GuardedRunner(guard)

        async def bare() -> object:
            return await Runner.run(agent, "go", run_config=config)

        async def guarded() -> object:
            return await runner.run(agent, "go", principal=ALICE, run_config=config)

        taken = await _least_ns(bare, guarded)
        await guard.aclose()
    return taken


async def _least_ns(*works: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    least = [float("inf")] * len(works)
    for _ in range(_ROUNDS):
        for index, work in enumerate(works):
            start = time.process_time_ns()
            await work()
            least[index] = min(least[index], time.process_time_ns() - start)
    return least[0], least[1]
