"""A run in an isolate as the log holds it: the guard writes it with these, and a rerun reads with the same.

So what a rerun gives can be compared with what was recorded, field by field.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256

from ringfence.dsl.canonical import alike, canonical, digest, is_plain, loads_strict
from ringfence.dsl.plan import IsolatePlan, Json, Plan
from ringfence.engine.decision.events import IsolateEnded, IsolateStarted
from ringfence.engine.journal.jsonable import LIMIT_BYTES, jsonable
from ringfence.engine.seams.isolates import IsolateJob, IsolateOutcome

_TEXT_AT_MOST = 500
_ERROR_BYTES = 4096
"""A longer text of a refusal is kept by its digest; those of a policy are short."""


_WHOLE_CHARACTERS = LIMIT_BYTES // 4
"""A text of fewer is within what the log keeps of one value, in UTF-8 as well."""
_SHALLOW = 40
"""What has fewer brackets is not too deep for the log."""


def started(call: str, isolate: str, job: IsolateJob) -> IsolateStarted:
    """Return the event for what a run in an isolate begins with."""
    limits = job.limits
    return IsolateStarted(
        call=call,
        isolate=isolate,
        runs=job.kind,
        name=job.name,
        source=digest(job.source),
        now_ms=job.now_ms,
        tick_ms=job.tick_ms,
        seed=job.seed,
        limits={
            "memory_bytes": limits.memory_bytes,
            "cpu_ms": limits.cpu_ns // 1_000_000,
            "time_ms": limits.time_ns // 1_000_000,
            "output_bytes": limits.output_bytes,
            "lockdown": job.lockdown,
        },
    )


def called(plan: Plan, isolate: IsolatePlan, tool: str) -> str:
    """Return the framework's name of what the code calls; a name that it may not call stays as it is."""
    found = plan.tools.get(tool) if tool in isolate.may_call else None
    return tool if found is None else found.bound


def handed(value: Json) -> str:
    """Return the JSON text that the code is given for what a call returned."""
    try:
        said = canonical(value)
    except (ValueError, TypeError, RecursionError):  # no JSON: described, as in the record
        said = canonical(jsonable(value))
    return said.decode()


def fulfilled(text: str, value: Json, *, keyed: bool, secret: bool = False) -> dict[str, Json]:
    """Return the record of a call that the code was given a result for.

    Args:
        text: What it was given.
        value: What the call returned, of which the record holds what can be said.
        keyed: The policy keeps the values of the call's tool out of the log.
        secret: Something in the value is secret.
    """
    if secret and not keyed:
        return {"result": None, "withheld": "secret"}
    if keyed:
        return {"result": None, "withheld": "keyed"}
    if _is_whole(text, value):
        return {"result": digest_of_text(text)}
    return {"result": digest_of_text(text), "withheld": "too large or too deep"}


def _is_whole(text: str, value: Json) -> bool:
    """Say whether the record of a value gives this text again."""
    if len(text) < _WHOLE_CHARACTERS and text.count("[") + text.count("{") < _SHALLOW and is_plain(value):
        return True  # `jsonable` changes nothing of it: the usual case, and the cheap one
    kept = jsonable(value)
    return alike(kept, value) or canonical(kept).decode() == text


def rejected(text: str) -> dict[str, Json]:
    """Return the record of a call that the code was told an error for."""
    return {"error": jsonable(text, limit_bytes=_ERROR_BYTES)}


def answers_record(
    batches: Sequence[Sequence[int]],
    told: Mapping[int, dict[str, Json]],
    filled: Mapping[int, Sequence[str]],
) -> list[list[dict[str, Json] | None]]:
    """Return what the code was told, batch by batch; None for a call that was not answered.

    Args:
        filled: The arguments that the host filled in before a call was decided.
    """
    return [[_answer(told.get(id), filled.get(id, ())) for id in batch] for batch in batches]


def _answer(told: dict[str, Json] | None, filled: Sequence[str]) -> dict[str, Json] | None:
    return {**(told or {}), "filled": list(filled)} if filled else told


def as_given(arguments: Json, filled: Sequence[str]) -> Json:
    """Return the arguments of a call without those that the host filled in, which the code left out."""
    if not filled or not isinstance(arguments, dict):
        return arguments
    return {name: value for name, value in arguments.items() if name not in filled}


def judged(outcome: IsolateOutcome, output_bytes: int) -> tuple[IsolateOutcome, Json]:
    """Return an outcome with its value; what is no result is a failure, whatever the worker says."""
    if outcome.result is None:
        return (outcome if outcome.failure is not None else replace(outcome, failure="executor")), None
    try:
        if len(outcome.result.encode()) > output_bytes:
            return replace(outcome, result=None, failure="output", message="the result is too large"), None
        return replace(outcome, failure=None), loads_strict(outcome.result)
    except (ValueError, RecursionError):
        return replace(outcome, result=None, failure="not JSON", message="the result is no JSON"), None


def ended(
    call: str,
    outcome: IsolateOutcome,
    answers: Sequence[Sequence[dict[str, Json] | None]],
    *,
    stopped: bool = False,
    keyed: bool = False,
) -> IsolateEnded:
    """Return the event for how a run in an isolate ended.

    Args:
        outcome: As `judged` returned it.
        stopped: It was not waited for.
        keyed: The policy keeps the values of the tool out of the log.
    """
    result = None if stopped or keyed else outcome.result
    return IsolateEnded(
        call=call,
        v8=outcome.v8,
        layers=tuple(outcome.layers),
        failure="stopped" if stopped else outcome.failure,
        message=None if keyed or outcome.message is None else message_text(outcome.message),
        line=outcome.line,
        column=outcome.column,
        output=None if result is None else digest_of_text(result),
        calls=sum(map(len, answers)),
        answers=[list(batch) for batch in answers],
    )


def message_text(message: str) -> str:
    """Return a message of the code as the record can hold it."""
    return message[:_TEXT_AT_MOST].encode("utf-8", "backslashreplace").decode()


def digest_of_text(text: str) -> str:
    """Return `sha256:` and 64 hex digits of the text's UTF-8 bytes."""
    return "sha256:" + sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
