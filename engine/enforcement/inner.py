"""The calls that code in an isolate makes: what is asked of the guard for each, and what the code is told."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ringfence.dsl.plan import Json
from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.enforcement import replies
from ringfence.engine.enforcement.dispatch import Started
from ringfence.engine.enforcement.filled import filled
from ringfence.engine.enforcement.isolates import Asked, Job, inside_job
from ringfence.engine.enforcement.requests import keeps_digests_only
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.journal.isolated import called, fulfilled, handed, rejected
from ringfence.engine.journal.jsonable import jsonable
from ringfence.engine.seams.errors import EngineError, RingfenceError, RunHaltedError
from ringfence.engine.seams.isolates import InnerAnswer, InnerCall, IsolateOutcome
from ringfence.engine.seams.wakes import arrival

NO_BODY: Final = "the host gave no body for it"
"""Why a call that an isolate may make is denied: `inner` does not have it."""

_MOST_ANSWERED: Final = 1 << 26
"""Characters of what the calls of one batch gave: all of it is held until the last one is answered."""
_TOO_MUCH: Final = IsolateOutcome(None, "calls", "the answers to the calls are too large together")

Inner = Mapping[str, Callable[[Mapping[str, Json]], Any]]
"""The framework's name of a tool -> the body that runs if an isolate calls it."""


@dataclass(frozen=True, slots=True)
class InnerRequest:
    """One inner call, ready for the guard's door."""

    call: ToolCall
    body: Callable[[Mapping[str, Json]], Any]
    lacking: str | None
    """Why it is denied whatever the policy says; None: it has a body."""


def inner_request(started: Started, job: Job, made: InnerCall, inner: Inner) -> InnerRequest:
    """Return what a call that the code made is for the guard; a name that it may not call stays as it is."""
    plan = started.run.plan
    name = called(plan, job.plan, made.tool)
    body = inner.get(name)
    found = plan.by_bound_name.get(name)  # as it is decided: the framework's name is the tool's name, too
    tool = found if found is not None and found.name in job.plan.may_call else None
    lacking = NO_BODY if tool is not None and body is None and tool.isolated is None else None
    # SECURITY: the arguments are a text that the code wrote; it is read as strictly as a model's own.
    arguments, job.filled[made.id] = filled(None if tool is None else body, made.arguments)
    call = ToolCall(name, arguments, task=f"{started.held.key}#{made.id}")
    return InnerRequest(call, _none if body is None else body, lacking)


def _none(_: Mapping[str, Json]) -> Any:
    raise EngineError("a call without a body was not denied")


def answer(run: Run, job: Job, made: InnerCall, asked: InnerRequest, value: Any) -> InnerAnswer:
    """Return what the code is given for a call that succeeded, noted down for the record."""
    text = handed(value)
    # SECURITY: from the digest of a result a short secret could be guessed.
    secret = run.hiding is not None and run.hiding.finds(jsonable(value, hide=run.hide))
    keyed = keeps_digests_only(run, asked.call.tool)
    job.told[made.id] = fulfilled(text, value, keyed=keyed, secret=secret)
    return InnerAnswer(made.id, text)


def refusal(run: Run, job: Job, made: InnerCall, error: Exception) -> InnerAnswer:
    """Return what the code is told of a call that did not succeed: the constant texts, and no more.

    It is noted down for the record.

    Raises:
        RunHaltedError, EngineError: Nothing more may run, so neither does the code.
    """
    if isinstance(error, RunHaltedError | EngineError):
        raise error
    told = error.model_text if isinstance(error, RingfenceError) else None
    said = replies.failure_text(run.plan) if told is None else told
    job.told[made.id] = rejected(said)
    return InnerAnswer(made.id, None, said)


class _Batch:
    """Answers to calls that were made at once, as far as the host can hold them."""

    def __init__(self) -> None:
        self.answers: list[InnerAnswer] = []
        self._left = _MOST_ANSWERED

    def holds(self, answer: InnerAnswer) -> bool:
        """Take one in; False: it is one too many.

        SECURITY: code could ask a thousand times at once for the largest thing there is.
        """
        self.answers.append(answer)
        self._left -= len(answer.result or "")
        return self._left >= 0


def converse(job: Job, one: Callable[[InnerCall], InnerAnswer]) -> IsolateOutcome:
    """Start the job and answer its calls, one after another, until it has an outcome."""
    job.start()
    try:
        while True:
            message = job.next().result()
            if isinstance(message, IsolateOutcome):
                return message
            job.batches.append(tuple(made.id for made in message.calls))
            batch = _Batch()
            with inside_job(message):
                for made in message.calls:
                    if not job.is_over and not batch.holds(one(made)):
                        return _TOO_MUCH
            _reply(message, batch.answers)
    finally:
        job.stop()


async def aconverse(job: Job, one: Callable[[InnerCall], Awaitable[InnerAnswer]]) -> IsolateOutcome:
    """Like `converse`."""
    job.start()
    try:
        while True:
            message = await arrival(job.next())
            if isinstance(message, IsolateOutcome):
                return message
            job.batches.append(tuple(made.id for made in message.calls))
            batch = _Batch()
            with inside_job(message):
                for made in message.calls:
                    if not job.is_over and not batch.holds(await one(made)):
                        return _TOO_MUCH
            _reply(message, batch.answers)
    finally:
        job.stop()


def _reply(asked: Asked, answers: Sequence[InnerAnswer]) -> None:
    if len(answers) < len(asked.calls):
        return  # the job is over: whoever runs it says so, and hears nothing more
    if asked.answered.set_running_or_notify_cancel():  # else the job was stopped, and nobody listens
        asked.answered.set_result(answers)
