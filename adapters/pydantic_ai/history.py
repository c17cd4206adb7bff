"""What stands in a history: its JSON, its open calls, and which call one of them is."""

from collections.abc import Sequence
from typing import Any

from pydantic_ai import RunContext
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    RetryPromptPart,
    TextContent,
    ToolReturnPart,
    UserContent,
)

from ringfence.dsl.plan import Json
from ringfence.engine.binding.values import json_of


def dumped(messages: Sequence[ModelMessage]) -> list[Json]:
    """Return messages as JSON."""
    said = ModelMessagesTypeAdapter.dump_python(list(messages), mode="json", warnings=False)
    return said if isinstance(said, list) else []


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
    calling = [one for one in ctx.messages if isinstance(one, ModelResponse) and one.tool_calls]
    for at in range(len(calling) - 1, -1, -1):
        if any(call.tool_call_id == ctx.tool_call_id for call in calling[at].tool_calls):
            return f"{calling[at].run_id or ''}/{at}/{ctx.tool_call_id}"
    return None


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
