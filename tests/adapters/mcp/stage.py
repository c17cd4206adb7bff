"""Plays scenes through the gateway: tools are a server's, calls are a client's, the guard stands between."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Literal

import pytest
from mcp import Client
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError

from ringfence.adapters.mcp import Gateway, Options, ServerSpec
from ringfence.adapters.mcp.http import PATH, listen, serving
from ringfence.testing import AdapterContract, Asked, Outcome, Scene, Told

PENDING = "PENDING APPROVAL"

Era = Literal["legacy", "auto"]


class GatewayStage(AdapterContract):
    """The gateway between a client and a server of this process."""

    framework = "mcp"
    has_model = False
    claims = False
    has_ids = False
    streams = False
    has_hooks = False
    has_helpers = False
    has_provider_tools = False
    writes_text = False
    raises_ours = False

    era: ClassVar[Era]

    @asynccontextmanager
    async def client(self, gateway: Gateway) -> AsyncIterator[Client]:
        """Connect a client to the gateway."""
        async with Client(gateway.server(), mode=self.era, cache=None) as client:
            yield client

    async def play(self, scene: Scene) -> Outcome:
        """Make each turn's calls at the same time; a pending one is made again by `resume`."""
        playing = Playing(self, scene)
        self.playing.append(playing)
        return await playing.play()

    @pytest.fixture(autouse=True)
    async def hang_up(self) -> AsyncIterator[None]:
        """Leave no connection behind that waits for people."""
        self.playing: list[Playing] = []
        yield
        for one in self.playing:
            await one.hang_up()


class Playing:
    """A client that makes the calls of a scene, over one connection as long as it is not done."""

    def __init__(self, stage: GatewayStage, scene: Scene) -> None:
        self._stage = stage
        self._scene = scene
        self._calls = [asked for turn in scene.turns for asked in turn]
        self._told: dict[int, Told] = {}
        self._offered: list[frozenset[str]] = []
        self._connection: asyncio.Task[None] | None = None
        self._client: Client | None = None
        self._over = asyncio.Event()

    async def play(self) -> Outcome:
        """Make the calls that are not answered yet, turn by turn, up to one that waits for people."""
        client = await self._connected()
        first = 0
        try:
            for turn in self._scene.turns:
                numbers = [n for n in range(first, first + len(turn)) if n not in self._told]
                first += len(turn)
                told = await asyncio.gather(*[_called(client, self._calls[n]) for n in numbers])
                waiting = {n: said for n, said in zip(numbers, told, strict=True) if PENDING in said.text}
                self._told |= {n: said for n, said in zip(numbers, told, strict=True) if n not in waiting}
                if waiting:
                    return self._outcome(waiting)
        except BaseException:
            await self.hang_up()
            raise
        await self.hang_up()
        return self._outcome({})

    async def again(self) -> Outcome:
        """Make every call once more, over a connection of its own, as from a state that was kept."""
        self._told.clear()
        outcome = await self.play()
        await self.hang_up()
        return outcome

    async def hang_up(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._over.set()
            await asyncio.wait({connection})
            connection.result()

    def _outcome(self, waiting: dict[int, Told]) -> Outcome:
        told = self._told | waiting
        resume = self._resumed if waiting else None
        return Outcome(told=[told[n] for n in sorted(told)], offered=self._offered, resume=resume)

    async def _resumed(self) -> Outcome:
        return await (self.play() if self._connection is not None else self.again())

    async def _connected(self) -> Client:
        if self._connection is None:
            ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
            self._over = asyncio.Event()
            self._connection = asyncio.create_task(self._live(ready, self._over))
            both: set[asyncio.Future[Any]] = {ready, self._connection}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                await self._connection
            self._client = await ready
        assert self._client is not None
        return self._client

    async def _live(self, ready: "asyncio.Future[Client]", over: asyncio.Event) -> None:
        """Hold the connection: what it enters, it leaves, in one task."""
        scene = self._scene
        server = MCPServer("contract")
        for tool in scene.tools:
            server.add_tool(tool, structured_output=False)
        options = Options(principal=scene.principal, agent=scene.agent, session=scene.session)
        async with (
            Gateway(scene.guard, [ServerSpec(target=server)], options) as gateway,
            self._stage.client(gateway) as client,
        ):
            with contextlib.suppress(MCPError):  # a guard that fails offers nothing
                tools = (await client.list_tools()).tools
                self._offered.append(frozenset(tool.name for tool in tools))
            ready.set_result(client)
            await over.wait()


async def _called(client: Client, asked: Asked) -> Told:
    arguments: dict[str, Any] = dict(asked.arguments)
    try:
        result = await client.call_tool(asked.tool, arguments)
    except MCPError as error:
        return Told(asked.tool, str(error), failed=True, id=asked.id)
    text = "\n".join(str(getattr(block, "text", "")) for block in result.content)
    return Told(asked.tool, text, failed=result.is_error, id=asked.id)


@asynccontextmanager
async def over_http(gateway: Gateway, era: Era) -> AsyncIterator[Client]:
    """Serve the gateway on a port of this machine, and connect a client to it."""
    with listen("127.0.0.1", 0) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}{PATH}"
        async with (
            serving(gateway, listening, host="127.0.0.1", tokens=None),
            Client(url, mode=era, cache=None) as client,
        ):
            yield client
