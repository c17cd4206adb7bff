"""One job with one worker, frame by frame.  Nothing that the worker says is trusted."""

import asyncio
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from ringfence.plugin import (
    InnerAnswer,
    InnerAnswering,
    InnerCall,
    IsolateFailure,
    IsolateJob,
    IsolateLimits,
    IsolateOutcome,
)
from ringfence.plugins.isolate import frames
from ringfence.plugins.isolate.frames import FrameError
from ringfence.plugins.isolate.process import EndedError
from ringfence.plugins.isolate.starting import Ready, Worker

MAX_CALLS = 1000
"""Inner calls of one job."""
_MAX_MESSAGE = 2000
_MAX_NAME = 1000
_LARGE = 1 << 16
_DEAD_WITHIN_S = 1.0

_MAY_SAY = frozenset(get_args(IsolateFailure)) - {"killed", "lockdown", "time"}
_GOES_ON = frozenset({"syntax", "no function", "exception", "stalled", "not JSON"})
"""After these a worker is as good as after a result."""
_OUT_OF_MEMORY = {-signal.SIGTRAP, -signal.SIGABRT, -signal.SIGILL}
"""How V8 ends a process whose memory has run out."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a job ended."""

    outcome: IsolateOutcome
    clean: bool
    """The worker may do another job."""


class _BrokenError(Exception):
    """The job is over, and the worker is of no more use."""

    def __init__(self, failure: IsolateFailure, message: str) -> None:
        super().__init__(message)
        self.failure = failure
        self.message = message


def failed(failure: IsolateFailure, message: str, ready: Ready | None = None) -> IsolateOutcome:
    """Return the outcome of a job that gave no result."""
    if ready is None:
        return IsolateOutcome(None, failure, message)
    return IsolateOutcome(None, failure, message, v8=ready.v8, layers=ready.standing)


def first_frame(job: IsolateJob) -> bytes:
    """Return what starts a job.

    Raises:
        FrameError: It is too large.
    """
    return frames.written(
        {
            "job": {
                "source": job.source,
                "kind": job.kind,
                "name": job.name,
                "arguments": job.arguments,
                "tools": list(job.tools),
                "output_bytes": job.limits.output_bytes,
                "memory_bytes": job.limits.memory_bytes,
                "now_ms": job.now_ms,
                "tick_ms": job.tick_ms,
                "seed": job.seed,
            }
        }
    )


async def converse(worker: Worker, job: IsolateJob, frame: bytes, answer: InnerAnswering) -> Ended:
    """Give a worker its job and answer its calls until it has ended.

    Args:
        frame: `first_frame` of the job.
    """
    try:
        return await _conversed(worker, job, frame, answer)
    except _BrokenError as error:
        return Ended(failed(error.failure, error.message, worker.ready), clean=False)
    except FrameError as error:
        return Ended(failed("killed", f"the worker broke the protocol: {error}", worker.ready), clean=False)
    except EndedError:
        status = await worker.child.ended(within_s=_DEAD_WITHIN_S)
        failure, message = _death(status, job.limits)
        return Ended(failed(failure, message, worker.ready), clean=False)


async def _conversed(worker: Worker, job: IsolateJob, frame: bytes, answer: InnerAnswering) -> Ended:
    child, ready = worker.child, worker.ready
    await child.send(frame)
    asked = 0
    while True:
        match await child.receive():
            case {"calls": list(said), **others} if not others:
                calls = await _calls(said, after=asked)
                asked += len(calls)
                answers = await answer(calls)
                if not child.silent():
                    if child.exit_status is not None:
                        raise EndedError
                    raise FrameError("it spoke out of turn")
                await child.send(await _answered(calls, answers))
            case {"done": {"result": str(result), **rest}, **others} if not rest and not others:
                await _check(result, job.limits)
                outcome = IsolateOutcome(result, v8=ready.v8, layers=ready.standing)
                return Ended(outcome, clean=True)
            case {"failed": dict(said), **others} if not others:
                outcome = _failure(said, ready)
                return Ended(outcome, clean=outcome.failure in _GOES_ON)
            case _:
                raise FrameError("it said what is no answer")


async def _calls(said: Sequence[object], *, after: int) -> list[InnerCall]:
    if not said:
        raise FrameError("no calls")
    if after + len(said) > MAX_CALLS:
        raise _BrokenError("calls", f"more than {MAX_CALLS} calls")
    if sum(map(_size_said, said)) <= _LARGE:
        return _read(said, after)
    return await asyncio.to_thread(_read, said, after)


def _size_said(call: object) -> int:
    arguments = call.get("arguments") if type(call) is dict else None
    return len(arguments) if type(arguments) is str else 0


def _read(said: Sequence[object], after: int) -> list[InnerCall]:
    return [_call(call, id=after + nth) for nth, call in enumerate(said, 1)]


def _call(said: object, *, id: int) -> InnerCall:
    match said:
        case {"id": int(given), "tool": str(tool), "arguments": str(arguments), **rest} if not rest:
            # INVARIANT: ids rise by one, so none is unknown and none comes twice.
            if type(given) is not int or given != id:
                raise FrameError(f"call {id} comes with another id")
            try:
                # A name that does not exist there comes too: the guard refuses it, and records that.
                if len(tool.encode("utf-8")) > _MAX_NAME:
                    raise FrameError("a tool with a name too long")
                frames.bounded(
                    arguments.encode("utf-8"), depth=frames.MAX_DEPTH, tokens=frames.MAX_FRAME_BYTES
                )
            except ValueError as error:  # a FrameError, or half of a surrogate pair
                raise FrameError(f"call {id} is malformed") from error
            return InnerCall(id, tool, arguments)
    raise FrameError("what is no call")


async def _answered(calls: Sequence[InnerCall], answers: Sequence[InnerAnswer]) -> bytes:
    given = {answer.id: answer for answer in answers}
    if len(given) != len(answers) or given.keys() != {call.id for call in calls}:
        raise _BrokenError("executor", "the inner calls were not answered one by one")
    try:
        return frames.written({"answers": [await _told(given[call.id]) for call in calls]})
    except FrameError:
        raise _BrokenError("calls", "the answers to the calls are too large together") from None


async def _told(answer: InnerAnswer) -> dict[str, object]:
    """Return what the worker gets to know: a result that it could not read is an error to the code."""
    result, error = answer.result, answer.error
    if result is None:
        return {"id": answer.id, "result": None, "error": error or "the call failed"}
    try:
        await _strict(result)
    except FrameError as problem:
        return {"id": answer.id, "result": None, "error": f"the result cannot be handed over: {problem}"}
    return {"id": answer.id, "result": result, "error": None}


async def _strict(text: str) -> None:
    if len(text) <= _LARGE:
        frames.checked(text)
    else:
        await asyncio.to_thread(frames.checked, text)


async def _check(result: str, limits: IsolateLimits) -> None:
    try:
        size = len(result.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise FrameError("a result that is no text") from error
    if size > limits.output_bytes:
        raise FrameError("a result larger than it was allowed")
    await _strict(result)


def _failure(said: Mapping[str, Any], ready: Ready) -> IsolateOutcome:
    match said:
        case {"failure": str(failure), "message": message, "line": line, "column": column, **rest} if (
            not rest and failure in _MAY_SAY and (message is None or type(message) is str)
        ):
            return IsolateOutcome(
                None,
                failure,  # type: ignore[arg-type]  # `_MAY_SAY` holds nothing else
                None if message is None else message.encode("utf-8", "replace").decode()[:_MAX_MESSAGE],
                _place(line),
                _place(column),
                v8=ready.v8,
                layers=ready.standing,
            )
    raise FrameError("it failed in no known way")


def _place(value: object) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not 0 < value < 1 << 31:
        raise FrameError("a place that is none")
    return value


def _death(status: int | None, limits: IsolateLimits) -> tuple[IsolateFailure, str]:
    if status is None:
        return "killed", "the worker closed its end and was killed"
    if status in _OUT_OF_MEMORY:
        return "memory", f"V8 gave up for want of memory (memory {_size(limits.memory_bytes)})"
    if status == -signal.SIGXCPU:
        return "cpu", over_cpu(limits)
    if status == -getattr(signal, "SIGSYS", 31):
        return "killed", "the worker made a system call that is walled off (seccomp) and was killed"
    if status == -signal.SIGKILL:
        return "killed", "the worker was killed from outside"
    if status < 0:
        return "killed", f"the worker crashed (signal {-status})"
    return "killed", f"the worker ended by itself (exit status {status})"


def over_cpu(limits: IsolateLimits) -> str:
    """Return the words for a job that used too much processor time."""
    return f"it used more processor time than `cpu {limits.cpu_ns // 1_000_000} ms`"


def over_memory(limits: IsolateLimits) -> str:
    """Return the words for a job that used too much memory."""
    return f"it used more memory than `memory {_size(limits.memory_bytes)}`"


def over_time(limits: IsolateLimits) -> str:
    """Return the words for a job that took too long."""
    return f"it took longer than `time {limits.time_ns // 1_000_000} ms`, calls included"


def _size(size: int) -> str:
    return f"{size >> 20} MB" if size % (1 << 20) == 0 else f"{size} bytes"
