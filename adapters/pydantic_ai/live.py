"""Tools of Pydantic AI as a person who writes a policy wants to know them."""

import asyncio
from collections.abc import Sequence
from typing import Any

try:
    from pydantic_ai import Agent, RunContext
    from pydantic_ai.models.test import TestModel
    from pydantic_ai.tools import Tool
    from pydantic_ai.toolsets import AbstractToolset, CombinedToolset, FunctionToolset
    from pydantic_ai.usage import RunUsage
except ImportError as error:
    raise ImportError('Pydantic AI is not installed: pip install "ringfence[pydantic-ai]"') from error

from ringfence.dsl.live import LiveTool

WITHIN_S = 60.0
"""How long a toolset has: it may have a server behind it."""


def live_tools(found: Any) -> list[LiveTool]:
    """Return the tools of an agent, a toolset, a list of toolsets, or a list of tools and functions.

    Raises:
        TypeError: It is none of these.
        TimeoutError: A toolset has not told its tools in time.
    """
    return asyncio.run(asyncio.wait_for(_listed(_toolset(found)), WITHIN_S))


def _toolset(found: Any) -> AbstractToolset[Any]:
    if isinstance(found, AbstractToolset):
        return found
    if isinstance(found, Agent):
        return CombinedToolset(list(found.toolsets))
    several = list(found) if isinstance(found, Sequence) else [found]
    if several and all(isinstance(one, AbstractToolset) for one in several):
        return CombinedToolset(several)
    if not all(isinstance(one, Tool) or callable(one) for one in several):
        raise TypeError("it holds something that is neither a tool nor a toolset")
    return FunctionToolset(several)


async def _listed(toolset: AbstractToolset[Any]) -> list[LiveTool]:
    # Nothing is run: a toolset only wants to be told in what it would.
    context: RunContext[Any] = RunContext(deps=None, model=TestModel(), usage=RunUsage())
    async with toolset:
        tools = await toolset.get_tools(context)
    return [
        LiveTool(
            name,
            tool.tool_def.parameters_json_schema,
            tool.tool_def.description or "",
            own=isinstance(tool.toolset, FunctionToolset) and not _has_given_schema(tool.args_validator),
        )
        for name, tool in tools.items()
    ]


def _has_given_schema(validator: Any) -> bool:
    """True for `Tool.from_schema`, which validates nothing: the words came from elsewhere, too."""
    return bool(getattr(validator, "title", "any") == "any")
