"""LangChain's tools as a person who writes a policy wants to know them."""

from collections.abc import Iterable, Mapping
from typing import Any

try:
    from langchain_core.tools import BaseTool
    from langchain_core.tools import tool as make_tool
except ImportError as error:
    raise ImportError('LangChain is not installed: pip install "ringfence[langchain]"') from error

from ringfence.adapters.langchain.tools import parameters_of
from ringfence.dsl.live import LiveTool


def live_tools(found: Any) -> list[LiveTool]:
    """Return the tools of a tool, a list of tools or functions, or a toolkit.

    Raises:
        TypeError: Something among them is no tool that runs here.
    """
    if not isinstance(found, BaseTool) and callable(getattr(found, "get_tools", None)):
        found = found.get_tools()
    several = found if isinstance(found, Iterable) and not isinstance(found, BaseTool) else [found]
    return [_live(one) for one in several]


def _live(found: Any) -> LiveTool:
    if isinstance(found, Mapping) or not (isinstance(found, BaseTool) or callable(found)):
        raise TypeError("it holds something that is no tool which runs here")
    tool = found if isinstance(found, BaseTool) else make_tool(found)
    given: Any = tool.tool_call_schema
    schema = dict(given) if isinstance(given, dict) else given.model_json_schema()
    visible, properties = parameters_of(tool).visible, schema.get("properties", {})
    schema["properties"] = {name: one for name, one in properties.items() if name in visible}
    # A schema that is a dict came from elsewhere: so do the tools of an MCP server.
    return LiveTool(tool.name, schema, tool.description or "", own=not isinstance(tool.args_schema, dict))
