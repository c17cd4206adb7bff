"""Agents that are tools: the tool runs the guarded copy of its agent.

`Agent.as_tool` keeps the agent in what its function closes over, and nowhere else that counts.  So the
function is made again over the guarded agent; where that cannot be done for certain, the tool is refused.
"""

import copy
from collections.abc import Callable
from types import CellType, FunctionType
from typing import Any

from agents import Agent, FunctionTool

from ringfence.adapter import EngineError

_AGENT = "self"
_CONFIG = "run_config"


def agent_of(tool: FunctionTool) -> Agent[Any] | None:
    """Return the agent that a tool is; None for other tools."""
    if not getattr(tool, "_is_agent_tool", False):
        return None
    found = getattr(tool, "_agent_instance", None)
    if not isinstance(found, Agent):
        raise _unknown(tool.name)
    return found


def rebound(tool: FunctionTool, agent: Agent[Any], config: Callable[[Any], Any]) -> FunctionTool:
    """Return the tool with another agent in it.

    Args:
        config: Makes the run's config of the tool's own, where it has one.

    Raises:
        EngineError: This version of the SDK keeps the agent elsewhere.
    """
    invoker: Any = tool.on_invoke_tool
    work = getattr(invoker, "_invoke_tool_impl", None)
    was = getattr(tool, "_agent_instance", None)
    bind = getattr(invoker, "__agents_bind_function_tool__", None)
    if not isinstance(work, FunctionType) or bind is None or work.__closure__ is None:
        raise _unknown(tool.name)
    names = work.__code__.co_freevars
    cells = dict(zip(names, work.__closure__, strict=True))
    if _AGENT not in cells or cells[_AGENT].cell_contents is not was or _CONFIG not in cells:
        raise _unknown(tool.name)
    own = cells[_CONFIG].cell_contents
    cells |= {_AGENT: CellType(agent), _CONFIG: CellType(None if own is None else config(own))}
    made = FunctionType(
        work.__code__,
        work.__globals__,
        work.__name__,
        work.__defaults__,
        tuple(cells[name] for name in names),
    )
    made.__kwdefaults__ = work.__kwdefaults__
    made.__dict__.update(work.__dict__)
    again = copy.copy(tool)
    again.on_invoke_tool = type(invoker)(made, invoker._on_handled_error).__agents_bind_function_tool__(again)
    again._agent_instance = agent
    return again


def _unknown(name: str) -> EngineError:
    return EngineError(
        f"the agent that is the tool `{name}` cannot be guarded",
        help="make the tool of the guarded agent: `runner.guarded(agent).as_tool(...)`",
    )
