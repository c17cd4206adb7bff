"""The connection to one server: made when it is needed, and made again when the server has died."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
import httpx2
import mcp_types as types
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import PromptsListChanged, ResourcesListChanged, ToolsListChanged
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from ringfence.adapters.mcp.large_answers import bounded
from ringfence.adapters.mcp.process import Say, process
from ringfence.adapters.mcp.servers import ServerSpec
from ringfence.engine.seams.escape import escaped

STARTS_S: Final = 30.0
"""A server that has not shaken hands by then is not there."""
STARTS_AT_MOST: Final = 5
STARTS_WITHIN_S: Final = 60.0
"""A server that dies more often than that stays dead for as long."""

_NEWS: Final[dict[type[Any], type[Any]]] = {
    ToolsListChanged: types.ToolListChangedNotification,
    PromptsListChanged: types.PromptListChangedNotification,
    ResourcesListChanged: types.ResourceListChangedNotification,
}

Heard = Callable[[types.ServerNotification], Awaitable[None]]


class ServerAwayError(Exception):
    """The server cannot be reached, or has answered in no way that can be handed on."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How a server's own questions to the client are answered; None: it may not ask them."""

    elicit: Any = None
    sample: Any = None
    roots: Any = None
    together: Callable[[Mapping[str, types.InputRequest]], Awaitable[types.InputResponses]] | None = None
    """Answers questions that came together, each under its name."""
    answered: Callable[[], frozenset[str] | None] | None = None
    """Says which kinds of questions the client answers for which a request is made (2026); None: any."""

    @property
    def kinds(self) -> frozenset[str]:
        """Which kinds of questions it may ask at all, by the protocol's names of capabilities."""
        may = {"elicitation": self.elicit, "sampling": self.sample, "roots": self.roots}
        return frozenset(kind for kind, answer in may.items() if answer is not None)


@dataclass(slots=True)
class _Connection:
    client: Client | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None


class Link:
    """Holds the connection to one server, one at a time."""

    def __init__(
        self,
        spec: ServerSpec,
        *,
        say: Say,
        heard: Heard,
        connected: Callable[[Client], Coroutine[Any, Any, None]],
        version: str,
    ) -> None:
        self.spec = spec
        self.asked = Asked()
        self._say = say
        self._heard = heard
        self._connected = connected
        self._info = types.Implementation(name="ringfence", version=version)
        self._connection: _Connection | None = None
        self._lock = asyncio.Lock()
        self._starts: list[float] = []
        self._closed = False
        self.watching: dict[str, asyncio.Task[None]] = {}
        """What is listened to over this connection: ended with it."""

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
        if (found := self._connection) is not None and found.client is None and found.task is not None:
            found.task.cancel()  # it is being started: not waited for
        async with self._lock:
            await self._hang_up()

    async def within(self, seconds: float, work: Callable[[], Awaitable[Any]]) -> Any:
        """Return what `work` gives, which asks the server.

        Raises:
            ServerAwayError: It gives nothing in time, or the server is gone.
            MCPError: The server answered with an error of the protocol.
        """
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
        for task in self.watching.values():
            task.cancel()
        self.watching.clear()
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
                if client.protocol_version in MODERN_PROTOCOL_VERSIONS and self.asked.answered is not None:
                    _declare_for_each_request(client, self.asked.answered)
                connection.client = client
                connection.ready.set()
                doing = (self._listen(client), self._connected(client))
                beside = [asyncio.create_task(one) for one in doing]
                try:
                    await connection.over.wait()
                finally:
                    for task in beside:
                        task.cancel()
                    await asyncio.gather(*beside, return_exceptions=True)

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
                        await self._heard(news())

    async def _message(self, message: types.ServerNotification | Exception) -> None:
        if isinstance(message, Exception):
            return
        await self._heard(message)


def _declare_for_each_request(client: Client, answered: Callable[[], frozenset[str] | None]) -> None:
    """Have each request say what the very client can be asked for which it is made, and forms alone.

    The package says the same of all requests of a connection, which here are those of many clients.
    """
    session: Any = client.session
    stamp = session._stamp  # there is no other place that all requests pass

    def narrowed(data: dict[str, Any], options: Any) -> None:
        stamp(data, options)
        meta, kinds = data["params"]["_meta"], answered()
        said: dict[str, Any] = {
            kind: how
            for kind, how in meta[types.CLIENT_CAPABILITIES_META_KEY].items()
            if kinds is None or kind in kinds
        }
        if "elicitation" in said:
            said["elicitation"] = {"form": {}}
        meta[types.CLIENT_CAPABILITIES_META_KEY] = said

    session._stamp = narrowed


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
