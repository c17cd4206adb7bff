"""Who is in front: one run for each connection of a client, begun at its first request, ended with it."""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import mcp_types as types
from mcp.server import ServerRequestContext
from mcp.server.session import ServerSession
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from ringfence.adapters.mcp.process import Say
from ringfence.engine.decision.calls import Principal
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.lifecycle import EndStatus
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.enforcement.versions import versions_of
from ringfence.engine.seams.errors import RingfenceError
from ringfence.engine.seams.escape import escaped

Context = ServerRequestContext[Any, Any]

BROKEN: Final = "the request could not be handled"
"""All that a client is told of a failure of Ringfence itself."""
IDLE_S: Final = 3600.0
"""A connection over HTTP that asked nothing for so long has ended."""
CONNECTIONS_AT_MOST: Final = 1_000
OVER_AT_MOST: Final = 10_000
"""Sessions of the protocol that were halted, and are remembered as such when nothing else is."""
_SAID_AT_MOST: Final = 100


@dataclass(frozen=True, slots=True)
class Whose:
    """On whose behalf a client connects."""

    name: str
    """Of the token, or empty: for the record."""
    principal: Principal | None


@dataclass(slots=True)
class Connection:
    """One client, and its run."""

    key: tuple[str, str]
    """The name of its token, and the protocol's session, as far as there are such."""
    whose: Whose
    session_name: str | None
    run: Run | None = None
    session: ServerSession | None = None
    """Of its last request: reaches a client of 2025 outside of any request."""
    used_s: float = 0.0
    in_flight: int = 0
    watches: dict[str, str] = field(default_factory=dict)
    """Resources that it is told of: the normal form of the URI, and the form in which it asked."""
    log_level: types.LoggingLevel | None = None
    """From which level on it is told what servers log (2025); None: nothing."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Connections:
    """The connected clients."""

    def __init__(
        self,
        guard: Guard,
        *,
        whose: Callable[[Context], Whose],
        agent: str | None,
        session: str | None,
        versions: Callable[[], Mapping[str, str]],
        say: Say,
    ) -> None:
        self._guard = guard
        self._whose = whose
        self._agent = agent
        self._session = session
        self._versions = versions
        self._say = say
        self._mark = secrets.token_hex(8)
        self._known: dict[tuple[str, str], Connection] = {}
        self._over: deque[str] = deque(maxlen=OVER_AT_MOST)

    @property
    def all(self) -> list[Connection]:
        """Every connection that is known."""
        return list(self._known.values())

    def of(self, context: Context) -> Connection:
        """Return the connection that a request came over.

        Raises:
            MCPError: There are too many, or it was halted long ago.
        """
        whose = self._whose(context)
        mcp_session = _session_id(context)
        # SECURITY: by the token as well: a session id that was overheard reaches no other's run.
        key = whose.name, mcp_session or ""
        found = self._known.get(key)
        if found is None:
            if key[1] in self._over or len(self._known) >= CONNECTIONS_AT_MOST:
                raise MCPError(types.INTERNAL_ERROR, BROKEN)
            found = self._known[key] = Connection(key, whose, self._named(context, whose, mcp_session))
        found.session = context.session
        found.used_s = asyncio.get_running_loop().time()
        return found

    async def run(self, connection: Connection, context: Context) -> Run:
        """Return the run of a connection; its first request begins it.

        Raises:
            MCPError: Ringfence could not begin it; why is told to people.
        """
        async with connection.lock:
            if connection.run is None:
                client = _client_of(context)
                try:
                    connection.run = await self._guard.abegin_run(
                        principal=connection.whose.principal,
                        agent=self._agent,
                        session=connection.session_name,
                        framework="mcp",
                        versions={**versions_of("mcp"), **self._versions(), "client": client},
                        external_id=_session_id(context),
                    )
                except RingfenceError as error:  # fails closed: without a run nothing is listed or called
                    self._say(escaped(f"no run could be begun: {error}"))
                    raise MCPError(types.INTERNAL_ERROR, BROKEN) from error
            return connection.run

    async def end(self, connection: Connection, status: EndStatus = "done") -> None:
        """End a connection: open questions are withdrawn, what it holds is given back."""
        self._known.pop(connection.key, None)
        run, connection.run = connection.run, None
        if run is None:
            return
        try:
            await self._guard.aend_run(run, status)
        except RingfenceError as error:  # it is over all the same; the record says so when it can
            self._say(escaped(f"the end of {run.id} could not be recorded: {error}"))

    async def end_session(self, session_id: str) -> None:
        """End the connections of a session of the protocol that its client has closed."""
        for connection in self.all:
            if connection.key[1] == session_id:
                await self.end(connection)

    async def end_idle(self, now_s: float) -> None:
        """End what has asked nothing for long."""
        for connection in self.all:
            if connection.in_flight or now_s - connection.used_s <= IDLE_S:
                continue
            halted = connection.run is not None and connection.run.state.halted is not None
            # SECURITY: a halted one stays so, or its client would only have to wait for a new run.
            if halted and not connection.key[1]:
                continue
            if halted:
                self._over.append(connection.key[1])
            await self.end(connection)

    async def end_all(self) -> None:
        """End every connection."""
        for connection in self.all:
            await self.end(connection)

    def _named(self, context: Context, whose: Whose, mcp_session: str | None) -> str | None:
        if self._session is not None:
            return self._session
        if context.request is None or mcp_session is not None:
            return None  # a session of its own
        # A request that belongs to no connection: all of one token's are one conversation, as far as we know.
        return f"mcp-{self._mark}-{whose.name}"


def _session_id(context: Context) -> str | None:
    """Return the protocol's session id, of HTTP in its form of 2025."""
    if context.request is None or context.protocol_version in MODERN_PROTOCOL_VERSIONS:
        # SECURITY: nobody has given out the id that a client of 2026 may send: each would begin a new run.
        return None
    found: str | None = context.request.headers.get("mcp-session-id")
    return found


def _client_of(context: Context) -> str:
    params = context.session.client_params
    if params is None:
        return "unknown"
    return escaped(f"{params.client_info.name} {params.client_info.version}"[:_SAID_AT_MOST])
