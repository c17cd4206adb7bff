"""Raw LangGraph: a node that begins the run, before the node that calls tools."""

from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig

from ringfence.adapters.langchain.principals import new_prompts, principal_of
from ringfence.adapters.langchain.prompts import Typed
from ringfence.adapters.langchain.runs import runs_of, thread_of
from ringfence.engine.enforcement.guard import Guard


def begin_node(
    guard: Guard, agent: str | None = None, *, messages_key: str = "messages", typed: Typed = None
) -> Callable[..., dict[str, Any]]:
    """Return a node that begins a run: `graph.add_node("begin", begin_node(guard))`.

    The run ends with this invocation of the graph.  With a checkpointer it belongs to the thread and may
    go on: it ends at `end_node`, or when the next one begins.  The principal is the graph's context.
    `typed` says what of the messages the user typed, as for `GuardMiddleware`.

    Where a graph has no place for a node of its own it may stand before the model, as in
    `create_react_agent(..., pre_model_hook=begin_node(guard))`: after a tool has answered it does nothing.
    """

    def begin(state: Any, config: RunnableConfig) -> dict[str, Any]:
        runs = runs_of(guard)
        messages = _messages(state, messages_key)
        thread = thread_of(config)
        if messages and isinstance(messages[-1], ToolMessage) and runs.is_under_way(config):
            return {}
        if thread is not None and (before := runs.open_run_of(thread)) is not None:
            runs.close(before, new_prompts(messages), messages)
        runtime = (config.get("configurable") or {}).get("__pregel_runtime")
        runs.begin(
            config,
            principal=principal_of(getattr(runtime, "context", None), guard.plan),
            agent=agent,
            messages=messages,
            typed=typed,
        )
        return {}

    return begin


def end_node(guard: Guard) -> Callable[..., dict[str, Any]]:
    """Return a node that ends the run: put it last in a graph with a checkpointer."""

    def end(state: Any, config: RunnableConfig) -> dict[str, Any]:
        runs = runs_of(guard)
        runs.close(runs.of_tool("end_node", config).id)
        return {}

    return end


def _messages(state: Any, key: str) -> list[Any]:
    if isinstance(state, list):
        return state
    found = state.get(key) if isinstance(state, Mapping) else getattr(state, key, None)
    return found if isinstance(found, list) else []
