"""Agents, tools and scripts that several tests use."""

from collections.abc import Sequence
from typing import Any

from agents import Agent, FunctionTool, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call

from ringfence import Guard, Principal
from ringfence.engine.decision.events import RunEvent

ALICE = Principal(user="alice", workspace="w1")
ADD = "tool add { needs work  takes amount: integer  allow when amount <= 100 }\n"
SEND = "tool send { needs work  takes to: text  allow always  ask lead }\n"


class Ran(list[Any]):
    """What bodies did, in order."""

    def add(self) -> FunctionTool:
        """Return a tool that notes what it adds."""

        @function_tool
        def add(amount: int) -> str:
            """Add."""
            self.append(amount)
            return f"added {amount}"

        return add

    def send(self) -> FunctionTool:
        """Return a tool that notes whom it sends to."""

        @function_tool
        def send(to: str) -> str:
            """Send."""
            self.append(to)
            return f"sent to {to}"

        return send


def asks(name: str, arguments: Any, id: str = "c1") -> list[Any]:
    """Return a turn of the model with one call."""
    return [function_call(name, arguments, call_id=id)]


def says(text: str = "done") -> list[Any]:
    """Return the model's last turn."""
    return [assistant_message(text)]


def script(*turns: Any) -> ScriptedModel:
    """Return a model that says these turns, and then that it is done."""
    return ScriptedModel([*turns, says(), says(), says()])


def agent_of(tools: Sequence[Any], *turns: Any, **more: Any) -> Agent[Any]:
    """Return an agent with a script."""
    return Agent(**{"name": "desk", "tools": list(tools), "model": script(*turns), **more})


def told(model: Any) -> list[str]:
    """Return what the model was told of its calls, in its last request."""
    given = model.calls[-1].input
    return [str(item["output"]) for item in given if item.get("type") == "function_call_output"]


def offered(model: Any) -> list[set[str]]:
    """Return what each request offered."""
    return [{tool.name for tool in one.tools} | {h.tool_name for h in one.handoffs} for one in model.calls]


def events(guard: Guard, *kinds: str) -> list[RunEvent]:
    """Return the events of all runs, oldest run first."""
    rows = reversed(guard.runs.list())
    found = [stamped.event for row in rows for stamped in guard.runs.get(row.run).events]
    return [event for event in found if not kinds or event.kind in kinds]


def verdicts(guard: Guard) -> list[str]:
    """Return what was decided, in order."""
    return [event.verdict for event in events(guard, "CallDecided")]  # type: ignore[attr-defined]


def statuses(guard: Guard) -> list[str]:
    """Return how the runs stand, oldest first."""
    return [row.status for row in reversed(guard.runs.list())]
