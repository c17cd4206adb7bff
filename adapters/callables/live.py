"""Plain functions as a person who writes a policy wants to know them: their schema from their signature."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, get_type_hints

from pydantic import PydanticSchemaGenerationError, PydanticUserError, TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema

from ringfence.adapters.callables.binding import Binding
from ringfence.dsl.live import LiveTool
from ringfence.dsl.plan import Json


def live_tools(found: Any) -> list[LiveTool]:
    """Return the tools of a function, or of a list of functions.

    Raises:
        TypeError: Something among them is no function that can be guarded.
    """
    return [_live(one) for one in (found if isinstance(found, Iterable) else [found])]


def _live(function: Any) -> LiveTool:
    if not callable(function) or isinstance(function, type):
        raise TypeError("it holds something that is no function")
    binding = Binding(function)
    return LiveTool(binding.tool, schema_of(binding), inspect.getdoc(binding.function) or "", own=True)


def schema_of(binding: Binding) -> dict[str, Json]:
    """Return the JSON Schema of a function's parameters; one without a type lets everything through."""
    hints = _hints(binding.code)
    properties: dict[str, Json] = {}
    definitions: dict[str, Json] = {}
    required: list[str] = []
    is_open = False
    for one in binding.parameters:
        if one.kind is inspect.Parameter.VAR_KEYWORD:
            is_open = True
            continue
        schema = _schema(hints.get(one.name, Any), one.name)
        # Two parameters may each have a type of one name.
        definitions |= {f"{one.name}.{key}": value for key, value in schema.pop("$defs", {}).items()}
        properties[one.name] = schema
        if one.default is inspect.Parameter.empty:
            required.append(one.name)
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": is_open,
        "$defs": definitions,
    }


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except (NameError, TypeError, AttributeError):  # nothing is known of the types, so nothing is said
        return {}


def _schema(hint: Any, name: str) -> dict[str, Json]:
    try:
        return TypeAdapter(hint).json_schema(ref_template=f"#/$defs/{name}.{{model}}")
    except (PydanticSchemaGenerationError, PydanticInvalidForJsonSchema, PydanticUserError):
        return {}  # a type that JSON does not have
