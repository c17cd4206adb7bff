"""The side towards one server: connected when needed, started again when it died, asked within bounds."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from contextvars import Context, ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, cast

import anyio
import httpx2
import mcp_types as types
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.dispatcher import ProgressFnT
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import PromptsListChanged, ResourcesListChanged, ToolsListChanged
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from ringfence.adapters.mcp.large_answers import bounded
from ringfence.adapters.mcp.process import Say, process
from ringfence.adapters.mcp.servers import ServerSpec
from ringfence.engine.seams.escape import escaped

STARTS_S: Final = 30.0
"""A server that has not shaken hands by then is not there."""
LISTS_S: Final = 30.0
CALLS_S: Final = 600.0
"""A call without an answer fails then, where the policy sets no sooner bound."""
PAGES_AT_MOST: Final = 100
ENTRIES_AT_MOST: Final = 2_000
"""Tools, resources or prompts of one server."""
WATCHED_AT_MOST: Final = 200
STARTS_AT_MOST: Final = 5
STARTS_WITHIN_S: Final = 60.0
"""A server that dies more often than that stays dead for as long."""

_NEWS: Final[dict[type[Any], type[Any]]] = {
    ToolsListChanged: types.ToolListChangedNotification,
    PromptsListChanged: types.PromptListChangedNotification,
    ResourcesListChanged: types.ResourceListChangedNotification,
}

_FLIGHT: ContextVar[object | None] = ContextVar("ringfence_mcp_flight", default=None)

Heard = Callable[["Back", types.ServerNotification], Awaitable[None]]


class ServerAwayError(Exception):
    """The server cannot be reached, or has answered in no way that can be handed on."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How a server's own questions to the client are answered; None: it may not ask them."""

    elicit: Any = None
    sample: Any = None
    roots: Any = None


@dataclass(slots=True)
class _Connection:
    client: Client | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None


class Back:
    """The gateway as the client of one server."""

    def __init__(self, spec: ServerSpec, *, say: Say, heard: Heard, version: str) -> None:
        self.spec = spec
        self.asked = Asked()
        self._say = say
        self._heard = heard
        self._info = types.Implementation(name="ringfence", version=version)
        self._connection: _Connection | None = None
        self._lock = asyncio.Lock()
        self._starts: list[float] = []
        self._closed = False
        self._flights: list[object] = []
        self._watching: dict[str, asyncio.Task[None]] = {}

    async def client(self) -> Client:
        """Return the connected client; a server that died is started again here.

        Raises:
            ServerAwayError: It cannot be reached, or died too often of late.
        """
        async with self._lock:
            found = self._connection
            if found is None or found.over.is_set() or found.client is None:
                found = await self._connect()
            assert found.client is not None
            return found.client

    async def close(self) -> None:
        """Hang up, and end the server's process."""
        self._closed = True
        async with self._lock:
            await self._hang_up()

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
        cursor: str | None = None
        seen: set[str] = set()
        for _ in range(PAGES_AT_MOST):
            found, cursor = await self._within(LISTS_S, lambda at=cursor: ask(client, at))  # type: ignore[misc]
            entries += found
            if len(entries) > ENTRIES_AT_MOST:
                raise ServerAwayError(f"{self.spec.said} lists more than {ENTRIES_AT_MOST:,} entries")
            if cursor is None:
                return entries
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
            MCPError: The server answered with an error of the protocol.
        """
        client = await self.client()
        meta: types.RequestParamsMeta | None = None
        if log_level is not None and client.protocol_version in MODERN_PROTOCOL_VERSIONS:
            meta = cast(types.RequestParamsMeta, {types.LOG_LEVEL_META_KEY: log_level})
        result: types.CallToolResult = await self._within(
            CALLS_S, lambda: client.call_tool(name, arguments, progress_callback=progress, meta=meta)
        )
        return result

    async def ask(self, work: Callable[[Client], Awaitable[Any]], *, within_s: float = CALLS_S) -> Any:
        """Ask anything else; raises like `call`."""
        client = await self.client()
        return await self._within(within_s, lambda: work(client))

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

    async def watch(self, uri: str) -> None:
        """Have the server tell when a resource changes; once for all that want to know."""
        client = await self.client()
        known = self._watching.get(uri)
        if known is not None and not known.done():
            return
        if len(self._watching) >= WATCHED_AT_MOST:
            raise ServerAwayError(f"more than {WATCHED_AT_MOST} resources of {self.spec.said} are watched")
        if client.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            await self._within(
                LISTS_S, lambda: client.session.send_request(_subscribe(uri), types.EmptyResult)
            )
            return

        async def listen() -> None:
            with contextlib.suppress(Exception):  # a hint and no more: whoever wants to know reads it again
                async with client.listen(resource_subscriptions=[uri]) as events:
                    async for _ in events:
                        params = types.ResourceUpdatedNotificationParams(uri=uri)
                        await self._heard(self, types.ResourceUpdatedNotification(params=params))

        self._watching[uri] = asyncio.create_task(listen(), context=Context())

    # ---- the connection ----------------------------------------------------------------------------

    async def _within(self, seconds: float, work: Callable[[], Awaitable[Any]]) -> Any:
        connection = self._connection
        try:
            with anyio.fail_after(seconds):
                return await work()
        except MCPError as error:
            if error.code != types.CONNECTION_CLOSED:
                raise
            if connection is not None:
                connection.over.set()
            raise ServerAwayError(f"{self.spec.said} is gone") from error
        except TimeoutError as error:
            raise ServerAwayError(f"{self.spec.said} did not answer within {seconds:g} s") from error
        except (anyio.ClosedResourceError, anyio.BrokenResourceError, httpx2.HTTPError, OSError) as error:
            if connection is not None:
                connection.over.set()
            raise ServerAwayError(f"{self.spec.said} is gone ({type(error).__name__})") from error

    async def _connect(self) -> _Connection:
        await self._hang_up()
        if self._closed:
            raise ServerAwayError("the gateway is closing")
        now = asyncio.get_running_loop().time()
        self._starts = [at for at in self._starts if now - at < STARTS_WITHIN_S]
        if len(self._starts) >= STARTS_AT_MOST:
            raise ServerAwayError(
                f"{self.spec.said} was started {STARTS_AT_MOST} times in {STARTS_WITHIN_S:g} s, and is left"
            )
        self._starts.append(now)
        connection = self._connection = _Connection()
        # SECURITY: in a context of its own: what it hears later belongs to no call that made it connect.
        connection.task = asyncio.create_task(self._live(connection), context=Context())
        ready = asyncio.create_task(connection.ready.wait())
        try:
            await asyncio.wait(
                {ready, connection.task}, timeout=STARTS_S, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            ready.cancel()
            if connection.client is None:
                await self._hang_up()
        if connection.client is None:
            raise ServerAwayError(f"{self.spec.said} cannot be reached: {_why(connection.task)}")
        return connection

    async def _hang_up(self) -> None:
        for task in self._watching.values():
            task.cancel()
        self._watching.clear()
        connection, self._connection = self._connection, None
        if connection is None or connection.task is None:
            return
        connection.over.set()
        if connection.client is None:
            connection.task.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait({connection.task}, timeout=10.0)
        if not connection.task.done():  # stuck in its farewell: nothing it says is heard any more
            connection.task.cancel()
            return
        if not connection.task.cancelled() and (error := connection.task.exception()) is not None:
            connection.over.set()
            del error

    async def _live(self, connection: _Connection) -> None:
        """Hold the connection; whatever it enters, it leaves, in this one task."""
        async with contextlib.AsyncExitStack() as stack:
            target = self.spec.target
            if target is None:
                target = await self._transport(stack, connection)
            client = Client(
                target,
                mode="auto",
                cache=None,
                client_info=self._info,
                elicitation_callback=self.asked.elicit,
                sampling_callback=self.asked.sample,
                list_roots_callback=self.asked.roots,
                message_handler=self._message,
            )
            async with client:
                connection.client = client
                connection.ready.set()
                listening = asyncio.create_task(self._listen(client))
                try:
                    await connection.over.wait()
                finally:
                    listening.cancel()
                    await asyncio.wait({listening})

    async def _transport(self, stack: contextlib.AsyncExitStack, connection: _Connection) -> Any:
        if self.spec.url is None:
            return process(self.spec, self._say, connection.over.set)
        # SECURITY: what the client in front has authorized itself with goes nowhere; only what is said here.
        http = httpx2.AsyncClient(
            headers=dict(self.spec.headers),
            timeout=httpx2.Timeout(30.0, read=300.0),
            event_hooks={"response": [bounded]},
        )
        await stack.enter_async_context(http)
        return streamable_http_client(self.spec.url, http_client=http)

    async def _listen(self, client: Client) -> None:
        """Hear of changes where the server tells them on a stream of their own."""
        if client.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            return
        can = client.server_capabilities
        tools = can.tools is not None and bool(can.tools.list_changed)
        prompts = can.prompts is not None and bool(can.prompts.list_changed)
        resources = can.resources is not None and bool(can.resources.list_changed)
        if not (tools or prompts or resources):
            return
        with contextlib.suppress(Exception):  # a hint and no more: what is called is looked up each time
            async with client.listen(
                tools_list_changed=tools,
                prompts_list_changed=prompts,
                resources_list_changed=resources,
            ) as events:
                async for event in events:
                    if (news := _NEWS.get(type(event))) is not None:
                        await self._heard(self, news())

    async def _message(self, message: types.ServerNotification | Exception) -> None:
        if isinstance(message, Exception):
            return
        await self._heard(self, message)


def _subscribe(uri: str) -> types.SubscribeRequest:
    return types.SubscribeRequest(params=types.SubscribeRequestParams(uri=uri))


def _why(task: "asyncio.Task[None] | None") -> str:
    if task is None or not task.done():
        return f"no handshake within {STARTS_S:g} s"
    if task.cancelled():
        return f"no handshake within {STARTS_S:g} s"
    error = task.exception()
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    if isinstance(error, FileNotFoundError):
        return "there is no such command"
    return escaped(f"{type(error).__name__}: {error}"[:300]) if error is not None else "it ended at once"
