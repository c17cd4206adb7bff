"""The guarded copy of a graph of agents: those that are handed over to and those that are tools included.

A guarded agent is of its own class, so that copies of it (`clone`, `dataclasses.replace`) are guarded too,
and it lists its tools through the guard, so that tools of servers and those added later are as well.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Final

from agents import Agent, FunctionTool, Handoff, RunContextWrapper, Tool, handoff
from agents.models.interface import Model

from ringfence.adapter import EngineError, Guard
from ringfence.adapters.openai_agents.handoffs import guarded_handoff, passage_of
from ringfence.adapters.openai_agents.inside import agent_of, rebound
from ringfence.adapters.openai_agents.invocations import around
from ringfence.adapters.openai_agents.models import GuardedModel
from ringfence.adapters.openai_agents.offered import Offered
from ringfence.adapters.openai_agents.questions import LISTED
from ringfence.adapters.openai_agents.tools import gate_of, guarded_tool

_OVERRIDES = ("get_all_tools", "get_mcp_tools", "get_system_prompt", "get_prompt", "clone", "as_tool")
_MOST_AGENTS: Final = 256
"""How many copies are kept: hosts may make an agent for each request."""


class GuardedAgent:
    """What a guarded agent's class has before the SDK's own."""

    ringfence: ClassVar["Graph"]

    async def get_all_tools(self, run_context: RunContextWrapper[Any]) -> list[Tool]:
        """Return the guarded tools that the run may use.

        Outside of any run, where the SDK reads a saved state, all that are functions: each of them raises
        NoRunError when it is called there.
        """
        graph = self.ringfence
        invocation = around(graph.guard)
        graph.check(self)
        if invocation is None:
            found: list[Tool] = await super().get_all_tools(run_context)  # type: ignore[misc]
            self.__dict__[LISTED] = [graph.tool(one) for one in found if isinstance(one, FunctionTool)]
            return list(self.__dict__[LISTED])
        run = await invocation.at()
        invocation.keep(run_context)
        invocation.agent = self
        found = await super().get_all_tools(run_context)  # type: ignore[misc]
        self.__dict__[LISTED] = shown = graph.offered.shown(run, [graph.tool(one) for one in found])
        return list(shown)


class Graph:
    """The guarded agents of one runner."""

    def __init__(self, guard: Guard, config: Callable[[Any], Any]) -> None:
        self.guard = guard
        self.offered = Offered(guard)
        self._config = config
        self._lock = threading.RLock()
        self._kinds: dict[type, type] = {}
        self._copies: OrderedDict[int, tuple[list[Any], Agent[Any]]] = OrderedDict()

    def guarded(self, agent: Agent[Any]) -> Agent[Any]:
        """Return the guarded copy of an agent and of all that it leads to; the same one while it is the same.

        Raises:
            EngineError: It is guarded by another guard.
            TypeError: It is no agent, or some of its methods were exchanged.
        """
        if isinstance(agent, GuardedAgent):
            if agent.ringfence.guard is not self.guard:
                raise EngineError(f"the agent `{agent.name}` is guarded by another guard")
            return agent
        if not isinstance(agent, Agent):
            raise TypeError(f"a {type(agent).__name__} is no agent of the SDK")
        with self._lock:
            now = list(_looked_at(agent))
            known = self._copies.get(id(agent))
            if known is None or not _same(known[0], now):
                known = self._copies[id(agent)] = (now, self._copy(agent, {}))
                if len(self._copies) > _MOST_AGENTS:
                    self._copies.popitem(last=False)
            return known[1]

    def _copy(self, agent: Agent[Any], made: dict[int, Agent[Any]]) -> Agent[Any]:
        if isinstance(agent, GuardedAgent):
            return self.guarded(agent)
        if id(agent) in made:
            return made[id(agent)]
        exchanged = [name for name in _OVERRIDES if name in agent.__dict__]
        if exchanged:
            raise TypeError(
                f"`{exchanged[0]}` of the agent `{agent.name}` was exchanged: make it a method of its class"
            )
        copied: Agent[Any] = object.__new__(self._kind(type(agent)))
        copied.__dict__.update(agent.__dict__)
        made[id(agent)] = copied
        if isinstance(agent.model, Model):
            copied.model = GuardedModel.over(self.guard, agent.model)
        copied.tools = [self.tool(one, made) for one in agent.tools]
        copied.handoffs = [self._handoff(one, made) for one in agent.handoffs]
        return copied

    def _kind(self, kind: type) -> type:
        found = self._kinds.get(kind)
        if found is None:
            members = {"ringfence": self, "__module__": kind.__module__, "__doc__": kind.__doc__}
            found = self._kinds[kind] = type(kind.__name__, (GuardedAgent, kind), members)
        return found

    def tool(self, tool: Tool, made: dict[int, Agent[Any]] | None = None) -> Tool:
        """Return the guarded copy of a tool that is a function; any other as it is."""
        if not isinstance(tool, FunctionTool):
            return tool
        known = gate_of(tool)
        if known is not None and known.guard is self.guard:
            return tool
        inner = agent_of(tool)
        if inner is None:
            return guarded_tool(self.guard, tool)
        guarded = self._copy(inner, made) if made is not None else self.guarded(inner)
        copied = guarded_tool(self.guard, tool, rebound(tool, guarded, self._config))
        copied._agent_instance = guarded
        return copied

    def _handoff(self, given: Any, made: dict[int, Agent[Any]]) -> Handoff[Any, Any]:
        known = passage_of(given)
        if known is not None and known.guard is self.guard:
            return given  # type: ignore[no-any-return]
        original: Handoff[Any, Any] = given if isinstance(given, Handoff) else handoff(given)
        target = original._agent_ref() if original._agent_ref is not None else None
        inside = None if target is None else self._copy(target, made)  # type: ignore[arg-type]

        def guarded(other: Any) -> Agent[Any]:
            return inside if other is target and inside is not None else self.guarded(other)

        return guarded_handoff(self.guard, original, inside, guarded)

    def check(self, agent: Any) -> None:
        """Raise EngineError if an agent leads where nothing stands before it."""
        for one in agent.handoffs:
            found = passage_of(one)
            if found is None or found.guard is not self.guard:
                raise EngineError(
                    f"a handoff of the agent `{agent.name}` is not guarded",
                    help="add it to the agent itself, not to its guarded copy",
                )


def _looked_at(agent: Agent[Any]) -> Iterator[Any]:
    """Yield what a copy is made of, for all agents that an agent leads to."""
    left, seen = [agent], set()
    while left:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        for name, value in one.__dict__.items():
            yield name
            yield from value if isinstance(value, list) else (value,)
        for tool in one.tools:
            inner = getattr(tool, "_agent_instance", None)
            left += [inner] if isinstance(inner, Agent) else []
        for given in one.handoffs:
            target = given if isinstance(given, Agent) else getattr(given, "_agent_ref", lambda: None)
            target = target() if not isinstance(target, Agent) and target is not None else target
            left += [target] if isinstance(target, Agent) else []


def _same(left: list[Any], right: list[Any]) -> bool:
    return len(left) == len(right) and all(
        a is b or (type(a) is str and a == b) for a, b in zip(left, right, strict=True)
    )
