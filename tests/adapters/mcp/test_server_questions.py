"""What servers ask of clients: not even offered unless the policy has it, decided, and marked as theirs."""

import asyncio
from functools import partial
from typing import Any

import mcp_types as types
import pytest
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.message import ServerMessageMetadata
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from ringfence.adapters.mcp import link
from ringfence.adapters.mcp.connections import BROKEN
from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.decision.events import CallDecided, CallFinished, CallRequested
from ringfence.engine.seams.errors import EngineError
from tests.adapters.mcp.near import ERAS, Near, near, text_of

KINDS = ("elicit", "sample", "roots")
TOOLS = "".join(f'tool {kind} is "desk/{kind}" {{ allow always }}\n' for kind in KINDS)
BARE = f"language 1\npolicy asking\n{TOOLS}"
OPEN = BARE + (
    'tool ask is "mcp/elicitation/create" { allow always }\n'
    'tool think is "mcp/sampling/createMessage" { allow always }\n'
    'tool folders is "mcp/roots/list" { allow always }\n'
)
CLOSED = BARE + (
    'tool ask is "mcp/elicitation/create" { rate 1 per minute }\n'
    'tool think is "mcp/sampling/createMessage" { rate 1 per minute }\n'
    'tool folders is "mcp/roots/list" { rate 1 per minute }\n'
)
SCHEMA: Any = {"type": "object", "properties": {"row": {"type": "integer"}}, "required": ["row"]}
FORM = types.ElicitRequestFormParams(message="Which row?\x1b[2J", requested_schema=SCHEMA)
MESSAGE = types.SamplingMessage(role="user", content=types.TextContent(type="text", text="think"))
REQUESTS: dict[str, Any] = {
    "elicit": types.ElicitRequest(params=FORM),
    "sample": types.CreateMessageRequest(
        params=types.CreateMessageRequestParams(messages=[MESSAGE], max_tokens=10)
    ),
    "roots": types.ListRootsRequest(),
}
ANSWERS: dict[str, Any] = {
    "elicit": types.ElicitResult,
    "sample": types.CreateMessageResult,
    "roots": types.ListRootsResult,
}
GIVEN = {"elicit": "row 7", "sample": "thought", "roots": "file:///home/ann"}
SEEN = {"elicit": "[server `desk` asks] Which row?\\u001b[2J", "sample": "sample", "roots": "roots"}


def desk() -> Server[Any]:
    """Return a server whose tools ask the client, in the way of either era, and tell what they got."""

    async def tools(context: Any, params: Any) -> types.ListToolsResult:
        shape = {"type": "object"}
        return types.ListToolsResult(tools=[types.Tool(name=kind, input_schema=shape) for kind in KINDS])

    async def call(context: ServerRequestContext[Any, Any], params: types.CallToolRequestParams) -> Any:
        answer: Any
        if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
            answer = (params.input_responses or {}).get("q")
            if answer is None:
                return types.InputRequiredResult(input_requests={"q": REQUESTS[params.name]})
        else:
            try:
                metadata = ServerMessageMetadata(related_request_id=context.request_id)
                answer = await context.session.send_request(
                    REQUESTS[params.name], ANSWERS[params.name], metadata=metadata
                )
            except Exception as error:
                answer = f"no answer: {error}"
        return types.CallToolResult(content=[types.TextContent(type="text", text=_said(answer))])

    return Server("desk", on_list_tools=tools, on_call_tool=call)


def _said(answer: Any) -> str:
    match answer:
        case types.ElicitResult(content={"row": row}):
            return f"row {row}"
        case types.CreateMessageResult(content=types.TextContent(text=text)):
            return text
        case types.ListRootsResult(roots=[root]):
            return str(root.uri)
    return str(answer)


def client_of(seen: list[str]) -> dict[str, Any]:
    async def elicit(_: Any, params: Any) -> types.ElicitResult:
        seen.append(params.message)
        return types.ElicitResult(action="accept", content={"row": 7})

    async def sample(_: Any, params: Any) -> types.CreateMessageResult:
        seen.append("sample")
        text = types.TextContent(type="text", text="thought")
        return types.CreateMessageResult(role="assistant", content=text, model="m")

    async def roots(_: Any) -> types.ListRootsResult:
        seen.append("roots")
        return types.ListRootsResult(roots=[types.Root.model_validate({"uri": "file:///home/ann"})])

    return {"elicitation_callback": elicit, "sampling_callback": sample, "list_roots_callback": roots}


@pytest.fixture(params=["server of 2026", "server of 2025"])
def server_era(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have the gateway speak the protocol of this era with its server."""
    if request.param == "server of 2025":
        original: Any = vars(link)["Client"]
        monkeypatch.setattr(link, "Client", partial(_legacy, original))
    return str(request.param)


def _legacy(original: Any, *args: Any, **kwargs: Any) -> Any:
    return original(*args, **{**kwargs, "mode": "legacy"})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("era", ERAS)
async def test_a_question_of_a_server_is_decided_and_reaches_the_client(
    era: str, server_era: str, kind: str
) -> None:
    seen: list[str] = []
    async with near(OPEN, {"desk": desk()}, era=era, **client_of(seen)) as here:
        assert await here.told(f"desk__{kind}") == GIVEN[kind]
        assert seen == [SEEN[kind]]
        asked = [one.tool for one in here.events(CallRequested)]
        assert asked[0] == f"desk/{kind}" and len(asked) == 2 and asked[1].startswith("mcp/")
        assert [one.verdict for one in here.events(CallDecided)] == ["allow", "allow"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("policy", [BARE, CLOSED], ids=["not declared", "denied"])
@pytest.mark.parametrize("era", ERAS)
async def test_what_the_policy_does_not_open_no_server_asks_of_a_client(
    era: str, server_era: str, policy: str, kind: str
) -> None:
    seen: list[str] = []
    async with near(policy, {"desk": desk()}, era=era, **client_of(seen)) as here:
        told = await here.told(f"desk__{kind}")
        assert "row 7" not in told and "thought" not in told and "ann" not in told, told
    assert seen == []


async def test_a_client_that_takes_no_questions_is_asked_none(server_era: str) -> None:
    async with near(OPEN, {"desk": desk()}) as here:
        assert "row" not in await here.told("desk__elicit")
        assert [one.verdict for one in here.events(CallDecided)] == ["allow", "deny"]


async def _start(here: Near) -> types.InputRequiredResult:
    result: Any = await here.client.session.call_tool("desk__elicit", {}, allow_input_required=True)
    assert isinstance(result, types.InputRequiredResult), result
    return result


async def _go_on(here: Near, asked: types.InputRequiredResult, name: str = "desk__elicit") -> str:
    answer = types.ElicitResult(action="accept", content={"row": 7})
    answers: Any = dict.fromkeys(asked.input_requests or {}, answer)
    try:
        result: Any = await here.client.session.call_tool(
            name, {}, input_responses=answers, request_state=asked.request_state, allow_input_required=True
        )
    except Exception as error:
        return f"! {type(error).__name__}"
    return text_of(result)


async def test_work_that_waits_for_a_client_is_taken_up_once(server_era: str) -> None:
    async with near(OPEN, {"desk": desk()}, **client_of([])) as here:
        asked = await _start(here)
        assert await _go_on(here, asked, "desk__sample") == "! MCPError", "another call's"
        assert await _go_on(here, asked) == "row 7"
        for _ in range(2):
            assert await _go_on(here, asked) == "! MCPError", "used up"
        assert len([one for one in here.events(CallFinished)]) == 2, "the call, and the question in it"


async def test_work_that_nobody_takes_up_ends_with_the_gateway(server_era: str) -> None:
    async with near(OPEN, {"desk": desk()}, **client_of([])) as here:
        await _start(here)
        before = len(asyncio.all_tasks())
    assert len(asyncio.all_tasks()) < before


@pytest.mark.parametrize("era", ERAS)
async def test_a_failure_of_the_engine_while_a_server_asks_is_that_of_the_whole_request(
    era: str, server_era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server hears that it gets no answer; what it says then is not handed on."""
    seen: list[str] = []
    async with near(OPEN, {"desk": desk()}, era=era, **client_of(seen)) as here:
        execute = here.guard.aexecute

        async def fails_once(run: Any, call: ToolCall, *given: Any, **more: Any) -> Any:
            if call.tool.startswith("mcp/"):
                raise EngineError("disk 7 is on fire")
            return await execute(run, call, *given, **more)

        monkeypatch.setattr(here.guard, "aexecute", fails_once)
        assert await here.told("desk__elicit") == f"! {BROKEN}"
        assert seen == []
        assert any("disk 7" in one for one in here.said), "people hear of it"
