"""Pydantic AI's tools as a policy's author wants to know them."""

from typing import Any

import pytest
from pydantic_ai import Agent, FunctionToolset, Tool
from pydantic_ai.models.test import TestModel
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.toolsets import ExternalToolset

from ringfence.adapters.pydantic_ai.live import live_tools
from ringfence.dsl.live import parameters_of

SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}}}


def look(name: str, limit: int = 3) -> str:
    """Look it up."""
    return name


def agent() -> Agent[None, str]:
    made = Agent(TestModel())
    made.tool_plain(look)
    return made


@pytest.mark.parametrize("made", [lambda: look, lambda: [Tool(look)], lambda: FunctionToolset([look]), agent])
def test_tools_come_as_functions_toolsets_and_with_their_agent(made: Any) -> None:
    (tool,) = live_tools(made())
    assert (tool.name, tool.description, tool.own) == ("look", "Look it up.", True)
    known = parameters_of(tool)
    assert known is not None and set(known.shapes) == {"name", "limit"} and known.required == {"name"}


def test_a_tool_has_the_name_that_the_model_is_given() -> None:
    assert [one.name for one in live_tools(FunctionToolset([look]).prefixed("shop"))] == ["shop_look"]


def test_what_runs_elsewhere_is_not_the_hosts_own() -> None:
    (tool,) = live_tools([ExternalToolset([ToolDefinition(name="q", parameters_json_schema=SCHEMA)])])
    assert tool.schema == SCHEMA and not tool.own


def test_a_tool_with_a_schema_from_elsewhere_is_not_the_hosts_own() -> None:
    (tool,) = live_tools([Tool.from_schema(lambda **given: "", "get_q", "Harmless.", SCHEMA)])
    assert tool.name == "get_q" and not tool.own


def test_what_is_no_tool_is_refused() -> None:
    with pytest.raises(TypeError):
        live_tools([5])
