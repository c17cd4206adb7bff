"""The principal and the prompt, from what the host passed in."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage

from ringfence.dsl.plan import Plan
from ringfence.engine.decision.calls import Principal


def principal_of(context: object, plan: Plan) -> Principal | None:
    """Return the principal that a graph's context says: it is one, has one, or is a mapping of its values.

    Of a mapping only `user`, `workspace` and what the policy declares are taken.
    """
    if context is None or isinstance(context, Principal):
        return context
    inside = context.get("principal") if isinstance(context, Mapping) else getattr(context, "principal", None)
    if inside is not None:
        return principal_of(inside, plan)
    if isinstance(context, Mapping):
        said = {name: context[name] for name in ("user", "workspace", *plan.principal) if name in context}
        return Principal(**said) if said else None
    return None


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
