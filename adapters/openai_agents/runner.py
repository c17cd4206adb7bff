"""`GuardedRunner`: the SDK's `Runner` with a guard before everything that its agents do.

It runs the guarded copy of the agent in a run of its own, and ends that run, or puts it away while people are
asked.
"""

import asyncio
import dataclasses
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Literal

from agents import Agent, Model, ModelProvider, RunConfig, Runner, RunResult, RunResultStreaming, RunState

from ringfence.adapter import (
    DeniedError,
    EngineError,
    Guard,
    Principal,
    RunHaltedError,
    principal_of,
    run_around,
)
from ringfence.adapters.openai_agents.blocking import run_here
from ringfence.adapters.openai_agents.graph import Graph, GuardedAgent
from ringfence.adapters.openai_agents.invocations import Invocation, about_run, invocation_of, run_ids, within
from ringfence.adapters.openai_agents.models import GuardedModel, GuardedProvider
from ringfence.adapters.openai_agents.origins import Origins
from ringfence.adapters.openai_agents.principals import Typed, typed_texts
from ringfence.adapters.openai_agents.questions import (
    AnsweredBy,
    agent_of_state,
    context_of,
    listed,
    reconcile,
)
from ringfence.adapters.openai_agents.tools import refusal_text, unread_call
from ringfence.engine.binding.origins import strict

_FORMATTER: Final = "ringfence_formatter"
_MOST_BEFORE: Final = 8
"""How many of a session's newest runs are looked at for one that was put away."""


class GuardedRunner:
    """Runs agents under a guard: `await GuardedRunner(guard).run(agent, "hello", principal=alice)`.

    Args:
        guard: The guard, with its policy.
        agent: Which agent of the policy it is; None: the one of the SDK agent's name, else the only one.
        on_halt: What a halted run does to the agent: `end` ends it with the policy's word as its answer,
            `raise` raises `RunHaltedError`.  An agent with an output type has no such answer, and raises.
        waits: Calls that ask people wait where they stand; False: the SDK is interrupted, and its state goes
            on.
        typed: What of the input the user typed: `user`, a text or the user's items at its end; or a function
            of the input that returns the texts.  None: nothing that you vouch for, so under a policy with
            levels or sources they are of the highest level and match no source.
        answered_by: A function of the SDK's context that returns the name of the person who resumes a state,
            as you have verified it, or None.  Only with it may a state's own approvals approve; without it,
            they may reject.
    """

    def __init__(
        self,
        guard: Guard,
        *,
        agent: str | None = None,
        on_halt: Literal["end", "raise"] = "end",
        waits: bool = False,
        typed: Typed = None,
        answered_by: AnsweredBy | None = None,
    ) -> None:
        if on_halt not in ("end", "raise"):
            raise ValueError("`on_halt` is `end` or `raise`")
        if not (typed is None or typed == "user" or callable(typed)):
            raise ValueError("`typed` is `user`, or a function of the input")
        self.guard = guard
        self.agent = agent
        self.on_halt: Literal["end", "raise"] = on_halt
        self.waits = waits
        self.typed = typed
        self.answered_by = answered_by
        self._graph = Graph(guard, lambda config: guarded_config(guard, config))

    def guarded(self, agent: Agent[Any]) -> Agent[Any]:
        """Return the guarded copy of an agent, for `RunState.from_string` and `as_tool`: a runner runs it."""
        return self._graph.guarded(agent)

    async def run(
        self,
        agent: Agent[Any],
        input: Any,
        *,
        principal: Principal | None = None,
        session_id: str | None = None,
        **options: Any,
    ) -> RunResult:
        """Run an agent, or go on with a state; `options` are those of `Runner.run`.

        Args:
            input: What `Runner.run` takes: a text, items, or a state that was read for `guarded(agent)`.
            principal: On whose behalf; None: what the `context` says.
            session_id: Everything whose messages the model sees; None: the SDK's session, or conversation.

        Raises:
            PendingError: A call waits for people, and the SDK had no way to wait with it.
            RunHaltedError: The run is over, and `on_halt` says so, or the agent has an output type.
            EngineError: Ringfence could not do its work.
        """
        guarded, invocation = self._invocation(agent, input, principal, session_id, options)
        config = guarded_config(self.guard, options.get("run_config"))
        error: BaseException | None = None
        waits = False
        try:
            with within(invocation):
                await asyncio.to_thread(self._enter, invocation, input)
                if isinstance(input, RunState):
                    tools = await listed(input)
                    await asyncio.to_thread(reconcile, invocation, input, self.answered_by, tools)
                result = await Runner.run(guarded, input, **{**options, "run_config": config})
            if invocation.failure is not None:
                raise invocation.failure
            waits = bool(result.interruptions)
            return result
        except BaseException as raised:  # raised again, as the guard said it where it did
            error = invocation.failure or raised
            if error is raised:
                raise
            raise error from raised
        finally:
            await invocation.end(error, waits=waits)
            if options.get("run_config") is None:  # nobody else knows of the provider that was made for it
                await config.model_provider.aclose()

    def run_sync(self, agent: Agent[Any], input: Any, **options: Any) -> RunResult:
        """Like `run`, for a caller without an event loop."""
        return run_here(self.run(agent, input, **options))

    def run_streamed(
        self,
        agent: Agent[Any],
        input: Any,
        *,
        principal: Principal | None = None,
        session_id: str | None = None,
        **options: Any,
    ) -> RunResultStreaming:
        """Like `run`, with the answer as it comes; the run has ended when `stream_events()` has."""
        guarded, invocation = self._invocation(agent, input, principal, session_id, options)
        config = guarded_config(self.guard, options.get("run_config"))
        with within(invocation):
            self._enter(invocation, input)
            try:
                if isinstance(input, RunState):
                    reconcile(invocation, input, self.answered_by, {})
                result = Runner.run_streamed(guarded, input, **{**options, "run_config": config})
            except BaseException as error:  # raised again: nothing streams
                for run in reversed(invocation.runs):
                    self.guard.end_run(run, "failed", type(error).__name__)
                raise
        _end_with(result, invocation, config.model_provider if options.get("run_config") is None else None)
        return result

    # ---- begin -------------------------------------------------------------------------------------

    def _invocation(
        self,
        agent: Agent[Any],
        given: Any,
        principal: Principal | None,
        session_id: str | None,
        options: dict[str, Any],
    ) -> tuple[Agent[Any], Invocation]:
        plan = self.guard.plan
        if principal is None:
            context = options.get("context")
            principal = principal_of(getattr(context, "context", context), plan)
        parent = run_around(self.guard)
        if principal is None and parent is not None:
            # SECURITY: who asked for the run around it is the requester here too, and may not approve.
            principal = parent.principal
        session = session_id or _session_of(options) or (parent.session if parent is not None else None)
        is_state = isinstance(given, RunState)
        guarded = (
            agent_of_state(
                given, lambda one: isinstance(one, GuardedAgent) and one.ringfence.guard is self.guard
            )
            if is_state
            else self._graph.guarded(agent)
        )
        name = self.agent or (guarded.name if guarded.name in plan.agents else None)
        typed = () if is_state else typed_texts(self.typed, given)
        invocation = Invocation(
            self.guard,
            about_run(principal=principal, agent=name, session=session, parent=parent),
            on_halt=self.on_halt,
            waits=self.waits,
            origins=Origins(self.guard, typed) if strict(plan) else None,
            resumes=run_ids(context_of(given)) if is_state else (),
        )
        if is_state and not invocation.resumes:
            raise EngineError(
                "the state names no run: it was saved outside of a guarded runner",
                help="begin with an input, and save the state of its result",
            )
        return guarded, invocation

    def _enter(self, invocation: Invocation, given: Any) -> None:
        """Begin the run, or take up those of a state, and record what the user said."""
        session = invocation.about.get("session")
        parent = invocation.about.get("parent")
        if session is not None and parent is None and not invocation.resumes:
            self._end_before(session)
        invocation.enter(invocation.resumes)
        if invocation.resumes:
            return
        origins = invocation.origins or Origins(self.guard, typed_texts(self.typed or "user", given))
        origins.typed(invocation.run)

    def _end_before(self, session: str) -> None:
        """End what the session had put away: a new word of the user withdraws its open questions."""
        for row in self.guard.runs.list(session=session, limit=_MOST_BEFORE):
            if row.status != "suspended" or row.parent is not None:
                continue
            try:
                self.guard.end_run(self.guard.resume_run(row.run))
            except (DeniedError, RunHaltedError):
                continue  # it has ended, or ended uncleanly and is now recorded as halted


def guarded_config(guard: Guard, config: Any) -> RunConfig:
    """Return a config whose models are guarded, and with which no answer names an agent's tools."""
    if config is None or isinstance(config, dict):
        config = RunConfig(**(config or {}))
    formatter = config.tool_error_formatter
    if not hasattr(formatter, _FORMATTER):
        formatter = _formatter(guard, formatter)
    model = config.model
    provider = config.model_provider
    found: RunConfig = dataclasses.replace(
        config,
        model=GuardedModel.over(guard, model) if isinstance(model, Model) else model,
        model_provider=GuardedProvider.over(guard, provider),
        tool_not_found_behavior="return_error_to_model",
        tool_error_formatter=formatter,
    )
    return found


def _formatter(guard: Guard, own: Any) -> Callable[[Any], Any]:
    async def said(args: Any) -> Any:
        if args.kind == "tool_not_found":
            return await _not_found(guard, args)
        if own is None:
            return None
        told = own(args)
        return await told if inspect.isawaitable(told) else told

    setattr(said, _FORMATTER, True)
    return said


async def _not_found(guard: Guard, args: Any) -> str:
    """Return what the model is told of a tool that there is not; it is refused here if it was not before."""
    constant = guard.plan.responses.unknown or "tool not found"
    invocation = invocation_of(guard, "a tool")
    told = invocation.refused.pop(args.call_id, None)
    if told is not None:
        return told
    call = unread_call(invocation, args.tool_name, args.call_id, "{}")
    try:
        await guard.arefuse(invocation.run, call, "the SDK knows no tool of this name")
    except (DeniedError, RunHaltedError) as error:
        return refusal_text(invocation.run, error)
    except EngineError as error:  # the SDK would tell its own text: the next model call raises this one
        invocation.failed(error)
    return constant


def _session_of(options: dict[str, Any]) -> str | None:
    """Return the name of what keeps the conversation: the SDK's session, or the provider's."""
    named = getattr(options.get("session"), "session_id", None) or options.get("conversation_id")
    return named if isinstance(named, str) else None


def _end_with(result: RunResultStreaming, invocation: Invocation, own: ModelProvider | None) -> None:
    """End the invocation when its task has ended, and have the events wait for that.

    Args:
        own: The provider that was made for this run alone.
    """
    task = result.run_loop_task
    assert task is not None, "the SDK has begun to run"
    events = result.stream_events
    ended: asyncio.Future[None] = task.get_loop().create_future()

    async def end() -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        try:
            await invocation.end(invocation.failure or error, waits=bool(result.interruptions))
            if own is not None:
                await own.aclose()
        except BaseException as raised:  # raised again to whoever reads the events
            invocation.failed(raised)
        finally:
            if not ended.done():
                ended.set_result(None)

    ending: list[asyncio.Task[None]] = []
    task.add_done_callback(lambda _: ending.append(task.get_loop().create_task(end())))

    async def stream_events() -> AsyncIterator[Any]:
        try:
            async for event in events():
                yield event
        except Exception as raised:  # raised again, as the guard said it where it did
            await ended
            if invocation.failure is None or invocation.failure is raised:
                raise
            raise invocation.failure from raised
        await ended
        if invocation.failure is not None:
            raise invocation.failure

    result.stream_events = stream_events  # type: ignore[method-assign]
