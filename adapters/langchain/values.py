"""JSON for everything that passes in LangChain."""

from typing import Any

from langchain_core.messages import BaseMessage, message_to_dict

from ringfence.dsl.plan import Json
from ringfence.engine.binding import values
from ringfence.engine.binding.values import Hide


def json_of(value: object, *, hide: Hide | None = None, whole: bool = False) -> Json:
    """Like `values.json_of`; a message is what LangChain would store of it."""
    return values.json_of(value, own=stored, hide=hide, whole=whole)


def stored(value: Any) -> Any:
    """Return what LangChain would store of a message; any other value as it is."""
    return message_to_dict(value) if isinstance(value, BaseMessage) else value
