"""Two clients of one gateway, each with a token: what one is asked, or has waiting, is not the other's."""

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import mcp_types as types
import pytest
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError

from ringfence.engine.decision.events import CallFinished
from tests.adapters.mcp.by_token import ANN, BOB, client_of, served
from tests.adapters.mcp.near import text_of
from tests.adapters.mcp.test_server_questions import OPEN, desk

ASKS = """
language 1
policy shop
approver owner { group "owners" answer within 15 minutes otherwise deny }
tool pay { takes amount: number allow always ask owner }
"""
OWNERS: Any = {"groups": {"owners": ["ann", "bob"]}}


def shop(paid: list[int]) -> MCPServer:
    server = MCPServer("shop")

    @server.tool(structured_output=False)
    def pay(amount: int) -> str:
        paid.append(amount)
        return f"paid {amount}"

    return server


async def elicit(_: Any, params: Any) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"approve": True, "row": 7})


async def _call(client: Any, tool: str, arguments: dict[str, Any], **more: Any) -> Any:
    return await client.session.call_tool(tool, arguments, allow_input_required=True, **more)


def _yes(asked: types.InputRequiredResult, **content: Any) -> dict[str, Any]:
    answer = types.ElicitResult(action="accept", content=content)
    return {
        "input_responses": dict.fromkeys(asked.input_requests or {}, answer),
        "request_state": asked.request_state,
    }


async def test_the_question_of_one_client_is_not_answered_by_another(tmp_path: Path) -> None:
    paid: list[int] = []
    stage = served(tmp_path, policy=ASKS, server=shop(paid), settings=OWNERS)
    async with (
        stage as (guard, url, _),
        client_of(url, ANN, "auto", elicitation_callback=elicit) as ann,
        client_of(url, BOB, "auto", elicitation_callback=elicit) as bob,
    ):
        asked = await _call(ann, "pay", {"amount": 3})
        other = await _call(bob, "pay", {"amount": 3})
        assert isinstance(asked, types.InputRequiredResult) and isinstance(other, types.InputRequiredResult)
        for state in (
            asked,
            types.InputRequiredResult(input_requests=other.input_requests, request_state=asked.request_state),
        ):
            try:
                again = await _call(bob, "pay", {"amount": 3}, **_yes(state, approve=True))
            except MCPError:
                continue
            assert isinstance(again, types.InputRequiredResult), "asked anew, for himself"
        assert paid == []
        done = await _call(ann, "pay", {"amount": 3}, **_yes(asked, approve=True))
        assert text_of(done) == "paid 3"
        finished = [
            one.event
            for row in guard.runs.list()
            for one in guard.runs.get(row.run).events
            if isinstance(one.event, CallFinished)
        ]
        assert len(finished) == 1
    assert paid == [3]


async def test_work_that_waits_for_one_client_is_not_taken_up_by_another(tmp_path: Path) -> None:
    stage = served(tmp_path, policy=OPEN.replace('is "desk/', 'is "'), server=desk())
    async with (
        stage as (_, url, _),
        client_of(url, ANN, "auto", elicitation_callback=elicit) as ann,
        client_of(url, BOB, "auto", elicitation_callback=elicit) as bob,
    ):
        asked = await _call(ann, "elicit", {})
        assert isinstance(asked, types.InputRequiredResult)
        with pytest.raises(MCPError):
            await _call(bob, "elicit", {}, **_yes(asked, row=7))
        assert text_of(await _call(ann, "elicit", {}, **_yes(asked, row=7))) == "row 7"


async def test_in_the_older_era_an_answer_out_of_another_session_is_none(tmp_path: Path) -> None:
    """Questions are numbered alike in both sessions; Bob answers each number he can think of."""
    paid: list[int] = []
    asked, go = asyncio.Event(), asyncio.Event()

    async def slowly(_: Any, params: Any) -> types.ElicitResult:
        asked.set()
        await go.wait()
        return types.ElicitResult(action="decline")

    stage = served(tmp_path, policy=ASKS, server=shop(paid), settings=OWNERS)
    async with (
        stage as (_, url, gateway),
        client_of(url, ANN, "legacy", elicitation_callback=slowly) as ann,
        client_of(url, BOB, "legacy", elicitation_callback=elicit) as bob,
    ):
        call = asyncio.create_task(ann.call_tool("pay", {"amount": 3}))
        await asyncio.wait_for(asked.wait(), 20)
        await bob.list_tools()
        (session,) = [one.key[1] for one in gateway.connections.all if one.key[0] == "bob"]
        headers = {
            "Authorization": f"Bearer {BOB}", "mcp-session-id": session, "mcp-protocol-version": "2025-11-25",
            "Accept": "application/json, text/event-stream",
        }  # fmt: skip
        async with httpx2.AsyncClient(headers=headers) as http:
            for number in range(5):
                result = {"action": "accept", "content": {"approve": True}}
                answer = await http.post(url, json={"jsonrpc": "2.0", "id": number, "result": result})
                assert answer.status_code == 202
        assert text_of(await bob.call_tool("pay", {"amount": 4})) == "paid 4"
        go.set()
        assert text_of(await call).startswith("? ")
    assert paid == [4]
