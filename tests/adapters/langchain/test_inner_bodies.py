"""What a LangChain tool is given when code in an isolate calls it, and what the code gets of it."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, Tool, ToolException, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt
from pydantic import BaseModel, Field, field_validator

from ringfence.adapters.langchain import isolate_tool
from ringfence.engine.decision.events import CallFailed, CallRequested
from ringfence.engine.enforcement.guard import Guard
from tests.adapters.langchain.agents import (
    ALICE,
    HELLO,
    THREAD,
    Invoke,
    agent_of,
    both,
    events,
    replies,
    run_async,
    run_sync,
)
from tests.adapters.langchain.model import asks, call, says
from tests.isolated_tools import executor, guard_of
from tests.isolates import ToolError, Tools

ROWS = [{"total": 2}, {"total": 3}]


@pytest.fixture
def guard() -> Iterator[Guard]:
    made = guard_of(executor())
    yield made
    made.close()


class Coloured(BaseTool):
    """A tool by its class alone."""

    name: str = "db/query"
    description: str = "Read."

    def _run(self, table: str, config: RunnableConfig, run_manager: Any = None) -> Any:
        assert config["metadata"]["colour"] == "red" and run_manager is None
        return ROWS


def with_config(table: str, config: RunnableConfig) -> Any:
    """Read."""
    assert config["metadata"]["colour"] == "red"
    return ROWS


async def awaited(table: str) -> Any:
    """Read."""
    await asyncio.sleep(0)
    return ROWS


def with_artifact(table: str) -> Any:
    """Read."""
    return ROWS, object()


def with_message(table: str) -> Any:
    """Read."""
    return ToolMessage(content=ROWS, tool_call_id="x", artifact=object())  # type: ignore[arg-type]


class Table(BaseModel):
    """Which one."""

    table: str


WORKING: dict[str, BaseTool] = {
    "single": Tool("db/query", lambda table: ROWS, "Read.", args_schema=Table),
    "class": Coloured(),
    "config": tool("db/query")(with_config),
    "both": StructuredTool.from_function(with_config, awaited, "db/query"),
    "artifact": tool("db/query", response_format="content_and_artifact")(with_artifact),
    "message": tool("db/query")(with_message),
    "dict schema": StructuredTool(
        name="db/query",
        description="Read.",
        args_schema={"type": "object", "properties": {"table": {"type": "string"}}},
        func=lambda table: ROWS,
    ),
}


@both
@pytest.mark.parametrize("kind", list(WORKING))
def test_every_kind_of_tool_gives_its_content(guard: Guard, invoke: Invoke, kind: str) -> None:
    agent = agent_of(
        guard,
        [isolate_tool(guard, "run_js", inner=[WORKING[kind]])],
        asks(call("run_js", code="total")),
        says(),
    )
    config = {"metadata": {"colour": "red"}}
    assert replies(invoke(agent, HELLO, config, context=ALICE)) == ["5"]


def with_command(table: str) -> Any:
    """Read."""
    return Command(update={"messages": []})


def with_commands(table: str) -> Any:
    """Read."""
    return [Command(update={"messages": []})]


def with_no_artifact(table: str) -> Any:
    """Read."""
    return ROWS


def interrupting(table: str) -> Any:
    """Read."""
    return interrupt("well?")


def excepting(table: str) -> Any:
    """Read."""
    raise ToolException("the password is hunter2")


class Shouted(BaseModel):
    """Changes what was decided."""

    table: str

    @field_validator("table")
    @classmethod
    def shout(cls, table: str) -> str:
        return table.upper()


class Demanding(BaseModel):
    """Wants what the policy does not take."""

    table: str
    where: str


FAILING = {
    "command": tool("db/query")(with_command),
    "commands": tool("db/query")(with_commands),
    "no artifact": tool("db/query", response_format="content_and_artifact")(with_no_artifact),
    "interrupt": tool("db/query")(interrupting),
    "exception": StructuredTool.from_function(excepting, name="db/query", handle_tool_error=True),
    "coercion": tool("db/query", args_schema=Shouted)(with_no_artifact),
    "more": tool("db/query", args_schema=Demanding)(with_no_artifact),
}


async def tells(job: Any, tools: Tools) -> Any:
    try:
        return await tools("query", table="orders")
    except ToolError as error:
        return f"told: {error}"


@both
@pytest.mark.parametrize("kind", FAILING)
def test_what_code_cannot_be_given_is_a_failure_in_the_constant_text(invoke: Invoke, kind: str) -> None:
    fake = executor()
    fake.code["tell"] = tells
    guard = guard_of(fake)
    agent = agent_of(
        guard,
        [isolate_tool(guard, "run_js", inner=[FAILING[kind]])],
        asks(call("run_js", code="tell")),
        says(),
        checkpointer=InMemorySaver(),
    )
    result = invoke(agent, HELLO, THREAD, context=ALICE)
    assert replies(result) == ["told: the tool failed"]
    assert [one.outcome for one in events(guard) if isinstance(one, CallFailed)] == ["raised"]
    guard.close()


def test_a_tool_without_a_synchronous_body_is_refused_before_anything_starts(guard: Guard) -> None:
    only = StructuredTool.from_function(coroutine=awaited, name="db/query")
    made = isolate_tool(guard, "run_js", inner=[only])
    script = asks(call("run_js", code="total")), says()
    with pytest.raises(NotImplementedError, match="may call `db/query`, which has no synchronous body"):
        run_sync(agent_of(guard, [made], *script), HELLO, context=ALICE)
    assert not any(isinstance(one, CallRequested) for one in events(guard))
    assert replies(run_async(agent_of(guard, [made], *script), HELLO, context=ALICE)) == ["5"]


def query_with_default(asked: list[int]) -> BaseTool:
    @tool("db/query")
    def query(table: str, limit: int = 1000) -> Any:
        """Read."""
        asked.append(limit)
        return ROWS

    return query


@both
def test_a_default_of_the_tool_is_decided_with_the_call(guard: Guard, invoke: Invoke) -> None:
    asked: list[int] = []
    made = isolate_tool(guard, "run_js", inner=[query_with_default(asked)])
    assert "    limit?: number | null; // an integer, 1000 if it is missing\n" in made.description
    agent = agent_of(guard, [made], asks(call("run_js", code="limits")), says())
    (said,) = replies(invoke(agent, HELLO, context=ALICE))
    assert json.loads(said) == [ROWS, *["told: not authorized"] * 3]  # as the tool itself would be
    assert asked == [10]
    recorded = [one.arguments for one in events(guard) if isinstance(one, CallRequested)][1:]
    assert [one["limit"] for one in recorded] == [10, 11, 1000, 1000]


class Stamped(BaseModel):
    """A default that is another one each time."""

    table: str
    limit: int = Field(default_factory=lambda: 5)


@both
def test_a_default_that_is_made_anew_must_be_given(guard: Guard, invoke: Invoke) -> None:
    query = query_with_default([])
    query.args_schema = Stamped
    made = isolate_tool(guard, "run_js", inner=[query])
    assert "    limit: number; // an integer\n" in made.description
    agent = agent_of(guard, [made], asks(call("run_js", code="limits")), says())
    (said,) = replies(invoke(agent, HELLO, context=ALICE))
    assert json.loads(said) == [ROWS, "told: not authorized", *["told: the tool failed"] * 2]
