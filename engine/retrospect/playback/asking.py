"""A request to a model in a form that can be compared: messages, tools, parameters, without ids of chance.

Adapters translate what their framework asks, and what it had recorded, into it; here it is compared and
shown.
"""

import difflib
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ringfence.dsl.plan import Json
from ringfence.engine.retrospect.playback.hidden import fits
from ringfence.engine.seams.escape import escaped, escaped_json

_WIDTH: Final = 160
_LINES_SHOWN: Final = 60
_MESSAGE_LINES: Final = 400
"""Lines of one message that are looked at for the diff; what is compared is all of it."""
_VALUE_SHOWN: Final = 2_000


@dataclass(frozen=True, slots=True)
class Asking:
    """What a model was asked."""

    messages: Sequence[Mapping[str, Json]]
    """Each with `from` (system, human, ai, tool, ...), `content`, and where there are such `name`, `calls`,
    `answers` (which call) and `status`."""
    tools: Sequence[Mapping[str, Json]] | None
    """Those offered: `name`, `description`, `parameters`; None: the record does not say."""
    parameters: Mapping[str, Json] = field(default_factory=dict)
    must_come: frozenset[str] = frozenset()
    """Parameters that only a request has: what is recorded under these names must come again."""


def differs(recorded: Asking, came: Asking) -> tuple[str, ...]:
    """Return what differs: `messages`, `tools`, `parameters`; of these, what did not come is the model's."""
    parts = []
    if not fits(list(recorded.messages), list(came.messages)):
        parts.append("messages")
    if recorded.tools is not None and not fits(_by_name(recorded.tools), _by_name(came.tools or ())):
        parts.append("tools")
    if any(True for _ in _parameters(recorded, came)):
        parts.append("parameters")
    return tuple(parts)


def in_common(recorded: Asking, came: Asking) -> int:
    """Return how many messages are the same, from the beginning."""
    count = 0
    for one, other in zip(recorded.messages, came.messages, strict=False):
        if not fits(one, other):
            break
        count += 1
    return count


def diff(recorded: Asking, came: Asking) -> str:
    """Return the differences as a unified diff for people: one line each, escaped, cut where it is long."""
    lines: list[str] = []
    for part in differs(recorded, came):
        if part == "messages":
            # What fits is shown as the record has it: what is hidden there is not shown from here.
            count = in_common(recorded, came)
            now = [*recorded.messages[:count], *came.messages[count:]]
            lines += _unified(part, _message_lines(recorded.messages), _message_lines(now))
        elif part == "tools":
            lines += _unified(part, _tool_lines(recorded.tools or ()), _tool_lines(came.tools or ()))
        else:
            said = sorted(_parameters(recorded, came))
            set_then = [f"{name}: {one}" for name, one, _ in said if one is not None]
            set_now = [f"{name}: {other}" for name, _, other in said if other is not None]
            lines += _unified(part, set_then, set_now)
    return bounded(lines)


def bounded(lines: Sequence[str]) -> str:
    """Return lines as one text, with how many are left out."""
    left = len(lines) - _LINES_SHOWN
    shown = [*lines[:_LINES_SHOWN], f"[cut: {left} more lines are not shown]"] if left > 0 else lines
    return "\n".join(shown)


def value_diff(recorded: Json, came: Json) -> str:
    """Return how two values differ, for people."""
    return bounded(_unified("", _value_lines(recorded), _value_lines(came)))


def _unified(part: str, recorded: Sequence[str], came: Sequence[str]) -> list[str]:
    name = f", {part}" if part else ""
    lines = difflib.unified_diff(recorded, came, f"recorded{name}", f"came{name}", n=2, lineterm="")
    return list(lines) or [f"they differ{name} where it is too long to be shown"]


def _by_name(tools: Sequence[Mapping[str, Json]]) -> list[Json]:
    return sorted((dict(tool) for tool in tools), key=lambda tool: str(tool.get("name")))


def _parameters(recorded: Asking, came: Asking) -> Iterator[tuple[str, str | None, str | None]]:
    then, now = recorded.parameters, came.parameters
    for name in sorted(now.keys() | (then.keys() & recorded.must_come)):
        if name not in then or name not in now or not fits(then[name], now[name]):
            yield (
                escaped(name),
                escaped_json(then[name], limit=_VALUE_SHOWN) if name in then else None,
                escaped_json(now[name], limit=_VALUE_SHOWN) if name in now else None,
            )


def _message_lines(messages: Sequence[Mapping[str, Json]]) -> list[str]:
    lines: list[str] = []
    for message in messages:
        who = escaped(str(message.get("from")))
        named = "".join(
            f" {word} {escaped(str(message[word]))}"
            for word in ("name", "answers", "status")
            if word in message
        )
        lines.append(f"{who}{named}:")
        lines += [f"  {line}" for line in _value_lines(message.get("content"))]
        for call in message.get("calls") or ():
            lines.append(f"  call {escaped_json(call, limit=_VALUE_SHOWN)}")
        rest = {
            name: value
            for name, value in message.items()
            if name not in ("from", "name", "answers", "status", "content", "calls")
        }
        lines += [
            f"  {escaped(name)}: {escaped_json(rest[name], limit=_VALUE_SHOWN)}" for name in sorted(rest)
        ]
    return lines


def _tool_lines(tools: Sequence[Mapping[str, Json]]) -> list[str]:
    lines: list[str] = []
    for tool in _by_name(tools):
        lines.append(f"tool {escaped(str(tool.get('name')))}:")
        lines += [f"  {line}" for line in _value_lines(tool.get("description"))]
        parameters = tool.get("parameters")
        shown = parameters.get("properties", parameters) if isinstance(parameters, dict) else parameters
        if isinstance(shown, dict):
            lines += [
                f"  {escaped(name)}: {escaped_json(shown[name], limit=_VALUE_SHOWN)}"
                for name in sorted(shown)
            ]
            others = {name: value for name, value in parameters.items() if name != "properties"}
            if shown is not parameters and others:
                lines.append(f"  {escaped_json(others, limit=_VALUE_SHOWN)}")
        elif shown is not None:
            lines.append(f"  {escaped_json(shown, limit=_VALUE_SHOWN)}")
    return lines


def _value_lines(value: Json) -> list[str]:
    """Return a value in lines: of a text its own, broken where they are long; of others their parts."""
    if isinstance(value, str):
        pieces: list[str] = []
        shown = value[: _WIDTH * _MESSAGE_LINES]
        for line in shown.split("\n"):
            pieces += textwrap.wrap(line, _WIDTH, drop_whitespace=False, break_on_hyphens=False) or [""]
        if len(shown) < len(value):
            pieces.append(f"[cut: {len(value) - len(shown)} of {len(value)} characters are not shown]")
        return [*map(escaped, pieces)]
    if isinstance(value, list) and value:
        return [f"- {escaped_json(part, limit=_VALUE_SHOWN)}" for part in value]
    if isinstance(value, dict) and value:
        return [
            f"{escaped(str(name))}: {escaped_json(value[name], limit=_VALUE_SHOWN)}" for name in sorted(value)
        ]
    return [escaped_json(value, limit=_VALUE_SHOWN)]
