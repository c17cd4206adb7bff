"""The one place where a guarded LangChain tool meets the guard: around the function itself.

`arrive` turns the validated keyword arguments into a `ToolCall`; `run` and `arun` execute it through the
guard and put the graph away while people are asked.
"""

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NoReturn

from langchain_core.runnables.config import ensure_config
from langchain_core.tools import BaseTool

from ringfence.adapters.langchain import suspension
from ringfence.adapters.langchain.calls import by_name, task_of, tool_call, unmade_call
from ringfence.adapters.langchain.decisions import ResumeError, reviews
from ringfence.adapters.langchain.inner import InnerBodies
from ringfence.adapters.langchain.parameters import Parameters
from ringfence.adapters.langchain.runs import Runs
from ringfence.adapters.langchain.shown import Shown, ashown, shown
from ringfence.adapters.langchain.tree import around, is_invalid_resume
from ringfence.adapters.langchain.values import json_of
from ringfence.dsl.canonical import same
from ringfence.dsl.plan import Json
from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.enforcement.tool_results import ResultLens
from ringfence.engine.seams.errors import PendingError


class _ByMark(type):
    """LangGraph marks such an error, which is pydantic's own; it has no class of its own."""

    def __instancecheck__(cls, error: object) -> bool:
        return isinstance(error, BaseException) and is_invalid_resume(error)


class InvalidResume(BaseException, metaclass=_ByMark):
    """An answer that does not fit the schema of an interrupt: the question stays open."""


try:
    from langgraph.errors import GraphBubbleUp

    BUBBLES: tuple[type[BaseException], ...] = (GraphBubbleUp, ResumeError, InvalidResume)
except ImportError:  # langchain-core alone: nothing bubbles
    BUBBLES = (ResumeError,)


GATE = "ringfence_gate"
"""Under this a guarded tool has its gate."""


@dataclass(slots=True)
class Incoming:
    """A call on its way from `invoke` to the function, with what only the outside knows."""

    gate: "Gate"
    run: Run
    given: Mapping[str, Any]
    """The arguments as they were given, without what the framework injected."""
    call_id: str | None
    config: Mapping[str, Any]
    reached: bool = False
    in_words: bool = False
    """It comes from an agent that gives no call and takes a text for an answer."""


INCOMING: ContextVar[Incoming | None] = ContextVar("ringfence_incoming", default=None)
"""The call that is on its way to its function here."""
_WITHIN: ContextVar["tuple[Gate, Mapping[str, Json]] | None"] = ContextVar("ringfence_within", default=None)
"""The gate whose body the code at hand is, and the arguments that were decided for it."""


@dataclass(slots=True)
class Arrival:
    """A call at the gate."""

    run: Run
    call: ToolCall
    config: Mapping[str, Any]
    values: dict[str, Any]
    """The keyword arguments that the framework would pass."""
    seen: dict[str, Json]
    """The JSON of those that a model chose: what is decided."""


@dataclass(slots=True)
class Gate:
    """What guards one tool."""

    guard: Guard
    name: str
    tool: BaseTool
    """The original, unguarded."""
    parameters: Parameters
    runs: Runs
    lens: ResultLens
    functions: tuple[Any, ...] = ()
    """What the guarded copy calls, as it was made."""
    plain_func: Callable[..., Any] | None = None
    """The function behind the copy's `func`, if it takes nothing of the framework's; and of `coroutine`."""
    plain_coroutine: Callable[..., Awaitable[Any]] | None = None
    told: frozenset[str] | None = None
    """The parameters that LangChain tells callbacks; None: not found out yet."""
    inner: InnerBodies | None = None
    """Of a tool that runs in an isolate: the bodies of what its code may call."""
    _said: set[str] = field(default_factory=set)

    # ---- from outside ------------------------------------------------------------------------------

    def run(self, function: Callable[..., Any], args: tuple[Any, ...], values: dict[str, Any]) -> Any:
        """Execute the function through the guard."""
        named = self._named(function, args, values)
        if self._is_same_call(named):
            return function(*args, **values)
        arrival = self._arrive(named)
        body = self._body(function, arrival)
        wait = self._waits(arrival)
        inner = None if self.inner is None else self.inner.for_sync(self.name)
        while True:
            try:
                return self.guard.execute(
                    arrival.run,
                    arrival.call,
                    body,
                    wait=wait,
                    lens=self.lens,
                    passthrough=BUBBLES,
                    inner=inner,
                )
            except PendingError as pending:
                self.runs.wait_for_others(arrival.run, around(ensure_config()))
                self._suspend(arrival, pending, shown(arrival.config, task_of(arrival.config)))

    async def arun(
        self, function: Callable[..., Awaitable[Any]], args: tuple[Any, ...], values: dict[str, Any]
    ) -> Any:
        """Execute the coroutine function through the guard."""
        named = self._named(function, args, values)
        if self._is_same_call(named):
            return await function(*args, **values)
        arrival = self._arrive(named)
        body = self._abody(function, arrival)
        wait = self._waits(arrival)
        inner = None if self.inner is None else self.inner.asynchronous
        while True:
            try:
                return await self.guard.aexecute(
                    arrival.run,
                    arrival.call,
                    body,
                    wait=wait,
                    lens=self.lens,
                    passthrough=BUBBLES,
                    inner=inner,
                )
            except PendingError as pending:
                await self.runs.await_others(arrival.run, around(ensure_config()))
                known = await ashown(arrival.config, task_of(arrival.config))
                self._suspend(arrival, pending, known)

    def refuse(self, incoming: Incoming, why: str) -> NoReturn:
        """Have a call that never reached the function refused and recorded; raises the refusal."""
        self.guard.refuse(incoming.run, self._unmade(incoming), why)

    async def arefuse(self, incoming: Incoming, why: str) -> NoReturn:
        """Like `refuse`."""
        await self.guard.arefuse(incoming.run, self._unmade(incoming), why)

    def _unmade(self, incoming: Incoming) -> ToolCall:
        return unmade_call(self.name, incoming.given, incoming.call_id, incoming.config)

    # ---- inside ------------------------------------------------------------------------------------

    def _named(
        self, function: Callable[..., Any], args: tuple[Any, ...], values: dict[str, Any]
    ) -> dict[str, Any]:
        if not args:
            return values
        if self.parameters.single is not None:
            return {**values, self.parameters.single: args[0]}
        return by_name(function, args, values)

    def _is_same_call(self, values: Mapping[str, Any]) -> bool:
        """Say whether a body hands its own decided call on, as `_arun` does to `_run`: it is not another.

        SECURITY: what came in through `invoke`, or with other arguments, is always decided.
        """
        within, incoming = _WITHIN.get(), INCOMING.get()
        if within is None or within[0] is not self:
            return False
        if incoming is not None and incoming.gate is self and not incoming.reached:
            return False
        return same(self.parameters.shown(values), dict(within[1]))

    def _arrive(self, values: dict[str, Any]) -> Arrival:
        incoming = INCOMING.get()
        if incoming is None or incoming.gate is not self or incoming.reached:
            config = ensure_config()
            incoming = Incoming(self, self.runs.of_tool(self.name, config), {}, None, config)
            direct = True
        else:
            incoming.reached = True
            direct = False
        values = self.parameters.settled(values)
        chosen = self.parameters.decided(values)
        if direct:
            incoming.given = chosen
        seen = {name: json_of(value) for name, value in chosen.items()}
        extra = self.parameters.extra(incoming.given, seen)
        if extra:
            extra = {name: json_of(value) for name, value in extra.items()}
        call = tool_call(
            self.name,
            {**seen, **extra},
            call_id=incoming.call_id,
            config=incoming.config,
            schema_names=self.parameters.visible,
        )
        return Arrival(incoming.run, call, incoming.config, values, seen)

    def _body(self, function: Callable[..., Any], arrival: Arrival) -> Callable[[Mapping[str, Json]], Any]:
        def body(arguments: Mapping[str, Json]) -> Any:
            args, values = self._passed(arrival, arguments)
            token = _WITHIN.set((self, arguments))
            try:
                return function(*args, **values)
            finally:
                _WITHIN.reset(token)

        return body

    def _abody(
        self, function: Callable[..., Awaitable[Any]], arrival: Arrival
    ) -> Callable[[Mapping[str, Json]], Any]:
        async def body(arguments: Mapping[str, Json]) -> Any:
            args, values = self._passed(arrival, arguments)
            token = _WITHIN.set((self, arguments))
            try:
                return await function(*args, **values)
            finally:
                _WITHIN.reset(token)

        return body

    def _passed(
        self, arrival: Arrival, arguments: Mapping[str, Json]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        values = self.parameters.execute_with(arrival.values, arrival.seen, arguments)
        if self.parameters.single is None:
            return (), values
        return (values.pop(self.parameters.single),), values

    def _waits(self, arrival: Arrival) -> bool:
        """Say whether people are waited for in place; where a call may ask, say so to the host once."""
        if suspension.can_suspend(arrival.config):
            return False
        plan = self.guard.plan.by_bound_name.get(self.name)
        asks = plan is not None and plan.asks and not self.guard.plays_back
        if asks and self.name not in self._said:
            self._said.add(self.name)
            print(
                f"ringfence: `{self.name}` may ask people; without a checkpointer it waits for them in place",
                file=sys.stderr,
            )
        return True

    def _suspend(self, arrival: Arrival, pending: PendingError, known: Sequence[Shown]) -> None:
        """Put the graph away; on a resume, either reject or let the guard look again."""
        from langgraph.types import interrupt  # only where a graph runs: the tools need langchain-core alone

        self.runs.asked(arrival.run)
        waiting = [suspension.Waiting.of(arrival.run, self.name, arrival.call.call_id, pending)]
        # SECURITY: an answer to another question, which needed none any more, is none to this one.
        was_shown = any(asked.is_about(arrival.run, waiting[0]) for asked in known)
        while True:
            answer = interrupt(suspension.payload(waiting, ("approve", "reject")))
            if not was_shown or not suspension.is_new(answer, arrival.config):
                continue
            (review,) = reviews(answer, [self.name])
            if review.kind == "reject":
                raise suspension.withdrawn(self.guard, arrival.run, waiting[0], review.because) from pending
            if review.kind in ("edit", "respond"):
                raise ResumeError(f"`{self.name}` waits for `approve` or `reject`", help="say one of these")
            return


def gate_of(tool: object) -> Gate | None:
    """Return the gate of a guarded tool, or None."""
    gate = getattr(tool, "__dict__", {}).get(GATE)
    return gate if isinstance(gate, Gate) else None
