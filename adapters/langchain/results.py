"""Where the JSON value sits in what a tool's function returns, so that limits cut the right part."""

from copy import copy
from typing import Any

from langchain_core.messages import ToolMessage

from ringfence.adapters.langchain.values import json_of
from ringfence.dsl.plan import Json
from ringfence.engine.enforcement.tool_results import ResultLens


def lens_for(*, with_artifact: bool, is_limited: bool = False) -> ResultLens:
    """Return the lens for a tool.

    Args:
        with_artifact: Its function returns (content, artifact).
        is_limited: The policy limits its results; then they are one message at most.
    """

    def get(result: Any) -> Json:
        if is_limited and _says_more(result):
            # SECURITY: only one message is cut; the model would read the others whole.
            raise ValueError("a command with several messages cannot be cut")
        return json_of(_content(result[0] if _is_pair(result) else result), whole=True)

    def put(result: Any, value: Json) -> Any:
        if _is_pair(result):
            return (_replaced(result[0], value), result[1])
        return _replaced(result, value)

    def make(value: Json) -> Any:
        return (value, None) if with_artifact else value

    def _is_pair(result: Any) -> bool:
        return with_artifact and isinstance(result, tuple) and len(result) == 2

    return ResultLens(get=get, set=put, make=make)


def _content(result: Any) -> Any:
    if isinstance(result, ToolMessage):
        return result.content
    message = _message_of(result)
    return result if message is None else message.content


def _replaced(result: Any, value: Json) -> Any:
    """Return a result like `result` whose content is `value`; as it is where nothing was cut."""
    if json_of(_content(result), whole=True) == value:
        return result
    if isinstance(result, ToolMessage):
        return result.model_copy(update={"content": value if isinstance(value, str | list) else str(value)})
    message = _message_of(result)
    if message is None:
        return value
    command = copy(result)
    shown = _replaced(message, value)
    messages = [shown if one is message else one for one in result.update["messages"]]
    object.__setattr__(command, "update", {**result.update, "messages": messages})
    return command


def _says_more(result: Any) -> bool:
    update = getattr(result, "update", None)
    messages = update.get("messages") if isinstance(update, dict) else None
    return isinstance(messages, list) and len(messages) > 1


def _message_of(result: Any) -> ToolMessage | None:
    """Return the tool message inside a LangGraph command, or None where there is none."""
    update = getattr(result, "update", None)
    messages = update.get("messages") if isinstance(update, dict) else None
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, ToolMessage):
            return message
    return None
