"""Where the JSON value sits in what a tool returns, so that limits cut the right part."""

from collections.abc import Mapping
from typing import Any

from agents import ToolOutputText

from ringfence.adapter import Json, ResultLens
from ringfence.adapters.openai_agents.values import json_of


def _get(result: Any) -> Json:
    if isinstance(result, ToolOutputText):
        return result.text
    if isinstance(result, list | tuple):
        return [_get(part) for part in result]
    said = json_of(result)
    if isinstance(said, Mapping | list) or said is None or isinstance(said, bool | int | float | str):
        return said
    return str(result)  # as the SDK tells it to the model


def _set(result: Any, value: Json) -> Any:
    if isinstance(result, ToolOutputText) and isinstance(value, str):
        return result.model_copy(update={"text": value})
    if isinstance(result, list) and isinstance(value, list) and len(result) == len(value):
        return [_set(part, cut) for part, cut in zip(result, value, strict=True)]
    return result if _get(result) == value else value


LENS = ResultLens(get=_get, set=_set, make=lambda value: value)
"""A text part is its text; what is cut elsewhere becomes the JSON value that is left."""
