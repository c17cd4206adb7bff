"""Output functions: code that runs with the model's arguments at the end of an agent's work.

No toolset is around them, so they are decided where the framework processes outputs: each as a tool of its
function's name.
"""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel, TypeAdapter
from pydantic_ai import RunContext
from pydantic_ai.exceptions import ModelRetry, ToolFailed
from pydantic_ai.output import OutputContext
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.toolsets.abstract import ToolsetTool

from ringfence.adapters.pydantic_ai.gate import Gate, arriving
from ringfence.adapters.pydantic_ai.toolsets import SCAFFOLD
from ringfence.engine.binding.values import json_of
from ringfence.engine.enforcement.catalogue import undeclared

TEXT: Final = "text"
"""The name of the argument of a function that takes the model's text."""
_WHOLE: Final = "output"
"""Where an output stands that is a model: its fields are the arguments."""

Partial = bool | Literal["off", "on", "trailing-strings"]
Handler = Callable[[Any], Awaitable[Any]]


async def process(
    gate: Gate, ctx: RunContext[Any], context: OutputContext, output: Any, handler: Handler
) -> Any:
    """Decide the call of an output function and, if it is allowed, run it.

    Raises:
        ModelRetry: It was refused.
        RunHaltedError: The run is over.
        EngineError: Ringfence could not do its work; nothing ran.
    """
    if not context.has_function:
        return await handler(output)
    if ctx.partial_output:
        # SECURITY: on what the model has not written to its end, nothing is run and nothing decided.
        raise ModelRetry("the output is not complete")
    name = context.function_name
    if name is None:
        text = await gate.refuse("output", {}, ctx, "an output function whose name is not known beforehand")
        raise ModelRetry(text)
    undeclared(gate.guard, [name], SCAFFOLD)
    values = _values(context, output)

    async def body(decided: dict[str, Any]) -> Any:
        return await handler(_output(output, decided))

    try:
        return await gate.call(name, values, ctx, _tool(name, output, values), body, wait=True)
    except ToolFailed as refused:
        raise ModelRetry(refused.message) from refused


async def arrived(gate: Gate, ctx: RunContext[Any], context: OutputContext, output: Any) -> None:
    """Refuse an output that was changed since it was decided; called by the last hook before the function."""
    if not context.has_function:
        return
    values = _values(context, output)
    if not arriving(gate, values, _tool(context.function_name or "output", output, values)):
        # SECURITY: another capability has exchanged the output behind the decision.
        why = "the output was changed after it was decided"
        shown = {name: json_of(value) for name, value in values.items()}
        raise ModelRetry(await gate.refuse(context.function_name or "output", shown, ctx, why))


def _values(context: OutputContext, output: Any) -> dict[str, Any]:
    """Return the output as the arguments of its function, by the names that the model sees."""
    if isinstance(output, BaseModel) or (dataclasses.is_dataclass(output) and not isinstance(output, type)):
        return {_WHOLE: output}
    schema = context.object_def.json_schema if context.object_def is not None else {}
    properties = schema.get("properties") or {}
    if isinstance(output, Mapping) and output.keys() <= properties.keys():
        return dict(output)
    return {next(iter(properties)) if len(properties) == 1 else TEXT: output}


def _output(was: Any, decided: dict[str, Any]) -> Any:
    """Return the values as the output that they were made of."""
    if decided.keys() == {_WHOLE}:
        return decided[_WHOLE]
    if isinstance(was, Mapping) and was.keys() == decided.keys():
        return decided
    (value,) = decided.values()
    return value


def _tool(name: str, output: Any, values: Mapping[str, Any]) -> ToolsetTool[Any]:
    return ToolsetTool(
        toolset=None,  # type: ignore[arg-type]  # nobody calls it there
        tool_def=ToolDefinition(
            name=name, parameters_json_schema={"properties": {key: {} for key in values}}, kind="output"
        ),
        max_retries=0,
        args_validator=_Refit(output, values),
    )


class _Refit:
    """Types canonical values as the output was typed."""

    is_typed = True

    def __init__(self, output: Any, values: Mapping[str, Any]) -> None:
        self._output = output
        self._values = values

    def validate_python(self, input: Any, *, allow_partial: Partial = False, **_: Any) -> Any:
        """Return the values as they would be handed over."""
        if self._values.keys() == {_WHOLE}:
            return {_WHOLE: TypeAdapter(type(self._output)).validate_python(input)}
        return {
            name: TypeAdapter(type(self._values[name])).validate_python(value)
            if name in self._values
            else value
            for name, value in input.items()
        }

    def validate_json(
        self, input: str | bytes | bytearray, *, allow_partial: Partial = False, **_: Any
    ) -> Any:
        """Nobody hands texts over here."""
        raise TypeError("an output is no text any more")
