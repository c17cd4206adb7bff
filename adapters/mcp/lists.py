"""The value of a list: its entries as records; cut, it loses whole entries at its end."""

from typing import Any

from ringfence.dsl.plan import Json
from ringfence.engine.enforcement.tool_results import ResultLens


def lens_of_list(kind: type[Any]) -> ResultLens:
    """Return the lens for lists of such entries."""

    def get(entries: list[Any]) -> Json:
        return [one.model_dump(mode="json", by_alias=True, exclude_none=True) for one in entries]

    def put(entries: list[Any], value: Json) -> list[Any]:
        if not isinstance(value, list):
            raise ValueError("a list cannot be padded")
        return entries[: len(value)]

    def make(value: Json) -> list[Any]:
        return [kind.model_validate(one) for one in value] if isinstance(value, list) else []

    return ResultLens(get=get, set=put, make=make)
