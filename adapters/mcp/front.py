"""The side towards clients: one server of the protocol, which has only what the policy has."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity

from ringfence.adapters.mcp.calling import Calls
from ringfence.adapters.mcp.connections import Context
from ringfence.adapters.mcp.listing import Listing
from ringfence.adapters.mcp.news import LEVEL, News
from ringfence.adapters.mcp.prompts import COMPLETE, Prompts
from ringfence.adapters.mcp.protocol import Protocol
from ringfence.adapters.mcp.resources import SUBSCRIBE, Resources
from ringfence.dsl.plan import Json
from ringfence.engine.enforcement.tool_results import PLAIN

NAME = "ringfence"


class Front:
    """Makes the server in front.  What the policy does not declare has no handler: it does not exist."""

    def __init__(
        self,
        version: str,
        listing: Listing,
        calls: Calls,
        resources: Resources,
        prompts: Prompts,
        protocol: Protocol,
        news: News,
    ) -> None:
        self._version = version
        self._listing = listing
        self._calls = calls
        self._resources = resources
        self._prompts = prompts
        self._protocol = protocol
        self._news = news

    def server(self) -> Server[Any]:
        """Return a server for one transport."""
        has = self._protocol.declares
        watches = has(SUBSCRIBE)
        server: Server[Any] = Server(
            NAME,
            version=self._version,
            lifespan=_nothing,
            get_tool_input_schema=self._listing.schema_of,
            on_list_tools=self._listing.tools,
            on_call_tool=self._calls.call,
            on_list_resources=self._resources.list if self._resources.exist else None,
            on_list_resource_templates=self._resources.templates if self._resources.exist else None,
            on_read_resource=self._resources.read if self._resources.exist else None,
            on_subscribe_resource=self._resources.subscribe if watches else None,
            on_unsubscribe_resource=self._resources.unsubscribe if watches else None,
            on_list_prompts=self._prompts.list if self._prompts.exist else None,
            on_get_prompt=self._prompts.get if self._prompts.exist else None,
            on_completion=self._prompts.complete if has(COMPLETE) else None,
            on_subscriptions_listen=self._listen,
        )
        if has(LEVEL):
            server.add_request_handler(LEVEL, types.SetLevelRequestParams, self._set_level)
        server.middleware.clear()  # its spans would hold what no policy has looked at
        server.middleware.append(
            RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=NAME)
        )
        return server

    async def _listen(
        self, context: Context, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """Tell a client of 2026 what changes: tools always, the rest as far as the policy has it."""
        wanted = params.notifications
        watched: list[str] = []
        if self._protocol.declares(SUBSCRIBE):
            for uri in (wanted.resource_subscriptions or [])[:100]:
                watched.append(await self._resources.watch(context, params, uri))
        kept = types.SubscriptionFilter(
            tools_list_changed=wanted.tools_list_changed,
            prompts_list_changed=wanted.prompts_list_changed if self._prompts.exist else None,
            resources_list_changed=wanted.resources_list_changed if self._resources.exist else None,
            resource_subscriptions=watched or None,
        )
        return await self._news.listen(context, params.model_copy(update={"notifications": kept}))

    async def _set_level(self, context: Context, params: types.SetLevelRequestParams) -> types.EmptyResult:
        """Have the client told what servers log, from a level on (2025)."""

        async def arguments() -> dict[str, Json]:
            return {"level": params.level}

        async def body(said: Any) -> None:
            await self._news.set_level(context, said["level"], self._protocol.backs)

        await self._protocol.one(context, params, LEVEL, arguments, body, PLAIN)
        return types.EmptyResult()


@asynccontextmanager
async def _nothing(_: Server[Any]) -> AsyncIterator[dict[str, Any]]:
    yield {}
