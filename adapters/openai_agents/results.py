"""Where the JSON value sits in what a tool returns, so that limits cut the right part."""

from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, Final

from agents import ToolOutputText
from pydantic import BaseModel

from ringfence.adapter import Json, ResultLens
from ringfence.adapters.openai_agents.values import json_of

_SAYS: Final = (bool, int, float, str, Mapping, BaseModel)
"""Of these kinds is what says something as JSON."""


def _get(result: Any) -> Json:
    if isinstance(result, ToolOutputText):
        return result.text
    if isinstance(result, list | tuple):
        return [_get(part) for part in result]
    if result is None or isinstance(result, _SAYS) or is_dataclass(result):
        return json_of(result, whole=True)
    return str(result)  # as the SDK tells it to the model


def _set(result: Any, value: Json) -> Any:
    if isinstance(result, ToolOutputText) and isinstance(value, str):
        return result.model_copy(update={"text": value})
    if isinstance(result, list) and isinstance(value, list) and len(result) == len(value):
        return [_set(part, cut) for part, cut in zip(result, value, strict=True)]
    return result if _get(result) == value else value


LENS = ResultLens(get=_get, set=_set, make=lambda value: value)
"""A text part is its text; what is cut elsewhere becomes the JSON value that is left."""
