"""Puts the guard where a user would: last in an agent's middleware, and around tools that are called."""

import functools
import sys
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, ClassVar

from langchain_core.tools import BaseTool

from inserted.policies import Guards
from ringfence import Guard
from ringfence.adapter import current_run
from ringfence.adapters.langchain import GuardMiddleware, guard_tools, injected, tool_node
from ringfence.adapters.langchain.gate import gate_of

_MAKING: ContextVar[bool] = ContextVar("inserted_making", default=False)
"""True while an agent or a node of ours is made: the node inside of it is not another one."""


def into_agents(guards: Guards) -> None:
    """Give every agent of `create_agent` a `GuardMiddleware`, last in its list."""
    import langchain.agents
    from langchain.agents import factory

    make = factory.create_agent

    @functools.wraps(make)
    def create_agent(model: Any, tools: Any = None, *, middleware: Sequence[Any] = (), **options: Any) -> Any:
        given = tools if isinstance(tools, Sequence) else ()
        bound = [*given, *(tool for one in middleware for tool in getattr(one, "tools", ()))]
        last = GuardMiddleware(guards.over(bound))
        token = _MAKING.set(True)
        try:
            return make(model, tools, middleware=[*middleware, last], **options)
        finally:
            _MAKING.reset(token)

    factory.create_agent = create_agent
    langchain.agents.create_agent = create_agent


def into_nodes(guards: Guards, *, as_node: bool) -> None:
    """Give every `ToolNode` guarded tools, and each of its invocations a run.

    Args:
        as_node: It is made by `tool_node`, unless it has wrappers of its own.
    """
    from langgraph.prebuilt.tool_node import ToolNode

    make, invoke, ainvoke = ToolNode.__init__, ToolNode.invoke, ToolNode.ainvoke

    @functools.wraps(make)
    def __init__(self: Any, tools: Sequence[Any], **options: Any) -> None:
        if _MAKING.get():
            return make(self, tools, **options)
        guard = guards.over(tools)
        token = _MAKING.set(True)
        try:
            if as_node and not ({"wrap_tool_call", "awrap_tool_call"} & options.keys()):
                made = tool_node(guard, tools, **options)
                self.__dict__.update(made.__dict__)
                self.__class__ = type(made)
            else:
                make(self, guard_tools(guard, tools), **_with_guarded(guard, options))
        finally:
            _MAKING.reset(token)
        self.__dict__["inserted_guard"] = guard

    @functools.wraps(invoke)
    def invoke_in_run(self: Any, *args: Any, **options: Any) -> Any:
        guard: Guard | None = self.__dict__.get("inserted_guard")
        if guard is None:
            return invoke(self, *args, **options)
        with guard.run():
            return invoke(self, *args, **options)

    @functools.wraps(ainvoke)
    async def ainvoke_in_run(self: Any, *args: Any, **options: Any) -> Any:
        guard: Guard | None = self.__dict__.get("inserted_guard")
        if guard is None:
            return await ainvoke(self, *args, **options)
        async with guard.run():
            return await ainvoke(self, *args, **options)

    ToolNode.__init__ = __init__  # type: ignore[method-assign]
    ToolNode.invoke = invoke_in_run  # type: ignore[method-assign]
    ToolNode.ainvoke = ainvoke_in_run  # type: ignore[method-assign]


def _with_guarded(guard: Guard, options: dict[str, Any]) -> dict[str, Any]:
    """Return a node's options; what its own wrappers put in a tool's place is guarded, too."""
    wrap, awrap = options.get("wrap_tool_call"), options.get("awrap_tool_call")
    changed: dict[str, Any] = {}
    if wrap is not None:
        changed["wrap_tool_call"] = lambda request, handler: wrap(
            request, lambda exchanged: handler(_exchanged(guard, exchanged))
        )
    if awrap is not None:

        async def awrapped(request: Any, handler: Any) -> Any:
            async def guarded_handler(exchanged: Any) -> Any:
                return await handler(_exchanged(guard, exchanged))

            return await awrap(request, guarded_handler)

        changed["awrap_tool_call"] = awrapped
    return {**options, **changed}


def _exchanged(guard: Guard, request: Any) -> Any:
    if request.tool is None or gate_of(request.tool) is not None:
        return request
    return request.override(tool=guard_tools(guard, [request.tool])[0])


class InRun:
    """A guarded tool whose every call from outside is made inside a run, as in `with guard.run():`.

    What the suite injects by hand into the input is given as the host's own word, with `injected`.
    """

    inserted: ClassVar[Guard]

    def invoke(self, input: Any, *args: Any, **options: Any) -> Any:
        """See `BaseTool.invoke`."""
        clean, by_host = _apart(self, input)
        with self.inserted.run(), injected(**by_host):
            return super().invoke(clean, *args, **options)  # type: ignore[misc]

    async def ainvoke(self, input: Any, *args: Any, **options: Any) -> Any:
        """See `BaseTool.ainvoke`."""
        clean, by_host = _apart(self, input)
        async with self.inserted.run():
            with injected(**by_host):
                return await super().ainvoke(clean, *args, **options)  # type: ignore[misc]

    def run(self, tool_input: Any, *args: Any, **options: Any) -> Any:
        """See `BaseTool.run`."""
        if current_run() is not None:  # by way of `invoke`
            return super().run(tool_input, *args, **options)  # type: ignore[misc]
        clean, by_host = _apart(self, tool_input)
        with self.inserted.run(), injected(**by_host):
            return super().run(clean, *args, **options)  # type: ignore[misc]

    async def arun(self, tool_input: Any, *args: Any, **options: Any) -> Any:
        """See `BaseTool.arun`."""
        if current_run() is not None:
            return await super().arun(tool_input, *args, **options)  # type: ignore[misc]
        clean, by_host = _apart(self, tool_input)
        async with self.inserted.run():
            with injected(**by_host):
                return await super().arun(clean, *args, **options)  # type: ignore[misc]


def _apart(tool: Any, given: Any) -> tuple[Any, dict[str, Any]]:
    """Return an input without what only a host may inject, and that."""
    if not isinstance(given, dict):
        return given, {}
    if given.get("type") == "tool_call" and isinstance(given.get("args"), dict):
        clean, by_host = _apart(tool, given["args"])
        return {**given, "args": clean}, by_host
    names = gate_of(tool).parameters.injected  # type: ignore[union-attr]
    return {n: v for n, v in given.items() if n not in names}, {n: given[n] for n in given.keys() & names}


def at_birth(look: Callable[[BaseTool], None], guards: Guards | None, *, everywhere: bool) -> None:
    """Look at every tool that is made.

    Args:
        everywhere: A guarded copy comes in its place.
    """
    meta: Any = type(BaseTool)
    call = meta.__call__

    def made(cls: Any, *args: Any, **values: Any) -> Any:
        tool = call(cls, *args, **values)
        if not isinstance(tool, BaseTool):
            return tool
        look(tool)
        if guards is not None and not everywhere:
            guards.made_here(tool)
            return tool
        return tool if guards is None else in_run(guards, tool)

    meta.__call__ = made


def in_run(guards: Guards, tool: BaseTool) -> BaseTool:
    """Return a guarded copy that begins a run whenever it is called."""
    guard = guards.over([tool])
    [copy] = guard_tools(guard, [tool])
    kind = type(copy)
    about = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    meta: Any = type(kind)
    made = meta(
        kind.__name__,
        (InRun, kind),
        {**about, "inserted": guard, "__annotations__": {"inserted": ClassVar[Guard]}},
    )
    object.__setattr__(copy, "__class__", made)
    return copy


def into_bare_calls(guards: Guards) -> None:
    """Have a test that calls a tool by hand call a guarded copy of it; all other callers are not touched."""
    for name in ("invoke", "ainvoke", "run", "arun"):
        setattr(BaseTool, name, _by_hand(guards, name, getattr(BaseTool, name)))


def _by_hand(guards: Guards, name: str, method: Any) -> Any:
    @functools.wraps(method)
    def called(self: Any, *args: Any, **options: Any) -> Any:
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if not caller.startswith("tests.") or gate_of(self) is not None:
            return method(self, *args, **options)
        return getattr(in_run(guards, self), name)(*args, **options)

    return called
