"""Guarded copies of tools: what the SDK calls in the place of the original is a gate."""

import copy
import inspect
from typing import Any, Final

from agents import FunctionTool
from agents.tool import set_function_tool_failure_error_function
from agents.tool_context import ToolContext

from ringfence.adapter import Guard, Json, jsonable
from ringfence.adapters.openai_agents.arguments import Parameters
from ringfence.adapters.openai_agents.gates import Gate

_GATE: Final = "ringfence_gate"


async def _shown(context: Any, text: Any) -> Any:
    """Have the parameters of what the SDK calls."""


_SIGNATURE: Final = inspect.signature(_shown)


def guarded_tool(guard: Guard, tool: FunctionTool, body: FunctionTool | None = None) -> FunctionTool:
    """Return the guarded copy of a tool; a copy of this guard is returned as it is.

    Args:
        body: What is run in its place, of an agent that is a tool.
    """
    known = gate_of(tool)
    if known is not None and known.guard is guard:
        return tool
    strict = bool(tool.strict_json_schema)
    gate = Gate(
        guard,
        name_of(tool),
        tool,
        _failing(tool if body is None else body),
        Parameters.of(tool.params_json_schema, strict=strict),
        jsonable(shown(tool)),
        is_agent=body is not None,
    )
    guarded = copy.copy(tool)

    async def on_invoke_tool(context: ToolContext[Any], text: str) -> Any:
        return await gate.invoke(context, text)

    # The SDK looks at both before each call; found ready they cost nothing, and say nothing else.
    on_invoke_tool.__signature__ = _SIGNATURE  # type: ignore[attr-defined]
    on_invoke_tool.__annotations__ = {}
    guarded.on_invoke_tool = on_invoke_tool
    guarded.timeout_seconds = None  # it bounds the function, not the people who are asked before it
    plan = guard.plan.by_bound_name.get(gate.name)
    if (plan is not None and plan.asks) or tool.needs_approval is not False:
        guarded.needs_approval = gate.asks
    guarded.__dict__[_GATE] = (gate, on_invoke_tool)
    return guarded


def gate_of(tool: Any) -> Gate | None:
    """Return the gate of a guarded copy that still stands before it; None of anything else."""
    known = getattr(tool, "__dict__", {}).get(_GATE)
    if known is None or tool.on_invoke_tool is not known[1] or name_of(tool) != known[0].name:
        return None
    gate: Gate = known[0]
    return gate


def shown(tool: FunctionTool) -> Json:
    """Return what a model is shown of a tool."""
    return {"name": tool.name, "description": tool.description, "parameters": tool.params_json_schema}


def name_of(tool: FunctionTool) -> str:
    """Return the name by which a policy knows a tool."""
    return str(getattr(tool, "qualified_name", tool.name))


def _failing(tool: FunctionTool) -> FunctionTool:
    """Return a copy whose failures are raised, so that the guard records them as such."""
    failing = copy.copy(tool)
    bind = getattr(failing.on_invoke_tool, "__agents_bind_function_tool__", None)
    if bind is not None:
        failing.on_invoke_tool = bind(failing)
    return set_function_tool_failure_error_function(failing, None)
