"""A model's call as the guard takes it, with LangGraph's durable ids where a graph makes it."""

from collections.abc import Callable, Mapping
from inspect import Parameter, signature
from typing import Any

from ringfence.adapters.langchain.runs import attempt_of
from ringfence.adapters.langchain.values import json_of
from ringfence.dsl.plan import Json
from ringfence.engine.decision.calls import ToolCall


def tool_call(
    name: str,
    arguments: Mapping[str, Json],
    *,
    call_id: str | None,
    config: Mapping[str, Any] | None,
    schema_names: frozenset[str] | None,
) -> ToolCall:
    """Return the call as the guard takes it, with LangGraph's durable ids where a graph makes it."""
    execution = _execution(config)
    task = getattr(execution, "task_id", None)
    return ToolCall(
        tool=name,
        # In the order in which the log will have them: a replay finds the same argument wrong first.
        arguments=dict(sorted(arguments.items())),
        call_id=call_id,
        # All calls of a raw ToolNode share one task, and models reuse ids over turns: both together.
        task=None if task is None else f"{task}/{call_id}",
        attempt=attempt_of(config, getattr(execution, "node_attempt", 1)),
        schema_names=schema_names,
    )


def task_of(config: Mapping[str, Any] | None) -> str | None:
    """Return LangGraph's id of the task that runs: the same after a resume and a restart of the process."""
    task = getattr(_execution(config), "task_id", None)
    return None if task is None else str(task)


def _execution(config: Mapping[str, Any] | None) -> Any:
    runtime = ((config or {}).get("configurable") or {}).get("__pregel_runtime")
    return getattr(runtime, "execution_info", None)


def unmade_call(
    name: str, arguments: Mapping[str, Any], call_id: str | None, config: Mapping[str, Any] | None
) -> ToolCall:
    """Return a call that has no body to reach, as the model wrote it."""
    written = {str(n): json_of(v) for n, v in arguments.items()}
    return tool_call(name, written, call_id=call_id, config=config, schema_names=None)


def by_name(function: Callable[..., Any], args: tuple[Any, ...], values: dict[str, Any]) -> dict[str, Any]:
    """Return positional arguments by their names, as a direct call of the function gives them."""
    named: dict[str, Any] = {}
    for name, value in signature(function).bind(*args, **values).arguments.items():
        kind = signature(function).parameters[name].kind
        if kind is Parameter.VAR_POSITIONAL:
            raise TypeError(f"`{name}`: a guarded function takes named arguments only")
        named.update(value if kind is Parameter.VAR_KEYWORD else {name: value})
    return named
