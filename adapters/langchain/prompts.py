"""Where the messages of a graph come from: typed by the user, said before, or brought along by the host.

A role is no origin: a human message may have been written by anybody.  What the user typed is what the host
says so (`typed=`); what an earlier run of the session recorded is known; all else came along without its
origin.  Only policies that ask for labels or sources are strict about it.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from langchain_core.messages import AnyMessage

from ringfence.adapters.langchain.principals import new_prompts
from ringfence.adapters.langchain.values import json_of
from ringfence.dsl.canonical import canonical
from ringfence.dsl.plan import Json, Plan
from ringfence.engine.decision.events import ModelAnswered, ModelAsked, PromptGiven
from ringfence.engine.enforcement.current import current_call
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.journal.jsonable import jsonable

Typed = Literal["human"] | Callable[[Sequence[AnyMessage]], Iterable[str]] | None
"""What of the messages the user typed: `human`, the human messages at the end; a function that returns the
texts; None: nothing that the host vouches for."""

_MOST_SESSIONS = 1_000


def strict(plan: Plan) -> bool:
    """Say whether some clause of the plan asks for labels or for where values come from."""
    return bool(plan.levels) or (plan.traces and any(tool.remembers for tool in plan.tools.values()))


def typed_texts(typed: Typed, messages: Sequence[AnyMessage]) -> tuple[str, ...]:
    """Return the texts that the host says the user typed."""
    if typed is None:
        return ()
    if callable(typed):
        return tuple(str(text) for text in typed(messages))
    if typed != "human":
        raise ValueError("`typed` is `human`, or a function of the messages")
    return new_prompts(messages)


@dataclass(slots=True)
class _Known:
    """What one session has recorded."""

    said: set[bytes] = field(default_factory=set)
    read: dict[str, int] = field(default_factory=dict)
    """Runs that were read, and how many events they had."""


class Origins:
    """Says of the messages at the beginning of a run where they come from, and records it."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._lock = threading.Lock()
        self._sessions: OrderedDict[str, _Known] = OrderedDict()

    def record(self, run: Run, typed: Sequence[str], messages: Sequence[AnyMessage]) -> None:
        """Record what the user typed, and what the host brought along without its origin."""
        written = _written_around(run)
        for text in typed:
            # SECURITY: a sub-agent's prompt was written by a model or by the host, never by the user.
            source = "user" if run.parent is None else "model" if text in written else "host"
            self._guard.record(run, PromptGiven(source, jsonable(text, hide=run.hide)))
        known = self._said_in(run)
        for message in messages:
            for tool, part in _parts(message):
                if part in typed or _key(part) in known or _key(run.shown(part, tool=tool)) in known:
                    continue
                source = "model" if isinstance(part, str) and part in written else "host"
                self._guard.record(run, PromptGiven(source, jsonable(part, hide=run.hide)))

    def _said_in(self, run: Run) -> set[bytes]:
        """Return everything that the session's runs have recorded, read once each."""
        responses = run.plan.responses
        own = {
            _key(text) for text in (responses.unknown, responses.deny, responses.failure, "withdrawn") if text
        }
        with self._lock:
            known = self._sessions.setdefault(run.session, _Known())
            self._sessions.move_to_end(run.session)
            if len(self._sessions) > _MOST_SESSIONS:
                self._sessions.popitem(last=False)
            for row in self._guard.runs.list(session=run.session):
                if row.run != run.id and known.read.get(row.run) != row.events:
                    known.read[row.run] = row.events
                    for stamped in self._guard.runs.get(row.run).events:
                        known.said.update(map(_key, _contents(stamped.event)))
            return known.said | own


def _parts(message: AnyMessage) -> Iterator[tuple[str | None, Json]]:
    """Yield what a message shows a model: text, other blocks, and the arguments of calls with their tool."""
    yield from ((None, part) for part in _shown(str(message.text), json_of(message.content)))
    for calls in (getattr(message, "tool_calls", ()), getattr(message, "invalid_tool_calls", ())):
        yield from _arguments(json_of(list(calls)))


def _shown(text: str, content: Json) -> Iterator[Json]:
    if text:
        yield text
    if isinstance(content, list):
        yield from (part for part in content if not _is_text(part))


def _arguments(calls: Json) -> Iterator[tuple[str | None, Json]]:
    for call in calls if isinstance(calls, list) else ():
        if isinstance(call, Mapping) and call.get("args"):
            tool = call.get("name")
            yield tool if isinstance(tool, str) else None, call["args"]


def _is_text(part: Json) -> bool:
    """Say whether a block is a text and nothing else."""
    if not isinstance(part, Mapping):
        return isinstance(part, str)
    return part.get("type") == "text" and part.keys() <= {"type", "text", "id", "index"}


def _text(block: Json) -> str:
    """Return what a block adds to the text of its message."""
    if isinstance(block, Mapping) and block.get("type") == "text":
        block = block.get("text")
    return block if isinstance(block, str) else ""


def _contents(event: object) -> Iterator[Json]:
    """Yield the parts of the messages that an event holds."""
    if isinstance(event, PromptGiven):
        yield event.text
    elif isinstance(event, ModelAsked | ModelAnswered):
        for message in event.messages or ():
            yield from _recorded(message)


def _recorded(message: Json) -> Iterator[Json]:
    """Yield the parts of a message as it was recorded: `message_to_dict`, or a bare text."""
    inner = message.get("data", message) if isinstance(message, Mapping) else message
    if not isinstance(inner, Mapping):
        yield inner
        return
    content = inner.get("content")
    blocks = content if isinstance(content, list) else [content]
    yield from _shown("".join(map(_text, blocks)), content)
    for calls in (inner.get("tool_calls"), inner.get("invalid_tool_calls")):
        yield from (arguments for _, arguments in _arguments(calls))


def _key(content: Json) -> bytes:
    try:
        return canonical(content)
    except (ValueError, TypeError, RecursionError):
        return repr(content).encode("utf-8", "backslashreplace")  # fails closed: it equals nothing recorded


def _written_around(run: Run) -> frozenset[str]:
    """Return the texts of the call in whose body this run begins: the model around it wrote them."""
    inside = current_call()
    if run.parent is None or inside is None or inside[0] is not run.parent:
        return frozenset()
    known = run.parent.state.calls.get(inside[1])
    return frozenset(_texts(known.arguments if known is not None else None))


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)
