"""One invocation of an agent, and the run that it belongs to.

An invocation begins a run, or goes on with the one that was put away with its conversation: that one's
calls are still open, and people have been asked about them.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pydantic_ai import RunContext
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    RetryPromptPart,
    TextContent,
    ToolReturnPart,
    UserContent,
)

from ringfence.adapters.pydantic_ai.origins import Origins, strict
from ringfence.adapters.pydantic_ai.principals import principal_of
from ringfence.adapters.pydantic_ai.values import json_of
from ringfence.dsl.plan import Json
from ringfence.engine.decision.calls import Principal
from ringfence.engine.decision.events import PromptGiven
from ringfence.engine.enforcement.current import current_call, current_run
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.enforcement.versions import versions_of
from ringfence.engine.journal.jsonable import jsonable
from ringfence.engine.seams.errors import DeniedError, EngineError, RunHaltedError

FRAMEWORK: Final = "pydantic-ai"
PACKAGES: Final = ("pydantic-ai-slim", "pydantic")
_FEW: Final = 32
"""Rows among which the newest run of a conversation that is no sub-run stands."""

WhoSpeaks = Principal | Callable[[RunContext[Any]], Principal | None] | None
WhichSession = str | Callable[[RunContext[Any]], str] | None
Typed = Literal["prompt"] | Callable[[RunContext[Any]], Iterable[str]] | None
"""What the user typed: `prompt`, the prompt; a function that returns the texts; None: nothing that the host
vouches for."""


@dataclass(slots=True)
class Turn:
    """One invocation of an agent."""

    guard: Guard
    agent: str | None
    principal: WhoSpeaks
    session: WhichSession
    typed: Typed
    suspends: bool | None
    _run: Run | None = None
    went_on: bool = False
    """True if the run had begun before this invocation."""
    shown: frozenset[str] = frozenset()
    """The questions that were open then."""
    awaited: set[str] = field(default_factory=set)
    """Ids of the calls that were open when it went on and have not come back to the guard yet."""
    listed: frozenset[str] = frozenset()
    """Names of the tools that stand behind the guard, as they were listed last."""
    elsewhere: set[str] = field(default_factory=set)
    """Names of those that the host executes itself."""
    unknown: set[str] = field(default_factory=set)
    """Names that the model has asked for and that no tool has."""

    @property
    def run(self) -> Run:
        """The run of this invocation.

        Raises:
            EngineError: It has not begun, or it was begun in another process.
        """
        if self._run is None:
            # SECURITY: what runs outside of `wrap_run` (a durable engine's worker) is in no run.
            raise EngineError(
                "the agent's work came to the guard outside of any run",
                help="durable execution engines, which run tools in other processes, are not supported",
            )
        return self._run

    # ---- begin -------------------------------------------------------------------------------------

    async def begin(self, ctx: RunContext[Any]) -> Run:
        """Begin the run of this invocation, or go on with the one that was put away.

        Raises:
            DeniedError: It was put away for another principal.
            RunHaltedError: It was halted meanwhile.
        """
        parent, history = self._around(), ctx.messages
        principal = self._who(ctx, parent)
        session = self.session(ctx) if callable(self.session) else self.session
        session = session or (parent.session if parent else ctx.conversation_id)
        before = await self._put_away(session) if history and session and parent is None else None
        shown = _shown(history)
        open_calls = _open_calls(history)
        if before is not None and open_calls:
            run = await self._go_on(before, principal)
            if run is not None:
                self.awaited = open_calls
                await self._took_note(run, ctx, shown, keeps_open=True)
                return run
        elif before is not None:
            await self._close(before)
        run = await self.guard.abegin_run(
            principal=principal,
            agent=self.agent,
            session=session,
            framework=FRAMEWORK,
            versions=versions_of(*PACKAGES),
            external_id=ctx.run_id,
            resume_of=before if open_calls else None,
            parent=parent,
        )
        self._run = run
        await self._took_note(run, ctx, shown)
        return run

    def _around(self) -> Run | None:
        parent = current_run()
        if parent is None or not self.guard.owns(parent):
            return None
        within = current_call()
        if parent.ended and (within is None or within[0] is not parent):
            return None
        return parent

    def _who(self, ctx: RunContext[Any], parent: Run | None) -> Principal | None:
        if callable(self.principal):
            said = self.principal(ctx)
        else:
            said = self.principal or principal_of(ctx.deps, self.guard.plan)
        # SECURITY: who asked for the run around it is the requester here too, and may not approve.
        return parent.principal if said is None and parent is not None else said

    async def _put_away(self, session: str) -> str | None:
        """Return the newest run of the conversation if it was put away."""
        rows = await self.guard.runs.alist(session=session, limit=_FEW)
        newest = next((row for row in rows if row.parent is None), None)
        return newest.run if newest is not None and newest.status == "suspended" else None

    async def _go_on(self, run_id: str, principal: Principal | None) -> Run | None:
        """Take the run up; None: it has ended meanwhile, and what goes on gets a run of its own."""
        try:
            run = await self.guard.aresume_run(run_id, principal=principal)
        except RunHaltedError as error:
            if error.reason is not None:
                raise
            return None
        self._run, self.went_on = run, True
        self.shown = frozenset(run.state.open_tickets)
        return run

    async def _close(self, run_id: str) -> None:
        """End a run that was put away, whose conversation goes on without it."""
        try:
            run = await self.guard.aresume_run(run_id)
        except (DeniedError, RunHaltedError):
            return  # it has ended, or ended uncleanly and is now recorded as halted
        await self.guard.aend_run(run)

    async def _took_note(
        self, run: Run, ctx: RunContext[Any], history: Sequence[Json], *, keeps_open: bool = False
    ) -> None:
        run.take_note(history)
        if strict(self.guard.plan):  # the session's record is read for it
            await asyncio.to_thread(self._prompted, run, ctx, history, keeps_open=keeps_open)
        else:
            self._prompted(run, ctx, history, keeps_open=keeps_open)

    def _prompted(
        self, run: Run, ctx: RunContext[Any], history: Sequence[Json], *, keeps_open: bool = False
    ) -> None:
        """Record what the user typed and, where the policy asks for it, what came along beside it."""
        prompt = _texts(ctx.prompt)
        if strict(self.guard.plan):
            typed = self.typed(ctx) if callable(self.typed) else prompt if self.typed == "prompt" else ()
            Origins(self.guard, run).record(
                [str(text) for text in typed], [*history, *_parts(ctx.prompt)], keeps_open=keeps_open
            )
            return
        typed = self.typed(ctx) if callable(self.typed) else prompt
        for text in typed:
            # A sub-agent's prompt was written by a model or by the host, never by the user.
            source = "user" if run.parent is None else "host"
            self.guard.record(run, PromptGiven(source, jsonable(text, hide=run.hide)), keeps_open=keeps_open)

    # ---- end ---------------------------------------------------------------------------------------

    async def put_away(self, run: Run) -> None:
        """Put the run away; it goes on with its conversation."""
        if not run.ended and not run.suspended:
            await self.guard.asuspend(run)

    async def end(self, run: Run, error: BaseException | None) -> None:
        """End the run."""
        if run.ended or run.suspended:
            return
        told = None if error is None else f"{type(error).__name__}: {error}"
        await self.guard.aend_run(run, "done" if error is None else "failed", told)


# ---- messages --------------------------------------------------------------------------------------


def _shown(messages: Sequence[ModelMessage]) -> list[Json]:
    return dumped(messages) if messages else []


def dumped(messages: Sequence[ModelMessage]) -> list[Json]:
    """Return messages as JSON."""
    said = ModelMessagesTypeAdapter.dump_python(list(messages), mode="json", warnings=False)
    return said if isinstance(said, list) else []


def _open_calls(messages: Sequence[ModelMessage]) -> set[str]:
    """Return the ids of the last response's calls that have no answer."""
    answered: set[str] = set()
    for message in reversed(messages):
        if isinstance(message, ModelResponse):
            return {call.tool_call_id for call in message.tool_calls} - answered
        answered |= answers_in(message)
    return set()


def answers_in(message: ModelRequest) -> set[str]:
    """Return the ids of the calls that a request answers."""
    return {
        part.tool_call_id
        for part in message.parts
        if isinstance(part, ToolReturnPart | RetryPromptPart) and part.tool_call_id
    }


def task_of(ctx: RunContext[Any]) -> str | None:
    """Return what is the same whenever this very call comes again, after a resume in another process too.

    The id alone is not: models use one again.  None: no response has the call (code made it).
    """
    calling = [one for one in ctx.messages if isinstance(one, ModelResponse) and one.tool_calls]
    for at in range(len(calling) - 1, -1, -1):
        if any(call.tool_call_id == ctx.tool_call_id for call in calling[at].tool_calls):
            return f"{calling[at].run_id or ''}/{at}/{ctx.tool_call_id}"
    return None


def _texts(prompt: str | Sequence[UserContent] | None) -> tuple[str, ...]:
    return tuple(part for part in _parts(prompt) if isinstance(part, str))


def _parts(prompt: str | Sequence[UserContent] | None) -> list[Json]:
    if prompt is None:
        return []
    if isinstance(prompt, str):
        return [prompt]
    # A text with metadata of the host's own is a text.
    return [part.content if isinstance(part, TextContent) else json_of(part) for part in prompt]
