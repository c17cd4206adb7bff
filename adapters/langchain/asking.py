"""The middleware's node after the model: people are asked about the model's whole turn at once."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langchain_core.tools import BaseTool
from langgraph.config import get_config
from langgraph.runtime import Runtime

from ringfence.adapters.langchain.calls import task_of
from ringfence.adapters.langchain.gate import Gate, gate_of
from ringfence.adapters.langchain.middleware import GuardMiddleware, GuardState, Messages
from ringfence.adapters.langchain.shown import Shown, ashown, shown
from ringfence.adapters.langchain.turns import Turns
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import RunHaltedError

_MOST_RUNS: Final = 1_000


class AskingMiddleware(GuardMiddleware):
    """Asks about the calls of a turn before any of them is made."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._turns = Turns(self.guard, self.answered_by)
        self._offered_to: OrderedDict[str, dict[str, BaseTool]] = OrderedDict()

    def after_model(self, state: GuardState, runtime: Runtime[Any]) -> Messages | None:
        """Ask about the calls of the turn that ask, and put the graph away until all are answered."""
        config = get_config()
        if not self._turns.to_look_at(open_calls(state["messages"]), config):
            return None
        return self._ask(state, runtime, config, shown(config, task_of(config)))

    async def aafter_model(self, state: GuardState, runtime: Runtime[Any]) -> Messages | None:
        """See `after_model`."""
        config = get_config()
        if not self._turns.to_look_at(open_calls(state["messages"]), config):
            return None
        known = await ashown(config, task_of(config))
        return await asyncio.to_thread(self._ask, state, runtime, config, known)

    def _ask(
        self, state: GuardState, runtime: Runtime[Any], config: Mapping[str, Any], known: Sequence[Shown]
    ) -> Messages | None:
        try:
            run = self._run(state, runtime.context, config)
        except RunHaltedError:
            return None  # each call is refused at its gate, in the framework's own form
        calls = self._turns.to_look_at(open_calls(state["messages"]), config)
        answers = self._turns.ask(run, calls, lambda name: self._gate(run, name), runtime, config, known)
        return {"messages": list(answers.values())} if answers else None

    def _bound_to(self, run: Run, tools: Sequence[Any]) -> None:
        self._offered_to[run.id] = {tool.name: tool for tool in tools if isinstance(tool, BaseTool)}
        self._offered_to.move_to_end(run.id)
        while len(self._offered_to) > _MOST_RUNS:
            self._offered_to.popitem(last=False)

    def _gate(self, run: Run, name: str) -> Gate | None:
        """Return the gate of the tool that the model was offered; None: this process offered none."""
        tool = self._offered_to.get(run.id, {}).get(name)
        gate = gate_of(tool)
        if tool is None or (gate is not None and gate.guard is self.guard):
            return gate
        try:
            return self._guarded(tool)[1]
        except (TypeError, ValueError):  # fails closed: it cannot be guarded, and so it does not run
            return None


def open_calls(messages: Sequence[AnyMessage]) -> list[dict[str, Any]]:
    """Return the calls of the model's last turn that have no answer yet."""
    for at in range(len(messages) - 1, -1, -1):
        turn = messages[at]
        if isinstance(turn, AIMessage):
            answered = {one.tool_call_id for one in messages[at:] if isinstance(one, ToolMessage)}
            return [dict(call) for call in turn.tool_calls if call["id"] not in answered]
    return []
