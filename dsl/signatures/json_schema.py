"""From `takes` to JSON Schema (draft 2020-12): it tells, and the policy decides.

No stricter than the policy, but that it does not offer `null` for what may be left out.
"""

from dataclasses import replace
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
    """Return the schema of a tool's arguments; one without `takes` has none."""
    parameters = tool.parameters or {}
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: _property(tool, one) for name, one in parameters.items()},
        "additionalProperties": False,
    }
    if required := [name for name, one in parameters.items() if not one.optional]:
        schema["required"] = required
    return schema


def _property(tool: ToolPlan, parameter: Parameter) -> dict[str, Any]:
    shape = shape_of(parameter)
    told = remark(shape if shape.kind != "integer" else replace(shape, kind="number"))
    if tool.isolated is not None and tool.isolated.param == parameter.name:
        told = f"JavaScript, the body of an async function{f'; {told}' if told else ''}"
    return {**_value(shape), "description": told} if told else _value(shape)


def _value(shape: Type) -> dict[str, Any]:
    one = dict(_KINDS[shape.kind])
    if shape.is_list:
        bounded = {} if shape.at_most is None else {"maxItems": shape.at_most}
        return {"type": "array", "items": one, **bounded}
    if (
        shape.at_most is not None and shape.kind != "url"
    ):  # a URL is measured once its needless escapes are gone
        one["maxLength"] = shape.at_most  # of bytes too: no text has more characters than bytes
    return one
