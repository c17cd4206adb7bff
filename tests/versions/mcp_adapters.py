"""Tools of a real MCP server, brought by langchain-mcp-adapters, guarded.

They are coroutines alone, and their schemas are JSON Schema that no client checks: whatever a model writes
goes to the server.  What is decided is what is sent.
"""

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool
from langchain_mcp_adapters.client import MultiServerMCPClient
from langgraph.checkpoint.memory import InMemorySaver

from ringfence.adapters.langchain import GuardMiddleware, guard_tools, questions
from ringfence.engine.decision import events as e
from ringfence.engine.enforcement.guard import Guard
from tests.adapters.langchain.agents import ALICE, HELLO, THREAD, events, replies
from tests.adapters.langchain.conftest import LoadGuard, load
from tests.adapters.langchain.model import asks, call, model, says

__all__ = ["load"]

SERVER = Path(__file__).with_name("mcp_server.py")
POLICY = """capability ruin is destructive
agent main { holds work }
tool add { needs work  takes a: integer, b: integer optional  allow when a <= 10  rate 3 per run }
tool send { needs work  takes to: text, body: text optional  allow when to == "bob"  ask lead }
tool wipe { needs ruin  takes what: text  allow always }
tool fail { needs work  takes what: text  allow always }"""


class Office:
    """The server's tools, and what reached it."""

    def __init__(self, tools: list[BaseTool], notes: Path) -> None:
        self.tools = tools
        self._notes = notes

    @property
    def reached(self) -> list[Any]:
        """The calls that the server was asked for."""
        if not self._notes.exists():
            return []
        return [json.loads(line) for line in self._notes.read_text("utf-8").splitlines()]

    def tool(self, name: str) -> BaseTool:
        """Return one of the tools."""
        return next(one for one in self.tools if one.name == name)


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    """Return the tools of a server that is started for every call, as the client does."""
    notes = tmp_path / "notes"
    command: dict[str, Any] = {
        "transport": "stdio",
        "command": sys.executable,
        "args": [str(SERVER), str(notes)],
    }
    client = MultiServerMCPClient({"office": command})  # type: ignore[dict-item]
    yield Office(await client.get_tools(), notes)


def agent(guard: Guard, office: Office, *script: Any, **options: Any) -> Any:
    return create_agent(model(*script), office.tools, middleware=[GuardMiddleware(guard)], **options)


async def test_an_allowed_call_reaches_the_server_and_gives_what_it_gives_without_a_guard(
    load: LoadGuard, office: Office
) -> None:
    turn = [asks(call("add", a=2, b=3)), says()]
    bare: Any = create_agent(model(*turn), office.tools)
    unguarded = [one for one in (await bare.ainvoke(HELLO))["messages"] if isinstance(one, ToolMessage)]
    result = await agent(load(POLICY), office, *turn).ainvoke(HELLO, context=ALICE)
    guarded = [one for one in result["messages"] if isinstance(one, ToolMessage)]
    assert office.reached == [["add", {"a": 2, "b": 3}]] * 2
    assert [_shown(one) for one in guarded] == [_shown(one) for one in unguarded]


def _shown(message: ToolMessage) -> Any:
    content = message.content if isinstance(message.content, str) else [_block(b) for b in message.content]
    return content, message.status, message.artifact, message.name


def _block(block: Any) -> Any:
    return {key: value for key, value in block.items() if key != "id"} if isinstance(block, dict) else block


@pytest.mark.parametrize(
    "arguments",
    [{"a": 11}, {"a": "2"}, {"a": 2, "c": 3}, {"A": 2}, {"a": 2.5}, {"a": None}, {"a": [2]}, {}],
    ids=str,
)
async def test_what_the_policy_does_not_allow_never_reaches_the_server(
    load: LoadGuard, office: Office, arguments: dict[str, Any]
) -> None:
    guard = load(POLICY)
    result = await agent(guard, office, asks(call("add", **arguments)), says()).ainvoke(HELLO, context=ALICE)
    assert (office.reached, replies(result)) == ([], ["not authorized"])
    assert [one.verdict for one in events(guard) if isinstance(one, e.CallDecided)] == ["deny"]


async def test_a_tool_that_is_not_held_is_not_offered_and_not_found(load: LoadGuard, office: Office) -> None:
    asked = model(asks(call("wipe", what="all")), says())
    app: Any = create_agent(asked, office.tools, middleware=[GuardMiddleware(load(POLICY))])
    result = await app.ainvoke(HELLO, context=ALICE)
    assert (office.reached, replies(result)) == ([], ["tool not found"])
    assert [sorted(names) for names in asked.offered] == [["add", "fail", "send"]] * 2


async def test_the_calls_of_one_turn_share_a_rate(load: LoadGuard, office: Office) -> None:
    turn = asks(*(call("add", f"c{at}", a=at) for at in range(5)))
    result = await agent(load(POLICY), office, turn, says()).ainvoke(HELLO, context=ALICE)
    assert (len(office.reached), replies(result).count("not authorized")) == (3, 2)


async def test_a_call_that_asks_reaches_the_server_once_it_is_approved(
    load: LoadGuard, office: Office
) -> None:
    guard = load(POLICY)
    app = agent(guard, office, asks(call("send", to="bob")), says(), checkpointer=InMemorySaver())
    (asked,) = questions(await app.ainvoke(HELLO, THREAD, context=ALICE))
    assert office.reached == []
    await guard.aapprove(asked.ticket, by="dana")
    await app.ainvoke(None, THREAD)
    assert [one for one, _ in office.reached] == ["send"]


async def test_what_fails_at_the_server_is_a_failure_of_the_tool(load: LoadGuard, office: Office) -> None:
    result = await agent(load(POLICY), office, asks(call("fail", what="it")), says()).ainvoke(
        HELLO, context=ALICE
    )
    (answer,) = [one for one in result["messages"] if isinstance(one, ToolMessage)]
    assert (len(office.reached), answer.status) == (1, "error")


async def test_outside_of_a_graph_the_guarded_tool_is_as_synchronous_as_the_bare_one(
    load: LoadGuard, office: Office
) -> None:
    guard = load(POLICY)
    [guarded] = guard_tools(guard, [office.tool("add")])
    async with guard.run(principal=ALICE):
        assert _shown(await guarded.ainvoke(call("add", a=1, b=1))) == _shown(
            await office.tool("add").ainvoke(call("add", a=1, b=1))
        )
        for one in (guarded, office.tool("add")):
            with pytest.raises(NotImplementedError):
                one.invoke({"a": 1, "b": 1})
    assert office.reached == [["add", {"a": 1, "b": 1}]] * 2


async def test_a_servers_words_on_a_failure_do_not_pass_by_the_limits_of_its_results(
    load: LoadGuard, office: Office
) -> None:
    limited = POLICY.replace("tool fail { needs work", "tool fail { needs work  result at most 20 bytes")
    script = asks(call("fail", what="it" * 1_000)), says()
    result = await agent(load(limited), office, *script).ainvoke(HELLO, context=ALICE)
    assert replies(result) == ["the tool failed"]
