"""A tool's arguments: what its function would receive, as JSON, and back.

Decided is what the framework's validation made of the model's words: aliases resolved, values coerced,
defaults filled in.  The function receives what was decided.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_ai.toolsets.abstract import ToolsetTool
from pydantic_ai.toolsets.function import FunctionToolsetTool

from ringfence.dsl.canonical import same
from ringfence.dsl.plan import Json
from ringfence.engine.binding.values import json_of

_ANYTHING: Final = "any"
"""What the validator of a function is called whose schema was handed in, with no types to hold it."""


class ArgumentsError(ValueError):
    """What was decided cannot be handed to the function unchanged; nothing runs."""


class Arguments:
    """The validated arguments of one call.

    Args:
        tool: The tool, as the framework hands it over with the call.
        values: The validated arguments, by the names of the function's parameters.
    """

    __slots__ = ("_envelope", "_tool", "names", "seen", "values")

    def __init__(self, tool: ToolsetTool[Any], values: Mapping[str, Any]) -> None:
        self._tool = tool
        self.values = settled(values)
        properties = _properties(tool)
        self._envelope = _envelope(self.values, properties)
        self.seen = _shown(self.values, self._envelope)
        """What is decided, by the names that the tool's schema shows to the model."""
        # A validator that takes anything says nothing of what the body knows: then the schema alone does.
        self.names: frozenset[str] = properties | self.seen.keys() if _is_typed(tool) else properties
        """The names of parameters that the tool has."""

    def fitting(self, decided: dict[str, Json]) -> dict[str, Any]:
        """Return the values for the function: the decided ones, as the tool's validator types them.

        Raises:
            ArgumentsError: The values were changed since they were looked at, or the validator makes others
                of the decided ones.
        """
        if same(self.seen, decided):
            # SECURITY: other code may hold what is in them, and people may have taken their time.
            if not same(_shown(self.values, self._envelope), decided):
                raise ArgumentsError("the arguments were changed after they were decided")
            return self.values
        try:
            typed = self._tool.args_validator.validate_python(decided)
        except ValidationError as error:
            raise ArgumentsError("the tool's schema refuses the values that were decided") from error
        if not isinstance(typed, dict) or not same(_shown(typed, self._envelope), decided):
            raise ArgumentsError("the tool's schema changes the values that were decided")
        return typed


def seen(tool: ToolsetTool[Any], values: Mapping[str, Any]) -> dict[str, Json]:
    """Return arguments by the names that the tool's schema shows to the model."""
    return _shown(values, _envelope(values, _properties(tool)))


def _properties(tool: ToolsetTool[Any]) -> frozenset[str]:
    shown = tool.tool_def.parameters_json_schema.get("properties")
    return frozenset(shown) if isinstance(shown, Mapping) else frozenset()


def _shown(values: Mapping[str, Any], envelope: str | None) -> dict[str, Json]:
    if envelope is not None and values.keys() == {envelope}:
        inner = json_of(values[envelope])
        if isinstance(inner, dict):
            return inner
    return {name: json_of(value) for name, value in values.items()}


def settled(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with lists for what can be read only once: the guard reads it first."""
    return {name: list(v) if isinstance(v, Iterator) else v for name, v in values.items()}


def _is_typed(tool: ToolsetTool[Any]) -> bool:
    """Say whether validation lets no name through that the body does not take."""
    inner: Any = tool
    while (source := getattr(inner, "source_tool", None)) is not None:
        inner = source
    if isinstance(inner, FunctionToolsetTool):
        return getattr(inner.args_validator, "title", _ANYTHING) != _ANYTHING
    return getattr(tool.args_validator, "is_typed", False)


def _envelope(values: Mapping[str, Any], properties: frozenset[str]) -> str | None:
    """Return the name of a lone parameter whose fields are what the schema shows, or None.

    Of a function with one parameter that is a model, the framework shows the model's own fields.
    """
    if len(values) != 1:
        return None
    ((name, value),) = values.items()
    if isinstance(value, BaseModel):
        return name
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return name
    return name if isinstance(value, Mapping) and name not in properties else None
