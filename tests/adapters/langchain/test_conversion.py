"""`--tools langchain:MODULE:LIST`: the parameters of tools, whatever form their schema has."""

from typing import Any

import pytest
from langchain_core.tools import StructuredTool, tool

from ringfence.cli.conversion import parameters
from ringfence.cli.tool_sets import read_tools


@tool
def plain(a: int, b: str = "") -> str:
    """Do nothing."""
    return ""


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
TOOLS: list[Any] = [plain, StructuredTool(name="given", description="As MCP gives it.", args_schema=SCHEMA)]


@pytest.mark.parametrize(
    ("name", "takes"), [("plain", "a: integer, b: text optional"), ("given", "a: integer")]
)
def test_a_schema_is_read_as_a_model_and_as_it_is(name: str, takes: str) -> None:
    found = read_tools([f"langchain:{__name__}:TOOLS"])[name]
    assert parameters.takes(found.schema or {}) == takes
    assert found.own is (name == "plain")
