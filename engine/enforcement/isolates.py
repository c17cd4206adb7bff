"""A body that runs in an isolate: what it runs with, recorded; and the way between its worker and the caller.

The executor lives on the engine's loop, and the bodies of inner calls run where the outer call was made: a
`Job` hands the one's questions to the other.
"""

import asyncio
import secrets
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Final

from ringfence.dsl.canonical import canonical
from ringfence.dsl.plan import Isolated, IsolatePlan, Json
from ringfence.engine.enforcement.drive import Steps
from ringfence.engine.enforcement.opening import Opening
from ringfence.engine.enforcement.requests import keeps_digests_only, keyed
from ringfence.engine.enforcement.runs import Held, Run
from ringfence.engine.journal.isolated import answers_record, started
from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.executors import DOCTOR
from ringfence.engine.seams.isolates import (
    InnerAnswer,
    InnerCall,
    IsolateExecutor,
    IsolateJob,
    IsolateLimits,
    IsolateOutcome,
    Lockdown,
)
from ringfence.engine.seams.loop import EngineLoop
from ringfence.engine.seams.ports import Clock

SLACK_NS: Final = 5_000_000_000
"""What an executor may need beyond the isolate's own time: to begin, and to kill."""

KILLED_WITHIN_S: Final = 2.0
"""How long an executor has to kill the worker of a job that is not waited for."""

FIT_WITHIN_S: Final = 30.0
"""How long an executor has to say what it can enforce: it may have to start a worker for that."""


def proved_executor(opening: Opening, lockdown: Lockdown) -> Steps[IsolateExecutor]:
    """Return what runs isolates, once it is known that it can enforce this lock-down here.

    Raises:
        EngineError: Nothing can, and which walls are missing; or it did not say.
    """
    known = opening.extensions.known_isolates
    if known is not None and known.is_fit(lockdown):
        return known

    async def found() -> IsolateExecutor:
        opening.ready  # noqa: B018 - a closed guard makes no executor anew, and raises
        executor = opening.extensions.isolates()
        await executor.check(lockdown)
        return executor

    try:
        executor: IsolateExecutor = yield opening.loop.submit(asyncio.wait_for(found(), FIT_WITHIN_S))
    except EngineError:
        raise
    except TimeoutError as error:  # fails closed: what nobody has proved does not stand
        raise EngineError(
            f"what runs isolates did not prove its walls within {FIT_WITHIN_S:g} s", help=DOCTOR
        ) from error
    except Exception as error:  # fails closed: without it nothing runs
        raise EngineError(f"what runs isolates failed ({type(error).__name__})") from error
    return executor


def begin(run: Run, held: Held, isolated: Isolated, executor: IsolateExecutor, bound_ns: int | None) -> "Job":
    """Record what a started call runs with, and return its job, which runs once it is started.

    Args:
        bound_ns: What the tool and the run leave it; None: no bound but the isolate's.
    """
    plan = run.plan.isolates[isolated.isolate]
    made = _job(run, held, isolated, plan, bound_ns)
    event = started(held.key, plan.name, made)
    known = run.state.calls.get(held.key)
    # What the request shows was recorded before anybody knew that it is secret: a digest tells no more.
    shown = known is not None and known.withheld is None
    hidden = not shown and run.hiding is not None and run.hiding.finds(made.source)
    if isolated.param is not None and (hidden or keeps_digests_only(run, held.call.tool)):
        # SECURITY: from the digest of a text of which little is hidden, that little could be guessed.
        event = replace(event, source=keyed(run, event.source)["$keyed"])
    run.append(event)
    return Job(run.opening.loop, executor, made, plan, run.opening.clock)


def _job(run: Run, held: Held, isolated: Isolated, plan: IsolatePlan, bound_ns: int | None) -> IsolateJob:
    arguments = held.decision.arguments
    if isolated.param is not None:
        kind, name, source, given = "code", isolated.param, arguments[isolated.param], "{}"
    else:
        kind, name, source = "body", isolated.file or "", isolated.source
        given = canonical(dict(arguments)).decode()
    if not isinstance(source, str):  # fails closed: the checks of the policy say that it is a text
        raise EngineError(f"`{held.call.tool}` has no source to run", run=run.id, call=held.key)
    time_ns = plan.time_ns if bound_ns is None else max(min(plan.time_ns, bound_ns), 1)
    return IsolateJob(
        source=source,
        kind="code" if kind == "code" else "body",
        name=name,
        arguments=given,
        tools=tuple(sorted(plan.may_call)),
        limits=IsolateLimits(plan.memory_bytes, plan.cpu_ns, time_ns, plan.output_bytes),
        lockdown=plan.lockdown,
        now_ms=run.now_ns() // 1_000_000,
        tick_ms=plan.tick_ms,
        seed=secrets.token_hex(16),
        owner=_owner(run),
    )


def _owner(run: Run) -> str:
    """Return whose the run's jobs are: its session's, as this principal has it.

    SECURITY: both are texts that a user may have chosen; keyed and hashed together, no choice of one makes
    another's owner, and the word tells nobody who it is.
    """
    whose = canonical([run.session, dict(run.principal.values)])
    return blake2b(whose, key=run.opening.owners_key, digest_size=32).hexdigest()


@dataclass(slots=True)
class Asked:
    """Calls that the code has made, and waits for."""

    calls: Sequence[InnerCall]
    answered: "Future[Sequence[InnerAnswer]]" = field(default_factory=Future)
    context: Context = field(default_factory=copy_context)
    """The executor's own: a run inside of this one begins in it, so that an executor knows how deep it is."""


_AROUND: ContextVar[Context | None] = ContextVar("ringfence_isolate", default=None)


@contextmanager
def inside_job(asked: Asked) -> Iterator[None]:
    """Say, for the block, that its calls were made by this job's code."""
    token = _AROUND.set(asked.context)
    try:
        yield
    finally:
        _AROUND.reset(token)


Message = Asked | IsolateOutcome
"""What comes of a job: calls, and at last its outcome."""

_STOPPED: Final = IsolateOutcome(None, "killed", "it was stopped")


class Job:
    """One run in an isolate, between the engine's loop and whoever made the call."""

    def __init__(
        self, loop: EngineLoop, executor: IsolateExecutor, job: IsolateJob, plan: IsolatePlan, clock: Clock
    ) -> None:
        self.job = job
        self.plan = plan
        self.ends_ns: int | None = None
        """When its time is over at the latest: the monotonic clock; None: it has asked for nothing yet.

        Its time begins when it has a worker, and nobody says when that is but the first thing that it asks.
        """
        self.bound_ns = job.limits.time_ns + SLACK_NS
        """How long its outcome is waited for."""
        self.told: dict[int, dict[str, Json]] = {}
        """What the code was given for its calls, by their ids, as it is recorded."""
        self.batches: list[tuple[int, ...]] = []
        """The ids of the calls that it made at once, batch by batch."""
        self.filled: dict[int, tuple[str, ...]] = {}
        """By their ids: the arguments that the host filled in before a call was decided."""
        self.over: Future[None] = Future()
        """Done once the executor has returned: nothing of the job runs any more."""
        self._loop = loop
        self._executor = executor
        self._clock = clock
        self._lock = threading.Lock()
        self._messages: deque[Message] = deque()
        self._waiting: Future[Message] | None = None
        self._task: asyncio.Task[None] | None = None
        self._context = _AROUND.get()
        self._begun = self._stopped = False

    def start(self) -> None:
        """Begin; a job that was stopped before does not."""
        with self._lock:
            self._begun = not self._stopped
        if self._begun:
            self._loop.call_soon(self._begin)

    def next(self) -> "Future[Message]":
        """Return what comes next; one caller at a time."""
        arrival: Future[Message] = Future()
        with self._lock:
            if self._messages:
                arrival.set_result(self._messages.popleft())
            else:
                self._waiting = arrival
        return arrival

    @property
    def is_over(self) -> bool:
        """True once nothing may begin for its code any more: it has ended, was stopped, or is out of time."""
        late = self.ends_ns is not None and self._clock.monotonic_ns() >= self.ends_ns
        return late or self._stopped or self.over.done()

    def stop(self) -> None:
        """Have the executor kill the worker; from any thread, more than once, and after the end too."""
        with self._lock:
            never_began = not self._begun and not self._stopped
            self._stopped = True
        if never_began:
            self._post(_STOPPED)
            self.over.set_result(None)
        elif not self.over.done():
            self._loop.call_soon(self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def answers(self) -> list[list[dict[str, Json] | None]]:
        """Return what the code was given so far, as it is recorded."""
        return answers_record(tuple(self.batches), dict(self.told), self.filled)

    def _begin(self) -> None:
        task = self._task = asyncio.get_running_loop().create_task(self._run(), context=self._context)
        task.add_done_callback(self._ended)
        if self._stopped:
            task.cancel()

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled():
            task.exception()  # looked at, so that the loop does not complain of it
        if not self.over.done():
            self._post(_STOPPED)
            self.over.set_result(None)

    async def _run(self) -> None:
        try:
            outcome = await self._executor.run(self.job, self._answer)
        except (Exception, GeneratorExit) as error:  # fails closed: there is no result
            outcome = IsolateOutcome(None, "executor", f"what runs isolates failed ({type(error).__name__})")
        self.over.set_result(None)  # before it is told: whoever hears it has nothing to stop
        self._post(outcome)

    async def _answer(self, calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
        if self.ends_ns is None:
            self.ends_ns = self._clock.monotonic_ns() + self.job.limits.time_ns
        asked = Asked(tuple(calls))
        self._post(asked)
        return await asyncio.wrap_future(asked.answered)

    def _post(self, message: Message) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, None
            if waiting is None:
                self._messages.append(message)
        if waiting is not None:
            waiting.set_result(message)
