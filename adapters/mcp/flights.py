"""A request of a client while it lasts, and the way back to that client for what must be asked meanwhile.

A client of 2025 is asked outright.  One of 2026 is asked by an answer that wants more input: then the work
goes on here, parked, until the client makes its request again with what was wanted.
"""

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
import mcp_types as types
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from ringfence.adapters.mcp.connections import BROKEN, Connection, Connections, Context
from ringfence.adapters.mcp.process import Say
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.escape import escaped

ANSWERS_S: Final = 600.0
"""How long a client may take to answer what it is asked."""
PARKED_AT_MOST: Final = 100
_PARK: Final = "park"
_KEY: Final = "server"
NO_STATE: Final = "the request state is not, or no more, of this request"


@dataclass(slots=True, eq=False)
class Flight:
    """One request in flight."""

    context: Context
    """Of the request as it was made last: what is sent meanwhile goes with that."""
    connection: Connection
    run: Run
    task: "asyncio.Task[Any] | None" = None
    question: types.InputRequest | None = None
    _asked: asyncio.Event = field(default_factory=asyncio.Event)
    _answer: "asyncio.Future[Any] | None" = None
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def is_modern(self) -> bool:
        """Whether the client is asked by an answer that wants more input."""
        return self.context.protocol_version in MODERN_PROTOCOL_VERSIONS

    async def ask(self, request: Any, answer: type[Any]) -> Any:
        """Ask the client, and return its answer.

        Raises:
            MCPError: It would not answer, or not in time.
        """
        async with self._one_at_a_time:
            try:
                with anyio.fail_after(ANSWERS_S):
                    if not self.is_modern:
                        back = ServerMessageMetadata(related_request_id=self.context.request_id)
                        return await self.context.session.send_request(request, answer, metadata=back)
                    self._answer = asyncio.get_running_loop().create_future()
                    self.question = request
                    self._asked.set()
                    return await self._answer
            except TimeoutError as error:
                raise MCPError(types.INVALID_REQUEST, "nobody answered in time") from error
            finally:
                self.question = None
                self._asked.clear()

    async def lands(self) -> bool:
        """Wait until the work is done (True), or the client must be asked (False)."""
        assert self.task is not None
        asked = asyncio.create_task(self._asked.wait())
        try:
            await asyncio.wait({self.task, asked}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
        return self.task.done()

    def resume(self, context: Context, answer: Any) -> None:
        """Go on, with the client's answer to what it was asked."""
        self.context = context
        self._asked.clear()
        if self._answer is not None and not self._answer.done():
            if answer is None:
                self._answer.set_exception(MCPError(types.INVALID_REQUEST, "the client gave no answer"))
            else:
                self._answer.set_result(answer)


Work = Callable[[Flight], Awaitable[Any]]


class Flights:
    """Runs the work of requests; what waits for a client's answer is parked here."""

    def __init__(self, connections: Connections, say: Say) -> None:
        self._connections = connections
        self._say = say
        self._parked: dict[str, tuple[Flight, str]] = {}

    async def fly(self, context: Context, params: Any, work: Work) -> Any:
        """Answer a request with what `work` returns, or with what is wanted of the client first.

        Raises:
            MCPError: Ringfence failed: people hear why.
        """
        connection = self._connections.of(context)
        run = await self._connections.run(connection, context)
        flight = self._landing(connection, context, params)
        if flight is None:
            flight = Flight(context, connection, run)
            flight.task = asyncio.create_task(_started(work, flight))
        connection.in_flight += 1
        try:
            return await self._until(flight)
        except EngineError as error:
            # Never told to the client, never swallowed: people hear of it, and nothing ran.
            self._say(escaped(error.diagnostics()))
            raise MCPError(types.INTERNAL_ERROR, BROKEN) from error
        finally:
            connection.in_flight -= 1

    async def close(self) -> None:
        """Give up what is parked."""
        tasks = {flight.task for flight, _ in self._parked.values() if flight.task is not None}
        self._parked.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=5.0)

    async def _until(self, flight: Flight) -> Any:
        assert flight.task is not None
        try:
            # A question may be over before it is put: another one of the same server was refused.
            while not (landed := await flight.lands()) and flight.question is None:
                pass
        except asyncio.CancelledError:
            # The work is cancelled once; a caller in a cancelled scope is interrupted at its every step, and
            # the guard would be, while it records how the call ended.
            flight.task.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait({flight.task})
            if not flight.task.cancelled():
                flight.task.exception()  # looked at: whoever waited for it has gone
            raise
        return flight.task.result() if landed else self._park(flight)

    def _park(self, flight: Flight) -> types.InputRequiredResult:
        for id, (parked, _) in list(self._parked.items()):
            if parked.task is None or parked.task.done():
                del self._parked[id]
        question = flight.question
        if len(self._parked) >= PARKED_AT_MOST or question is None:
            flight.resume(flight.context, None)
            raise MCPError(types.INTERNAL_ERROR, BROKEN)
        id = secrets.token_urlsafe(16)
        self._parked[id] = flight, flight.connection.key
        return types.InputRequiredResult(
            input_requests={_KEY: question}, request_state=json.dumps({_PARK: id})
        )

    def _landing(self, connection: Connection, context: Context, params: Any) -> Flight | None:
        """Return the parked work that a request goes on with; None: it begins its own.

        Raises:
            MCPError: It names work that is not there: it was taken up already, or given up.
        """
        state = state_of(context, params)
        id = state.get(_PARK)
        if not isinstance(id, str):
            return None
        found = self._parked.get(id)
        if found is None or found[1] != connection.key:
            # SECURITY: used twice, a state would do the work twice.
            raise MCPError(types.INVALID_PARAMS, NO_STATE)
        del self._parked[id]
        flight = found[0]
        if flight.task is None or flight.task.done():
            raise MCPError(types.INVALID_PARAMS, NO_STATE)
        flight.resume(context, (params.input_responses or {}).get(_KEY))
        return flight


def state_of(context: Context, params: Any) -> dict[str, Any]:
    """Return what we gave the client to bring back; the boundary has proved it ours, for this request."""
    said = getattr(params, "request_state", None)
    if said is None or context.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        return {}
    try:
        state = json.loads(said)
    except ValueError:  # not of ours
        return {}
    return state if isinstance(state, dict) else {}


async def _started(work: Work, flight: Flight) -> Any:
    return await work(flight)
