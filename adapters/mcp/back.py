"""The side towards one server: what is asked of it, within bounds, and for whom it works."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextvars import Context, ContextVar
from typing import Any, Final, cast

import anyio
import mcp_types as types
from mcp import Client
from mcp.shared.dispatcher import ProgressFnT
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import TypeAdapter

from ringfence.adapters.mcp.link import Asked, Link, ServerAwayError
from ringfence.adapters.mcp.process import Say
from ringfence.adapters.mcp.servers import ServerSpec

LISTS_S: Final = 15.0
CALLS_S: Final = 600.0
"""A call without an answer fails then, where the policy sets no sooner bound."""
ROUNDS_AT_MOST: Final = 10
"""How often a server may want to know more before it answers one call."""
_COMES_AGAIN_S: Final = 0.1
PAGES_AT_MOST: Final = 100
ENTRIES_AT_MOST: Final = 2_000
"""Tools, resources or prompts of one server."""
LIST_BYTES_AT_MOST: Final = 16 * 1024 * 1024
"""Of a list that has more than one page; one page alone is a frame, which is bounded."""
WATCHED_AT_MOST: Final = 200

_ANSWER: Final[TypeAdapter[Any]] = TypeAdapter(types.CallToolResult | types.InputRequiredResult)
_FLIGHT: ContextVar[object | None] = ContextVar("ringfence_mcp_flight", default=None)

Heard = Callable[["Back", types.ServerNotification], Awaitable[None]]


class ClientLacksError(Exception):
    """The server works only for clients that answer questions of these kinds, and the policy has them."""

    def __init__(self, kinds: frozenset[str]) -> None:
        super().__init__(f"the client must be able to answer: {', '.join(sorted(kinds))}")
        self.kinds = kinds


class Back:
    """The gateway as the client of one server."""

    def __init__(self, spec: ServerSpec, *, say: Say, heard: Heard, version: str) -> None:
        self.spec = spec

        async def hand_on(message: types.ServerNotification) -> None:
            await heard(self, message)

        self._heard = heard
        self._link = Link(spec, say=say, heard=hand_on, connected=self._renew, version=version)
        self._watched: set[str] = set()
        self._flights: list[object] = []

    @property
    def asked(self) -> Asked:
        """How the server's own questions are answered, from the next connection on."""
        return self._link.asked

    @asked.setter
    def asked(self, asked: Asked) -> None:
        self._link.asked = asked

    async def client(self) -> Client:
        """Return the connected client; a server that died is started again here.

        Raises:
            ServerAwayError: It cannot be reached, or died too often of late.
        """
        return await self._link.client()

    async def close(self) -> None:
        """Hang up, and end the server's process."""
        await self._link.close()

    # ---- what is asked of it -----------------------------------------------------------------------

    async def identity(self) -> tuple[str, str]:
        """Return name and version as the server says them: for the record alone."""
        info = (await self.client()).server_info
        return ("", "") if info is None else (info.name[:100], info.version[:100])

    async def instructions(self) -> str | None:
        """Return what the server tells every model."""
        return (await self.client()).instructions

    async def capabilities(self) -> types.ServerCapabilities:
        """Return what the server says it can do."""
        return (await self.client()).server_capabilities

    async def is_told_once(self) -> bool:
        """Say whether it is told once for all what a client wishes (2025), and not with each request."""
        return (await self.client()).protocol_version not in MODERN_PROTOCOL_VERSIONS

    async def pages(
        self, ask: Callable[[Client, str | None], Awaitable[tuple[list[Any], str | None]]]
    ) -> list[Any]:
        """Return all entries of a list, over all of its pages.

        Raises:
            ServerAwayError: It has no end, or the server does not answer.
        """
        client = await self.client()
        entries: list[Any] = []
        size = 0
        cursor: str | None = None
        seen: set[str] = set()
        for _ in range(PAGES_AT_MOST):
            found, cursor = await self._link.within(LISTS_S, lambda at=cursor: ask(client, at))  # type: ignore[misc]
            entries += found
            if len(entries) > ENTRIES_AT_MOST:
                raise ServerAwayError(f"{self.spec.said} lists more than {ENTRIES_AT_MOST:,} entries")
            if cursor is None:
                return entries
            size += sum(len(one.model_dump_json()) for one in found)
            if size > LIST_BYTES_AT_MOST:
                raise ServerAwayError(f"{self.spec.said} lists more than {LIST_BYTES_AT_MOST:,} bytes")
            if cursor in seen:
                break
            seen.add(cursor)
        raise ServerAwayError(f"the list of {self.spec.said} has no end")

    async def tools(self) -> list[types.Tool]:
        """Return its tools as it defines them now."""

        async def ask(client: Client, cursor: str | None) -> tuple[list[types.Tool], str | None]:
            page = await client.list_tools(cursor=cursor, cache_mode="bypass")
            return page.tools, page.next_cursor

        return await self.pages(ask)

    async def call(
        self,
        name: str,
        arguments: dict[str, Any],
        progress: ProgressFnT,
        log_level: types.LoggingLevel | None = None,
    ) -> types.CallToolResult:
        """Run a tool there.

        Args:
            log_level: From which level on it logs meanwhile; a server of 2025 was told before.

        Raises:
            ServerAwayError: There is no answer, or none that can be handed on.
            ClientLacksError: It wants to ask a client that answers nothing of the kind.
            MCPError: The server answered with an error of the protocol.
        """
        client = await self.client()
        meta: types.RequestParamsMeta | None = None
        if log_level is not None and client.protocol_version in MODERN_PROTOCOL_VERSIONS:
            meta = cast(types.RequestParamsMeta, {types.LOG_LEVEL_META_KEY: log_level})

        async def send(answers: types.InputResponses | None, state: str | None) -> Any:
            params = types.CallToolRequestParams(
                name=name, arguments=arguments, input_responses=answers, request_state=state, _meta=meta
            )
            # SECURITY: not the session's own `call_tool`, which checks the answer against the server's output
            # schema: pattern and text are both a stranger's, and would hang the gateway.
            return await client.session.send_request(
                types.CallToolRequest(params=params), _ANSWER, progress_callback=progress
            )

        result: types.CallToolResult = await self._within(CALLS_S, lambda: self._answering(send))
        return result

    async def _answering(
        self, send: Callable[[types.InputResponses | None, str | None], Awaitable[Any]]
    ) -> types.CallToolResult:
        """Send a call again with what its server wants to know, until it is done (2026)."""
        answers: types.InputResponses | None = None
        state: str | None = None
        for _ in range(ROUNDS_AT_MOST):
            found = await send(answers, state)
            if not isinstance(found, types.InputRequiredResult):
                return self._sound(cast(types.CallToolResult, found))
            state, answers = found.request_state, None
            if found.input_requests and self.asked.together is not None:
                answers = await self.asked.together(found.input_requests)
            elif found.input_requests:
                raise MCPError(types.INVALID_REQUEST, "not available")
            else:
                await anyio.sleep(_COMES_AGAIN_S)
        raise ServerAwayError(f"{self.spec.said} asks without end")

    def _sound(self, result: types.CallToolResult) -> types.CallToolResult:
        """Refuse what JSON cannot say; frames of a process were read so, those of a URL by the package."""
        if self.spec.url is not None:
            try:
                json.dumps(result.structured_content, allow_nan=False)
            except (ValueError, RecursionError) as error:
                # SECURITY: NaN would be decided, limited and recorded as one thing, and written as another.
                raise ServerAwayError(f"the answer of {self.spec.said} is no JSON") from error
        return result

    async def ask(self, work: Callable[[Client], Awaitable[Any]], *, within_s: float = CALLS_S) -> Any:
        """Ask anything else; raises like `call`."""
        client = await self.client()
        return await self._within(within_s, lambda: work(client))

    async def _within(self, seconds: float, work: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await self._link.within(seconds, work)
        except MCPError as error:
            wanted = _wanted(error) & self.asked.kinds
            if not wanted:
                raise
            raise ClientLacksError(wanted) from error

    @contextlib.contextmanager
    def carrying(self, flight: object) -> Iterator[None]:
        """Say for whom the server works, in the block."""
        token = _FLIGHT.set(flight)
        self._flights.append(flight)
        try:
            yield
        finally:
            self._flights.remove(flight)
            _FLIGHT.reset(token)

    def flight(self) -> object | None:
        """Return for whom the server asks something; None: it cannot be told."""
        found = _FLIGHT.get()
        if found is not None:
            return found
        # SECURITY: of several none is guessed: one client would be asked, and charged, for another's call.
        return self._flights[0] if len(self._flights) == 1 else None

    async def watch(self, uri: str, still: Collection[str]) -> None:
        """Have the server tell when a resource changes; once for all that want to know.

        Args:
            still: All that anybody watches: what else was watched is given up.
        """
        client = await self.client()
        for gone in self._watched - set(still):
            await self._unwatch(client, gone)
        if uri in self._watched:
            return
        if len(self._watched) >= WATCHED_AT_MOST:
            raise ServerAwayError(f"more than {WATCHED_AT_MOST} resources of {self.spec.said} are watched")
        await self._watch(client, uri)
        self._watched.add(uri)

    async def _watch(self, client: Client, uri: str) -> None:
        if client.protocol_version in MODERN_PROTOCOL_VERSIONS:
            self._link.watching[uri] = asyncio.create_task(self._hear_of(client, uri), context=Context())
            return
        params = types.SubscribeRequestParams(uri=uri)
        await self._told(client, types.SubscribeRequest(params=params))

    async def _unwatch(self, client: Client, uri: str) -> None:
        self._watched.discard(uri)
        if (listening := self._link.watching.pop(uri, None)) is not None:
            listening.cancel()
        elif client.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            params = types.UnsubscribeRequestParams(uri=uri)
            with contextlib.suppress(MCPError):  # it goes on telling, and nobody is told
                await self._told(client, types.UnsubscribeRequest(params=params))

    async def _told(self, client: Client, request: Any) -> None:
        await self._link.within(LISTS_S, lambda: client.session.send_request(request, types.EmptyResult))

    async def _hear_of(self, client: Client, uri: str) -> None:
        with contextlib.suppress(Exception):  # a hint and no more: whoever wants to know reads it again
            async with client.listen(resource_subscriptions=[uri]) as events:
                async for _ in events:
                    await self._changed(uri)

    async def _changed(self, uri: str) -> None:
        params = types.ResourceUpdatedNotificationParams(uri=uri)
        await self._heard(self, types.ResourceUpdatedNotification(params=params))

    async def _renew(self, client: Client) -> None:
        """Watch again what was watched before the server died; it may have changed meanwhile."""
        for uri in list(self._watched):
            with contextlib.suppress(MCPError, ServerAwayError):  # a hint and no more
                await self._watch(client, uri)
            await self._changed(uri)


def _wanted(error: MCPError) -> frozenset[str]:
    """Return what a server says that its client must be able to answer; nothing: it failed otherwise."""
    if error.code != types.MISSING_REQUIRED_CLIENT_CAPABILITY or not isinstance(error.error.data, Mapping):
        return frozenset()
    named = error.error.data.get("requiredCapabilities")
    return frozenset(map(str, named)) if isinstance(named, Mapping) else frozenset()
