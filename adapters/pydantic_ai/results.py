"""Where the JSON value sits in what a tool returns, so that limits cut the right part."""

from dataclasses import replace
from typing import Any, Final

from pydantic_ai.messages import ToolReturn

from ringfence.dsl.plan import Json
from ringfence.engine.binding.values import json_of
from ringfence.engine.enforcement.tool_results import ResultLens


def lens_for(*, is_limited: bool) -> ResultLens:
    """Return the lens for a tool.

    Args:
        is_limited: The policy limits its results; then they have no `content` beside the value.
    """
    return _LIMITED if is_limited else _WHOLE


def _get(result: Any) -> Json:
    if not isinstance(result, ToolReturn):
        return json_of(result, whole=True)
    if result.content is None:
        return json_of(result.return_value, whole=True)
    # The model reads both.
    return {
        "return_value": json_of(result.return_value, whole=True),
        "content": json_of(result.content, whole=True),
    }


def _get_limited(result: Any) -> Json:
    if isinstance(result, ToolReturn) and result.content is not None:
        # SECURITY: only the value is cut; the model would read the content whole.
        raise ValueError("a tool return with content cannot be cut")
    return _get(result)


def _set(result: Any, value: Json) -> Any:
    return replace(result, return_value=value) if isinstance(result, ToolReturn) else value


_WHOLE: Final = ResultLens(get=_get, set=_set)
_LIMITED: Final = ResultLens(get=_get_limited, set=_set)
