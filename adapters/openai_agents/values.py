"""JSON of what the SDK passes: items of a conversation, results of tools."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from ringfence.adapter import Json

_DEEPEST = 64


def json_of(value: Any, _depth: int = 0) -> Json:
    """Return `value` as JSON where it says something as such; all else stays what it is.

    What the log cannot say is described by the engine, and what a policy would decide on it refuses.
    """
    if value is None or isinstance(value, bool | int | float | str) or _depth >= _DEEPEST:
        return value
    deeper = _depth + 1
    if isinstance(value, BaseModel):
        said = value.model_dump(mode="json", exclude_unset=True, warnings=False, fallback=repr)
        # A default that says what kind of thing it is was not set, and is what a reader looks for.
        kind = getattr(value, "type", None)
        return {"type": kind, **said} if isinstance(kind, str) else said
    if isinstance(value, Mapping):
        return {str(name): json_of(part, deeper) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [json_of(part, deeper) for part in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: json_of(getattr(value, field.name), deeper) for field in dataclasses.fields(value)
        }
    return value
