"""Guarded copies of tools: same name, same schema, same class to `isinstance`, one door to the function.

The copy's `func`, `coroutine`, `_run` and `_arun` go through the gate, so every path to the body is
guarded: agents, `ToolNode`, sub-agents, `invoke`, `run`, `func`.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from langchain_core.tools import BaseTool
from langchain_core.tools import tool as make_tool

from ringfence.adapters.langchain.classes import guarded_class
from ringfence.adapters.langchain.functions import functions_of, guarded_functions, parameters_of
from ringfence.adapters.langchain.gate import GATE, Gate, gate_of
from ringfence.adapters.langchain.replies import is_limited, may_say
from ringfence.adapters.langchain.results import lens_for
from ringfence.adapters.langchain.runs import runs_of
from ringfence.engine.enforcement.catalogue import undeclared
from ringfence.engine.enforcement.guard import Guard

SCAFFOLD = "langchain:MODULE:TOOLS"
"""How `ringfence init --tools` is told of LangChain's tools; only the host knows where they stand."""
_DOORS = ("invoke", "ainvoke", "run", "arun", "__call__", "batch", "abatch", "stream", "astream")
"""Through these a tool is run from outside; the guard stands behind LangChain's own."""
_HANDLERS = ("handle_tool_error", "handle_validation_error")
"""With these a tool answers a failure in its own words."""


def guard_tools(guard: Guard, tools: Sequence[BaseTool | Callable[..., Any]]) -> list[BaseTool]:
    """Return a guarded copy of every tool; use the copies and keep the originals from the model.

    Tools that the policy does not declare are named on the standard error, all at once.

    Raises:
        ValueError: Two tools have one name: the policy could not tell them apart.
        TypeError: Something is no tool, as the dicts of provider-side tools are.
    """
    made = [guarded(guard, tool) for tool in tools]
    names = [tool.name for tool in made]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two tools are called `{twice[0]}`: the policy could not tell them apart")
    undeclared(guard, names, SCAFFOLD)
    return made


def guarded(guard: Guard, tool: BaseTool | Callable[..., Any]) -> BaseTool:
    """Return the guarded copy of one tool; a copy of this guard is returned as it is."""
    if isinstance(tool, dict) or not (isinstance(tool, BaseTool) or callable(tool)):
        raise TypeError("only tools that run here can be guarded; a provider-side tool cannot be intercepted")
    bound = tool if isinstance(tool, BaseTool) else make_tool(tool)
    known = gate_of(bound)
    if known is not None:
        if known.guard is guard:
            return bound
        if not guard.plays_back:
            raise ValueError(f"`{bound.name}` is guarded by another guard")
        bound = known.tool  # the record answers for it, whoever guards it
    refuse_own_doors(bound)
    plan = guard.plan.by_bound_name.get(bound.name)
    gate = Gate(
        guard,
        bound.name,
        bound,
        parameters_of(bound),
        runs_of(guard),
        lens_for(
            with_artifact=bound.response_format == "content_and_artifact",
            is_limited=plan is not None and is_limited(plan),
        ),
    )
    silent = {} if may_say(guard.plan, bound.name) else dict.fromkeys(_HANDLERS, False)
    copy = bound.model_copy(update=guarded_functions(bound, gate) | silent)
    object.__setattr__(copy, "__class__", guarded_class(type(bound)))
    copy.__dict__[GATE] = gate
    gate.functions = functions_of(copy)
    return copy


def refuse_own_doors(tool: BaseTool) -> None:
    """Raise TypeError for a tool that could run a body before the guard is met.

    SECURITY: whether an `invoke` of its own ever comes to `_run` cannot be known beforehand.
    """
    if (name := own_method(tool, _DOORS)) is not None:
        raise TypeError(
            f"`{tool.name}` cannot be guarded: it has a `{name}` of its own; do its work in `_run`"
        )
    for name in ("_run", "_arun"):
        if name in tool.__dict__:
            raise TypeError(f"`{tool.name}` cannot be guarded: its `{name}` was exchanged on the object")


def own_method(tool: BaseTool, names: Iterable[str]) -> str | None:
    """Return the first of these methods that is not LangChain's own; None: all of them are."""
    for name in names:
        home = next((kind for kind in type(tool).__mro__ if name in kind.__dict__), BaseTool)
        if name in tool.__dict__ or home.__module__.partition(".")[0] != "langchain_core":
            return name
    return None
