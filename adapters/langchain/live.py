"""LangChain's tools as a person who writes a policy wants to know them."""

from collections.abc import Iterable, Mapping
from typing import Any

try:
    from langchain_core.tools import BaseTool
    from langchain_core.tools import tool as make_tool
except ImportError as error:
    raise ImportError('LangChain is not installed: pip install "ringfence[langchain]"') from error

from ringfence.adapters.langchain.functions import parameters_of
from ringfence.adapters.langchain.offered import names_of
from ringfence.dsl.live import LiveTool


def live_tools(found: Any) -> list[LiveTool]:
    """Return the tools of a tool, a list of tools or functions, or a toolkit.

    Raises:
        TypeError: Something among them is no tool.
    """
    if not isinstance(found, BaseTool) and callable(getattr(found, "get_tools", None)):
        found = found.get_tools()
    alone = isinstance(found, BaseTool | Mapping) or not isinstance(found, Iterable)
    return [_live(one) for one in ([found] if alone else found)]


def _live(found: Any) -> LiveTool:
    if isinstance(found, Mapping):  # it runs at the provider, with arguments that are told nobody
        if (name := next(names_of(found), None)) is None:
            raise TypeError("it holds a tool without a name")
        return LiveTool(name, None)
    if not (isinstance(found, BaseTool) or callable(found)):
        raise TypeError("it holds something that is no tool")
    tool = found if isinstance(found, BaseTool) else make_tool(found)
    given: Any = tool.tool_call_schema
    schema = dict(given) if isinstance(given, dict) else given.model_json_schema()
    known = schema.get("properties", {})
    schema["properties"] = {
        name: known.get(name, {}) for name in _in_order(known, parameters_of(tool).visible)
    }
    # A schema that is a dict came from elsewhere: so do the tools of an MCP server.
    return LiveTool(tool.name, schema, tool.description or "", own=not isinstance(tool.args_schema, dict))


def _in_order(known: Iterable[str], visible: frozenset[str]) -> list[str]:
    """Return the parameters that a model may set, in the order of the schema."""
    told = [name for name in known if name in visible]
    return [*told, *sorted(visible.difference(told))]
