"""The ways to run an agent of LangChain, each with a guard and without, for comparisons."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from deepagents import create_deep_agent
from langchain.agents import create_agent
from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.tools import BaseTool, InjectedToolCallId, StructuredTool, ToolException, tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedState, InjectedStore, ToolNode, ToolRuntime, create_react_agent
from langgraph.types import Command

from ringfence import Guard, Principal
from ringfence.adapters.langchain import (
    GuardMiddleware,
    begin_hook,
    begin_node,
    end_hook,
    guard_subagents,
    guard_tools,
    tool_node,
    visible_tools,
)

Make = Callable[..., Any]
"""(guard or None, tools, model, options of the graph) -> a compiled graph."""


def of_create_agent(guard: Guard | None, tools: Sequence[Any], model: Any, **options: Any) -> Any:
    ours = [] if guard is None else [GuardMiddleware(guard)]
    return create_agent(model, list(tools), middleware=ours, context_schema=Principal, **options)


def of_deepagents(guard: Guard | None, tools: Sequence[Any], model: Any, **options: Any) -> Any:
    if guard is None:
        return create_deep_agent(model, list(tools), context_schema=Principal, **options)
    about = {"middleware": [GuardMiddleware(guard)], "subagents": guard_subagents(guard)}
    return create_deep_agent(model, list(tools), **about, context_schema=Principal, **options)


def of_react_agent(guard: Guard | None, tools: Sequence[Any], model: Any, **options: Any) -> Any:
    if guard is None:
        return create_react_agent(model, list(tools), context_schema=Principal, **options)
    return create_react_agent(
        lambda state, runtime: model.bind_tools(visible_tools(guard, tools)),
        tool_node(guard, tools),
        pre_model_hook=begin_hook(guard),
        post_model_hook=end_hook(guard),
        context_schema=Principal,
        **options,
    )


def of_tool_node(guard: Guard | None, tools: Sequence[Any], model: Any, **options: Any) -> Any:
    return _graph(guard, tools, model, ToolNode(tools) if guard is None else tool_node(guard, tools), options)


def of_bare_tool_node(guard: Guard | None, tools: Sequence[Any], model: Any, **options: Any) -> Any:
    return _graph(
        guard, tools, model, ToolNode(tools if guard is None else guard_tools(guard, tools)), options
    )


def _graph(guard: Guard | None, tools: Sequence[Any], model: Any, node: ToolNode, options: Any) -> Any:
    def think(state: MessagesState) -> dict[str, Any]:
        offered = list(tools) if guard is None else visible_tools(guard, tools)
        return {"messages": [model.bind_tools(offered).invoke(state["messages"])]}

    def after(state: MessagesState) -> str:
        return "tools" if getattr(state["messages"][-1], "tool_calls", None) else "__end__"

    graph: Any = StateGraph(MessagesState, context_schema=Principal)
    graph.add_node("model", think)
    graph.add_node("tools", node)
    if guard is None:
        graph.add_edge(START, "model")
    else:
        graph.add_node("begin", begin_node(guard))
        graph.add_edge(START, "begin")
        graph.add_edge("begin", "model")
    graph.add_conditional_edges("model", after, ["tools", "__end__"])
    graph.add_edge("tools", "model")
    return graph.compile(**options)


ENTRIES: dict[str, Make] = {
    "create_agent": of_create_agent,
    "deepagents": of_deepagents,
    "create_react_agent": of_react_agent,
    "tool_node": of_tool_node,
    "ToolNode": of_bare_tool_node,
}


# ---- tools of every kind ---------------------------------------------------------------------------


def plain(x: int) -> str:
    """Return something."""
    return f"got {x}"


async def awaited(x: int) -> str:
    """Return something, later."""
    return f"awaited {x}"


def structured(x: int) -> dict[str, Any]:
    """Return a record."""
    return {"x": x, "nested": [1, {"two": None}]}


def blocks(x: int) -> list[dict[str, Any]]:
    """Return blocks of content."""
    return [{"type": "text", "text": f"got {x}"}, {"type": "text", "text": "and more"}]


def with_artifact(x: int) -> tuple[str, Any]:
    """Return a text for the model, and the thing itself for the host."""
    return f"got {x}", {"thing": x, "bytes": b"\x00\x01"}


def failing(x: int) -> str:
    """Fail as tools do."""
    raise ToolException(f"no {x} today")


def stateful(
    x: int,
    state: Annotated[dict[str, Any], InjectedState],
    messages: Annotated[list[Any], InjectedState("messages")],
    store: Annotated[Any, InjectedStore()],
    call_id: Annotated[str, InjectedToolCallId],
) -> str:
    """Return what was injected."""
    store.put(("seen",), str(x), {"x": x})
    kept = store.get(("seen",), str(x)).value
    return f"{x} {state['messages'][0].text} {len(messages)} {kept} {call_id}"


def running(x: int, runtime: ToolRuntime[Principal, Any]) -> str:
    """Return what the runtime is."""
    return f"{x} {runtime.tool_call_id} {len(runtime.state['messages'])} {type(runtime.store).__name__}"


def commanding(x: int, call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
    """Return what is to be done to the graph."""
    return Command(update={"messages": [ToolMessage(f"commanded {x}", tool_call_id=call_id)]})


def messaging(x: int, call_id: Annotated[str, InjectedToolCallId]) -> ToolMessage:
    """Return a message of one's own."""
    return ToolMessage(f"said {x}", tool_call_id=call_id, artifact={"own": x}, status="success")


class Sums(BaseTool):
    """A tool that is a class."""

    name: str = "sums"
    description: str = "Add one."

    def _run(self, x: int) -> str:
        return f"sum {x + 1}"


TOOLS: dict[str, BaseTool] = {
    "plain": tool(plain),
    "structured": tool(structured),
    "blocks": tool(blocks),
    "with_artifact": tool(response_format="content_and_artifact")(with_artifact),
    "direct": tool("direct", return_direct=True)(plain),
    "failing": StructuredTool.from_function(failing, handle_tool_error=True),
    "failing_in_words": StructuredTool.from_function(
        failing, name="failing_in_words", handle_tool_error=lambda error: f"sorry: {error}"
    ),
    "stateful": tool(stateful),
    "running": tool(running),
    "commanding": tool(commanding),
    "messaging": tool(messaging),
    "sums": Sums(),
}
AWAITED = {"awaited": tool(awaited)}
"""Tools that have coroutines alone."""


def said(messages: Sequence[BaseMessage]) -> list[tuple[Any, ...]]:
    """Return what a model, and the host, get of messages; ids of messages are made anew each time."""
    return [
        (
            one.type,
            one.name if isinstance(one, ToolMessage) else None,
            one.content,
            getattr(one, "status", None),
            getattr(one, "artifact", None),
            getattr(one, "tool_call_id", None),
        )
        for one in messages
    ]
