"""Other requests of the protocol: each is a tool of the policy, bound as `mcp/METHOD`, absent unless said."""

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import mcp_types as types
from mcp.shared.exceptions import MCPError

from ringfence.adapters.mcp.approving import Approvals, pending_text
from ringfence.adapters.mcp.back import Back
from ringfence.adapters.mcp.connections import Context
from ringfence.adapters.mcp.flights import Flight, Flights
from ringfence.adapters.mcp.link import ServerAwayError
from ringfence.adapters.mcp.process import Say
from ringfence.adapters.mcp.replies import require_nothing_lacks, told
from ringfence.adapters.mcp.results import is_free
from ringfence.adapters.mcp.servers import RESERVED
from ringfence.dsl.plan import Json
from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.enforcement.tool_results import ResultLens
from ringfence.engine.seams.errors import EngineError, PendingError, RingfenceError
from ringfence.engine.seams.escape import escaped

Body = Callable[[Mapping[str, Json]], Awaitable[Any]]
FAILED: Final = "the request failed"
_NOT_FOUND: Final = -32002
"""How servers of 2025 say that there is no such resource."""


class Protocol:
    """Decides requests that are no calls of tools."""

    def __init__(
        self, guard: Guard, backs: tuple[Back, ...], flights: Flights, approvals: Approvals, say: Say
    ) -> None:
        self.guard = guard
        self.backs = backs
        self.say = say
        self._flights = flights
        self._approvals = approvals

    def declares(self, method: str) -> bool:
        """Say whether the policy has this request."""
        return name_of(method) in self.guard.plan.by_bound_name

    def holds(self, run: Run, method: str) -> bool:
        """Say whether this run may see that there is such a request."""
        return bool(self.guard.visible(run, [name_of(method)]))

    async def one(
        self,
        context: Context,
        params: Any,
        method: str,
        arguments: Callable[[], Awaitable[dict[str, Json]]],
        body: Body,
        lens: ResultLens,
    ) -> Any:
        """Answer one request.

        Args:
            arguments: Returns what is decided; raises ValueError with why it is refused.

        Raises:
            MCPError: With a constant text: refused, failed, or waiting for people.
        """

        async def work(flight: Flight) -> Any:
            try:
                return await self._decided(flight, params, method, arguments, body, lens)
            except EngineError:
                raise
            except PendingError as error:
                raise MCPError(types.INVALID_REQUEST, pending_text(error)) from error
            except RingfenceError as error:
                raise MCPError(types.INVALID_PARAMS, told(error, flight.run.plan)) from error
            except MCPError as error:
                self.say(escaped(f"{method}: {error}"[:500]))
                # Whether it was the client's mistake may be told; in whose words, not.
                mistaken = error.code in (types.INVALID_PARAMS, _NOT_FOUND)
                code = types.INVALID_PARAMS if mistaken else types.INTERNAL_ERROR
                asked = {"uri": params.uri} if mistaken and hasattr(params, "uri") else None
                raise MCPError(code, flight.run.plan.responses.failure or FAILED, asked) from error
            except Exception as error:  # it is in the record; what a server said of it is not handed on
                require_nothing_lacks(error, flight.context)
                self.say(escaped(f"{method}: {type(error).__name__}: {error}"[:500]))
                raise MCPError(types.INTERNAL_ERROR, flight.run.plan.responses.failure or FAILED) from error

        return await self._flights.fly(context, params, work)

    async def of_each(
        self,
        context: Context,
        params: Any,
        method: str,
        ask: Callable[[Back], Awaitable[list[Any]]],
        lens: ResultLens,
    ) -> list[Any]:
        """Return what all servers list; what is refused, or fails, lists nothing."""

        async def work(flight: Flight) -> list[Any]:
            entries: list[Any] = []
            if not self.holds(flight.run, method):
                return entries
            for back in self.backs:
                entries += await self._listed(flight, back, method, ask, lens)
            return entries

        found: list[Any] = await self._flights.fly(context, params, work)
        return found

    async def _listed(
        self,
        flight: Flight,
        back: Back,
        method: str,
        ask: Callable[[Back], Awaitable[list[Any]]],
        lens: ResultLens,
    ) -> list[Any]:
        arguments: dict[str, Json] = {"server": back.spec.argument}
        call = ToolCall(name_of(method), arguments, schema_names=frozenset(arguments))

        async def body(_: Mapping[str, Json]) -> list[Any]:
            return await ask(back)

        try:
            entries: list[Any] = await self.guard.aexecute(flight.run, call, body, wait=False, lens=lens)
        except EngineError:
            raise
        except (RingfenceError, ServerAwayError, MCPError, ValueError, RuntimeError) as error:
            if not isinstance(error, RingfenceError):
                self.say(escaped(f"{back.spec.said} does not list {method}: {error}"[:500]))
            return []
        return entries

    async def _decided(
        self,
        flight: Flight,
        params: Any,
        method: str,
        arguments: Callable[[], Awaitable[dict[str, Json]]],
        body: Body,
        lens: ResultLens,
    ) -> Any:
        run = flight.run
        try:
            said = await arguments()
        except ValueError as error:
            await self.guard.arefuse(run, ToolCall(name_of(method), {}), str(error))
        call = ToolCall(name_of(method), said, schema_names=frozenset(said))

        async def carried(arguments: Mapping[str, Json]) -> Any:
            with (
                flight.hearing(is_free(run.plan.by_bound_name.get(name_of(method)))),
                contextlib.ExitStack() as stack,
            ):
                for back in self.backs:
                    if back.spec.argument == arguments.get("server"):
                        stack.enter_context(back.carrying(flight))
                return await body(arguments)

        async def execute() -> Any:
            return await self.guard.aexecute(run, call, carried, wait=False, lens=lens)

        heard = await self._approvals.hear(run, call, flight.context, params)
        try:
            return await execute()
        except PendingError as pending:
            return await self._approvals.ask(
                run, call, flight.context, pending, execute, shown=method, but=heard
            )


def name_of(method: str) -> str:
    """Return the name by which a policy binds a request of the protocol."""
    return f"{RESERVED}/{method}"
