"""LangChain's tools as a policy's author wants to know them."""

from typing import Annotated, Any

import pytest
from langchain_core.tools import BaseTool, BaseToolkit, InjectedToolArg, StructuredTool, Tool, tool

from ringfence.adapters.langchain.live import live_tools
from ringfence.dsl.live import parameters_of


@tool
def add(a: int, b: Annotated[str, InjectedToolArg]) -> int:
    """Add."""
    return a


def plain(a: int) -> int:
    """Do it plainly."""
    return a


GIVEN = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}


class Kit(BaseToolkit):
    def get_tools(self) -> list[BaseTool]:
        return [add]


def test_only_what_a_model_may_set_is_a_parameter() -> None:
    (found,) = live_tools(add)
    assert (found.name, found.description, found.own) == ("add", "Add.", True)
    known = parameters_of(found)
    assert known is not None and set(known.shapes) == known.required == {"a"}


def test_tools_come_alone_in_lists_and_in_toolkits_and_functions_are_tools() -> None:
    assert [one.name for one in live_tools([add, plain])] == ["add", "plain"]
    assert [one.name for one in live_tools(Kit())] == ["add"]


def test_a_tool_with_a_schema_from_elsewhere_is_not_the_hosts_own() -> None:
    (found,) = live_tools([StructuredTool(name="q", description="Of a server.", args_schema=GIVEN)])
    known = parameters_of(found)
    assert known is not None and set(known.shapes) == {"q"} and not found.own


def test_a_tool_of_the_provider_has_a_name_and_no_parameters() -> None:
    for found in ({"type": "web_search"}, [{"type": "web_search"}]):
        (one,) = live_tools(found)
        assert (one.name, one.schema, one.own) == ("web_search", None, False)


def test_a_tool_of_one_text_has_its_one_parameter() -> None:
    (found,) = live_tools(Tool("ask", plain, "Ask."))
    known = parameters_of(found)
    assert known is not None and set(known.shapes) == {"tool_input"}


@pytest.mark.parametrize("wrong", [5, [5], [{}]])
def test_what_is_no_tool_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="it holds"):
        live_tools(wrong)
