"""The gateway: servers behind, a server in front, the guard between them."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mcp.server.lowlevel import Server

from ringfence.adapters.mcp.approving import Approvals
from ringfence.adapters.mcp.back import Back
from ringfence.adapters.mcp.calling import Calls
from ringfence.adapters.mcp.catalogue import Catalogue, Judge
from ringfence.adapters.mcp.connections import Connections, Context, Whose
from ringfence.adapters.mcp.flights import Flights
from ringfence.adapters.mcp.front import Front
from ringfence.adapters.mcp.listing import Listing
from ringfence.adapters.mcp.news import News
from ringfence.adapters.mcp.process import Say
from ringfence.adapters.mcp.prompts import Prompts
from ringfence.adapters.mcp.protocol import Protocol
from ringfence.adapters.mcp.resources import Resources
from ringfence.adapters.mcp.server_questions import ServerQuestions
from ringfence.adapters.mcp.servers import ServerSpec, refuse_doubles
from ringfence.engine.decision.calls import Principal
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.versions import own_versions
from ringfence.engine.seams.escape import escaped

__all__ = ["Gateway", "Options", "ServerSpec", "say_to_stderr"]


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
    """Stands between clients and servers; every request that does anything goes through the guard.

    Use it as `async with Gateway(guard, servers) as gateway`; what it begins ends with the block.  The guard
    is the host's, to be closed after it.
    """

    def __init__(self, guard: Guard, servers: Sequence[ServerSpec], options: Options | None = None) -> None:
        said = options or Options()
        say, version = said.say, own_versions()["ringfence"]
        specs = refuse_doubles(servers)
        self._guard = guard
        self._versions: dict[str, str] = {}
        self.connections = Connections(
            guard,
            whose=said.whose or (lambda _: Whose("", said.principal)),
            agent=said.agent,
            session=said.session,
            versions=lambda: self._versions,
            say=say,
        )
        self._news = News(self.connections, guard.plan)
        self.backs = tuple(Back(spec, say=say, heard=self._news.heard, version=version) for spec in specs)
        questions = ServerQuestions(guard, say)
        for back in self.backs:
            back.asked = questions.may_ask(back)
        self.catalogue = Catalogue(self.backs, guard.plan, said.pins, say, first_use=said.first_use)
        approvals = Approvals(guard, say)
        self._flights = Flights(self.connections, say)
        protocol = Protocol(guard, self.backs, self._flights, approvals, say)
        self._front = Front(
            version,
            Listing(guard, self.connections, self.catalogue),
            Calls(guard, self.catalogue, self._flights, approvals, say),
            Resources(protocol, self.connections),
            Prompts(protocol),
            protocol,
            self._news,
        )

    async def __aenter__(self) -> "Gateway":
        try:
            await self._guard.aopen()
            await self._start_all()
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
            await self._flights.close()
            await self.connections.end_all()
        finally:
            await asyncio.gather(*[back.close() for back in self.backs], return_exceptions=True)

    def server(self) -> Server[Any]:
        """Return the server in front, for one transport."""
        return self._front.server()

    async def _start_all(self) -> None:
        """Connect to all servers at once; the first one that fails calls the others off."""
        starting = [asyncio.create_task(self._start(back)) for back in self.backs]
        try:
            await asyncio.wait(starting, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in starting:
                task.cancel()
            ended = await asyncio.gather(*starting, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):
                raise error

    async def _start(self, back: Back) -> None:
        """Connect at the start: a server that is not there then is a mistake that a person must hear of."""
        name, version = await back.identity()
        self._versions[back.spec.argument] = escaped(f"{name} {version}".strip() or "unknown")
