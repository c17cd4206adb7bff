"""What stands in a history: its JSON, its open calls, and which call one of them is."""

from collections.abc import Sequence
from typing import Any, Final

from pydantic_ai import RunContext
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    RetryPromptPart,
    TextContent,
    ToolCallPart,
    ToolReturnPart,
    UserContent,
)

from ringfence.dsl.plan import Json
from ringfence.engine.binding.values import json_of

INSTRUCTIONS: Final = ("system-prompt", "instruction-delta")
"""Kinds of parts with words of the developer's, or of a toolset that speaks in his place."""

_WITHOUT_USAGE: Final[Any] = {"__all__": {"usage"}}


def dumped(messages: Sequence[ModelMessage]) -> list[Json]:
    """Return messages as JSON, without what says nothing, and without usage, which the answer's event has."""
    said = ModelMessagesTypeAdapter.dump_python(
        list(messages), mode="json", warnings=False, exclude=_WITHOUT_USAGE
    )
    return [_telling(message) for message in said] if isinstance(said, list) else []


def _telling(message: dict[str, Any]) -> Json:
    telling = {name: value for name, value in message.items() if value is not None}
    telling["parts"] = [
        {name: value for name, value in part.items() if value is not None} for part in message["parts"]
    ]
    return telling


def instructions_in(messages: Sequence[ModelMessage]) -> frozenset[str]:
    """Return what stands in messages as instructions."""
    requests = [one for one in messages if isinstance(one, ModelRequest)]
    parts = (part for one in requests for part in one.parts if part.part_kind in INSTRUCTIONS)
    return frozenset(part.content for part in parts if isinstance(part.content, str))


def open_calls(messages: Sequence[ModelMessage]) -> set[str]:
    """Return the ids of the last response's calls that have no answer."""
    answered: set[str] = set()
    for message in reversed(messages):
        if isinstance(message, ModelResponse):
            return {call.tool_call_id for call in message.tool_calls} - answered
        answered |= _answers_in(message)
    return set()


def _answers_in(message: ModelRequest) -> set[str]:
    """Return the ids of the calls that a request answers."""
    return {
        part.tool_call_id
        for part in message.parts
        if isinstance(part, ToolReturnPart | RetryPromptPart) and part.tool_call_id
    }


def task_of(ctx: RunContext[Any]) -> str | None:
    """Return what is the same whenever this very call comes again, after a resume in another process too.

    The id alone is not: models use one again.  None: no response has the call (code made it).
    """
    for at in range(len(ctx.messages) - 1, -1, -1):
        one = ctx.messages[at]
        if isinstance(one, ModelResponse) and any(
            isinstance(part, ToolCallPart) and part.tool_call_id == ctx.tool_call_id for part in one.parts
        ):
            before = sum(map(_calls, ctx.messages[:at]))
            return f"{one.run_id or ''}/{before}/{ctx.tool_call_id}"
    return None


def _calls(message: ModelMessage) -> bool:
    return isinstance(message, ModelResponse) and any(
        isinstance(part, ToolCallPart) for part in message.parts
    )


def texts(prompt: str | Sequence[UserContent] | None) -> tuple[str, ...]:
    """Return the texts of a prompt."""
    return tuple(part for part in parts(prompt) if isinstance(part, str))


def parts(prompt: str | Sequence[UserContent] | None) -> list[Json]:
    """Return the parts of a prompt: texts, and JSON of the others."""
    if prompt is None:
        return []
    if isinstance(prompt, str):
        return [prompt]
    # A text with metadata of the host's own is a text.
    return [part.content if isinstance(part, TextContent) else json_of(part) for part in prompt]
