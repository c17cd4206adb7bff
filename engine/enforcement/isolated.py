"""How a call ends whose body ran in an isolate: recorded, and handed on or told as a failure."""

import asyncio
import contextlib
from concurrent.futures import wait
from dataclasses import replace
from typing import Any

from ringfence.dsl.plan import Json
from ringfence.engine.enforcement import dispatch, replies
from ringfence.engine.enforcement.bodies import GRACE_S, Landed, SyncFlight
from ringfence.engine.enforcement.dispatch import Started
from ringfence.engine.enforcement.isolates import KILLED_WITHIN_S, Job
from ringfence.engine.enforcement.requests import keeps_digests_only
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.enforcement.tool_results import PLAIN, ResultLens
from ringfence.engine.journal.isolated import ended, judged, message_text
from ringfence.engine.seams.isolates import IsolateOutcome


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
        outcome, value = judged(landed.value, job.job.limits.output_bytes)
    keyed = keeps_digests_only(run, held.call.tool)
    try:
        with run.lock:
            if not run.ended:
                stopped = landed.how != "returned"
                kept = keyed or _is_secret(run, value)
                shown = (
                    outcome
                    if outcome.message is None
                    else replace(outcome, message=run.hide(outcome.message))
                )
                run.append(ended(held.key, shown, job.answers(), stopped=stopped, keyed=kept))
    except BaseException as error:  # fails closed: what is not in the record is not handed on
        dispatch.fail(run, held, started.flight, "raised", type(error).__name__, started.mono_ns)
        raise
    if landed.how != "returned":
        return dispatch.land(started, landed, PLAIN, ())
    if outcome.failure is not None:
        said = _said(outcome, job.job.name)
        how = "timeout" if outcome.failure in ("time", "cpu") else "raised"
        # SECURITY: what code throws is made of its values, which `audit minimal` keeps out of the record.
        recorded = _said(replace(outcome, message=None), job.job.name) if keyed else run.hide(said)
        dispatch.fail(run, held, started.flight, how, recorded, started.mono_ns)
        run.check_live()  # its time may have been the run's
        raise replies.failed(run, held, said)
    result = dispatch.land(started, Landed("returned", value), PLAIN, ())
    return result if lens.make is None else lens.make(result)


def _is_secret(run: Run, value: Json) -> bool:
    """Say whether something in a result is secret: from its digest a short one could be guessed."""
    return run.hiding is not None and run.hiding.finds(value)


def _said(outcome: IsolateOutcome, name: str) -> str:
    at = [] if outcome.line is None else [f"line {outcome.line}"]
    at += [] if outcome.line is None or outcome.column is None else [f"column {outcome.column}"]
    why = f"{outcome.failure}: {message_text(outcome.message)}" if outcome.message else str(outcome.failure)
    return f"{why} ({', '.join(at)} of `{name}`)" if at else why
