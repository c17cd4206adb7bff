"""A request of a client while it lasts, and the way back to that client for what must be asked meanwhile.

A client of 2025 is asked outright.  One of 2026 is asked by an answer that wants more input: then the work
goes on here, parked, until the client makes its request again with what was wanted.
"""

import asyncio
import contextlib
import json
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping
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
QUESTIONS_AT_MOST: Final = 100
"""That a server may ask its client for one request."""
LOGS_AT_MOST: Final = 1_000
"""Lines of logs that a server may send its client for one request."""
_PARK: Final = "park"
_KEY: Final = "server"
NO_STATE: Final = "the request state is not, or no more, of this request"


class UnansweredError(MCPError):
    """The client made its request again, and left this question out."""


@dataclass(slots=True, eq=False)
class Flight:
    """One request in flight."""

    context: Context
    """Of the request as it was made last: what is sent meanwhile goes with that."""
    connection: Connection
    run: Run
    task: "asyncio.Task[Any] | None" = None
    questions: dict[str, types.InputRequest] = field(default_factory=dict)
    """What the client must still be asked, by the names that it will answer under."""
    given: dict[str, Any] = field(default_factory=dict)
    """Answers that came with the first request, to questions of the server that the client foresaw."""
    broken: EngineError | None = None
    """Ringfence itself failed while the server asked something: whatever the work comes to is not told."""
    logs_left: int = 0
    """Lines of its server's log that the client may hear yet; none where results are limited or labelled."""
    questions_left: int = QUESTIONS_AT_MOST
    undecided: int = 0
    """Questions that came together with others, and may yet have to be asked with them."""
    _answers: "dict[str, asyncio.Future[Any]]" = field(default_factory=dict)
    _put: frozenset[str] = frozenset()
    _asked: asyncio.Event = field(default_factory=asyncio.Event)
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def is_modern(self) -> bool:
        """Whether the client is asked by an answer that wants more input."""
        return self.context.protocol_version in MODERN_PROTOCOL_VERSIONS

    async def ask(self, request: Any, answer: type[Any], together: "Together | None" = None) -> Any:
        """Ask the client, and return its answer.

        Args:
            together: The name of a question that came with others: the client is asked all of them at once.

        Raises:
            UnansweredError: It came again without an answer to this.
            MCPError: It would not answer, or not in time.
        """
        try:
            with anyio.fail_after(ANSWERS_S):
                if self.is_modern:
                    return await self._asked_by_an_answer(request, together)
                async with self._one_at_a_time:
                    back = ServerMessageMetadata(related_request_id=self.context.request_id)
                    return await self.context.session.send_request(request, answer, metadata=back)
        except TimeoutError as error:
            raise MCPError(types.INVALID_REQUEST, "nobody answered in time") from error

    async def _asked_by_an_answer(self, request: Any, together: "Together | None") -> Any:
        name = _KEY if together is None else together.name
        if together is not None and name in self.given:
            together.settle()
            return self.given.pop(name)
        while name in self.questions:
            name += "_"
        answer = self._answers[name] = asyncio.get_running_loop().create_future()
        self.questions[name] = request
        if together is not None:
            together.settle()
        self.look()
        try:
            return await answer
        finally:
            if self._answers.get(name) is answer:
                self._withdraw(name)

    @contextlib.contextmanager
    def hearing(self, free: bool) -> Iterator[None]:
        """Let the client hear in the block what the server logs, if that is free."""
        self.logs_left = LOGS_AT_MOST if free else 0
        try:
            yield
        finally:
            self.logs_left = 0

    def look(self) -> None:
        """Have the client asked once all that came together is decided."""
        if self.questions and not self.undecided:
            self._asked.set()
        else:
            self._asked.clear()

    def put(self) -> "dict[str, types.InputRequest]":
        """Return what the client is asked now; it answers all of it, or leaves it unanswered."""
        self._put = frozenset(self.questions)
        return dict(self.questions)

    def _withdraw(self, name: str) -> None:
        self.questions.pop(name, None)
        self._answers.pop(name, None)
        self.look()

    async def lands(self) -> bool:
        """Wait until the work is done (True), or the client must be asked (False)."""
        assert self.task is not None
        asked = asyncio.create_task(self._asked.wait())
        try:
            await asyncio.wait({self.task, asked}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
        return self.task.done()

    def resume(self, context: Context, answers: Mapping[str, Any]) -> None:
        """Go on, with the client's answers to what it was asked."""
        self.context = context
        for name in self._put:
            waiting = self._answers.get(name)
            self._withdraw(name)
            if waiting is None or waiting.done():
                continue
            if answers.get(name) is None:
                waiting.set_exception(UnansweredError(types.INVALID_REQUEST, "the client gave no answer"))
            else:
                waiting.set_result(answers[name])
        self._put = frozenset()


@dataclass(slots=True)
class Together:
    """One of the questions that a server asks at once."""

    name: str
    flight: Flight
    settled: bool = False

    def settle(self) -> None:
        """Say that it is decided: put to the client, or refused."""
        if not self.settled:
            self.settled = True
            self.flight.undecided -= 1
            self.flight.look()


Work = Callable[[Flight], Awaitable[Any]]


class Flights:
    """Runs the work of requests; what waits for a client's answer is parked here."""

    def __init__(self, connections: Connections, say: Say) -> None:
        self._connections = connections
        self._say = say
        self._parked: dict[str, tuple[Flight, tuple[str, str]]] = {}

    async def fly(self, context: Context, params: Any, work: Work) -> Any:
        """Answer a request with what `work` returns, or with what is wanted of the client first.

        Raises:
            MCPError: Ringfence failed: people hear why.
        """
        connection = self._connections.of(context)
        run = await self._connections.run(connection, context)
        flight = self._landing(connection, context, params)
        if flight is None:
            flight = Flight(context, connection, run, given=_given(params))
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
            while not (landed := await flight.lands()) and not flight.questions:
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
        if not landed:
            return self._park(flight)
        if flight.broken is not None:
            flight.task.exception()  # looked at: whatever it is, it came of this
            raise flight.broken
        return flight.task.result()

    def _park(self, flight: Flight) -> types.InputRequiredResult:
        if len(self._parked) >= PARKED_AT_MOST:
            for id, (parked, _) in list(self._parked.items()):
                if parked.task is None or parked.task.done():
                    del self._parked[id]
        questions = flight.put()
        if len(self._parked) >= PARKED_AT_MOST:
            flight.resume(flight.context, {})
            raise MCPError(types.INTERNAL_ERROR, BROKEN)
        id = secrets.token_urlsafe(16)
        self._parked[id] = flight, flight.connection.key
        return types.InputRequiredResult(input_requests=questions, request_state=json.dumps({_PARK: id}))

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
        if flight.task is None or flight.task.cancelled():
            raise MCPError(types.INVALID_PARAMS, NO_STATE)
        # What it did may be done by now: the server did not wait for the answer.  It is told here, once.
        flight.resume(context, params.input_responses or {})
        return flight


def _given(params: Any) -> dict[str, Any]:
    # With a state they answer what that names, and nothing else.
    if getattr(params, "request_state", None) is not None:
        return {}
    return dict(getattr(params, "input_responses", None) or {})


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
