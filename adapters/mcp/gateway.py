"""The gateway: servers behind, a server in front, the guard between them."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity

from ringfence.adapters.mcp.approving import Approvals
from ringfence.adapters.mcp.back import Back, ServerAwayError
from ringfence.adapters.mcp.calling import Calls
from ringfence.adapters.mcp.catalogue import Catalogue, Judge
from ringfence.adapters.mcp.connections import Connections, Context, Whose
from ringfence.adapters.mcp.listing import Listing
from ringfence.adapters.mcp.process import Say
from ringfence.adapters.mcp.servers import ServerSpec, refuse_doubles
from ringfence.engine.decision.calls import Principal
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.versions import own_versions
from ringfence.engine.seams.escape import escaped


def say_to_stderr(text: str) -> None:
    """Tell people; stdout belongs to the protocol."""
    print(f"ringfence: {text}", file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Options:
    """What the host says of everybody who connects."""

    principal: Principal | None = None
    agent: str | None = None
    session: str | None = None
    """The policy's session; None: each connection has one of its own."""
    pins: Judge | None = None
    """Which definitions of tools may be used; None: all of them."""
    first_use: bool = True
    """A tool that is met for the first time is pinned as it is; False: a person must have pinned it."""
    say: Say = say_to_stderr
    whose: Callable[[Context], Whose] | None = None
    """Says on whose behalf a request comes; None: always `principal`."""


class Gateway:
    """Stands between clients and servers; every call of a client goes through the guard.

    Use it as `async with Gateway(guard, servers) as gateway`; what it begins ends with the block.
    """

    def __init__(self, guard: Guard, servers: Sequence[ServerSpec], options: Options | None = None) -> None:
        said = options or Options()
        self.guard = guard
        self.options = said
        specs = refuse_doubles(servers)
        version = own_versions()["ringfence"]
        self.backs = tuple(Back(spec, say=said.say, heard=self._heard, version=version) for spec in specs)
        self._versions: dict[str, str] = {}
        self.connections = Connections(
            guard,
            whose=said.whose or (lambda _: Whose("", said.principal)),
            agent=said.agent,
            session=said.session,
            versions=lambda: self._versions,
            say=said.say,
        )
        self.catalogue = Catalogue(self.backs, guard.plan, said.pins, said.say, first_use=said.first_use)
        approvals = Approvals(guard, said.say)
        self._listing = Listing(guard, self.connections, self.catalogue)
        self._calls = Calls(guard, self.connections, self.catalogue, approvals, said.say)
        self._version = version

    async def __aenter__(self) -> "Gateway":
        try:
            await self.guard.aopen()
            await asyncio.gather(*[self._start(back) for back in self.backs])
            await self.catalogue.entries()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the runs, and the servers' processes."""
        try:
            await self.connections.end_all()
        finally:
            await asyncio.gather(*[back.close() for back in self.backs], return_exceptions=True)

    def server(self) -> Server[Any]:
        """Return the server in front, for one transport."""
        server: Server[Any] = Server(
            "ringfence",
            version=self._version,
            lifespan=_nothing,
            on_list_tools=self._listing.tools,
            on_call_tool=self._calls.call,
        )
        server.middleware.clear()  # its spans would hold what no policy looked at
        server.middleware.append(
            RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience="ringfence")
        )
        return server

    async def _start(self, back: Back) -> None:
        """Connect at the start: a server that is not there then is a mistake that a person must hear of."""
        name, version = await back.identity()
        self._versions[back.spec.argument] = escaped(f"{name} {version}".strip() or "unknown")

    async def _heard(self, back: Back, message: types.ServerNotification) -> None:
        """Hand on what a server says of itself."""
        if isinstance(message, types.ToolListChangedNotification):
            for connection in self.connections.all:
                if connection.session is not None:
                    with contextlib.suppress(Exception):  # a client that has gone hears nothing
                        await connection.session.send_tool_list_changed()


@asynccontextmanager
async def _nothing(_: Server[Any]) -> AsyncIterator[dict[str, Any]]:
    yield {}


__all__ = ["Gateway", "Options", "ServerAwayError", "ServerSpec", "say_to_stderr"]
