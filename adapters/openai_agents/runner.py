"""`GuardedRunner`: the SDK's `Runner` with a guard before everything that its agents do.

It runs the guarded copy of the agent in a run of its own, and ends that run, or puts it away while people are
asked.
"""

from typing import Any, Final, Literal

from agents import Agent, Runner, RunResult, RunResultStreaming, RunState

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
from ringfence.adapters.openai_agents.configs import guarded_config
from ringfence.adapters.openai_agents.graph import Graph, GuardedAgent
from ringfence.adapters.openai_agents.invocations import Invocation, about_run, let_go, take, within
from ringfence.adapters.openai_agents.origins import Origins
from ringfence.adapters.openai_agents.principals import Typed, typed_texts
from ringfence.adapters.openai_agents.questions import (
    AnsweredBy,
    agent_of_state,
    context_of,
    listed,
    listed_before,
    reconcile,
)
from ringfence.adapters.openai_agents.saved import Saved, saved_in
from ringfence.adapters.openai_agents.streams import end_with
from ringfence.adapters.openai_agents.threads import to_the_end
from ringfence.engine.binding.origins import strict

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
        traces_data: The SDK's traces, which by default go to its vendor, may carry what the model, the user
            and the tools said.  False: they say what was called, and when.
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
        traces_data: bool = False,
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
        self.traces_data = traces_data
        self._graph = Graph(guard, self._config)

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
        config = self._config(options.get("run_config"))
        error: BaseException | None = None
        waits = False
        try:
            with within(invocation):
                await self._end_before(invocation)
                await invocation.begin()
                self._given(invocation, input)
                if isinstance(input, RunState):
                    tools = await listed(input)
                    await to_the_end(lambda: reconcile(invocation, input, self.answered_by, tools))
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
        config = self._config(options.get("run_config"))
        with within(invocation):
            try:
                if isinstance(input, RunState):
                    invocation.take_up()
                    reconcile(invocation, input, self.answered_by, listed_before(input))
                else:
                    self._end_before_now(invocation)
                    invocation.runs.append(self.guard.begin_run(**invocation.about))
                self._given(invocation, input)
                result = Runner.run_streamed(guarded, input, **{**options, "run_config": config})
            except BaseException as error:  # raised again: nothing streams
                for run in reversed(invocation.runs):
                    self.guard.end_run(run, "failed", type(error).__name__)
                invocation.let_go()
                raise
        end_with(result, invocation, config.model_provider if options.get("run_config") is None else None)
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
        saved = saved_in(context_of(given)) if is_state else Saved()
        invocation = Invocation(
            self.guard,
            about_run(principal=principal, agent=name, session=session, parent=parent),
            on_halt=self.on_halt,
            waits=self.waits,
            origins=Origins(self.guard, typed) if strict(plan) else None,
            resumes=saved.runs,
            host_asks=set(saved.host),
            inside=dict(saved.inside),
        )
        if is_state and not invocation.resumes:
            raise EngineError(
                "the state names no run: it was saved outside of a guarded runner",
                help="begin with an input, and save the state of its result",
            )
        return guarded, invocation

    def _given(self, invocation: Invocation, given: Any) -> None:
        """Record what the user said; a state that goes on was given nothing new."""
        if invocation.resumes:
            return
        origins = invocation.origins or Origins(self.guard, typed_texts(self.typed or "user", given))
        origins.typed(invocation.run)

    async def _end_before(self, invocation: Invocation) -> None:
        """End what the session had put away: a new word of its user withdraws the open questions."""
        if invocation.about.get("session") is not None:
            await to_the_end(lambda: self._end_before_now(invocation))

    def _end_before_now(self, invocation: Invocation) -> None:
        session = invocation.about.get("session")
        if session is None or invocation.about.get("parent") is not None or invocation.resumes:
            return
        # SECURITY: another user's word in the session answers nothing that this one was asked about.
        principal = invocation.about.get("principal") or Principal()
        for row in self.guard.runs.list(session=session, limit=_MOST_BEFORE):
            if row.status != "suspended" or row.parent is not None or not take(self.guard, row.run):
                continue
            try:
                self.guard.end_run(self.guard.resume_run(row.run, principal=principal))
            except (DeniedError, RunHaltedError):
                continue  # it is another's, or has ended, or ended uncleanly and is now recorded as halted
            finally:
                let_go(self.guard, row.run)

    def _config(self, config: Any) -> Any:
        return guarded_config(self.guard, config, traces_data=self.traces_data)


def _session_of(options: dict[str, Any]) -> str | None:
    """Return the name of what keeps the conversation: the SDK's session, or the provider's."""
    try:
        named = getattr(options.get("session"), "session_id", None)
    except ValueError:  # a conversation at the provider that has not begun: it has no name yet
        named = None
    named = named or options.get("conversation_id")
    return named if isinstance(named, str) else None
