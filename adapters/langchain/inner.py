"""The bodies of inner calls: what runs when code in an isolate calls a tool that LangChain has.

They are the original functions: the call was decided by the guard before one of these begins, so a guarded
copy would decide it twice.  A body gets what was decided, as the tool's schema types it, and gives plain JSON.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.runnables.config import ensure_config
from langchain_core.tools import BaseTool, StructuredTool, Tool

from ringfence.adapters.langchain.parameters import FRAMEWORK_NAMES, ArgumentsError, Parameters
from ringfence.adapters.langchain.values import json_of
from ringfence.dsl.plan import Json

try:
    from langgraph.types import Command
except ImportError:  # langchain-core alone: no tool can return one
    Command = None  # type: ignore[assignment,misc]

Body = Callable[[Mapping[str, Json]], Any]
ABody = Callable[[Mapping[str, Json]], Awaitable[Any]]


@dataclass(slots=True)
class InnerBodies:
    """The bodies of the tools that code may call, by the framework's names."""

    sync: dict[str, Body] = field(default_factory=dict)
    asynchronous: dict[str, ABody] = field(default_factory=dict)
    only_async: tuple[str, ...] = ()
    """Tools that have no synchronous body."""

    def for_sync(self, tool: str) -> Mapping[str, Body]:
        """Return the bodies for a synchronous call; raise NotImplementedError as LangChain would."""
        if self.only_async:
            raise NotImplementedError(
                f"the code of `{tool}` may call `{self.only_async[0]}`, which has no synchronous body: use `ainvoke`"
            )
        return self.sync


def bodies_of(tools: Sequence[tuple[BaseTool, Parameters]]) -> InnerBodies:
    """Return the bodies of tools, which are originals and not guarded copies."""
    made = InnerBodies(only_async=tuple(tool.name for tool, _ in tools if _is_only_async(tool)))
    for tool, parameters in tools:
        made.sync[tool.name] = _sync(tool, parameters)
        made.asynchronous[tool.name] = _async(tool, parameters)
    return made


def _is_only_async(tool: BaseTool) -> bool:
    return isinstance(tool, StructuredTool | Tool) and tool.func is None and type(tool)._run in _OWN_RUNS


_OWN_RUNS = (StructuredTool._run, Tool._run)


def _sync(tool: BaseTool, parameters: Parameters) -> Body:
    def body(arguments: Mapping[str, Json]) -> Json:
        args, values = _passed(parameters, arguments)
        return _given(tool, tool._run(*args, **values, **_framework(tool._run, parameters)))

    return body


def _async(tool: BaseTool, parameters: Parameters) -> ABody:
    # LangChain's own `_arun` runs `_run` on a thread, and hands it what it is given.
    looked_at = tool._run if type(tool)._arun is BaseTool._arun else tool._arun

    async def body(arguments: Mapping[str, Json]) -> Json:
        args, values = _passed(parameters, arguments)
        return _given(tool, await tool._arun(*args, **values, **_framework(looked_at, parameters)))

    return body


def _passed(parameters: Parameters, arguments: Mapping[str, Json]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    values = parameters.typed(arguments)
    if parameters.single is None:
        return (), values
    if parameters.single not in values:
        raise ArgumentsError(f"`{parameters.single}` is missing")
    return (values.pop(parameters.single),), values


def _framework(function: Callable[..., Any], parameters: Parameters) -> dict[str, Any]:
    """Return what LangChain itself passes beside the arguments."""
    named = parameters.framework & signature(function).parameters.keys()
    return {name: None if name in FRAMEWORK_NAMES else ensure_config() for name in named}


def _given(tool: BaseTool, result: Any) -> Json:
    """Return what the code gets of a body's result: its content, never an artifact or a command."""
    if tool.response_format == "content_and_artifact":
        if not (isinstance(result, tuple) and len(result) == 2):
            raise TypeError(f"`{tool.name}` returned no pair of content and artifact")
        result = result[0]
    for one in result if isinstance(result, list) else (result,):
        if Command is not None and isinstance(one, Command):
            raise TypeError(f"`{tool.name}` returned a command for the graph, which code cannot be given")
    return json_of(result.content if isinstance(result, ToolMessage) else result)
