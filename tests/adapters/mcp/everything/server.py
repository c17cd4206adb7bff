"""A server that has all that the protocol's conformance suite asks for, in both eras."""

import warnings
from typing import Any

import anyio
import mcp_types as types
from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    PromptsListChanged,
    ToolsListChanged,
)
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError

from tests.adapters.mcp.everything.asking import (
    NAME,
    asked,
    asked_inside,
    done,
    form,
    input_required,
    require_sampling,
)
from tests.adapters.mcp.everything.content import CONTENT, PROMPTS, RESOURCES, TEMPLATES, contents, messages
from tests.adapters.mcp.everything.tools import TOOLS

Context = ServerRequestContext[Any, Any]
PAUSE_S = 0.05
"""The suite wants to see notifications arrive one by one."""
HINT = CacheHint(ttl_ms=1_000, scope="private")


class Everything:
    """The handlers, and what they remember."""

    def __init__(self) -> None:
        self.bus = InMemorySubscriptionBus()
        self.watched: set[str] = set()
        self.level: str | None = None

    async def list_tools(self, ctx: Context, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=TOOLS)

    async def call_tool(
        self, ctx: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        name, given = params.name, dict(params.arguments or {})
        if name in CONTENT:
            return types.CallToolResult(content=CONTENT[name])
        if (answer := input_required(name, params, ctx)) is not None:
            return answer
        if (inside := await asked_inside(params, ctx)) is not None:
            return inside
        match name:
            case "test_tool_with_logging" | "test_logging_tool":
                return await self._logging(ctx)
            case "test_tool_with_progress":
                return await self._progress(ctx)
            case "test_streaming_elicitation":
                await ctx.session.report_progress(1, 2)
                return done("asked") if params.input_responses else asked({"user_name": NAME})
            case "test_error_handling":
                said = "This tool intentionally returns an error for testing"
                return types.CallToolResult(content=done(said).content, is_error=True)
            case "test_reconnection":
                if ctx.close_sse_stream is not None:
                    await ctx.close_sse_stream()
                await anyio.sleep(2 * PAUSE_S)
                return done("Reconnected.")
            case "test_missing_capability":
                return require_sampling(ctx)
            case "test_trigger_tool_change":
                await self.bus.publish(ToolsListChanged())
                return done("changed")
            case "test_trigger_prompt_change":
                await self.bus.publish(PromptsListChanged())
                return done("changed")
            case "test_headers" | "json_schema_2020_12_tool":
                return done(f"{name} was given {sorted(given)}")
        raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {name}")

    async def _logging(self, ctx: Context) -> types.CallToolResult:
        for said in ("Tool execution started", "Tool processing data", "Tool execution completed"):
            await ctx.session.send_log_message("info", said, related_request_id=ctx.request_id)
            await anyio.sleep(PAUSE_S)
        return done("logged")

    async def _progress(self, ctx: Context) -> types.CallToolResult:
        for progress in (0, 50, 100):
            await ctx.session.report_progress(progress, 100)
            await anyio.sleep(PAUSE_S)
        return done("done")

    async def list_resources(self, ctx: Context, params: Any) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=RESOURCES)

    async def list_templates(self, ctx: Context, params: Any) -> types.ListResourceTemplatesResult:
        return types.ListResourceTemplatesResult(resource_templates=TEMPLATES)

    async def read_resource(
        self, ctx: Context, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        found = contents(str(params.uri))
        if found is None:
            raise MCPError(types.INVALID_PARAMS, "Resource not found", {"uri": str(params.uri)})
        return types.ReadResourceResult(contents=[found])

    async def subscribe(self, ctx: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        self.watched.add(str(params.uri))
        return types.EmptyResult()

    async def unsubscribe(self, ctx: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        self.watched.discard(str(params.uri))
        return types.EmptyResult()

    async def list_prompts(self, ctx: Context, params: Any) -> types.ListPromptsResult:
        return types.ListPromptsResult(prompts=PROMPTS)

    async def get_prompt(
        self, ctx: Context, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult | types.InputRequiredResult:
        if params.name == "test_input_required_result_prompt":
            if "user_context" not in (params.input_responses or {}):
                question = form("What context should the prompt use?", context={"type": "string"})
                return asked({"user_context": question})
            said = messages("test_simple_prompt", {})
        else:
            said = messages(params.name, dict(params.arguments or {}))
        if said is None:
            raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {params.name}")
        return types.GetPromptResult(messages=said)

    async def complete(self, ctx: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
        words = [
            word for word in ("paris", "park", "party", "test1") if word.startswith(params.argument.value)
        ]
        return types.CompleteResult(
            completion=types.Completion(values=words, total=len(words), has_more=False)
        )

    async def set_level(self, ctx: Context, params: types.SetLevelRequestParams) -> types.EmptyResult:
        self.level = params.level
        return types.EmptyResult()


class _Announcing(Server[Any]):
    """Says that its lists may change, whatever transport serves it."""

    def create_initialization_options(self, *args: Any, **kwargs: Any) -> Any:
        options = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)
        return super().create_initialization_options(options, *args[1:], **kwargs)


def everything() -> Server[Any]:
    """Make the server."""
    all_of = Everything()
    schemas = {tool.name: tool.input_schema for tool in TOOLS}
    with warnings.catch_warnings():
        # The suite still asks for what the newer era has given up.
        warnings.simplefilter("ignore", MCPDeprecationWarning)
        server: Server[Any] = _Announcing(
            "everything",
            version="1",
            instructions="Everything that the suite asks for.",
            cache_hints=dict.fromkeys(
                (
                    "tools/list",
                    "prompts/list",
                    "resources/list",
                    "resources/templates/list",
                    "resources/read",
                ),
                HINT,
            ),
            get_tool_input_schema=schemas.get,
            on_list_tools=all_of.list_tools,
            on_call_tool=all_of.call_tool,
            on_list_resources=all_of.list_resources,
            on_list_resource_templates=all_of.list_templates,
            on_read_resource=all_of.read_resource,
            on_subscribe_resource=all_of.subscribe,
            on_unsubscribe_resource=all_of.unsubscribe,
            on_subscriptions_listen=ListenHandler(all_of.bus),
            on_list_prompts=all_of.list_prompts,
            on_get_prompt=all_of.get_prompt,
            on_completion=all_of.complete,
            on_set_logging_level=all_of.set_level,
        )
    security = RequestStateSecurity(keys=[b"a key of these tests, and no other"])
    server.middleware.append(RequestStateBoundary(security, default_audience="everything"))
    return server
