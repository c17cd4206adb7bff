"""How a call ends whose body ran in an isolate: recorded, and handed on or told as a failure."""

import asyncio
import contextlib
from concurrent.futures import wait
from dataclasses import replace
from typing import Any

from ringfence.dsl.canonical import loads_strict
from ringfence.dsl.plan import Json
from ringfence.engine.decision.events import IsolateEnded
from ringfence.engine.enforcement import dispatch, replies
from ringfence.engine.enforcement.bodies import GRACE_S, Landed, SyncFlight
from ringfence.engine.enforcement.dispatch import Started
from ringfence.engine.enforcement.isolates import KILLED_WITHIN_S, Job
from ringfence.engine.enforcement.tool_results import PLAIN, ResultLens
from ringfence.engine.seams.isolates import IsolateOutcome

_TEXT_AT_MOST = 500


def settle(started: Started, job: Job, landed: Landed) -> Landed:
    """Return how the body ended once its worker is gone, as far as it goes within its time."""
    if landed.how != "returned":
        job.stop()
        gone = not wait([job.over], KILLED_WITHIN_S).not_done
        if isinstance(started.flight, SyncFlight):
            gone = started.flight.wait(GRACE_S) and gone
        landed.gone = gone
    return landed


async def asettle(job: Job, landed: Landed) -> Landed:
    """Like `settle`."""
    if landed.how != "returned":
        job.stop()
        with contextlib.suppress(asyncio.CancelledError):  # cancelled twice: the first one is raised
            await asyncio.wait({asyncio.wrap_future(job.over)}, timeout=KILLED_WITHIN_S)
        landed.gone = landed.gone and job.over.done()
    return landed


def land(started: Started, job: Job, landed: Landed, lens: ResultLens) -> Any:
    """Record how the isolate and the call ended, and return what it gave, or raise.

    Raises:
        ToolFailedError: The code gave no result: the message says why, with nothing of the host in it.
        DeniedError, RunHaltedError: As for any body.
    """
    run, held = started.run, started.held
    outcome, value = IsolateOutcome(None), None
    if landed.how == "returned":
        outcome, value = _read(landed.value, job.job.limits.output_bytes)
    try:
        with run.lock:
            if not run.ended:
                run.append(_ended(held.key, outcome, stopped=landed.how != "returned"))
    except BaseException as error:  # fails closed: what is not in the record is not handed on
        dispatch.fail(run, held, started.flight, "raised", type(error).__name__, started.mono_ns)
        raise
    if landed.how != "returned":
        return dispatch.land(started, landed, PLAIN, ())
    if outcome.failure is not None:
        said = _said(outcome, job.job.name)
        how = "timeout" if outcome.failure in ("time", "cpu") else "raised"
        dispatch.fail(run, held, started.flight, how, said, started.mono_ns)
        run.check_live()  # its time may have been the run's
        raise replies.failed(run, held, said)
    result = dispatch.land(started, Landed("returned", value), PLAIN, ())
    return result if lens.make is None else lens.make(result)


def _read(outcome: IsolateOutcome, output_bytes: int) -> tuple[IsolateOutcome, Json]:
    """Return the outcome with its value; what is no result is a failure, whatever the worker says."""
    if outcome.result is None:
        return (outcome if outcome.failure is not None else replace(outcome, failure="executor")), None
    try:
        if len(outcome.result.encode()) > output_bytes:
            return replace(outcome, result=None, failure="output", message="the result is too large"), None
        return replace(outcome, failure=None), loads_strict(outcome.result)
    except (ValueError, RecursionError):
        return replace(outcome, result=None, failure="not JSON", message="the result is no JSON"), None


def _ended(call: str, outcome: IsolateOutcome, *, stopped: bool) -> IsolateEnded:
    message = None if outcome.message is None else _text(outcome.message)
    return IsolateEnded(
        call=call,
        v8=outcome.v8,
        layers=tuple(outcome.layers),
        failure="stopped" if stopped else outcome.failure,
        message=message,
        line=outcome.line,
        column=outcome.column,
    )


def _said(outcome: IsolateOutcome, name: str) -> str:
    at = [] if outcome.line is None else [f"line {outcome.line}"]
    at += [] if outcome.line is None or outcome.column is None else [f"column {outcome.column}"]
    why = f"{outcome.failure}: {_text(outcome.message)}" if outcome.message else str(outcome.failure)
    return f"{why} ({', '.join(at)} of `{name}`)" if at else why


def _text(message: str) -> str:
    return message[:_TEXT_AT_MOST].encode("utf-8", "backslashreplace").decode()
