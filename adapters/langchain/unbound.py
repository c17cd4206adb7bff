"""Raw LangGraph: the node that calls tools, which answers names that it does not have as the policy says.

SECURITY: LangGraph's own answer lists the names of all its tools, is no event, counts as no denial, and comes
at once.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool
from langgraph.prebuilt import ToolNode
from langgraph.prebuilt.tool_node import ToolCallRequest

from ringfence.adapters.langchain.gate import arefuse, refuse, refused_call, task_of
from ringfence.adapters.langchain.replies import error_message, told, with_id
from ringfence.adapters.langchain.runs import runs_of
from ringfence.adapters.langchain.tools import guard_tools
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.errors import DeniedError

_UNBOUND = "no tool of this name is bound"


def tool_node(guard: Guard, tools: Sequence[BaseTool | Callable[..., Any]], **options: Any) -> ToolNode:
    """Return `ToolNode(guard_tools(guard, tools))` that refuses and records the names it does not have.

    Args:
        options: Those of `ToolNode`, but for its wrappers of tool calls.
    """

    def wrap(request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]) -> Any:
        if request.tool is not None:
            return handler(request)
        name, config = request.tool_call["name"], request.runtime.config
        call = with_id(request.tool_call, task_of(config))
        try:
            run = runs_of(guard).of_tool(name, config)
            refuse(guard, run, refused_call(name, call["args"], _UNBOUND, call["id"], config))
        except DeniedError as error:
            return _answer(error, guard, call)

    async def awrap(request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Any]]) -> Any:
        if request.tool is not None:
            return await handler(request)
        name, config = request.tool_call["name"], request.runtime.config
        call = with_id(request.tool_call, task_of(config))
        try:
            run = runs_of(guard).of_tool(name, config)
            await arefuse(guard, run, refused_call(name, call["args"], _UNBOUND, call["id"], config))
        except DeniedError as error:
            return _answer(error, guard, call)

    return ToolNode(guard_tools(guard, tools), wrap_tool_call=wrap, awrap_tool_call=awrap, **options)


def _answer(error: DeniedError, guard: Guard, call: dict[str, Any]) -> ToolMessage:
    if error.decision is None:  # it is the host that must hear it
        raise error
    return error_message(told(error, guard.plan), name=call["name"], call_id=call["id"])
