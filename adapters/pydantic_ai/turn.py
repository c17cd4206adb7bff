"""One invocation of an agent, and the run that it belongs to.

An invocation begins a run, or goes on with the one that was put away with its conversation: that one's
calls are still open, and people have been asked about them.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from weakref import WeakKeyDictionary

from pydantic_ai import RunContext

from ringfence.adapters.pydantic_ai.history import dumped, instructions_in, open_calls, parts, texts
from ringfence.adapters.pydantic_ai.origins import keys_of, origins_of, parts_of
from ringfence.dsl.plan import Json
from ringfence.engine.binding.around import principal_of, run_around
from ringfence.engine.binding.origins import strict
from ringfence.engine.decision.calls import Principal
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.enforcement.versions import versions_of
from ringfence.engine.seams.errors import DeniedError, EngineError, RunHaltedError

FRAMEWORK: Final = "pydantic-ai"
PACKAGES: Final = ("pydantic-ai-slim", "pydantic")
_FEW: Final = 32
"""Rows among which the newest run of a conversation that is no sub-run stands."""

_LOCK = threading.Lock()
_TAKEN_UP: "WeakKeyDictionary[Guard, set[str]]" = WeakKeyDictionary()
"""Per guard the runs that were put away and that an invocation of this process goes on with."""

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
    """Ids of the calls that are open and have not come back to the guard yet."""
    listed: frozenset[str] = frozenset()
    """Names of the tools that stand behind the guard, as they were listed last."""
    elsewhere: set[str] = field(default_factory=set)
    """Names of those that the host executes itself."""
    given: set[bytes] = field(default_factory=set)
    """The prompts that the record says something of, where the policy asks where they are from."""
    earlier: frozenset[str] = frozenset()
    """Instructions that stand in the history with which it began."""
    foreign: set[str] = field(default_factory=set)
    """Instructions that toolsets bring which are no code of the developer's."""

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
        parent, history = run_around(self.guard), ctx.messages
        principal = self._who(ctx, parent)
        session = self.session(ctx) if callable(self.session) else self.session
        session = session or (parent.session if parent else ctx.conversation_id)
        before = await self._put_away(session, principal) if history and session and parent is None else None
        still_open = open_calls(history)
        if before is not None and still_open:
            run = await self._go_on(before, principal)
            if run is not None:
                self.awaited = still_open
                await self._take_note(run, ctx, keeps_open=True)
                return run
        elif before is not None:
            await self._close(before, principal)
        run = await self.guard.abegin_run(
            principal=principal,
            agent=self.agent,
            session=session,
            framework=FRAMEWORK,
            versions=versions_of(*PACKAGES),
            external_id=ctx.run_id,
            resume_of=before if still_open else None,
            parent=parent,
        )
        self._run = run
        await self._take_note(run, ctx)
        return run

    def _who(self, ctx: RunContext[Any], parent: Run | None) -> Principal | None:
        if callable(self.principal):
            said = self.principal(ctx)
        else:
            said = self.principal or principal_of(ctx.deps, self.guard.plan)
        # SECURITY: who asked for the run around it is the requester here too, and may not approve.
        return parent.principal if said is None and parent is not None else said

    async def _put_away(self, session: str, principal: Principal | None) -> str | None:
        """Return the newest run of the conversation if it was put away; of the principal's own, if any is."""
        rows = [row for row in await self.guard.runs.alist(session=session, limit=_FEW) if row.parent is None]
        who = (principal.user, principal.workspace) if principal is not None else (None, None)
        own = [row for row in rows if (row.user, row.workspace) == who]
        newest = next(iter(own or rows), None)
        return newest.run if newest is not None and newest.status == "suspended" else None

    async def _go_on(self, run_id: str, principal: Principal | None) -> Run | None:
        """Take the run up; None: it has ended meanwhile, and what goes on gets a run of its own.

        So does a saved state that another invocation goes on from at this moment: a run has one at a time.
        """
        if not _claim(self.guard, run_id):
            return None
        try:
            run = await self.guard.aresume_run(run_id, principal=principal)
        except BaseException as error:
            _release(self.guard, run_id)
            if isinstance(error, RunHaltedError) and error.reason is None:
                return None
            raise
        self._run, self.went_on = run, True
        self.shown = frozenset(run.state.open_tickets)
        return run

    async def _close(self, run_id: str, principal: Principal | None) -> None:
        """End a run that was put away, whose conversation goes on without it; not another principal's."""
        if not _claim(self.guard, run_id):
            return  # it goes on at this moment
        try:
            await self.guard.aend_run(await self.guard.aresume_run(run_id, principal=principal))
        except (DeniedError, RunHaltedError):
            return  # it has ended, or ended uncleanly and is now recorded as halted
        finally:
            _release(self.guard, run_id)

    async def _take_note(self, run: Run, ctx: RunContext[Any], *, keeps_open: bool = False) -> None:
        """Take in what the model will be shown beside what it says itself."""
        is_strict = strict(self.guard.plan)
        history = dumped(ctx.messages) if ctx.messages and (is_strict or run.hiding is not None) else []
        run.take_note(history)
        if is_strict:  # the session's record is read for it
            self.given |= keys_of([*history, *parts(ctx.prompt)])
            self.earlier = instructions_in(ctx.messages)
            await asyncio.to_thread(self._prompted, run, ctx, history, keeps_open=keeps_open)
        else:
            self._prompted(run, ctx, history, keeps_open=keeps_open)

    def _prompted(
        self, run: Run, ctx: RunContext[Any], history: Sequence[Json], *, keeps_open: bool = False
    ) -> None:
        """Record what the user typed and, where the policy asks for it, what came along beside it."""
        is_strict, prompt = strict(self.guard.plan), texts(ctx.prompt)
        vouched = self.typed == "prompt" or (self.typed is None and not is_strict)
        said = self.typed(ctx) if callable(self.typed) else prompt if vouched else ()
        typed = tuple(str(text) for text in said)
        origins = origins_of(self.guard)
        origins.typed(run, typed, keeps_open=keeps_open)
        if is_strict:
            origins.brought(run, typed, parts_of([*history, *parts(ctx.prompt)]))

    # ---- end ---------------------------------------------------------------------------------------

    @property
    def is_waiting(self) -> bool:
        """Whether it went on with a run whose questions are still open."""
        return self.went_on and self._run is not None and bool(self._run.state.open_tickets)

    async def put_away(self) -> None:
        """Put the run away; it goes on with its conversation."""
        run = self.run
        if not run.ended and not run.suspended:
            await self.guard.asuspend(run)

    async def end(self, error: BaseException | None) -> None:
        """End the run, if it has begun."""
        run = self._run
        if run is None or run.ended or run.suspended:
            return
        told = None if error is None else f"{type(error).__name__}: {error}"
        await self.guard.aend_run(run, "done" if error is None else "failed", told)

    def leave(self) -> None:
        """Let others go on with the run."""
        if self._run is not None:
            _release(self.guard, self._run.id)


def _claim(guard: Guard, run_id: str) -> bool:
    """Take a run for one invocation; False: another one of this process has it."""
    with _LOCK:
        taken = _TAKEN_UP.setdefault(guard, set())
        if run_id in taken:
            return False
        taken.add(run_id)
        return True


def _release(guard: Guard, run_id: str) -> None:
    with _LOCK:
        _TAKEN_UP.get(guard, set()).discard(run_id)
