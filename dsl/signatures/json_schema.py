"""From `takes` to JSON Schema (draft 2020-12): never stricter than the policy, which decides."""

from typing import Any

from ringfence.dsl.plan import Parameter, ToolPlan
from ringfence.dsl.signatures.shapes import shape_of
from ringfence.dsl.signatures.words import remark
from ringfence.dsl.types import Type

_KINDS: dict[str, dict[str, Any]] = {
    "text": {"type": "string"},
    "line": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "email": {"type": "string", "format": "email"},
    "url": {"type": "string", "format": "uri"},
    "date": {"type": "string", "format": "date"},
    "record": {"type": "object"},
}


def json_schema(tool: ToolPlan) -> dict[str, Any]:
    """Return the schema of a tool's arguments; one without `takes` has none.

    What code a model writes is described by the tool's own description (`description_of`).
    """
    parameters = tool.parameters or {}
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: _property(one) for name, one in parameters.items()},
        "additionalProperties": False,
    }
    if required := [name for name, one in parameters.items() if not one.optional]:
        schema["required"] = required
    return schema


def _property(parameter: Parameter) -> dict[str, Any]:
    shape = shape_of(parameter)
    said = remark(shape)
    return {**_value(shape), "description": said} if said else _value(shape)


def _value(shape: Type) -> dict[str, Any]:
    one = dict(_KINDS[shape.kind])
    if shape.is_list:
        bounded = {} if shape.at_most is None else {"maxItems": shape.at_most}
        return {"type": "array", "items": one, **bounded}
    if shape.at_most is not None:
        one["maxLength"] = shape.at_most  # of bytes too: no text has more characters than bytes
    return one
