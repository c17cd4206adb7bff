"""Where calls meet the guard: what the framework has validated is decided, and only then does a body run.

Refusals become the framework's own forms: `ToolFailed` with the policy's constant text, `ApprovalRequired`
with the ticket.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from pydantic_ai import RunContext
from pydantic_ai.exceptions import ApprovalRequired, CallDeferred, ToolFailed
from pydantic_ai.messages import ModelRequest, ToolReturn, UserPromptPart
from pydantic_ai.toolsets.abstract import ToolsetTool

from ringfence.adapters.pydantic_ai.arguments import Arguments, ArgumentsError, seen
from ringfence.adapters.pydantic_ai.history import dumped, task_of
from ringfence.adapters.pydantic_ai.origins import keys_of
from ringfence.adapters.pydantic_ai.results import lens_for
from ringfence.adapters.pydantic_ai.suspension import can_suspend, metadata_of
from ringfence.adapters.pydantic_ai.turn import Turn
from ringfence.dsl.canonical import same
from ringfence.dsl.plan import Json
from ringfence.engine.binding.questions import answer
from ringfence.engine.binding.values import json_of
from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.replies import failure_text
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import DeniedError, EngineError, PendingError, ToolFailedError

LEAVES: Final = (ApprovalRequired, CallDeferred)
"""With these a body leaves without failing: its call is made again, or answered elsewhere."""

AnsweredBy = Callable[[RunContext[Any]], str | None]
Body = Callable[[dict[str, Any]], Awaitable[Any]]


@dataclass(slots=True)
class Within:
    """A decided call on its way from the guard to the body."""

    gate: "Gate"
    name: str
    decided: dict[str, Json]
    reached: bool = False


@dataclass(slots=True)
class Reach:
    """Whether a call has come to the toolset that decides."""

    call_id: str | None
    reached: bool = False


_REACH: ContextVar[Reach | None] = ContextVar("ringfence_pydantic_ai_reach", default=None)
_WITHIN: ContextVar[Within | None] = ContextVar("ringfence_pydantic_ai_within", default=None)


class Gate:
    """What guards the calls of one invocation."""

    def __init__(self, turn: Turn, answered_by: AnsweredBy | None) -> None:
        self.turn = turn
        self.guard: Guard = turn.guard
        self._answered_by = answered_by
        self._said: set[str] = set()

    async def call(
        self,
        name: str,
        values: Mapping[str, Any],
        ctx: RunContext[Any],
        tool: ToolsetTool[Any],
        body: Body,
        *,
        wait: bool = False,
    ) -> Any:
        """Decide a call on its validated arguments and, if it is allowed, run `body` with what was decided.

        Args:
            wait: Wait in place for people, whatever the agent could do.

        Raises:
            ToolFailed: It was refused, or its time was up.
            ApprovalRequired: People must answer first.
            RunHaltedError: The run is over.
            EngineError: Ringfence could not do its work; nothing ran.
        """
        run, arguments = self.turn.run, Arguments(tool, values)
        self.turn.awaited.discard(ctx.tool_call_id or "")
        call = ToolCall(
            name,
            # In the order in which the log will have them: a replay finds the same argument wrong first.
            {key: arguments.seen[key] for key in sorted(arguments.seen)},
            call_id=ctx.tool_call_id,
            task=task_of(ctx),
            attempt=ctx.run_id,
            schema_names=arguments.names,
        )

        async def decided(canonical: Mapping[str, Json]) -> Any:
            shown = dict(canonical)
            fitting = arguments.fitting(shown)
            with within(Within(self, name, shown)):
                return await body(fitting)

        wait = wait or not self._suspends(ctx, name)
        withdraw_others(self.guard, run, call)
        try:
            result = await self._executed(run, call, decided, ctx, wait=wait)
        except PendingError as pending:
            self.turn.awaited.add(ctx.tool_call_id or "")
            raise ApprovalRequired(metadata=metadata_of(run, name, pending)) from pending
        except LEAVES:
            self.turn.awaited.add(ctx.tool_call_id or "")
            raise
        except DeniedError as error:
            raise self.refused(error) from error
        except ToolFailedError as error:
            raise ToolFailed(error.model_text or failure_text(run.plan)) from error
        except ArgumentsError as error:
            raise ToolFailed(self._deny_text) from error
        if isinstance(result, ToolReturn) and result.content is not None:
            # It comes to the model as a prompt, and is in the record as the tool's result.
            content = [result.content] if isinstance(result.content, str) else result.content
            self.turn.given |= keys_of(dumped([ModelRequest([UserPromptPart(list(content))])]))
        return result

    async def _executed(
        self, run: Run, call: ToolCall, body: Callable[..., Any], ctx: RunContext[Any], *, wait: bool
    ) -> Any:
        lens = lens_for(is_limited=_is_limited(self.guard, call.tool))
        try:
            return await self.guard.aexecute(run, call, body, wait=wait, lens=lens, passthrough=LEAVES)
        except PendingError as pending:
            # SECURITY: the framework's own yes counts only where the host says who it was, and for questions
            # that were open when the agent was put away: a saved state that is replayed asks others.
            if not ctx.tool_call_approved or not self.turn.shown.issuperset(pending.tickets):
                raise
            by = self._answered_by(ctx) if self._answered_by is not None else None
            if not await asyncio.to_thread(answer, self.guard, pending.tickets, by):
                raise
        return await self.guard.aexecute(run, call, body, wait=wait, lens=lens, passthrough=LEAVES)

    # ---- toolsets further out ----------------------------------------------------------------------

    def reached(self, ctx: RunContext[Any]) -> None:
        """Note that a call has come to the toolset that decides."""
        reach = _REACH.get()
        if reach is not None and reach.call_id == ctx.tool_call_id:
            reach.reached = True

    @contextmanager
    def expecting(self, ctx: RunContext[Any]) -> Iterator[Reach]:
        """Expect a call at the toolset that decides."""
        reach = Reach(ctx.tool_call_id)
        token = _REACH.set(reach)
        try:
            yield reach
        finally:
            _REACH.reset(token)

    async def foreign(self, name: str, values: Mapping[str, Any], ctx: RunContext[Any], body: Body) -> Any:
        """Decide a call of a tool that stands outside of the toolset that decides, and run it."""
        return await self.call(name, values, ctx, _tool_of(ctx, name), body)

    async def handed_out(self, name: str, values: Mapping[str, Any], ctx: RunContext[Any]) -> None:
        """Decide a call of such a tool that runs elsewhere; people are waited for in place."""

        async def body(_: dict[str, Any]) -> Any:
            raise CallDeferred

        with suppress(CallDeferred):
            await self.call(name, values, ctx, _tool_of(ctx, name), body, wait=True)

    async def arrived(self, name: str, values: Mapping[str, Any], ctx: RunContext[Any]) -> None:
        """Refuse a call of such a tool whose arguments were changed since they were decided."""
        if not arriving(self, values, _tool_of(ctx, name)):
            why = "the arguments were changed after they were decided"
            given = {key: json_of(value) for key, value in values.items()}
            raise ToolFailed(await self.refuse(name, given, ctx, why))

    # ---- refusals ----------------------------------------------------------------------------------

    async def refuse(
        self, name: str, arguments: Mapping[str, Json] | str, ctx: RunContext[Any], why: str
    ) -> str:
        """Have a call refused and recorded that reaches no body; return what the model may know of it.

        Raises:
            RunHaltedError: The run is over, or this refusal was one too many.
            EngineError: Ringfence could not do its work.
        """
        call = ToolCall(
            name,
            arguments,  # type: ignore[arg-type]  # a text is read by the guard, as a model wrote it
            call_id=ctx.tool_call_id,
            task=task_of(ctx),
            attempt=ctx.run_id,
        )
        try:
            await self.guard.arefuse(self.turn.run, call, why)
        except DeniedError as error:
            return self.refused(error).message

    def refused(self, error: DeniedError) -> ToolFailed:
        """Return the framework's form of a refusal; raise what the host must hear."""
        if error.decision is None:
            raise error
        return ToolFailed(error.model_text or self._deny_text)

    @property
    def _deny_text(self) -> str:
        return self.guard.plan.responses.deny or "not authorized"

    def _suspends(self, ctx: RunContext[Any], name: str) -> bool:
        """Say whether a call that asks puts the agent away; where it would wait, say so to the host once."""
        if self.turn.suspends is None:
            self.turn.suspends = can_suspend(ctx)
        if not self.turn.suspends:
            plan = self.guard.plan.by_bound_name.get(name)
            if plan is not None and plan.asks and name not in self._said:
                self._said.add(name)
                print(
                    f"ringfence: `{name}` may ask people; without `DeferredToolRequests` among the agent's"
                    " output types it waits for them in place",
                    file=sys.stderr,
                )
        return self.turn.suspends


@contextmanager
def within(call: Within) -> Iterator[None]:
    """Carry a decided call to its body."""
    token = _WITHIN.set(call)
    try:
        yield
    finally:
        _WITHIN.reset(token)


def arriving(gate: Gate, values: Mapping[str, Any], tool: ToolsetTool[Any]) -> bool:
    """Say whether a body is reached with the arguments that were decided for it, for the first time."""
    call = _WITHIN.get()
    if call is None or call.gate is not gate or call.reached:
        return False
    if not same(seen(tool, values), call.decided):
        return False
    call.reached = True
    return True


def decided_name(gate: Gate) -> str | None:
    """Return the name of the decided call whose body the caller is in."""
    call = _WITHIN.get()
    return None if call is None or call.gate is not gate else call.name


def withdraw_others(guard: Guard, run: Run, call: ToolCall) -> None:
    """Take back what was asked about the same call with other arguments: the host has changed them."""
    if call.task is None or not run.state.open_tickets:
        return
    for key in {one.call for one in run.state.open_tickets.values() if one.answer is None}:
        known = run.state.calls.get(key)
        if known is None or known.withheld is not None or known.request.task != call.task:
            continue
        if not same(dict(known.request.arguments), dict(call.arguments)):
            guard.withdraw(run, key, because="the host has changed the arguments")


def withdraw_answered(guard: Guard, run: Run, call_id: str, because: str) -> None:
    """Take back what was asked about a call that the host has answered by itself."""
    for key in {one.call for one in run.state.open_tickets.values() if one.answer is None}:
        known = run.state.calls.get(key)
        if known is not None and known.request.call_id == call_id:
            guard.withdraw(run, key, because=because)


def _tool_of(ctx: RunContext[Any], name: str) -> ToolsetTool[Any]:
    manager = ctx.tool_manager
    if manager is None or manager.tools is None or name not in manager.tools:
        raise EngineError(f"`{name}` is executed and not listed")
    return manager.tools[name]


def _is_limited(guard: Guard, name: str) -> bool:
    tool = guard.plan.by_bound_name.get(name)
    if tool is None:
        return False
    limits = tool.obligations
    return any(limit is not None for limit in (limits.max_rows, limits.max_bytes, limits.step_bytes))
