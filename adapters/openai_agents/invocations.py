"""One invocation of an agent, from its input to its answer: the runs that its calls belong to.

No invocation is a denial: a guarded agent that is run by anything but a `GuardedRunner` asks no model and
runs no tool.  Handing over to an agent of its own capabilities begins a run inside; all of them end, or are
put away, with the invocation.
"""

import asyncio
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal
from weakref import WeakKeyDictionary

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
from ringfence.adapters.openai_agents.saved import Saved, save
from ringfence.adapters.openai_agents.threads import to_the_end
from ringfence.engine.binding.questions import questions_of

FRAMEWORK: Final = "openai-agents"
PACKAGES: Final = ("openai-agents", "openai")


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
    host_asks: set[str] = field(default_factory=set)
    """Calls that the host asks about by itself: the policy's people do not answer for it."""
    inside: dict[str, Json] = field(default_factory=dict)
    """The model's id of a call -> what is saved of the agent that waits in it."""
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
    holders: dict[str, Any] = field(default_factory=dict)
    """The name of a handoff -> the agent that was offered it last."""
    asked_ids: dict[str, str] = field(default_factory=dict)
    """The name of a handoff -> the model's id of the call that asked for it."""
    is_inside: bool = False
    """It is of an agent that is a tool."""
    origins: Origins | None = None
    """Under a policy that asks where texts come from."""
    responses: set[str] = field(default_factory=set)
    """Answers that the provider keeps, and that were recorded here."""
    _context: RunContextWrapper[Any] | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _taken: list[str] = field(default_factory=list)

    # ---- begin -------------------------------------------------------------------------------------

    @property
    def run(self) -> Run:
        """The run that acts; it has begun."""
        if not self.runs:
            raise NoRunError("a model")
        return self.runs[-1]

    async def at(self) -> Run:
        """Return the run that acts, begun or taken up on first need."""
        if not self.runs:
            async with self._lock:
                if not self.runs:
                    await self.begin()
        return self.runs[-1]

    async def begin(self) -> None:
        """Begin the run, or take up those that a saved state names."""
        if self.resumes:
            await to_the_end(self.take_up)
        else:
            self.runs.append(await self.guard.abegin_run(**self.about))

    def take_up(self) -> None:
        """Take up the runs that a saved state names, outermost first."""
        principal = self.about.get("principal")
        for number, run_id in enumerate(self.resumes):
            if not take(self.guard, run_id):
                # Both would go on from one saved state: each uses up what the other was allowed.
                raise EngineError(
                    f"the run `{run_id}` goes on already, in another invocation",
                    run=run_id,
                    help="wait until that has ended",
                )
            self._taken.append(run_id)
            if number or self.is_inside:
                self._require_inside(run_id, self.runs[-1] if number else self.about.get("parent"))
            try:
                run = self.guard.resume_run(run_id, principal=principal)
            except RunHaltedError as error:
                # What was halted stays so, and what went on inside of another run does not go on without it.
                if error.reason is not None or len(self.resumes) > 1:
                    raise
                run = self._succeed(run_id)
            self.runs.append(run)
            principal = run.principal

    def _require_inside(self, run_id: str, around: Run | str | None) -> None:
        """Refuse a run that was not begun inside of another one.

        SECURITY: whoever can alter a saved state could name any run of the store in it, and act as it.
        """
        known = around.id if isinstance(around, Run) else around
        if known is None or self.guard.runs.get(run_id).started.parent != known:
            raise DeniedError(
                f"the state names the run `{run_id}`, which was not begun inside of the one around it",
                run=known,
                help="begin a new run",
            )

    def saved(self) -> Saved:
        """Return what a state has to say of this invocation."""
        asked = [question for questions in self.waiting.values() for question in questions]
        return Saved(tuple(run.id for run in self.runs), asked, tuple(sorted(self.host_asks)), self.inside)

    def keep(self, context: RunContextWrapper[Any] | None = None) -> None:
        """Have the SDK's context, which it saves, name the runs and what they wait for.

        Args:
            context: That of the whole; None: the one that was seen last.
        """
        self._context = self._context if context is None else context
        # What an agent that is a tool waits for stands in the context of the agent around it: in its own, the
        # SDK has what the model wrote.
        if self._context is not None and not self.is_inside:
            save(self._context, self.saved())

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

    def inner(self, run: Run, agent: str | None, call_id: str) -> "Invocation":
        """Return the invocation of an agent that is a tool, in the call of it."""
        saved = Saved.of(self.inside.get(call_id))
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
            resumes=saved.runs,
            host_asks=set(saved.host),
            inside=dict(saved.inside),
            is_inside=True,
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
        self.host_asks.discard(call_id)
        self.waiting.pop(call_id, None)

    def goes_on(self) -> None:
        """Note that a model is asked: whatever the SDK was told to wait with has been settled without us."""
        self.interrupted.clear()
        self.host_asks.clear()
        self.waiting.clear()
        self.stayed.clear()
        self.asked_ids.clear()

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
        try:
            for run in reversed(self.runs):
                if run.ended or run.suspended:
                    continue
                if away and run.state.halted is None:
                    await self.guard.asuspend(run)
                else:
                    await self.guard.aend_run(run, "done" if error is None else "failed", told)
        finally:
            self.let_go()

    def let_go(self) -> None:
        """Let others go on with the runs that this one has taken up."""
        while self._taken:
            let_go(self.guard, self._taken.pop())


_LOCK = threading.Lock()
_TAKEN: WeakKeyDictionary[Guard, set[str]] = WeakKeyDictionary()
"""Runs that an invocation goes on with: a run has one at a time."""


def take(guard: Guard, run_id: str) -> bool:
    """Say that a run goes on here; False: it does elsewhere in this process."""
    with _LOCK:
        taken = _TAKEN.setdefault(guard, set())
        if run_id in taken:
            return False
        taken.add(run_id)
        return True


def let_go(guard: Guard, run_id: str) -> None:
    """Say that it no longer does."""
    with _LOCK:
        _TAKEN.get(guard, set()).discard(run_id)


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


def is_fatal(error: BaseException) -> bool:
    """Say whether an error is for the host alone: Ringfence could not do its work, or people must answer."""
    if isinstance(error, EngineError | PendingError):
        return True
    return isinstance(error, RingfenceError) and isinstance(error, DeniedError) and error.decision is None
