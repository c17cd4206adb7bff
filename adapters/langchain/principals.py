"""The prompt and what is open, from the messages that the host passed in."""

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage


def new_prompts(messages: Sequence[AnyMessage]) -> tuple[str, ...]:
    """Return the texts that the host has added as typed by the user: the human messages at the end."""
    texts: list[str] = []
    for message in reversed(messages):
        if isinstance(message, AIMessage | ToolMessage):
            break
        if isinstance(message, HumanMessage):
            texts.append(str(message.text))
    return tuple(reversed(texts))


def dangling(messages: Sequence[AnyMessage]) -> list[dict[str, Any]]:
    """Return the tool calls without an answer: those of a turn that was put away and never taken up."""
    answered = {message.tool_call_id for message in messages if isinstance(message, ToolMessage)}
    return [
        dict(call)
        for message in messages
        if isinstance(message, AIMessage)
        for call in message.tool_calls
        if call["id"] not in answered
    ]
