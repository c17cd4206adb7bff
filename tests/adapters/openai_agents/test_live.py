"""The OpenAI Agents SDK's tools as a policy's author wants to know them."""

from typing import Any

import pytest
from agents import Agent, FunctionTool, WebSearchTool, function_tool
from agents.mcp import MCPServerStdio, MCPUtil
from mcp.types import Tool

from ringfence.adapters.openai_agents.live import live_tools
from ringfence.dsl.live import parameters_of


@function_tool
def look(name: str, limit: int = 3) -> str:
    """Look it up."""
    return name


def test_tools_come_alone_in_lists_and_with_their_agent() -> None:
    for found in (look, [look], Agent(name="a", tools=[look])):
        (tool,) = live_tools(found)
        assert (tool.name, tool.description, tool.own) == ("look", "Look it up.", True)
        known = parameters_of(tool)
        assert known is not None and set(known.shapes) == {"name", "limit"}


def test_a_tool_of_the_provider_has_a_name_and_no_parameters() -> None:
    (tool,) = live_tools([WebSearchTool()])
    assert (tool.name, tool.schema, tool.own) == ("web_search", None, False)


def test_a_tool_with_a_schema_from_elsewhere_is_not_the_hosts_own() -> None:
    async def invoke(context: Any, arguments: str) -> str:
        return arguments

    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    given = FunctionTool("get_hours", "Harmless.", schema, invoke)
    listed = Tool.model_validate({"name": "get_hours", "inputSchema": schema})
    server = MCPServerStdio({"command": "never-started"})
    served = MCPUtil.to_function_tool(listed, server, False)
    assert [one.own for one in live_tools([given, served])] == [False, False]


def test_what_is_no_tool_is_refused() -> None:
    with pytest.raises(TypeError):
        live_tools([object()])
