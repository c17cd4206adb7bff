"""One invocation of an agent, from its input to its answer: the runs that its calls belong to.

No invocation is a denial: a guarded agent that is run by anything but a `GuardedRunner` asks no model and
runs no tool.  Handing over to an agent of its own capabilities begins a run inside; all of them end, or are
put away, with the invocation.  Their ids stand in the `tool_input` of the SDK's run context, which the SDK
saves with the rest of its state, so that a saved state finds its runs again in another process.
"""

import asyncio
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from agents import RunContextWrapper

from ringfence.adapter import (
    AboutRun,
    DeniedError,
    EngineError,
    Guard,
    Json,
    PendingError,
    Principal,
    RingfenceError,
    Run,
    RunHaltedError,
    versions_of,
)
from ringfence.adapters.openai_agents.origins import Origins
from ringfence.engine.binding.questions import questions_of

FRAMEWORK: Final = "openai-agents"
PACKAGES: Final = ("openai-agents", "openai")
KEY: Final = "ringfence"
"""Under which the run context has what is ours."""


class NoRunError(DeniedError):
    """A guarded agent, or a tool of one, was run outside of any run."""

    code = "no run"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"no run: {what} was run outside of any run", help="run it with `GuardedRunner(guard).run(...)`"
        )


@dataclass(slots=True, eq=False)
class Invocation:
    """What one call of the runner, or of an agent that is a tool, does under the guard."""

    guard: Guard
    about: AboutRun
    on_halt: Literal["end", "raise"] = "end"
    waits: bool = False
    """Calls that ask wait in place; else the SDK is interrupted."""
    attempt: str = field(default_factory=lambda: secrets.token_hex(8))
    runs: list[Run] = field(default_factory=list)
    """Outermost first; the last one acts."""
    resumes: Sequence[str] = ()
    """The runs that a saved state names; they go on when the first thing is done in them."""
    nested: bool = False
    """It is an agent's that is a tool: its context may name the runs it goes on with."""
    agent: Any = None
    """The guarded agent that acts."""
    failure: BaseException | None = None
    """What the host must hear, whatever the SDK makes of it."""
    waiting: dict[str, list[Json]] = field(default_factory=dict)
    """The model's id of a call -> its open questions, as the host is shown them."""
    interrupted: set[str] = field(default_factory=set)
    """Calls that the SDK was told to wait with, and that have not been made since."""
    refused: dict[str, str] = field(default_factory=dict)
    """The model's id of a call -> what the model is told instead of it."""
    stayed: dict[str, str] = field(default_factory=dict)
    """The name of a handoff -> what the model is told of it, which was refused."""
    asked_ids: dict[str, str] = field(default_factory=dict)
    """The name of a handoff -> the model's id of the call that asked for it."""
    origins: Origins | None = None
    """Under a policy that asks where texts come from."""
    responses: set[str] = field(default_factory=set)
    """Answers that the provider keeps, and that were recorded here."""
    _context: RunContextWrapper[Any] | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    # ---- begin -------------------------------------------------------------------------------------

    @property
    def run(self) -> Run:
        """The run that acts; it has begun."""
        if not self.runs:
            raise NoRunError("a model")
        return self.runs[-1]

    async def at(self, context: RunContextWrapper[Any]) -> Run:
        """Return the run that acts, begun or taken up on first need."""
        async with self._lock:
            if not self.runs:
                ids = run_ids(context) if self.nested else self.resumes
                await asyncio.to_thread(self.enter, ids)
        return self.runs[-1]

    def enter(self, ids: Sequence[str] = ()) -> None:
        """Begin the run, or take up those that a saved state names, outermost first."""
        principal = self.about.get("principal")
        if not ids:
            self.runs.append(self.guard.begin_run(**self.about))
        for number, run_id in enumerate(ids):
            try:
                run = self.guard.resume_run(run_id, principal=None if number else principal)
            except RunHaltedError as error:
                # What was halted stays so, and what went on inside of another run does not go on without it.
                if error.reason is not None or len(ids) > 1:
                    raise
                self.runs.append(self._succeed(run_id))
                return
            self.runs.append(run)

    def keep(self, context: RunContextWrapper[Any] | None = None) -> None:
        """Have the SDK's context name the runs and what they wait for, if nothing else has its place.

        Args:
            context: That of the whole, which is saved; None: the one that was seen last.
        """
        self._context = self._context if context is None else context
        if self._context is None:
            return
        if self._context.tool_input is None or _ours(self._context.tool_input) is not None:
            asked = [question for questions in self.waiting.values() for question in questions]
            # A new one each time: saved states share it.
            self._context.tool_input = {KEY: {"runs": [run.id for run in self.runs], "asked": asked}}

    def _succeed(self, run_id: str) -> Run:
        """Begin a run in the place of one that has ended: a state that is used again is charged anew."""
        began = self.guard.runs.get(run_id).started
        was = Principal(**began.principal)
        principal = self.about.get("principal")
        if principal is not None and principal != was:
            raise DeniedError(
                f"the run `{run_id}` was begun for another principal", run=run_id, help="begin a new run"
            )
        about: AboutRun = {
            **self.about,
            "principal": was,
            "agent": began.agent,
            "session": began.session,
            "resume_of": run_id,
        }
        return self.guard.begin_run(**about)

    # ---- while it goes on --------------------------------------------------------------------------

    def inner(self, run: Run, agent: str | None) -> "Invocation":
        """Return the invocation of an agent that is a tool, in the call of it."""
        about: AboutRun = {
            **self.about,
            "parent": run,
            "agent": agent or run.agent,
            "session": run.session,
            # SECURITY: who asked for the run around it is the requester here too, and may not approve.
            "principal": run.principal,
        }
        return Invocation(
            self.guard,
            about,
            on_halt=self.on_halt,
            waits=self.waits,
            attempt=self.attempt,
            nested=True,
            origins=None if self.origins is None else Origins(self.guard, ()),
        )

    async def hand_over(self, agent: str) -> None:
        """Go on in a run of another agent of the policy, inside of the one that acts."""
        run = self.run
        about: AboutRun = {
            **self.about,
            "parent": run,
            "agent": agent,
            "session": run.session,
            "principal": run.principal,
        }
        self.runs.append(await self.guard.abegin_run(**about))

    def asked(self, call_id: str, pending: PendingError, tool: str) -> None:
        """Note that a call waits for people."""
        self.interrupted.add(call_id)
        self.waiting[call_id] = [asdict(one) for one in questions_of(self.run, tool, call_id, pending)]

    def made(self, call_id: str) -> None:
        """Note that a call is made: whatever it waited for, it does no more."""
        self.interrupted.discard(call_id)
        self.waiting.pop(call_id, None)

    def failed(self, error: BaseException) -> None:
        """Keep an error that the host must hear: the SDK would wrap it, or tell it to the model."""
        if self.failure is None:
            self.failure = error

    # ---- end ---------------------------------------------------------------------------------------

    async def end(self, error: BaseException | None, *, waits: bool = False) -> None:
        """End its runs, innermost first, or put them away until people have answered.

        Args:
            waits: The SDK's state waits, and may go on.
        """
        away = waits or isinstance(error, PendingError)
        told = None if error is None else f"{type(error).__name__}: {error}"
        for run in reversed(self.runs):
            if run.ended or run.suspended:
                continue
            if away and run.state.halted is None:
                await self.guard.asuspend(run)
            else:
                await self.guard.aend_run(run, "done" if error is None else "failed", told)


_INVOCATION: ContextVar[Invocation | None] = ContextVar("ringfence_openai_agents", default=None)


def around(guard: Guard) -> Invocation | None:
    """Return the invocation of this guard around the caller, if there is one.

    SECURITY: in one of another guard, the policy of that one would decide, not the one of this agent.
    """
    found = _INVOCATION.get()
    return found if found is not None and found.guard is guard else None


def invocation_of(guard: Guard, what: str) -> Invocation:
    """Return the invocation of this guard around the caller; raise NoRunError if there is none."""
    found = around(guard)
    if found is None:
        raise NoRunError(what)
    return found


@contextmanager
def within(invocation: Invocation | None) -> Iterator[None]:
    """Make an invocation the one around the block, in this task and what it starts; None: there is none."""
    token = _INVOCATION.set(invocation)
    try:
        yield
    finally:
        _INVOCATION.reset(token)


def about_run(
    *, principal: Principal | None, agent: str | None, session: str | None, parent: Run | None
) -> AboutRun:
    """Return what is said of a run of this framework."""
    return {
        "principal": principal,
        "agent": agent,
        "session": session,
        "framework": FRAMEWORK,
        "versions": versions_of(*PACKAGES),
        "external_id": session,
        "parent": parent,
    }


def run_ids(context: Any) -> tuple[str, ...]:
    """Return the runs that a context of the SDK names."""
    ours = _ours(getattr(context, "tool_input", None))
    named = ours.get("runs") if ours is not None else None
    return (
        tuple(str(one) for one in named) if isinstance(named, Sequence) and not isinstance(named, str) else ()
    )


def kept_questions(context: Any) -> list[Mapping[str, Json]]:
    """Return the open questions that a context of the SDK names."""
    ours = _ours(getattr(context, "tool_input", None))
    asked = ours.get("asked") if ours is not None else None
    return [one for one in asked if isinstance(one, Mapping)] if isinstance(asked, list) else []


def _ours(given: Any) -> Mapping[str, Any] | None:
    found = given.get(KEY) if isinstance(given, Mapping) else None
    return found if isinstance(found, Mapping) else None


def is_fatal(error: BaseException) -> bool:
    """Say whether an error is for the host alone: Ringfence could not do its work, or people must answer."""
    if isinstance(error, EngineError | PendingError):
        return True
    return isinstance(error, RingfenceError) and isinstance(error, DeniedError) and error.decision is None
