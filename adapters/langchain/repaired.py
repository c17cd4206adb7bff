"""The messages of a thread whose last run was left open: calls get answers, and errors are taken back."""

from collections.abc import Collection, Sequence

from langchain_core.messages import AIMessage, AnyMessage, ToolMessage

from ringfence.adapters.langchain.replies import error_message, with_id


def repaired(
    messages: Sequence[AnyMessage],
    text: str,
    *,
    unanswered: Collection[str | None],
    caught: Collection[str | None],
) -> list[AnyMessage]:
    """Return the messages as the next model may read them.

    Args:
        text: What the model is told.
        unanswered: The calls that will never run.
        caught: The calls that ended in an error for the host, and None if a request to the model did: what
            others have made of it is taken back.
    """
    answers = [message for message in messages if isinstance(message, AIMessage)]
    found: list[AnyMessage] = []
    for message in messages:
        if isinstance(message, ToolMessage) and message.tool_call_id in caught:
            message = message.model_copy(update={"content": text, "status": "error"})
        elif None in caught and message is answers[-1]:
            message = message.model_copy(update={"content": text})
        found.append(message)
        for call in message.tool_calls if isinstance(message, AIMessage) else ():
            if call["id"] in unanswered:
                found.append(error_message(text, name=call["name"], call_id=with_id(call, None)["id"]))
    return found
