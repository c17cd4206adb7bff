"""What the messages of a graph say, part by part, and which of it the user typed."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal

from langchain_core.messages import AnyMessage

from ringfence.adapters.langchain.principals import new_prompts
from ringfence.adapters.langchain.values import json_of
from ringfence.dsl.plan import Json
from ringfence.engine.decision.events import ModelAnswered, ModelAsked, PromptGiven

Typed = Literal["human"] | Callable[[Sequence[AnyMessage]], Iterable[str]] | None
"""What of the messages the user typed: `human`, the human messages at the end; a function that returns the
texts; None: nothing that the host vouches for."""


def typed_texts(typed: Typed, messages: Sequence[AnyMessage]) -> tuple[str, ...]:
    """Return the texts that the host says the user typed."""
    if typed is None:
        return ()
    if callable(typed):
        return tuple(str(text) for text in typed(messages))
    if typed != "human":
        raise ValueError("`typed` is `human`, or a function of the messages")
    return new_prompts(messages)


def parts_of(messages: Sequence[AnyMessage]) -> Iterator[tuple[str | None, Json]]:
    """Yield what messages show a model: texts, other blocks, and the arguments of calls with their tool."""
    for message in messages:
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


def contents_of(event: object) -> Iterator[Json]:
    """Yield the parts of the messages that a recorded event holds."""
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
