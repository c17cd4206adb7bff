"""Steps of a run as lines for people.  What a model or a tool wrote is escaped and cut, never markup."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TypeAlias

from ringfence.cli.say import COLOURS, Piece
from ringfence.dsl.plan import Json
from ringfence.engine.retrospect.timeline import CallStep, Moment, Step
from ringfence.engine.retrospect.whatif import Change
from ringfence.engine.seams.escape import escaped, escaped_json

Line: TypeAlias = tuple[Piece, ...]

VERDICTS = {"unknown": "not found", "deny": "denied", "ask": "asked", "allow": "allowed"}
"""What a verdict is called in a sentence."""

ANSWERS = {"approve": "approved", "reject": "rejected", "expire": "expired", "withdraw": "withdrawn"}
"""What became of a question, in a sentence."""

_INSET = " " * 13


def moment(at_ns: int) -> str:
    """Return a moment as people write it, in UTC, to the second."""
    return datetime.fromtimestamp(at_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def duration(ns: int) -> str:
    """Return a duration with a unit that fits it."""
    if ns >= 120_000_000_000:
        minutes, seconds = divmod(ns // 1_000_000_000, 60)
        return f"{minutes // 60} h {minutes % 60} min" if minutes >= 120 else f"{minutes} min {seconds} s"
    for unit, size in (("s", 1_000_000_000), ("ms", 1_000_000)):
        if abs(ns) >= size:
            return f"{ns / size:.3g} {unit}" if abs(ns) < 1000 * size else f"{ns / size:.0f} {unit}"
    return f"{ns / 1000:.3g} us"


def short(text: object, limit: int = 160) -> str:
    """Return text from a log on one line, escaped; what is cut is said."""
    words = escaped(str(text))
    return words if len(words) <= limit else f"{words[:limit]}… [{len(words) - limit} more characters]"


def count(number: int, what: str, many: str = "") -> str:
    """Return how many of something there are, as people write it."""
    return f"{number:,} {what if number == 1 else many or f'{what}s'}"


def change_line(change: Change) -> Line:
    """Return one decision that comes out otherwise, then and now."""
    verdict = f"asks {escaped(', '.join(change.asks))}" if change.asks else change.verdict
    return (
        f"event {change.seq}, {short(change.tool)}: {short(change.recorded)} then, ",
        (verdict, COLOURS.get(change.verdict, "")),
    )


def reason_line(reason: dict[str, Json]) -> Line:
    """Return one reason: what, by which rule, where, why, and what was found."""
    effect = str(reason.get("effect"))
    line: list[Piece] = [
        (VERDICTS.get(effect, escaped(effect)), COLOURS.get(effect, "")),
        " by ",
        (escaped(str(reason.get("name"))), "bold"),
    ]
    if reason.get("place"):
        line.append((f" at {short_place(str(reason['place']))}", "dim"))
    if reason.get("because"):
        line.append(f": {short(reason['because'])}")
    if reason.get("detail"):
        line.append((f" ({short(reason['detail'])})", "dim"))
    return tuple(line)


def short_place(said: str) -> str:
    """Return a place as short as it is from here: without the current folder."""
    return escaped(said.removeprefix(os.path.join(os.getcwd(), "")))


def arguments(given: Json, *, limit: int = 60) -> str:
    """Return arguments as a call would write them, each cut at `limit`."""
    if not isinstance(given, dict):
        return escaped_json(given, limit=limit)
    return ", ".join(
        f"{escaped(str(name))}={escaped_json(value, limit=limit)}" for name, value in given.items()
    )


def step_lines(step: Step, *, start_ns: int) -> Iterator[Line]:
    """Return the lines of one step; times count from the start of the run."""
    offset = f"{(step.at_ns - start_ns) / 1_000_000_000:+10.3f} s "
    if isinstance(step, Moment):
        yield (offset, "dim"), *_moment_line(step)
        return
    yield (
        (offset, "dim"),
        (f"call {step.number}  ", "cyan"),
        (escaped(step.tool), "bold"),
        f"({arguments(step.arguments)})",
        (f"  {escaped(step.call)}", "dim"),
    )
    for line in _call_lines(step):
        yield _INSET, *line


def _call_lines(step: CallStep) -> Iterator[Line]:
    if step.within is not None:
        yield ((f"made inside of call {step.within}", "dim"),)
    if not step.decisions:
        ended = "recorded as decided" if step.outcome == "unknown" else "decided: the run ended before"
        yield ((f"not {ended}", COLOURS["failed"]),)
    for decision in step.decisions:
        yield from _decision_lines(decision)
    for ticket in step.tickets:
        yield from _ticket_lines(ticket)
    if step.isolate is not None:
        yield _isolate_line(step.isolate)
    if step.refunded is not None:
        yield (f"budgets given back: {short(step.refunded)}",)
    if step.outcome == "finished":
        took = f" in {duration(step.duration_ns)}" if step.duration_ns is not None else ""
        yield ("ran" + took + " -> ", short(escaped_json(step.result), 120))
        if step.truncated:
            grown = step.truncated.get("bytes", 0) > step.truncated.get("bytes_before", 0)
            yield (f"result {'padded' if grown else 'cut'}: {escaped_json(step.truncated)}",)
    elif step.outcome == "running":
        yield (("started, and no outcome was recorded", COLOURS["failed"]),)
    elif step.outcome == "unknown":
        ran = "how it ended" if step.started_ns is not None else "whether it ran"
        yield (("unknown", COLOURS["failed"]), f": {ran} is not recorded, and its process is gone")
    elif step.outcome != "not run":
        took = f" after {duration(step.duration_ns)}" if step.duration_ns is not None else ""
        yield (f"{escaped(step.outcome)}{took}", COLOURS["failed"]), f": {short(step.error)}"


def _isolate_line(isolate: dict[str, Json]) -> Line:
    """Return where JavaScript ran, and what stood around it."""
    v8, walls = isolate.get("v8"), isolate.get("layers")
    stood = [f"V8 {short(v8, 40)}"] if v8 else []
    stood += [f"{len(walls)} walls"] if isinstance(walls, list | tuple) and walls else []
    name = (short(isolate.get("isolate", "(its beginning was purged)"), 60), "bold")
    return (
        "in isolate ",
        name,
        (f" ({', '.join(stood)})" if stood else " (nothing is known of its end)", "dim"),
    )


def _decision_lines(decision: dict[str, Json]) -> Iterator[Line]:
    verdict = str(decision["verdict"])
    told = [reason for reason in decision.get("reasons") or [] if _speaks(str(reason.get("effect")), verdict)]
    for reason in told:
        yield reason_line(reason)
    if not told:
        yield ((VERDICTS.get(verdict, escaped(verdict)), COLOURS.get(verdict, "")),)
    for reason in decision.get("shadow") or []:
        yield ("in shadow: ", "dim"), *reason_line(reason)


def _speaks(effect: str, verdict: str) -> bool:
    """True for the reasons that made the verdict; `why` shows the others as well."""
    return effect == verdict or effect == "halt"


def _ticket_lines(ticket: dict[str, Json]) -> Iterator[Line]:
    yield (
        ("asked ", COLOURS["ask"]),
        (escaped(str(ticket["approver"])), "bold"),
        f", ticket {escaped(str(ticket['ticket']))}",
    )
    for answer in ticket["answers"]:
        verdict = str(answer["verdict"])
        by = f" by {short(answer['by'])}" if answer.get("by") else ""
        because = f": {short(answer['because'])}" if answer.get("because") else ""
        waited = duration(answer["at_ns"] - ticket["asked_ns"])
        style = COLOURS["allow"] if verdict == "approve" else COLOURS["deny"]
        yield (ANSWERS.get(verdict, escaped(verdict)), style), f"{by} after {waited}{because}"


def _moment_line(step: Moment) -> Line:
    said = step.said
    match step.step:
        case "prompt":
            return ("prompt  ", "blue"), f"{escaped(str(said['source']))}: {short(_words(said['text']))}"
        case "model":
            took = duration(said["duration_ns"])
            if said.get("error"):
                return ("model   ", "blue"), (
                    f"failed after {took}: {short(said['error'])}",
                    COLOURS["failed"],
                )
            usage = f" [{_usage(said['usage'])}]" if said.get("usage") else ""
            return ("model   ", "blue"), f"answered in {took}{usage}: {short(_words(said['messages']), 100)}"
        case "suspended":
            return ("waits   ", COLOURS["ask"]), f"for {escaped(', '.join(said['tickets'])) or 'people'}"
        case "resumed":
            return ("resumed ", "cyan"), f"in process {escaped(str(said['process']))}"
        case "subrun":
            return ("sub-run ", "cyan"), escaped(str(said["run"]))
        case "halted":
            by = f" by {short(said['by'])}" if said.get("by") else ""
            detail = f": {short(said['detail'])}" if said.get("detail") else ""
            return ("halted  ", COLOURS["halted"]), f"{escaped(str(said['reason']))}{by}{detail}"
        case "purged":
            by = f" by {short(said['by'])}" if said.get("by") else ""
            older = f"whatever was older than {moment(int(said['before_ns']))}"
            return ("purged  ", COLOURS["suspended"]), f"what it said was purged{by}: {older}"
        case _:
            status = str(said.get("status", step.step))
            error = f": {short(said['error'])}" if said.get("error") else ""
            return ("ended   ", COLOURS.get(status, "")), f"{escaped(status)}{error}"


def _usage(usage: Json) -> str:
    if isinstance(usage, dict) and "input_tokens" in usage and "output_tokens" in usage:
        return f"{escaped(str(usage['input_tokens']))} tokens in, {escaped(str(usage['output_tokens']))} out"
    return short(escaped_json(usage), 80)


def _words(messages: Json, depth: int = 0) -> str:
    """Return what messages say, whatever the framework's form of them; else their JSON."""
    if isinstance(messages, str):
        return messages
    if isinstance(messages, list) and messages and depth < 4:
        return " / ".join(_words(message, depth + 1) for message in messages)
    if isinstance(messages, dict) and depth < 4:
        inner = messages.get("data") or messages.get("kwargs") or messages
        if isinstance(inner, dict):
            text = inner.get("content") or inner.get("text") or ""
            wants = [
                str(call.get("name")) for call in inner.get("tool_calls") or [] if isinstance(call, dict)
            ]
            told = [_words(text, depth + 1)] if text else []
            return " ".join([*told, f"(wants {', '.join(wants)})"] if wants else told) or escaped_json(
                messages
            )
    return escaped_json(messages)
