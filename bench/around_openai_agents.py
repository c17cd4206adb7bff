"""What the guard adds to an agent of the OpenAI Agents SDK: a turn with calls, and a last word."""

import asyncio
import tempfile
from collections.abc import Iterator
from typing import Any

from agents import Agent, Model, ModelResponse, RunConfig, Runner, Usage, function_tool, set_tracing_disabled
from agents.testing import assistant_message, function_call

from bench.harness import Row, compared_async
from bench.looking_up import ALICE, guard_in, look_up
from ringfence.adapters.openai_agents import GuardedRunner
from ringfence.dsl.plan import Json

_CALLS = 5
"""Calls of one turn: what is added once for a run shows beside what each call adds."""


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
        yield Row(f"{what}, bare, p50", bare_ns / 1000, "us")
        yield Row(f"{what}, guarded, p50", guarded_ns / 1000, "us")
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

        async def bare(_: Json) -> Any:
            return await Runner.run(agent, "go", run_config=config)

        async def guarded(_: Json) -> Any:
            return await runner.run(agent, "go", principal=ALICE, run_config=config)

        inputs: list[Json] = [None] * 100
        taken = await compared_async([bare, guarded], inputs, rounds=3)
        await guard.aclose()
    return taken[0].p50_ns, taken[1].p50_ns
