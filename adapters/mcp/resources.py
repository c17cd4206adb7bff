"""Resources: listed, read and watched as the policy says, each by the one form of its URI."""

import re
from collections.abc import Mapping
from typing import Any, Final

import mcp_types as types
from mcp import Client

from ringfence.adapters.mcp.back import Back
from ringfence.adapters.mcp.connections import Connections, Context
from ringfence.adapters.mcp.definitions import oddities
from ringfence.adapters.mcp.link import ServerAwayError
from ringfence.adapters.mcp.lists import lens_of_list
from ringfence.adapters.mcp.protocol import Protocol
from ringfence.adapters.mcp.uris import AmbiguousUriError, fits, normal
from ringfence.dsl.plan import Json
from ringfence.engine.enforcement.tool_results import PLAIN, ResultLens

LIST: Final = "resources/list"
TEMPLATES: Final = "resources/templates/list"
READ: Final = "resources/read"
SUBSCRIBE: Final = "resources/subscribe"
_KIND: Final = re.compile(r"[a-z]{1,20}/[A-Za-z0-9.+-]{1,80}(;\s?charset=[A-Za-z0-9-]{1,20})?")


class Resources:
    """Answers everything about resources."""

    def __init__(self, protocol: Protocol, connections: Connections) -> None:
        self._protocol = protocol
        self._connections = connections

    @property
    def exist(self) -> bool:
        """Whether the policy has any of it."""
        return any(self._protocol.declares(method) for method in (LIST, TEMPLATES, READ))

    async def list(
        self, context: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        """Answer with all resources that may be listed, on one page."""

        async def ask(back: Back) -> list[types.Resource]:
            return [one for one in await _resources(back) if not oddities(_plain(one))]

        found = await self._protocol.of_each(context, params, LIST, ask, lens_of_list(types.Resource))
        return types.ListResourcesResult(resources=found, ttl_ms=0, cache_scope="private")

    async def templates(
        self, context: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        """Answer with all templates that may be listed, on one page."""

        async def ask(back: Back) -> list[types.ResourceTemplate]:
            return [one for one in await _templates(back) if not oddities(_plain(one))]

        lens = lens_of_list(types.ResourceTemplate)
        found = await self._protocol.of_each(context, params, TEMPLATES, ask, lens)
        return types.ListResourceTemplatesResult(resource_templates=found, ttl_ms=0, cache_scope="private")

    async def read(self, context: Context, params: types.ReadResourceRequestParams) -> Any:
        """Answer with what a resource holds."""

        async def body(arguments: Mapping[str, Json]) -> types.ReadResourceResult:
            back, uri = self._back(arguments), str(arguments["uri"])
            result = await back.ask(lambda client: client.read_resource(uri, cache_mode="bypass"))
            for part in result.contents:
                part.meta = None
                if len(result.contents) == 1:
                    part.uri = uri
            return types.ReadResourceResult(contents=result.contents, ttl_ms=0, cache_scope="private")

        return await self._protocol.one(
            context, params, READ, lambda: self._arguments(params.uri), body, _CONTENTS
        )

    async def subscribe(self, context: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        """Have the client told when a resource changes (2025)."""
        await self.watch(context, params, params.uri)
        return types.EmptyResult()

    async def watch(self, context: Context, params: Any, uri: str) -> str:
        """Subscribe the client's connection to a resource; return the URI in its normal form."""
        connection = self._connections.of(context)
        watched: list[str] = []

        async def body(arguments: Mapping[str, Json]) -> None:
            back, found = self._back(arguments), str(arguments["uri"])
            still = {one for other in self._connections.all for one in other.watches}
            await back.watch(found, still)
            connection.watches[found] = uri
            watched.append(found)

        await self._protocol.one(context, params, SUBSCRIBE, lambda: self._arguments(uri), body, PLAIN)
        return watched[0] if watched else ""

    async def unsubscribe(
        self, context: Context, params: types.UnsubscribeRequestParams
    ) -> types.EmptyResult:
        """Tell the client no more; what others watch goes on."""
        try:
            self._connections.of(context).watches.pop(normal(params.uri), None)
        except AmbiguousUriError:  # nobody watches it
            pass
        return types.EmptyResult()

    def _back(self, arguments: Mapping[str, Json]) -> Back:
        return next(one for one in self._protocol.backs if one.spec.argument == arguments["server"])

    async def _arguments(self, uri: str) -> dict[str, Json]:
        found = normal(uri)
        return {"server": (await self._server_of(found)).spec.argument, "uri": found}

    async def _server_of(self, uri: str) -> Back:
        """Return the server that has a resource.

        Raises:
            AmbiguousUriError: None has it, or several do.
        """
        backs = self._protocol.backs
        if len(backs) == 1:
            return backs[0]
        having = [back for back in backs if await _has(back, uri)]
        if len(having) != 1:
            # SECURITY: whichever were asked, the other's author would choose what is read.
            raise AmbiguousUriError("no server has the resource, or several do")
        return having[0]


async def _has(back: Back, uri: str) -> bool:
    try:
        if any(_is(one.uri, uri) for one in await _resources(back)):
            return True
        return any(fits(one.uri_template, uri) for one in await _templates(back))
    except ServerAwayError:  # what cannot be asked has nothing
        return False


def _is(listed: str, uri: str) -> bool:
    try:
        return normal(listed) == uri
    except AmbiguousUriError:  # such a one cannot be asked for
        return False


async def _resources(back: Back) -> list[types.Resource]:
    async def ask(client: Client, cursor: str | None) -> tuple[list[types.Resource], str | None]:
        page = await client.list_resources(cursor=cursor, cache_mode="bypass")
        return page.resources, page.next_cursor

    return [] if (await back.capabilities()).resources is None else await back.pages(ask)


async def _templates(back: Back) -> list[types.ResourceTemplate]:
    async def ask(client: Client, cursor: str | None) -> tuple[list[types.ResourceTemplate], str | None]:
        page = await client.list_resource_templates(cursor=cursor, cache_mode="bypass")
        return page.resource_templates, page.next_cursor

    return [] if (await back.capabilities()).resources is None else await back.pages(ask)


def _plain(entry: Any) -> dict[str, Any]:
    dumped: dict[str, Any] = entry.model_dump(mode="json", by_alias=True, exclude_none=True)
    return dumped


def _value(result: types.ReadResourceResult) -> Json:
    """Return the text of one text; of anything else, all of it."""
    contents = result.contents
    if (
        len(contents) == 1
        and isinstance(contents[0], types.TextResourceContents)
        and _is_kind(contents[0].mime_type)
    ):
        return contents[0].text
    return [_plain(part) for part in contents]


def _is_kind(kind: str | None) -> bool:
    """Say whether this is a kind of media, and not a message in its place."""
    return kind is None or _KIND.fullmatch(kind) is not None


def _with_value(result: types.ReadResourceResult, value: Json) -> types.ReadResourceResult:
    contents = result.contents
    if isinstance(value, list):
        return result.model_copy(update={"contents": contents[: len(value)]})
    if not isinstance(value, str) or not contents:
        raise ValueError("what was read cannot be cut")
    text = types.TextResourceContents(uri=contents[0].uri, mime_type=contents[0].mime_type, text=value)
    return result.model_copy(update={"contents": [text]})


_CONTENTS: Final = ResultLens(get=_value, set=_with_value)
