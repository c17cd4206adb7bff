"""JSON for everything that passes in the SDK."""

from typing import Any

from openai import BaseModel

from ringfence.adapter import Json
from ringfence.engine.binding import values


def json_of(value: object, *, whole: bool = False) -> Json:
    """Like `values.json_of`; an item of a conversation is what the provider said of it."""
    return values.json_of(value, own=_item, whole=whole)


def _item(value: Any) -> Any:
    if not isinstance(value, BaseModel):
        return value
    said = value.model_dump(mode="json", exclude_unset=True, warnings=False, fallback=repr)
    # A default that says what kind of thing it is was not set, and is what a reader looks for.
    kind = getattr(value, "type", None)
    return {"type": kind, **said} if isinstance(kind, str) else said
