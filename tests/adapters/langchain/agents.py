"""Agents and tools that several tests use, run synchronously and asynchronously."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, tool

from ringfence import Guard, Principal
from ringfence.adapters.langchain import GuardMiddleware
from ringfence.engine.decision.events import RunEvent
from tests.adapters.langchain.model import model

ALICE = Principal(user="alice", workspace="w1")
HELLO: dict[str, Any] = {"messages": [("user", "hello")]}
THREAD: dict[str, Any] = {"configurable": {"thread_id": "t1"}}
ADD = "tool add { needs work  takes a: integer  allow always }"
SEND = "tool send { needs work  takes to: text  allow always  ask lead }"

Invoke = Callable[..., dict[str, Any]]


def run_sync(agent: Any, given: Any, config: Any = None, **kwargs: Any) -> dict[str, Any]:
    result: dict[str, Any] = agent.invoke(given, config, **kwargs)
    return result


def run_async(agent: Any, given: Any, config: Any = None, **kwargs: Any) -> dict[str, Any]:
    result: dict[str, Any] = asyncio.run(agent.ainvoke(given, config, **kwargs))
    return result


both = pytest.mark.parametrize("invoke", [run_sync, run_async])


def agent_of(
    guard: Guard | None,
    tools: Sequence[Any],
    *script: Any,
    middleware: Sequence[Any] = (),
    on_halt: Any = "end",
    **more: Any,
) -> Any:
    """Return an agent with a script; unguarded if there is no guard."""
    last = [] if guard is None else [GuardMiddleware(guard, on_halt=on_halt)]
    return create_agent(model(*script), list(tools), middleware=[*middleware, *last], **more)


def replies(result: dict[str, Any]) -> list[str]:
    """Return what the tools, or the guard in their place, answered."""
    return [str(m.content) for m in result["messages"] if isinstance(m, ToolMessage)]


def statuses(result: dict[str, Any]) -> list[str]:
    """Return the status of each answer."""
    return [str(m.status) for m in result["messages"] if isinstance(m, ToolMessage)]


def events(guard: Guard, session: str | None = None) -> list[RunEvent]:
    """Return the events of the newest run."""
    return [stamped.event for stamped in guard.runs.latest(session=session).events]


def kinds(guard: Guard) -> list[str]:
    """Return the kinds of the events of the newest run."""
    return [event.kind for event in events(guard)]


def add_of(done: list[Any]) -> BaseTool:
    """Return a tool that notes what it adds to."""

    @tool
    def add(a: int) -> str:
        """Add one."""
        done.append(a)
        return str(a + 1)

    return add


def send_of(sent: list[str]) -> BaseTool:
    """Return a tool that notes whom it sends to."""

    @tool
    def send(to: str) -> str:
        """Send a message."""
        sent.append(to)
        return f"sent to {to}"

    return send


def danger_of(done: list[Any]) -> BaseTool:
    """Return a tool that does harm."""

    @tool
    def danger() -> str:
        """Do harm."""
        done.append("danger")
        return "done"

    return danger
