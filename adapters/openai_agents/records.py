"""What the record has of a model call: what was offered, how, and what it cost."""

from typing import Any, Final

from agents import FunctionTool

from ringfence.adapter import Json, Run, jsonable
from ringfence.adapters.openai_agents.handoffs import passage_of
from ringfence.adapters.openai_agents.tools import gate_of, shown
from ringfence.adapters.openai_agents.values import json_of

_PARAMETERS: Final = (
    "temperature",
    "top_p",
    "max_tokens",
    "tool_choice",
    "parallel_tool_calls",
    "truncation",
    "store",
)
"""Of a request's settings, those that are recorded: others may hold what opens a service."""


def offered(tool: Any, run: Run) -> Json:
    """Return what a model is offered of a tool or a handoff."""
    gate = gate_of(tool)
    if gate is not None and run.hiding is None:
        return gate.shown
    return jsonable(_described(tool), hide=run.hide)


def _described(tool: Any) -> Json:
    if isinstance(tool, FunctionTool):
        return shown(tool)
    if passage_of(tool) is not None:
        return {
            "name": tool.tool_name,
            "description": tool.tool_description,
            "parameters": tool.input_json_schema,
        }
    return {"type": str(getattr(tool, "type", type(tool).__name__)), "name": str(tool.name)}


def parameters(settings: Any) -> Json:
    """Return what a request says of how it is to be answered."""
    named = {name: getattr(settings, name, None) for name in _PARAMETERS}
    return {name: json_of(value) for name, value in named.items() if value is not None}


def used(usage: Any) -> Json:
    """Return what an answer cost."""
    names = ("requests", "input_tokens", "output_tokens", "total_tokens")
    said = {name: getattr(usage, name, None) for name in names}
    return {name: value for name, value in said.items() if value is not None} or None
