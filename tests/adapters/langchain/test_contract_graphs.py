"""The contract of adapters on graphs of LangGraph: a node of tools, and the prebuilt agent around one."""

from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, create_react_agent
from langgraph.prebuilt.tool_node import ToolCallRequest

from ringfence import Principal
from ringfence.adapters.langchain import (
    begin_hook,
    begin_node,
    end_hook,
    end_node,
    guard_tools,
    tool_node,
    visible_tools,
)
from ringfence.testing import Scene
from tests.adapters.langchain.stages import GraphStage, SceneModel, provider_tools


class Graph(GraphStage):
    """begin, model, tools, end; what is offered the model's node says."""

    def graph(self, scene: Scene, model: SceneModel, saver: Any) -> Any:
        tools = guard_tools(scene.guard, self.tools(scene))

        def think(state: MessagesState) -> dict[str, Any]:
            bound = model.bind_tools(visible_tools(scene.guard, [*tools, *provider_tools(scene)]))
            return {"messages": [bound.invoke(state["messages"])]}

        async def athink(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
            bound = model.bind_tools(visible_tools(scene.guard, [*tools, *provider_tools(scene)]))
            return {"messages": [await bound.ainvoke(state["messages"], config)]}

        def after(state: MessagesState) -> str:
            return "tools" if getattr(state["messages"][-1], "tool_calls", None) else "end"

        graph: Any = StateGraph(MessagesState, context_schema=Principal)
        graph.add_node("begin", begin_node(scene.guard, scene.agent, typed="human"))
        graph.add_node("model", athink if self.asynchronous else think)
        graph.add_node("tools", self.node(scene, tools))
        graph.add_node("end", end_node(scene.guard))
        graph.add_edge(START, "begin")
        graph.add_edge("begin", "model")
        graph.add_conditional_edges("model", after, ["tools", "end"])
        graph.add_edge("tools", "model")
        graph.add_edge("end", END)
        return graph.compile(checkpointer=saver)

    def node(self, scene: Scene, tools: Any) -> ToolNode:
        """Return the node that calls tools."""
        return tool_node(scene.guard, tools)


class TestToolNode(Graph):
    """`tool_node`, asynchronously."""

    asynchronous = True
    has_hooks = False  # `tool_node` is the innermost wrapper


class TestToolNodeSynchronously(Graph):
    """`tool_node`."""

    asynchronous = False
    awaits = False
    cancels = False
    has_hooks = False


class TestBareToolNode(Graph):
    """`ToolNode(guard_tools(…))`, which may have a hook of the host's around its tools."""

    asynchronous = True
    records_unknown = False
    has_unknown_tools = False  # LangGraph answers with the names of all its tools: `tool_node` is for that

    def node(self, scene: Scene, tools: Any) -> ToolNode:
        async def rewritten(request: ToolCallRequest, handler: Any) -> Any:
            assert scene.rewrites is not None
            call = request.tool_call
            args = scene.rewrites(call["name"], dict(call["args"]))
            return await handler(request.override(tool_call={**call, "args": args}))

        return ToolNode(tools) if scene.rewrites is None else ToolNode(tools, awrap_tool_call=rewritten)


@pytest.mark.filterwarnings("ignore:create_react_agent has been moved")
class ReactAgent(GraphStage):
    """`create_react_agent`, with the run begun before its model."""

    has_hooks = False
    reuses_ids, renames = False, True  # with a hook after its model it takes such a call for answered

    def graph(self, scene: Scene, model: SceneModel, saver: Any) -> Any:
        tools = guard_tools(scene.guard, self.tools(scene))
        offered: list[Any] = [*tools, *provider_tools(scene)]
        return create_react_agent(
            lambda state, runtime: model.bind_tools(visible_tools(scene.guard, offered)),
            tool_node(scene.guard, tools),
            pre_model_hook=begin_hook(scene.guard, scene.agent, typed="human"),
            post_model_hook=end_hook(scene.guard),
            context_schema=Principal,
            checkpointer=saver,
        )


class TestReactAgent(ReactAgent):
    """Asynchronously."""

    asynchronous = True


class TestReactAgentSynchronously(ReactAgent):
    """And not."""

    asynchronous = False
    awaits = False
    cancels = False
