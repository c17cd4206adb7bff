"""Tools of the OpenAI Agents SDK as a person who writes a policy wants to know them."""

from collections.abc import Iterable
from typing import Any

try:
    from agents import Agent, FunctionTool
except ImportError as error:
    raise ImportError(
        'the OpenAI Agents SDK is not installed: pip install "ringfence[openai-agents]"'
    ) from error

from ringfence.dsl.live import LiveTool


def live_tools(found: Any) -> list[LiveTool]:
    """Return the tools of an agent, a tool, or a list of tools; not those of an agent's MCP servers.

    Raises:
        TypeError: Something among them has no name, so no policy can speak of it.
    """
    if isinstance(found, Agent):
        found = found.tools
    return [_live(one) for one in (found if isinstance(found, Iterable) else [found])]


def _live(tool: Any) -> LiveTool:
    if isinstance(tool, FunctionTool):
        return LiveTool(tool.name, tool.params_json_schema, tool.description or "", own=True)
    name = getattr(tool, "name", None)
    if not isinstance(name, str):
        raise TypeError("it holds something that is no tool")
    return LiveTool(name, None)  # it runs at the provider, with arguments that are told nobody
