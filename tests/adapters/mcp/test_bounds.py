"""What a server or a client could let grow, or mix up: names, questions, changes, lists, watches."""

import asyncio
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer

from ringfence.adapters.mcp import Gateway, ServerSpec, back
from ringfence.adapters.mcp.flights import QUESTIONS_AT_MOST
from ringfence.adapters.mcp.news import News
from ringfence.adapters.mcp.servers import ServerMistakeError
from ringfence.engine.decision.events import CallDecided, CallRequested
from tests.adapters.mcp.near import near
from tests.adapters.mcp.rig import POLICY, behind, until
from tests.guards import make_guard

VARIANTS = [
    "LOOK",
    "Look",
    "l\u043eok",
    "look\u200b",
    "look ",
    " look",
    "lo\u006fk\u0301",
    "\uff4cook",
    "look\x00",
]


@pytest.mark.parametrize("name", VARIANTS)
async def test_a_tool_of_nearly_the_same_name_is_another_tool(name: str) -> None:
    ran: list[str] = []

    async def tools(context: Any, params: Any) -> types.ListToolsResult:
        shape = {"type": "object", "properties": {"what": {"type": "string"}}}
        return types.ListToolsResult(
            tools=[types.Tool(name=one, input_schema=shape) for one in (name, "look")]
        )

    async def call(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        ran.append(params.name)
        return types.CallToolResult(content=[types.TextContent(type="text", text="done")])

    async with near(POLICY, Server("twins", on_list_tools=tools, on_call_tool=call)) as here:
        assert await here.names() == ["look"]
        assert (await here.told(name, what="x")).startswith("!")
        assert await here.told("look", what="x") == "done"
    assert ran == ["look"]


async def test_of_several_servers_each_has_a_name_that_no_other_can_take() -> None:
    """`a` with a tool `_b` and `a_` with a tool `b` would both be called `a___b`."""
    guard = make_guard(POLICY)
    try:
        with pytest.raises(ServerMistakeError, match="no `_` last"):
            ServerSpec("a_", target=MCPServer("x"))
        with pytest.raises(ServerMistakeError, match="each must have a name"):
            Gateway(guard, [ServerSpec(target=MCPServer("x")), ServerSpec("a", target=MCPServer("y"))])
    finally:
        await guard.aclose()


async def test_a_server_asks_so_much_in_one_call_and_no_more(tmp_path: Path) -> None:
    policy = f'{POLICY}tool roots is "mcp/roots/list" {{ needs read_data allow always rate 1000 per run }}\n'
    async with behind("asks_without_end", tmp_path, policy=policy, mode="legacy", asks=True) as rig:
        assert await rig.call("look", what="x") == (True, "done")
        asked = [one for one in rig.said if one.startswith("the client was asked")]
        assert 0 < len(asked) <= QUESTIONS_AT_MOST
        assert len([one for one in rig.said if "asks too much" in one]) == 1
    recorded = [one for one in rig.recorded if isinstance(one, CallRequested)]
    assert len(recorded) <= QUESTIONS_AT_MOST + 1


async def test_names_that_change_at_every_list_are_not_all_kept() -> None:
    count = 0

    async def tools(context: Any, params: Any) -> types.ListToolsResult:
        nonlocal count
        count += 100
        names = [f"tool{number}" for number in range(count, count + 100)]
        return types.ListToolsResult(
            tools=[types.Tool(name=one, input_schema={"type": "object"}) for one in names]
        )

    async with near(POLICY, Server("changing", on_list_tools=tools)) as here:
        for _ in range(20):
            assert await here.names() == []
        kept = here.gateway.catalogue._schemas
        assert sum(len(schemas) for schemas in kept.values()) <= 100


async def test_a_list_of_many_large_pages_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(back, "LIST_BYTES_AT_MOST", 50_000)
    pages = 0

    async def tools(context: Any, params: Any) -> types.ListToolsResult:
        nonlocal pages
        pages += 1
        tool = types.Tool(name=f"t{pages}", description="x" * 20_000, input_schema={"type": "object"})
        return types.ListToolsResult(tools=[tool], next_cursor=str(pages))

    async with near(POLICY, Server("pages", on_list_tools=tools)) as here:
        before = pages
        assert await here.names() == []
        assert pages - before <= 4
        assert any("bytes" in one for one in here.said)


async def test_changes_that_nobody_has_read_yet_are_told_once_more_and_not_as_often_as_they_came() -> None:
    told: list[str] = []
    go = asyncio.Event()

    class Slow:
        async def send_tool_list_changed(self) -> None:
            told.append("tools")
            await go.wait()

    class Known:
        session = Slow()

    class All:
        all = [Known()]  # noqa: RUF012 - a stand-in

    guard = make_guard(POLICY)
    try:
        news = News(All(), guard.plan)  # type: ignore[arg-type]
        change = types.ToolListChangedNotification()
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            first = tasks.create_task(news.heard(None, change))  # type: ignore[arg-type]
            while not told:
                await asyncio.sleep(0)
            for _ in range(5_000):
                await news.heard(None, change)  # type: ignore[arg-type]
            go.set()
            await first
        assert told == ["tools", "tools"], "the one that was being told, and one for all that came meanwhile"
    finally:
        await guard.aclose()


WATCHES = POLICY + (
    'tool watch is "mcp/resources/subscribe" { needs read_data allow always rate 1000 per run }\n'
    'tool read is "mcp/resources/read" { needs read_data allow always rate 1000 per run }\n'
)


async def test_what_was_watched_is_watched_again_after_the_server_has_died(tmp_path: Path) -> None:
    async with behind("watched", tmp_path, policy=WATCHES, mode="legacy") as rig:
        subscribe = types.SubscribeRequest(params=types.SubscribeRequestParams(uri="docs://one"))
        await rig.client.session.send_request(subscribe, types.EmptyResult)
        assert rig.witnessed("watched") == ["docs://one"]
        assert (await rig.call("look", what="die"))[0] is False
        await rig.names()
        await until(lambda: rig.witnessed("watched") == ["docs://one"] * 2, "it was not watched again")
        unsubscribe = types.UnsubscribeRequest(params=types.UnsubscribeRequestParams(uri="docs://one"))
        await rig.client.session.send_request(unsubscribe, types.EmptyResult)
        other = types.SubscribeRequest(params=types.SubscribeRequestParams(uri="docs://two"))
        await rig.client.session.send_request(other, types.EmptyResult)
        assert rig.witnessed("unwatched") == ["docs://one"], "what nobody watches is given up"


async def test_so_many_resources_are_watched_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(back, "WATCHED_AT_MOST", 3)
    async with behind("watched", tmp_path, policy=WATCHES, mode="legacy") as rig:
        for number in range(6):
            params = types.SubscribeRequestParams(uri=f"docs://{number}")
            asked = rig.client.session.send_request(types.SubscribeRequest(params=params), types.EmptyResult)
            if number < 3:
                await asked
            else:
                with pytest.raises(Exception, match="failed"):
                    await asked
        assert len(rig.witnessed("watched")) == 3
    assert {one.verdict for one in rig.recorded if isinstance(one, CallDecided)} == {"allow"}
