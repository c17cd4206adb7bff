"""`tools/call`: the tool as it is now, its arguments against its schema, the policy, and then the server."""

from collections.abc import Mapping
from typing import Any, Final

import mcp_types as types
from mcp.shared.exceptions import MCPError

from ringfence.adapters.mcp.approving import Approvals, pending_text
from ringfence.adapters.mcp.catalogue import Catalogue, Entry
from ringfence.adapters.mcp.connections import Context
from ringfence.adapters.mcp.flights import Flight, Flights
from ringfence.adapters.mcp.process import Say
from ringfence.adapters.mcp.replies import require_nothing_lacks, told
from ringfence.adapters.mcp.results import LENS, bare, is_free, refusal
from ringfence.dsl.plan import Json, Verdict
from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import (
    DeniedError,
    EngineError,
    PendingError,
    RunHaltedError,
    ToolFailedError,
)
from ringfence.engine.seams.escape import escaped

PROGRESS_AT_MOST: Final = 1_000
"""Notes of progress that one call may send."""
_NAME_AT_MOST: Final = 256
"""Characters of a name that nobody has, for the record."""
_NOTE_AT_MOST: Final = 200
_ERROR_AT_MOST: Final = 4_000

Answer = types.CallToolResult | types.InputRequiredResult


class ToolSaidError(Exception):
    """The tool answered that it failed; its own words are the message."""

    def __init__(self, words: str, bound: str) -> None:
        super().__init__(words)
        self.bound = bound


class Calls:
    """Answers calls of tools."""

    def __init__(
        self, guard: Guard, catalogue: Catalogue, flights: Flights, approvals: Approvals, say: Say
    ) -> None:
        self._guard = guard
        self._catalogue = catalogue
        self._flights = flights
        self._approvals = approvals
        self._say = say

    async def call(self, context: Context, params: types.CallToolRequestParams) -> Answer:
        """Answer a call; whatever becomes of it stands in the record.

        Raises:
            MCPError: There is no such tool, as far as the caller may know, or Ringfence failed.
        """
        answer: Answer = await self._flights.fly(context, params, lambda flight: self._answer(flight, params))
        return answer

    async def _answer(self, flight: Flight, params: types.CallToolRequestParams) -> Answer:
        plan = flight.run.plan
        try:
            return await self._made(flight, params)
        except DeniedError as error:
            if error.decision is not None and error.decision.verdict is Verdict.UNKNOWN:
                raise MCPError(types.INVALID_PARAMS, told(error, plan)) from error
            return refusal(told(error, plan))
        except (RunHaltedError, ToolFailedError) as error:
            return refusal(told(error, plan))
        except PendingError as error:
            return refusal(pending_text(error))
        except EngineError:
            raise
        except Exception as error:  # the tool's own failure, or its server's; it is in the record
            require_nothing_lacks(error, flight.context)
            return refusal(self._failure(flight.run, params.name, error))

    async def _made(self, flight: Flight, params: types.CallToolRequestParams) -> Answer:
        run = flight.run
        arguments: dict[str, Json] = dict(params.arguments or {})
        entry = await self._catalogue.find(params.name)
        if entry is None:
            # Whatever a policy says of the name, nobody has it: recorded like any other refusal.
            call = ToolCall(params.name[:_NAME_AT_MOST], arguments)
            await self._guard.arefuse(run, call, "no server has such a tool")
        call = ToolCall(entry.bound, arguments)
        lacking = entry.lacking
        if params.task is not None:
            lacking = lacking or "it was to run as a task, which outlives its call"
        if lacking is None and entry.schema is not None:
            lacking = entry.schema.mistake(arguments)
            call = ToolCall(entry.bound, arguments, schema_names=entry.schema.names(arguments))
        if lacking is not None:
            await self._guard.arefuse(run, call, lacking)

        async def body(canonical: Mapping[str, Json]) -> types.CallToolResult:
            return await self._run(flight, entry, dict(canonical))

        async def execute() -> types.CallToolResult:
            result: types.CallToolResult = await self._guard.aexecute(run, call, body, wait=False, lens=LENS)
            return result

        heard = await self._approvals.hear(run, call, flight.context, params)
        try:
            return await execute()
        except PendingError as pending:
            asked: Answer = await self._approvals.ask(
                run, call, flight.context, pending, execute, shown=entry.shown, but=heard
            )
            return asked

    async def _run(self, flight: Flight, entry: Entry, arguments: dict[str, Any]) -> types.CallToolResult:
        """Have the server run it; the guard's bounds cancel this, and with it the server's work."""
        left = PROGRESS_AT_MOST
        free = is_free(flight.run.plan.by_bound_name.get(entry.bound))

        async def note(progress: float, total: float | None, message: str | None) -> None:
            nonlocal left
            left -= 1
            if left >= 0:
                said = None if message is None or not free else escaped(message[:_NOTE_AT_MOST])
                await flight.context.session.report_progress(progress, total, said)

        with entry.back.carrying(flight), flight.hearing(free):
            level = flight.connection.log_level
            result = bare(await entry.back.call(entry.tool.name, arguments, note, level))
        if result.is_error:
            texts = [block.text for block in result.content if isinstance(block, types.TextContent)]
            raise ToolSaidError("\n".join(texts)[:_ERROR_AT_MOST], entry.bound)
        return result

    def _failure(self, run: Run, shown: str, error: Exception) -> str:
        """Return what the client is told of a failure: the policy's words, or the tool's where those pass."""
        constant = run.plan.responses.failure
        if not isinstance(error, ToolSaidError):
            self._say(escaped(f"{shown}: {type(error).__name__}: {error}"[:500]))
        elif constant is None and is_free(run.plan.by_bound_name.get(error.bound)) and str(error):
            return str(error)
        return "the tool failed" if constant is None else constant
