"""Tools of the OpenAI Agents SDK as a person who writes a policy wants to know them."""

from collections.abc import Iterable
from typing import Any

try:
    from agents import Agent, FunctionTool, function_tool
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
        return LiveTool(
            tool.name, tool.params_json_schema, tool.description or "", own=_is_of_a_function(tool)
        )
    name = getattr(tool, "name", None)
    if not isinstance(name, str):
        raise TypeError("it holds something that is no tool")
    return LiveTool(name, None)  # it runs at the provider, with arguments that are told nobody


def _is_of_a_function(tool: FunctionTool) -> bool:
    """True for what `function_tool` has made: of any other tool the words may be a server's."""
    # SECURITY: the SDK's conversion of an MCP server's tools makes such objects as well.  Where the SDK
    # names its parts otherwise, the tool is taken for somebody else's.
    body = getattr(tool.on_invoke_tool, "_invoke_tool_impl", tool.on_invoke_tool)
    return str(getattr(body, "__qualname__", "")).startswith(f"{function_tool.__name__}.")
