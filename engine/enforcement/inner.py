"""The calls that code in an isolate makes: what is asked of the guard for each, and what the code is told."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ringfence.dsl.canonical import canonical
from ringfence.dsl.plan import Json
from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.enforcement import replies
from ringfence.engine.enforcement.dispatch import Started
from ringfence.engine.enforcement.drive import arrival
from ringfence.engine.enforcement.isolates import Job, inside_job
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.journal.jsonable import jsonable
from ringfence.engine.seams.errors import DeniedError, EngineError, RingfenceError, RunHaltedError
from ringfence.engine.seams.isolates import InnerAnswer, InnerCall, IsolateOutcome

NO_BODY: Final = "the host gave no body for it"
"""Why a call that an isolate may make is denied: `inner` does not have it."""

Inner = Mapping[str, Callable[[Mapping[str, Json]], Any]]
"""The framework's name of a tool -> the body that runs if an isolate calls it."""


@dataclass(frozen=True, slots=True)
class Asking:
    """One inner call, ready for the guard's door."""

    call: ToolCall
    body: Callable[[Mapping[str, Json]], Any]
    lacking: str | None
    """Why it is denied whatever the policy says; None: it has a body."""


def asking(started: Started, job: Job, made: InnerCall, inner: Inner) -> Asking:
    """Return what a call that the code made is for the guard; a name that it may not call stays as it is."""
    tool = started.run.plan.tools.get(made.tool) if made.tool in job.plan.may_call else None
    name = made.tool if tool is None else tool.bound
    body = inner.get(name)
    lacking = NO_BODY if tool is not None and body is None and tool.isolated is None else None
    # SECURITY: the arguments are a text that the code wrote; it is read as strictly as a model's own.
    call = ToolCall(name, made.arguments, task=f"{started.held.key}#{made.id}")  # type: ignore[arg-type]
    return Asking(call, _none if body is None else body, lacking)


def _none(_: Mapping[str, Json]) -> Any:
    raise EngineError("a call without a body was not denied")


def answer(made: InnerCall, value: Any) -> InnerAnswer:
    """Return what the code is given for a call that succeeded."""
    try:
        said = canonical(value)
    except (ValueError, TypeError, RecursionError):  # no JSON: described, as in the record
        said = canonical(jsonable(value))
    return InnerAnswer(made.id, said.decode())


def refusal(run: Run, made: InnerCall, error: Exception) -> InnerAnswer:
    """Return what the code is told of a call that did not succeed: the constant texts, and no more.

    Raises:
        RunHaltedError, EngineError: Nothing more may run, so neither does the code.
    """
    if isinstance(error, RunHaltedError | EngineError):
        raise error
    text = error.model_text if isinstance(error, DeniedError) else None
    if isinstance(error, RingfenceError) and text is None:
        text = error.model_text
    return InnerAnswer(made.id, None, text if text is not None else replies.failure_text(run.plan))


def converse(job: Job, one: Callable[[InnerCall], InnerAnswer]) -> IsolateOutcome:
    """Start the job and answer its calls, one after another, until it has an outcome."""
    job.start()
    try:
        while True:
            message = job.next().result()
            if isinstance(message, IsolateOutcome):
                return message
            with inside_job(message):
                answers = [one(made) for made in message.calls]
            _reply(message.answered, answers)
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
            with inside_job(message):
                answers = [await one(made) for made in message.calls]
            _reply(message.answered, answers)
    finally:
        job.stop()


def _reply(answered: Any, answers: Sequence[InnerAnswer]) -> None:
    if answered.set_running_or_notify_cancel():  # else the job was stopped, and nobody listens
        answered.set_result(answers)
