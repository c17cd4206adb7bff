"""Raw LangGraph: the node that calls tools, which asks about all of its calls at once before any is made.

It answers names that it does not have as the policy says.

SECURITY: LangGraph's own answer lists the names of all its tools, is no event, counts as no denial, and comes
at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.prebuilt import ToolNode
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.runtime import Runtime

from ringfence.adapters.langchain.calls import task_of, unmade_call
from ringfence.adapters.langchain.gate import Gate, gate_of
from ringfence.adapters.langchain.replies import error_message, told, with_id
from ringfence.adapters.langchain.runs import runs_of
from ringfence.adapters.langchain.shown import Shown, ashown, shown
from ringfence.adapters.langchain.tools import guard_tools
from ringfence.adapters.langchain.turns import AnsweredBy, Turns, may_ask
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.errors import DeniedError

_UNBOUND = "no tool of this name is bound"


_ANSWERS: ContextVar[Mapping[str, ToolMessage] | None] = ContextVar("ringfence_answers", default=None)
"""The answers to calls of the turn at hand that are not made any more, by their ids."""


class AskingToolNode(ToolNode):
    """A `ToolNode` of guarded tools that asks about its calls before it makes any of them."""

    def asks_with(self, guard: Guard, turns: Turns) -> None:
        """Ask about calls under this guard."""
        self._guard, self._turns = guard, turns

    def _func(self, input: Any, config: RunnableConfig, runtime: Runtime[Any]) -> Any:
        known = shown(config, task_of(config))
        with answering(self._ask(input, config, runtime, known)):
            return super()._func(input, config, runtime)

    async def _afunc(self, input: Any, config: RunnableConfig, runtime: Runtime[Any]) -> Any:
        known = await ashown(config, task_of(config))
        answers = await asyncio.to_thread(self._ask, input, config, runtime, known)
        with answering(answers):
            return await super()._afunc(input, config, runtime)

    def _ask(
        self, input: Any, config: RunnableConfig, runtime: Runtime[Any], known: Sequence[Shown]
    ) -> Mapping[str, ToolMessage]:
        calls = self._turns.to_look_at(self._parse_input(input)[0], config)
        if not calls:
            return {}
        run = runs_of(self._guard).of_tool(calls[0]["name"], config)
        return self._turns.ask(run, calls, self._gate, runtime, config, known)

    def _gate(self, name: str) -> Gate | None:
        return gate_of(self.tools_by_name.get(name))


@contextmanager
def answering(answers: Mapping[str, ToolMessage]) -> Iterator[None]:
    """Have these calls answered in the block instead of made."""
    token = _ANSWERS.set(answers)
    try:
        yield
    finally:
        _ANSWERS.reset(token)


def _answered(request: ToolCallRequest) -> ToolMessage | None:
    return (_ANSWERS.get() or {}).get(request.tool_call["id"] or "")


def tool_node(
    guard: Guard,
    tools: Sequence[BaseTool | Callable[..., Any]],
    *,
    answered_by: AnsweredBy | None = None,
    **options: Any,
) -> ToolNode:
    """Return `ToolNode(guard_tools(guard, tools))` that refuses and records the names it does not have.

    With a checkpointer it asks about all calls of a turn that ask at once, before it makes any of them.

    Args:
        answered_by: Says who resumes the graph, as for `GuardMiddleware`.
        options: Those of `ToolNode`, but for its wrappers of tool calls.
    """

    def wrap(request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]) -> Any:
        answer = _answered(request)
        if answer is not None or request.tool is not None:
            return answer if answer is not None else handler(request)
        name, config = request.tool_call["name"], request.runtime.config
        call = with_id(request.tool_call, task_of(config))
        try:
            run = runs_of(guard).of_tool(name, config)
            guard.refuse(run, unmade_call(name, call["args"], call["id"], config), _UNBOUND)
        except DeniedError as error:
            return _answer(error, guard, call)

    async def awrap(request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Any]]) -> Any:
        answer = _answered(request)
        if answer is not None or request.tool is not None:
            return answer if answer is not None else await handler(request)
        name, config = request.tool_call["name"], request.runtime.config
        call = with_id(request.tool_call, task_of(config))
        try:
            run = runs_of(guard).of_tool(name, config)
            await guard.arefuse(run, unmade_call(name, call["args"], call["id"], config), _UNBOUND)
        except DeniedError as error:
            return _answer(error, guard, call)

    made = guard_tools(guard, tools)
    if not may_ask(guard.plan):
        return ToolNode(made, wrap_tool_call=wrap, awrap_tool_call=awrap, **options)
    node = AskingToolNode(made, wrap_tool_call=wrap, awrap_tool_call=awrap, **options)
    node.asks_with(guard, Turns(guard, answered_by))
    return node


def _answer(error: DeniedError, guard: Guard, call: dict[str, Any]) -> ToolMessage:
    if error.decision is None:  # it is the host that must hear it
        raise error
    return error_message(told(error, guard.plan), name=call["name"], call_id=call["id"])
