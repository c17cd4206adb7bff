"""The bodies of inner calls: what runs when code in an isolate calls a tool that LangChain has.

They are the original functions: the guard has decided the call before one of these begins, and a guarded copy
would decide it twice.  A body gets what was decided, as the tool's schema types it, and gives plain JSON.
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
from ringfence.dsl.plan import Json, ToolPlan
from ringfence.engine.enforcement.filled import FillingBody
from ringfence.engine.enforcement.workers import arun_in_worker

try:
    from langgraph.types import Command
except ImportError:  # langchain-core alone: no tool can return one
    Command = None  # type: ignore[assignment,misc]

Body = Callable[[Mapping[str, Json]], Any]
ABody = Callable[[Mapping[str, Json]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class InnerTool:
    """A tool that code may call: the original, never a guarded copy."""

    tool: BaseTool
    parameters: Parameters
    defaults: Mapping[str, Json] = field(default_factory=dict)
    """What the tool fills in, of the parameters that the policy decides on: it is decided with the call."""
    must_be_given: frozenset[str] = frozenset()
    """What it would fill in anew each time: nobody could have decided that."""

    def passed(self, arguments: Mapping[str, Json]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return what the tool's `_run` is called with.

        Raises:
            ArgumentsError: That would not be what was decided.
        """
        if missing := sorted((self.must_be_given | self.defaults.keys()) - arguments.keys()):
            # SECURITY: the tool would use a value that nobody has decided.
            raise ArgumentsError(f"`{missing[0]}` must be given: its default was not decided")
        single = self.parameters.single
        if strange := sorted(arguments.keys() - self.parameters.visible - {single}):
            raise ArgumentsError(f"the tool's schema has no parameter `{strange[0]}`")
        values = self.parameters.typed(arguments)
        if single is None:
            return (), values
        if single not in values:
            raise ArgumentsError(f"`{single}` is missing")
        return (values.pop(single),), values

    def framework(self, function: Callable[..., Any]) -> dict[str, Any]:
        """Return what LangChain itself passes beside the arguments."""
        named = self.parameters.framework & signature(function).parameters.keys()
        return {name: None if name in FRAMEWORK_NAMES else ensure_config() for name in named}


@dataclass(slots=True)
class InnerBodies:
    """The bodies of the tools that code may call, by the framework's names."""

    sync: dict[str, Body] = field(default_factory=dict)
    asynchronous: dict[str, Body] = field(default_factory=dict)
    only_async: tuple[str, ...] = ()
    """Tools that have no synchronous body."""

    def for_sync(self, tool: str) -> Mapping[str, Body]:
        """Return the bodies for a synchronous call; raise NotImplementedError as LangChain would."""
        if self.only_async:
            raise NotImplementedError(
                f"the code of `{tool}` may call `{self.only_async[0]}`, which has no synchronous body:"
                " use `ainvoke`"
            )
        return self.sync


def inner_tool(plan: ToolPlan, tool: BaseTool, parameters: Parameters) -> InnerTool:
    """Return a tool as code may call it."""
    fields = parameters.model.model_fields if parameters.model else {}
    optional = {name for name, one in (plan.parameters or {}).items() if one.optional}
    filling = {
        name: fields[name] for name in sorted(optional & fields.keys()) if not fields[name].is_required()
    }
    defaults = {
        name: json_of(one.default)
        for name, one in filling.items()
        if one.default_factory is None and one.default is not None
    }
    anew = frozenset(name for name, one in filling.items() if one.default_factory is not None)
    return InnerTool(tool, parameters, defaults, anew)


def bodies_of(tools: Sequence[InnerTool]) -> InnerBodies:
    """Return the bodies of tools."""
    return InnerBodies(
        sync={one.tool.name: FillingBody(_sync(one), one.defaults) for one in tools},
        asynchronous={one.tool.name: FillingBody(_async(one), one.defaults) for one in tools},
        only_async=tuple(one.tool.name for one in tools if _is_only_async(one.tool)),
    )


def _is_only_async(tool: BaseTool) -> bool:
    plain = type(tool)._run in (StructuredTool._run, Tool._run)
    return plain and getattr(tool, "func", None) is None


def _is_only_sync(tool: BaseTool) -> bool:
    kind = type(tool)
    plain = kind._arun in (StructuredTool._arun, Tool._arun) and getattr(tool, "coroutine", None) is None
    return plain or kind._arun is BaseTool._arun


def _sync(one: InnerTool) -> Body:
    run = one.tool._run

    def body(arguments: Mapping[str, Json]) -> Json:
        args, values = one.passed(arguments)
        return _given(one.tool, run(*args, **values, **one.framework(run)))

    return body


def _async(one: InnerTool) -> ABody:
    if _is_only_sync(one.tool):
        plain = _sync(one)
        # LangChain would take a thread as well, of which the guard would not know that it still runs.
        return lambda arguments: arun_in_worker(lambda: plain(arguments))
    arun = one.tool._arun

    async def body(arguments: Mapping[str, Json]) -> Json:
        args, values = one.passed(arguments)
        return _given(one.tool, await arun(*args, **values, **one.framework(arun)))

    return body


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
