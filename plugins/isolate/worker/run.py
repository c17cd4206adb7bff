"""One job in one isolate, from its source to its result."""

import json
from typing import Any

from py_mini_racer import JSEvalException, JSOOMException, JSParseException

from ringfence.plugins.isolate import frames
from ringfence.plugins.isolate.frames import FrameError
from ringfence.plugins.isolate.worker.channel import Channel
from ringfence.plugins.isolate.worker.failure import Failure, of_run, of_syntax
from ringfence.plugins.isolate.worker.isolate import Isolate
from ringfence.plugins.isolate.worker.job import Job, Kind

_AROUND: dict[Kind, tuple[tuple[str, str], ...]] = {
    "code": (("async function(){\n", "\n}"),),
    "body": (("function(){return(\n", "\n)}"), ("function(){return[\n", "\n]}")),
}
"""What stands around a source; the source begins on a line of its own."""


def answered(isolate: Isolate, job: Job, channel: Channel) -> dict[str, object]:
    """Run a job and return its last frame; calls of tools go over the channel meanwhile."""
    try:
        return {"done": {"result": _result(isolate, job, channel)}}
    except Failure as failure:  # said to the parent
        return failure.frame()
    except (JSOOMException, MemoryError):  # said to the parent: the isolate is not used again
        return Failure("memory", f"more memory than {job.memory_bytes} bytes").frame()
    except (JSEvalException, TypeError, UnicodeError):  # said to the parent: V8 gave up, or gave no string
        return Failure("exception", "the code broke the isolate it ran in").frame()


def _result(isolate: Isolate, job: Job, channel: Channel) -> str:
    isolate.bound(job.memory_bytes)
    if job.kind == "body":
        job = job._replace(source=_expression(job.source))
    _begin(isolate, job)
    asked = 0
    while True:
        said = isolate.tell("drain")
        what, text = said[0], said[1:]
        if what == "N":
            raise _broken_out()
        if what == "D":
            return _checked_result(text, job)
        if what == "F":
            raise of_run(**json.loads(text))
        calls = json.loads(text)
        _send(calls, channel)
        answers = _answers(channel.receive(), range(asked + 1, asked + len(calls) + 1))
        asked += len(calls)
        isolate.tell("answer", json.dumps(answers))


def _expression(source: str) -> str:
    """Return a script without the semicolon that formatters put after an expression."""
    text = source.rstrip()
    return f"{text[:-1]}{source[len(text) :]}" if text.endswith(";") else source


def _begin(isolate: Isolate, job: Job) -> None:
    """Have V8 compile the source inside a function, prove that it stayed inside, and run it.

    V8 makes no code from strings, so JavaScript cannot be given the source; the host's own door is used, and
    the parser's reading is compared with what was given: nothing runs but a whole function, and a source that
    breaks out has no way to the prelude.  For an expression one function is not enough, as it might close the
    parenthesis around it; no text closes both `(` and `[`.
    """
    around = _AROUND[job.kind]
    said = {
        "kind": job.kind,
        "tools": job.tools,
        "output_bytes": job.output_bytes,
        "now_ms": job.now_ms,
        "tick_ms": job.tick_ms,
        "seed": job.seed,
        "around": around,
    }
    try:
        isolate.begin(json.dumps(said), job.arguments, job.source, around)
    except JSOOMException:
        raise
    except JSParseException as error:
        raise _unreadable(isolate, job, str(error)) from error
    except UnicodeError as error:
        raise Failure("syntax", "the source holds half of a surrogate pair") from error
    except JSEvalException:
        # a function that is only read throws nothing: the source broke out, or V8 gave up
        if isolate.tell("drain") != "N":
            raise


def _unreadable(isolate: Isolate, job: Job, report: str) -> Failure:
    """Return why a source cannot be compiled, and where."""
    (opening, closing), *others = _AROUND[job.kind]
    if others:
        # What is wrong with the first function alone is wrong with the source, and at the place that is said.
        alone = isolate.complaint(f"{opening}{job.source}{closing}")
        if alone is None:
            return _broken_out()
        report = alone
    return of_syntax(report, job.source.count("\n") + 1)


def _broken_out() -> Failure:
    return Failure("syntax", "the source closes a bracket that it did not open")


def _checked_result(text: str, job: Job) -> str:
    body = text.encode("utf-8")
    if len(body) > job.output_bytes:
        raise Failure("output", f"the result is larger than {job.output_bytes} bytes")
    if len(body) > frames.MAX_FRAME_BYTES // 6:
        # a frame is ASCII, where one byte of text may take six
        _frame_fits({"done": {"result": text}}, "output", "the result is larger than a frame")
    if frames.shallow(body):  # what it is beside that, the parent looks at
        return text
    try:
        frames.bounded(body, depth=frames.MAX_DEPTH, tokens=len(body))
    except FrameError as error:
        raise Failure("not JSON", f"the result is {error}") from error
    return text


def _send(calls: list[dict[str, Any]], channel: Channel) -> None:
    for call in calls:
        body = call["arguments"].encode("utf-8")
        try:
            frames.bounded(body, depth=frames.MAX_DEPTH, tokens=len(body))
        except FrameError as error:
            raise Failure("calls", f"the arguments of a call of a tool are {error}") from error
    try:
        channel.send({"calls": calls})
    except FrameError as error:
        raise Failure("calls", "calls of tools that are too large at once") from error


def _frame_fits(frame: object, failure: str, message: str) -> None:
    try:
        frames.written(frame)
    except FrameError as error:
        raise Failure(failure, message) from error


def _answers(frame: dict[str, Any], ids: range) -> list[dict[str, Any]]:
    """Return the answers to exactly these calls, in their order.

    Raises:
        FrameError: The parent said something else: it cannot be worked for.
    """
    answers = frame.get("answers")
    if set(frame) != {"answers"} or type(answers) is not list:
        raise FrameError("no answers")
    for answer in answers:
        if (
            type(answer) is not dict
            or set(answer) != {"id", "result", "error"}
            or type(answer["id"]) is not int
        ):
            raise FrameError("no answer")
        result, error = answer["result"], answer["error"]
        if result is None:
            if type(error) is not str:
                raise FrameError("an answer without a result or an error")
        elif type(result) is not str or error is not None:
            raise FrameError("a result that is no text, or that has an error beside it")
        else:
            frames.checked(result)
    answers.sort(key=lambda answer: answer["id"])
    if [answer["id"] for answer in answers] != list(ids):
        raise FrameError("answers to other calls")
    return answers
