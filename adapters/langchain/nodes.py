"""Raw LangGraph: a node that begins the run, before the node that calls tools."""

from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig

from ringfence.adapters.langchain.principals import new_prompts
from ringfence.adapters.langchain.prompts import Typed
from ringfence.adapters.langchain.runs import runs_of
from ringfence.engine.binding.around import principal_of
from ringfence.engine.enforcement.guard import Guard


def begin_node(
    guard: Guard, agent: str | None = None, *, messages_key: str = "messages", typed: Typed = None
) -> Callable[..., dict[str, Any]]:
    """Return a node that begins a run: `graph.add_node("begin", begin_node(guard))`.

    The run ends with this invocation of the graph.  With a checkpointer it belongs to the thread and may
    go on: it ends at `end_node`, or when the next one begins.  The principal is the graph's context.
    `typed` says what of the messages the user typed, as for `GuardMiddleware`.
    """

    def begin(state: Any, config: RunnableConfig) -> dict[str, Any]:
        runs = runs_of(guard)
        messages = _messages(state, messages_key)
        before = runs.open_run_of(config)
        if before is not None and not runs.is_around(before, config):
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


def begin_hook(
    guard: Guard, agent: str | None = None, *, typed: Typed = None
) -> Callable[..., dict[str, Any]]:
    """Return `begin_node` for a place before every model call, as `create_react_agent` has one.

    `create_react_agent(..., pre_model_hook=begin_hook(guard), post_model_hook=end_hook(guard))`: while tools
    answer, the run goes on.
    """
    begin = begin_node(guard, agent, typed=typed)

    def before_model(state: Any, config: RunnableConfig) -> dict[str, Any]:
        messages = _messages(state, "messages")
        goes_on = bool(messages) and isinstance(messages[-1], ToolMessage)
        return {} if goes_on and runs_of(guard).is_under_way(config) else begin(state, config)

    return before_model


def end_hook(guard: Guard) -> Callable[..., dict[str, Any]]:
    """Return `end_node` for a place after every model call: the run ends when the model calls no tool."""
    end = end_node(guard)

    def after_model(state: Any, config: RunnableConfig) -> dict[str, Any]:
        messages = _messages(state, "messages")
        goes_on = bool(messages) and bool(getattr(messages[-1], "tool_calls", None))
        return {} if goes_on else end(state, config)

    return after_model


def _messages(state: Any, key: str) -> list[Any]:
    if isinstance(state, list):
        return state
    found = state.get(key) if isinstance(state, Mapping) else getattr(state, key, None)
    return found if isinstance(found, list) else []
