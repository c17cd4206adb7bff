"""What the guard adds around a Pydantic AI agent: a turn, and one tool call more in it, taking turns."""

import asyncio
import tempfile
from collections.abc import Iterator

from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from bench.harness import Row, compared_async
from bench.looking_up import ALICE, guard_in, look_up
from ringfence.adapters.pydantic_ai import Guarded
from ringfence.dsl.plan import Json

_MANY = 21
_TURNS = 20


def rows() -> Iterator[Row]:
    """Measure turns with one call and with many, bare and guarded, interleaved."""
    bare_one, guarded_one, bare_many, guarded_many = asyncio.run(_measured())
    yield Row("Pydantic AI turn with one tool call, bare, p50", bare_one / 1000, "us")
    yield Row("Pydantic AI turn with one tool call, guarded, p50", guarded_one / 1000, "us")
    yield Row("what the guard adds to such a turn", (guarded_one / bare_one - 1) * 100, "%")
    bare, guarded = (
        (many - one) / (_MANY - 1) for many, one in ((bare_many, bare_one), (guarded_many, guarded_one))
    )
    yield Row("Pydantic AI, one tool call more in a turn, bare", bare / 1000, "us")
    yield Row("Pydantic AI, one tool call more in a turn, guarded", guarded / 1000, "us")


def _model(calls: int) -> FunctionModel:
    """Return a model that makes so many calls at once, and is done."""

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        if len(messages) > 1:
            return ModelResponse(parts=[TextPart("done")])
        arguments = ({"table": "users", "limit": 1 + number} for number in range(calls))
        return ModelResponse(parts=[ToolCallPart("look_up", given) for given in arguments])

    return FunctionModel(answer)


async def _measured() -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        guard = guard_in(folder)
        guarded = [Guarded(guard, principal=ALICE)]
        agents = [
            Agent(_model(calls), tools=[look_up], capabilities=capabilities)
            for calls in (1, _MANY)
            for capabilities in ([], guarded)
        ]

        def turn_of(agent: Agent[None, str]):  # type: ignore[no-untyped-def]
            async def turn(said: dict[str, Json]) -> object:
                return (await agent.run(said["prompt"])).output

            return turn

        prompts: list[dict[str, Json]] = [{"prompt": f"look {number}"} for number in range(_TURNS)]
        taken = await compared_async([turn_of(agent) for agent in agents], prompts)
        await guard.aclose()
    return [one.p50_ns for one in taken]
