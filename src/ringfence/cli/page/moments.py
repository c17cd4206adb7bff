"""Prompts, model answers and what else happened at once, as rows of the page."""

from collections.abc import Iterator, Mapping, Sequence

from ringfence.cli.page.calls import Drawer
from ringfence.cli.page.model import Level, Message, Step
from ringfence.cli.page.texts import Texts
from ringfence.cli.page.times import number, took, when
from ringfence.dsl.plan import Json
from ringfence.engine.retrospect.timeline import Moment

_MESSAGES = 30
"""Messages of one request or answer that are shown."""
_WANTS = 30


def usage_of(usage: Json) -> tuple[int, int]:
    """Return the tokens in and out of one answer; 0 for what is not said."""
    if not isinstance(usage, Mapping):
        return 0, 0
    return number(usage.get("input_tokens")) or 0, number(usage.get("output_tokens")) or 0


def moment_step(
    moment: Moment,
    by: Drawer,
    *,
    anchor: str,
    level: Level | None,
    asked: Mapping[str, Json] | None = None,
    before: Mapping[str, Json] | None = None,
    repeats: str = "",
    link: str = "",
) -> Step:
    """Return the row of one moment.

    Args:
        asked: Of a model: the body of the request, if it is there.
        before: The body of the request before that one.
        repeats: Of a prompt: when the same text was given before.
        link: Of a sub-run: the anchor of its part of the page.
    """
    texts, said = by.texts, moment.said
    offset = by.times.offset(moment.at_ns)
    match moment.step:
        case "prompt":
            source = texts.line(said["source"], 60)
            if repeats:
                title = f"the same text as at {repeats}"
                return Step(anchor, "prompt", "plain", offset, f"{source} prompt", title, level=level)
            text = texts.block(_said(said["text"]))
            return Step(anchor, "prompt", "plain", offset, f"{source} prompt", "", level=level, text=text)
        case "model":
            return _answered(moment, by, anchor, level, asked, before)
        case "asked":
            sent, facts = _request(said, before, texts)
            title = "no answer was recorded"
            return Step(
                anchor, "model", "failed", offset, "model asked", title, level=level, sent=sent, facts=facts
            )
        case "suspended":
            tickets = ", ".join(texts.line(ticket, 60) for ticket in said["tickets"][:20])
            title = f"the run was put away until people answer {tickets or 'nothing'}"
            return Step(anchor, "note", "ask", offset, "waits", title, level=level)
        case "resumed":
            title = f"the run went on in process {texts.line(said['process'], 120)}"
            return Step(anchor, "note", "plain", offset, "resumed", title, level=level)
        case "subrun":
            title = f"a run inside of this one began: {texts.line(said['run'], 80)}"
            return Step(anchor, "note", "plain", offset, "sub-run", title, level=level, link=link)
        case "halted":
            by_whom = f" by {texts.line(said['by'], 120)}" if said.get("by") else ""
            detail = f": {texts.line(said['detail'], 500)}" if said.get("detail") else ""
            title = f"{texts.line(said['reason'], 200)}{by_whom}{detail}"
            return Step(anchor, "note", "deny", offset, "halted", title, level=level)
        case "purged":
            by_whom = f" by {texts.line(said['by'], 120)}" if said.get("by") else ""
            older = when(int(said["before_ns"]))
            title = f"what it said was removed{by_whom}: whatever was older than {older}"
            return Step(anchor, "note", "plain", offset, "purged", title, level=level)
    status = str(said.get("status", moment.step))
    error = f": {texts.line(said['error'], 500)}" if said.get("error") else ""
    tone = {"done": "allow", "halted": "deny", "failed": "failed"}.get(status, "plain")
    return Step(anchor, "note", tone, offset, "ended", f"{texts.line(status, 60)}{error}", level=level)


def _answered(
    moment: Moment,
    by: Drawer,
    anchor: str,
    level: Level | None,
    asked: Mapping[str, Json] | None,
    before: Mapping[str, Json] | None,
) -> Step:
    texts, said = by.texts, moment.said
    ran = number(said["duration_ns"]) or 0
    sent, facts = _request(asked, before, texts) if asked is not None else ((), ())
    if isinstance(said.get("usage"), Mapping):
        into, out = usage_of(said["usage"])
        facts = (*facts, ("tokens", f"{into:,} in, {out:,} out"))
        facts = (*facts, ("usage", texts.line(said["usage"], 300)))
    error = said.get("error")
    return Step(
        anchor=anchor,
        kind="model",
        tone="failed" if error else "plain",
        offset=by.times.offset(moment.at_ns - ran),
        word="model failed" if error else "model",
        title=texts.line(error, 1_000) if error else _name(asked, texts),
        bars=(by.times.bar("model", "the model", moment.at_ns - ran, moment.at_ns, anchor),),
        level=level,
        facts=facts,
        messages=() if error else _messages(said["messages"], texts),
        sent=sent,
        outcome=f"failed after {took(said['duration_ns'])}" if error else "",
    )


def _name(asked: Mapping[str, Json] | None, texts: Texts) -> str:
    return texts.line(asked["model"], 120) if asked and asked.get("model") else ""


def _request(
    asked: Mapping[str, Json], before: Mapping[str, Json] | None, texts: Texts
) -> tuple[tuple[Message, ...], tuple[tuple[str, str], ...]]:
    """Return the messages that the request before had not, and what else was asked with."""
    messages = asked.get("messages")
    facts = [("model", texts.line(asked.get("model") or "not said by the framework", 120))]
    if asked.get("parameters"):
        facts.append(("parameters", texts.line(asked["parameters"], 400)))
    tools = asked.get("tools")
    if isinstance(tools, list | tuple) and tools:
        facts.append(("tools offered", texts.line(", ".join(_tools(tools)), 600)))
    if isinstance(messages, list | tuple):
        had = before.get("messages") if before is not None else None
        same = _shared(had, messages) if isinstance(had, list | tuple) else 0
        count = f"{len(messages)}, {same} of them as in the request before" if same else f"{len(messages)}"
        facts.append(("messages", count))
        messages = messages[same:]
    return _messages(messages, texts) if messages else (), tuple(facts)


def _shared(had: Sequence[Json], messages: Sequence[Json]) -> int:
    same = 0
    try:
        for old, new in zip(had, messages, strict=False):
            if old != new:
                break
            same += 1
    except RecursionError:  # nested beyond what can be compared: it is shown, as if it were new
        pass
    return same


def _tools(tools: Sequence[Json]) -> Iterator[str]:
    for tool in tools[:60]:
        inner = tool.get("function") if isinstance(tool, Mapping) else None
        named = inner if isinstance(inner, Mapping) else tool
        yield str(named.get("name", "?") if isinstance(named, Mapping) else tool)


def _messages(messages: Json, texts: Texts) -> tuple[Message, ...]:
    """Return messages whatever the framework's form of them; what has no known form as it stands."""
    if isinstance(messages, list | tuple):
        shown = tuple(_message(one, texts) for one in messages[:_MESSAGES])
        left = len(messages) - _MESSAGES
        return (*shown, Message(f"{left} more messages", None)) if left > 0 else shown
    return (_message(messages, texts),)


def _message(message: Json, texts: Texts) -> Message:
    inner = message
    if isinstance(message, Mapping):
        wrapped = message.get("data") or message.get("kwargs")
        inner = wrapped if isinstance(wrapped, Mapping) else message
    if not (isinstance(inner, Mapping) and ("content" in inner or "text" in inner)):
        return Message("message", texts.block(message))
    role = inner.get("type") or inner.get("role") or "message"
    content = _said(inner.get("content") or inner.get("text"))
    wants = inner.get("tool_calls")
    calls = [one for one in wants if isinstance(one, Mapping)] if isinstance(wants, list | tuple) else []
    return Message(
        texts.line(role, 40),
        texts.block(content) if content else None,
        tuple(
            (texts.line(one.get("name"), 120), texts.block(one.get("args", one.get("arguments")), 3_000))
            for one in calls[:_WANTS]
        ),
    )


def _said(content: Json) -> Json:
    """Return the text of a content that is a list of parts, where each is one; else the content."""
    if isinstance(content, list | tuple) and content:
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in content[:200]]
        if len(content) <= 200 and all(isinstance(part, str) for part in parts):
            return "\n".join(str(part) for part in parts)
    return content
