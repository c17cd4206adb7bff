"""The guarded function of a tool, and what its hints tell LangChain to inject."""

import functools
from collections.abc import Callable
from inspect import signature
from typing import Any, get_args, get_origin, get_type_hints

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, Tool

from ringfence.adapters.langchain.gate import Gate
from ringfence.adapters.langchain.parameters import HIDDEN, Parameters

try:
    from langgraph.prebuilt.tool_node import ToolRuntime as ToolRuntime
except ImportError:  # langchain-core alone: no ToolNode, so nothing is injected by one
    ToolRuntime = None  # type: ignore[assignment,misc]


def parameters_of(tool: BaseTool) -> Parameters:
    """Return what is known of a tool's parameters."""
    functions = [_function_of(tool), tool._run, tool._arun]
    named = [name for one in functions for name, hint in hints_of(one).items() if hint is RunnableConfig]
    return Parameters(tool, named)


def _function_of(tool: BaseTool) -> Callable[..., Any]:
    return getattr(tool, "func", None) or getattr(tool, "coroutine", None) or tool._run


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the hints of a function; none where LangChain cannot resolve them either."""
    try:
        return get_type_hints(function, include_extras=True)
    except (NameError, TypeError, AttributeError):
        return {}


def functions_of(tool: BaseTool) -> tuple[Any, ...]:
    """Return what a tool calls: its guarded copy must not have been changed since."""
    own = tool.__dict__.get
    return own("func"), own("coroutine"), own("_run"), own("_arun")


def guarded_functions(tool: BaseTool, gate: Gate) -> dict[str, Any]:
    """Return the guarded `func` and `coroutine`, for tools that have them."""
    if not isinstance(tool, StructuredTool | Tool):
        return {}
    changed: dict[str, Any] = {}
    if tool.func is not None:
        changed["func"] = _telling(_sync(tool.func, gate), tool.func)
        gate.plain_func = tool.func if _takes_nothing(tool.func) else None
    if tool.coroutine is not None:
        changed["coroutine"] = _telling(_async(tool.coroutine, gate), tool.coroutine)
        gate.plain_coroutine = tool.coroutine if _takes_nothing(tool.coroutine) else None
    return changed


def _takes_nothing(function: Callable[..., Any]) -> bool:
    """Say whether LangChain passes the function its arguments alone: no callbacks, no config."""
    hints = hints_of(function).values()
    takes_config = any(RunnableConfig in (hint, *get_args(hint)) for hint in hints)
    return not takes_config and "callbacks" not in signature(function).parameters


def _telling(wrapper: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """Give the wrapper the function's signature, and one more hint that makes ToolNode prove itself."""
    hints = hints_of(function)
    wrapper.__signature__ = signature(function)  # type: ignore[attr-defined]
    named = "runtime" in signature(function).parameters
    wrapper.__annotations__ = hints if named else with_proof(hints)
    return wrapper


def with_proof(hints: dict[str, Any]) -> dict[str, Any]:
    """Return hints that make ToolNode inject a runtime: of several parameters it fills one alone."""
    if ToolRuntime is None or any(map(_is_runtime, hints.values())):
        return hints
    return {**hints, HIDDEN: ToolRuntime}


def _is_runtime(hint: Any) -> bool:
    return (get_origin(hint) or hint) is ToolRuntime or any(map(_is_runtime, get_args(hint)))


def _sync(function: Callable[..., Any], gate: Gate) -> Callable[..., Any]:
    @functools.wraps(function)
    def guarded_function(*args: Any, **values: Any) -> Any:
        return gate.run(function, args, values)

    return guarded_function


def _async(function: Callable[..., Any], gate: Gate) -> Callable[..., Any]:
    @functools.wraps(function)
    async def guarded_coroutine(*args: Any, **values: Any) -> Any:
        return await gate.arun(function, args, values)

    return guarded_coroutine
