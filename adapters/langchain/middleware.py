"""`GuardMiddleware`: the guard in an agent made by `create_agent`, last in its list of middleware.

Hooks only begin and end the run, hide tools and steer the graph.  The decision is made around the body of
the tool (`gate`), which every call reaches through a guarded copy that this middleware puts in its place.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any, Literal, NotRequired, TypedDict
from weakref import WeakKeyDictionary, WeakSet

from langchain.agents.middleware.types import (
    AgentMiddleware,
    AgentState,
    ModelRequest,
    ModelResponse,
    PrivateStateAttr,
)
from langchain_core.messages import AIMessage, AnyMessage, RemoveMessage, ToolMessage
from langgraph.config import get_config
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.runtime import Runtime
from langgraph.types import Command

from ringfence.adapters.langchain.admission import trusting
from ringfence.adapters.langchain.calls import task_of, unmade_call
from ringfence.adapters.langchain.offered import Offered
from ringfence.adapters.langchain.principals import dangling, new_prompts
from ringfence.adapters.langchain.prompts import Typed
from ringfence.adapters.langchain.repaired import repaired
from ringfence.adapters.langchain.replies import error_message, told, with_id
from ringfence.adapters.langchain.runs import runs_of
from ringfence.adapters.langchain.sealed import BoundTools, UnboundToolError
from ringfence.adapters.langchain.turns import AnsweredBy, may_ask
from ringfence.engine.binding.around import principal_of
from ringfence.engine.decision.calls import Principal, ToolCall
from ringfence.engine.enforcement.current import inside
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import DeniedError, RunHaltedError

ToolOutput = ToolMessage | Command[Any]
Messages = dict[str, Any]


class _About(TypedDict):
    """What a turn says of the run that it begins."""

    principal: Principal | None
    agent: str | None
    session: str | None
    messages: Sequence[AnyMessage]


class GuardState(AgentState[Any]):
    """The agent's state with the id of its run, checkpointed and hidden from the model and the caller."""

    ringfence_run: NotRequired[Annotated[str, PrivateStateAttr]]


_SAID_NOT_LAST: "WeakSet[Guard]" = WeakSet()
"""Under these the host has been told that a middleware is not the last one."""
_KINDS: "WeakKeyDictionary[type[GuardMiddleware], type[GuardMiddleware]]" = WeakKeyDictionary()


def _with_hook(kind: "type[GuardMiddleware]") -> "type[GuardMiddleware]":
    """Return the class with a node after the model: LangChain makes one for every class that has the hook."""
    known = _KINDS.get(kind)
    if known is None:
        ours: type[GuardMiddleware] = import_module("ringfence.adapters.langchain.asking").AskingMiddleware
        bases = (ours,) if kind is GuardMiddleware else (kind, ours)
        members = {"__module__": kind.__module__, "__doc__": kind.__doc__}
        known = _KINDS[kind] = kind if issubclass(kind, ours) else type(kind.__name__, bases, members)
    return known


class GuardMiddleware(AgentMiddleware[GuardState, Any, Any]):
    """Guards an agent: `create_agent(model, tools, middleware=[..., GuardMiddleware(guard)])`.

    Args:
        guard: The guard, with its policy.
        agent: Which agent of the policy this is; None where the policy has one.
        on_halt: What a halted run does to the agent: `end` answers open calls and ends cleanly, `raise`
            raises `RunHaltedError` out of `invoke`.
        session: The session's id, or a function of the runtime; None: LangGraph's thread.
        typed: What of the messages the user typed: `human`, the human messages at the end; or a function of
            the messages that returns the texts.  None: nothing that you vouch for, so under a policy with
            levels or sources they are of the highest level and match no source.
        answered_by: A function of the runtime that returns the name of the person who resumes the graph, as
            you have verified it, or None.  Only with it may a resume approve; without it, it may reject.
    """

    state_schema = GuardState

    def __new__(cls, guard: Guard, **_: Any) -> "GuardMiddleware":
        """Make one that asks about a whole turn at once, where the policy asks people at all."""
        return object.__new__(_with_hook(cls) if may_ask(guard.plan) else cls)

    def __init__(
        self,
        guard: Guard,
        *,
        agent: str | None = None,
        on_halt: Literal["end", "raise"] = "end",
        session: str | Callable[[Runtime[Any]], str] | None = None,
        typed: Typed = None,
        answered_by: AnsweredBy | None = None,
    ) -> None:
        super().__init__()
        if on_halt not in ("end", "raise"):
            raise ValueError("`on_halt` is `end` or `raise`")
        if not (typed is None or typed == "human" or callable(typed)):
            raise ValueError("`typed` is `human`, or a function of the messages")
        self.guard = guard
        self.agent = agent
        self.on_halt = on_halt
        self.session = session
        self.typed = typed
        self.answered_by = answered_by
        self.tools = []
        self._runs = runs_of(guard)
        self._offered = Offered(guard)
        self._bound = BoundTools(guard)

    # ---- begin and end -----------------------------------------------------------------------------

    def before_agent(self, state: GuardState, runtime: Runtime[Any]) -> Messages | None:
        """Begin the run of this turn; end the one before if it was left open."""
        return self._begin(state, runtime, get_config())

    async def abefore_agent(self, state: GuardState, runtime: Runtime[Any]) -> Messages | None:
        """See `before_agent`."""
        config, before = get_config(), state.get("ringfence_run")
        own = callable(self.session) or callable(self.typed)
        if own or self._runs.takes_time() or not (before is None or self._runs.is_over(before)):
            return await asyncio.to_thread(self._begin, state, runtime, config)
        run = await self._runs.abegin(config, **self._about(state, runtime))
        return self._begun(state, run)

    def _begin(self, state: GuardState, runtime: Runtime[Any], config: Mapping[str, Any]) -> Messages:
        messages = state["messages"]
        if before := state.get("ringfence_run"):
            self._runs.close(before, new_prompts(messages), messages)
        return self._begun(state, self._runs.begin(config, typed=self.typed, **self._about(state, runtime)))

    def _about(self, state: GuardState, runtime: Runtime[Any]) -> _About:
        session = self.session(runtime) if callable(self.session) else self.session
        return {
            "principal": principal_of(runtime.context, self.guard.plan),
            "agent": self.agent,
            "session": session,
            "messages": state["messages"],
        }

    def _begun(self, state: GuardState, run: Run) -> Messages:
        messages, before = state["messages"], state.get("ringfence_run")
        update: Messages = {"ringfence_run": run.id}
        unanswered = {call["id"] for call in dangling(messages)}
        caught = self._runs.errors.caught(before, messages).keys() if before else ()
        if unanswered or caught:
            text = self.guard.plan.responses.deny or "withdrawn"
            mended = repaired(messages, text, unanswered=unanswered, caught=caught)
            update["messages"] = [RemoveMessage(id=REMOVE_ALL_MESSAGES), *mended]
        return update

    def after_agent(self, state: GuardState, runtime: Runtime[Any]) -> Messages | None:
        """End the run."""
        if (run_id := self._to_end(state)) is not None:
            self._runs.close(run_id)
        return None

    async def aafter_agent(self, state: GuardState, runtime: Runtime[Any]) -> Messages | None:
        """See `after_agent`."""
        if (run_id := self._to_end(state)) is not None:
            await self._runs.aclose(run_id)
        return None

    def _to_end(self, state: GuardState) -> str | None:
        run_id = state.get("ringfence_run")
        if run_id is not None:  # none, if other middleware ended the agent before ours
            self._runs.errors.raise_caught(run_id, state["messages"], before_model=False)
        return run_id

    def _run_id(self, state: Any, config: Mapping[str, Any]) -> str | None:
        named = state.get("ringfence_run") if isinstance(state, Mapping) else None
        # Other middleware may have made the request anew, with a state of its own.
        return named if named is not None else self._runs.of_graph(config)

    def _run(self, state: Any, context: object, config: Mapping[str, Any]) -> Run:
        run_id = self._run_id(state, config)
        if run_id is None:
            raise DeniedError("no run: the agent's state has none", help="begin with `invoke` and messages")
        principal = principal_of(context, self.guard.plan)
        messages = state.get("messages") or ()
        return self._runs.go_on(run_id, config, principal=principal, agent=self.agent, messages=messages)

    async def _arun(self, state: Any, context: object, config: Mapping[str, Any]) -> Run:
        run_id = self._run_id(state, config)
        found = self._runs.at_hand(run_id, config) if run_id is not None else None
        # Without a detour over a thread, tasks come to the guard in the order in which they began.
        return found if found is not None else await asyncio.to_thread(self._run, state, context, config)

    # ---- the model ---------------------------------------------------------------------------------

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Hide what the run may not use, and bound the model call by the run's deadline."""
        self._see_whether_last(handler)
        try:
            run = self._run(request.state, _context_of(request), get_config())
            self._runs.errors.raise_caught(run.id, request.state["messages"], before_model=True)
            with self._runs.errors.hearing(run, None):
                offered = self._offer(run, request)
                with inside(run):  # the model is asked in this run, whichever one is around the agent
                    return self.guard.bound(run, lambda: handler(offered))
        except RunHaltedError as error:
            return ModelResponse(result=[self._halted(error)])

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """See `wrap_model_call`."""
        self._see_whether_last(handler)
        try:
            run = await self._arun(request.state, _context_of(request), get_config())
            self._runs.errors.raise_caught(run.id, request.state["messages"], before_model=True)
            with self._runs.errors.hearing(run, None):
                offered = self._offer(run, request)
                with inside(run):
                    return await self.guard.abound(run, lambda: handler(offered))
        except RunHaltedError as error:
            return ModelResponse(result=[self._halted(error)])

    def _see_whether_last(self, handler: Callable[..., Any]) -> None:
        """Say once to the host that other middleware stands behind: it could offer more to the model."""
        home = (getattr(handler, "__module__", None), getattr(handler, "__name__", None))
        if home == ("langchain.agents.factory", "inner_handler") and self.guard not in _SAID_NOT_LAST:
            _SAID_NOT_LAST.add(self.guard)
            print(
                "ringfence: GuardMiddleware is not the last one in its list of middleware: what stands behind"
                " it can offer the model tools that run at the provider, where no call can be intercepted",
                file=sys.stderr,
            )

    def _offer(self, run: Run, request: ModelRequest[Any]) -> ModelRequest[Any]:
        self.guard.check_live(run)
        self._bound_to(run, request.tools)
        self._runs.instructed(run, request.system_prompt or "")
        tools = self._offered.shown(run, request.tools)
        settings = self._offered.settings(run, request.model_settings)
        if len(tools) == len(request.tools) and settings == request.model_settings:
            return request  # nothing is hidden
        return request.override(tools=tools, model_settings=settings)

    def _bound_to(self, run: Run, tools: Sequence[Any]) -> None:
        """Take in which tools the model of the run is offered."""

    def _halted(self, error: RunHaltedError) -> AIMessage:
        if self.on_halt == "raise":
            raise error
        return AIMessage(content=told(error, self.guard.plan))

    # ---- the tools ---------------------------------------------------------------------------------

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolOutput]
    ) -> ToolOutput:
        """Have the guarded copy of the bound tool answer the call."""
        config = request.runtime.config
        call = with_id(request.tool_call, task_of(config))
        try:
            run = self._run(request.state, request.runtime.context, config)
            try:
                sealed, gate = self._bound.sealed(request, call)
                with trusting(gate, run), self._runs.errors.hearing(run, call["id"]):
                    return handler(sealed)
            except UnboundToolError as error:
                self.guard.refuse(run, _unmade_call(request, call), str(error))
        except (DeniedError, RunHaltedError) as error:
            return self._refused(error, call)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolOutput]]
    ) -> ToolOutput:
        """See `wrap_tool_call`."""
        config = request.runtime.config
        call = with_id(request.tool_call, task_of(config))
        try:
            run = await self._arun(request.state, request.runtime.context, config)
            try:
                sealed, gate = self._bound.sealed(request, call)
                with trusting(gate, run), self._runs.errors.hearing(run, call["id"]):
                    return await handler(sealed)
            except UnboundToolError as error:
                await self.guard.arefuse(run, _unmade_call(request, call), str(error))
        except (DeniedError, RunHaltedError) as error:
            return self._refused(error, call)

    def _refused(self, error: DeniedError | RunHaltedError, call: Mapping[str, Any]) -> ToolMessage:
        """Return the model's answer to a refusal of the engine's; raise what the host must hear."""
        if isinstance(error, RunHaltedError):
            if self.on_halt == "raise":
                raise error
        elif error.decision is None:
            raise error
        return error_message(told(error, self.guard.plan), name=call["name"], call_id=call["id"])


def _context_of(request: ModelRequest[Any]) -> object:
    """Return the agent's context; other middleware may have made the request anew, without a runtime."""
    return None if request.runtime is None else request.runtime.context


def _unmade_call(request: ToolCallRequest, call: Mapping[str, Any]) -> ToolCall:
    given_id, config = request.tool_call["id"], request.runtime.config
    return unmade_call(call["name"], call["args"], given_id, config)
