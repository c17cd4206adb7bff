"""Adapters with one thing wrong each, and the tests of the contract that must say so."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from ringfence.adapter import (
    DeniedError,
    EngineError,
    Json,
    ModelAnswered,
    ModelAsked,
    Run,
    RunHaltedError,
    ToolCall,
    ToolFailedError,
    current_run,
)
from ringfence.testing import Asked, Outcome, Scene, Told
from tests.adapters.contract.mini import WAITS, MisfitError, Player, Saved, Tool

BROKEN: list[tuple[type[Player], tuple[str, ...]]] = []
"""Each with the tests that fail for it, without their `test_`."""


def breaks(*tests: str) -> Callable[[type[Player]], type[Player]]:
    """Say which tests fail for a player."""

    def note(player: type[Player]) -> type[Player]:
        BROKEN.append((player, tests))
        return player

    return note


# ---- what is decided and told --------------------------------------------------------------------


@breaks(
    "an_allowed_call_runs_once_and_its_result_is_told",
    "a_denied_call_runs_no_body_and_the_agent_goes_on",
    "a_denied_coroutine_function_does_not_begin",
    "a_refusal_says_nothing_of_the_policy",
    "a_run_acts_for_the_principal_it_was_begun_for",
    "a_streamed_agent_is_guarded_like_any",
    "a_streamed_agent_asks_people",
    "a_session_remembers_what_an_earlier_turn_has_read",
    "calls_of_one_turn_are_answered_one_by_one",
    "arguments_that_no_function_has_do_not_fail_open",
    "a_default_that_the_body_would_get_is_decided",
)
class Unguarded(Player):
    """Runs the bodies itself."""

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        return await tool.run(call.arguments)

    async def misfit(self, run: Run, tool: Tool, asked: Asked, task: str, why: str) -> Any:
        return await tool.run({name: asked.arguments[name] for name in tool.names if name in asked.arguments})


@breaks("an_allowed_call_runs_once_and_its_result_is_told", "a_body_may_be_a_coroutine_function")
class Twice(Player):
    """Runs a body, and then has the guard run it."""

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        if call.arguments.get("what") == "x":
            await tool.run(call.arguments)
        return await super().execute(run, call, tool)


@breaks("a_body_may_be_a_coroutine_function")
class Unawaited(Player):
    """Tells the coroutine instead of its result."""

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        if asyncio.iscoroutinefunction(tool.function):
            tool.function(**call.arguments).close()
            return "<coroutine>"
        return await super().execute(run, call, tool)


@breaks("a_refusal_says_nothing_of_the_policy", "a_rejected_call_never_runs_and_the_agent_goes_on")
class Talkative(Player):
    """Tells the model all that stands in the error."""

    def refusal(self, asked: Asked, error: DeniedError | ToolFailedError) -> Told:
        return Told(asked.tool, f"{error.model_text}: {error.diagnostics()} lead", failed=True)


@breaks(
    "a_denied_call_runs_no_body_and_the_agent_goes_on",
    "a_rate_refuses_what_is_beyond_it_and_the_agent_goes_on",
    "a_hidden_tool_does_not_run_if_it_is_called_all_the_same",
    "arguments_that_fit_no_schema_run_nothing",
)
class Polite(Player):
    """Tells a refusal as if it were a result."""

    def refusal(self, asked: Asked, error: DeniedError | ToolFailedError) -> Told:
        return Told(asked.tool, str(error.model_text), failed=False)


@breaks(
    "tools_that_the_policy_does_not_open_are_not_offered",
    "a_streamed_agent_is_guarded_like_any",
    "what_the_model_was_given_and_said_is_recorded",
)
class Showy(Player):
    """Offers all tools."""

    def offered(self, run: Run) -> list[str]:
        return list(self.tools)


@breaks("a_tool_that_runs_at_the_provider_is_not_offered")
class Outsourcing(Player):
    """Offers what runs at the provider."""

    def offered(self, run: Run) -> list[str]:
        return [*super().offered(run), *self.scene.provider_tools]


@breaks("a_hidden_tool_does_not_run_if_it_is_called_all_the_same")
class Trusting(Player):
    """Takes what was not offered for what cannot be called."""

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        if tool.name not in self.guard.visible(run, [tool.name]):
            return await tool.run(call.arguments)
        return await super().execute(run, call, tool)


@breaks(
    "a_hidden_tool_does_not_run_if_it_is_called_all_the_same",
    "a_name_that_no_tool_has_is_refused_and_the_agent_goes_on",
)
class Helpful(Player):
    """Answers with the names of all tools, and leaves the guard out of it."""

    async def result(self, run: Run, asked: Asked, task: str) -> Any:
        if asked.tool not in self.guard.visible(run, self.tools):
            text = f"tool not found; there are {', '.join(self.tools)}"
            raise DeniedError("", model_text=text)
        return await super().result(run, asked, task)


@breaks("a_name_that_no_tool_has_is_refused_and_the_agent_goes_on")
class Silent(Player):
    """Keeps calls of unknown tools to itself."""

    async def unknown(self, run: Run, asked: Asked, task: str) -> Any:
        raise DeniedError("", model_text="tool not found")


# ---- arguments -----------------------------------------------------------------------------------


@breaks(
    "arguments_that_a_hook_changes_are_decided_as_they_are_then",
    "what_a_hook_makes_of_a_call_is_what_is_recorded",
    "the_body_gets_the_canonical_arguments",
)
class Early(Player):
    """Decides first, and lets hooks and body have other arguments."""

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        async def body(_: Any) -> Any:
            return await tool.run(self._late(tool, call))

        return await super().execute(run, call, Tool2(tool, body))

    def hooked(self, tool: str, arguments: dict[str, Json]) -> dict[str, Json]:
        return arguments

    def _late(self, tool: Tool, call: ToolCall) -> dict[str, Json]:
        return super().hooked(tool.name, dict(call.arguments))


class Tool2(Tool):
    """A tool that runs something else."""

    def __init__(self, tool: Tool, body: Callable[..., Any]) -> None:
        super().__init__(tool.function)
        self.run = body  # type: ignore[method-assign]


@breaks(
    "a_default_that_the_body_would_get_is_decided",
    "a_value_that_the_framework_coerces_is_decided_coerced",
    "a_name_that_stands_twice_is_decided_as_it_runs",
    "an_argument_that_the_policy_does_not_name_runs_as_it_is_recorded",
)
class Raw(Player):
    """Decides on what the model wrote as far as it can be decided, and runs what the schema makes of it."""

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        async def body(_: Any) -> Any:
            return await tool.run(call.arguments)

        decided = {"to": "bob"} if "to" in call.arguments else {"amount": 1}
        return await super().execute(run, ToolCall(tool.name, decided), Tool2(tool, body))

    def read(self, asked: Asked) -> dict[str, Json]:
        return dict(asked.arguments) if asked.text is None else dict(json.loads(asked.text))


@breaks("arguments_that_fit_no_schema_run_nothing", "a_text_that_is_no_record_runs_nothing")
class Forgiving(Player):
    """Runs a call whose arguments fit nothing with none, or with whatever they are."""

    async def misfit(self, run: Run, tool: Tool, asked: Asked, task: str, why: str) -> Any:
        given = {name: asked.arguments.get(name) for name in tool.names} if asked.arguments else {}
        if asked.text is None and not given:
            given = dict.fromkeys(tool.names)
        return tool.function(**given)


@breaks("arguments_that_fit_no_schema_run_nothing", "a_text_that_is_no_record_runs_nothing")
class Brittle(Player):
    """Ends the agent where the model has only mistyped."""

    async def misfit(self, run: Run, tool: Tool, asked: Asked, task: str, why: str) -> Any:
        raise MisfitError(why)


# ---- people --------------------------------------------------------------------------------------


@breaks(
    "a_call_that_asks_waits_for_people_and_then_runs_once",
    "a_rejected_call_never_runs_and_the_agent_goes_on",
    "going_on_without_an_answer_runs_nothing",
    "an_approval_of_one_call_opens_no_other",
)
class Impatient(Player):
    """Runs a call that waits."""

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        decision = await self.guard.aauthorize(run, call)
        if decision.verdict.name == "ASK":
            return await tool.run(call.arguments)
        return await super().execute(run, call, tool)


@breaks(
    "a_call_that_asks_waits_for_people_and_then_runs_once", "a_rejected_call_never_runs_and_the_agent_goes_on"
)
class Refusing(Player):
    """Takes a question for a refusal."""

    def pending(self, asked: Asked) -> Told:
        return Told(asked.tool, "come again later", failed=True)


class Resuming(Player):
    """Knows that it goes on."""

    resuming: ClassVar[bool] = False
    claimed: bool = False

    async def resumed(self, saved: Saved, approved: bool = False) -> Outcome:
        self.claimed = approved
        self.resuming = True  # type: ignore[misc]
        return await super().resumed(saved, approved)


@breaks("going_on_without_an_answer_runs_nothing", "a_rejected_call_never_runs_and_the_agent_goes_on")
class Resumer(Resuming):
    """Takes a resume for an approval."""

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        if self.resuming and tool.name == "send":
            return await tool.run(call.arguments)
        return await super().execute(run, call, tool)


@breaks("the_frameworks_own_approval_is_no_authority")
class Native(Resuming):
    """Takes the framework's own approval for one."""

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        if self.claimed and tool.name == "send":
            return await tool.run(call.arguments)
        return await super().execute(run, call, tool)


@breaks("the_frameworks_own_approval_is_no_authority")
class Vouching(Resuming):
    """Has a ticket approved by somebody whom it does not know."""

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        if self.claimed:
            ready = self.guard.opening.ready
            pending = self.guard.opening.submit(ready.tickets.pending())
            for ticket in await asyncio.wrap_future(pending):
                await self.guard.aapprove(ticket.id, by="dana")
        return await super().execute(run, call, tool)


@breaks("an_approval_is_used_once_however_often_the_state_is_replayed")
class Replaying(Player):
    """Looks whether the ticket was approved, and runs the body itself."""

    approved: ClassVar[set[str]] = set()

    async def resumed(self, saved: Saved, approved: bool = False) -> Outcome:
        if saved.run in self.approved:
            for asked in self.scene.turns[saved.turn]:
                await self.tools[asked.tool].run(dict(asked.arguments))
        self.approved.add(saved.run)
        return await super().resumed(saved, approved)


@breaks("an_approval_of_one_call_opens_no_other", "calls_of_one_turn_are_answered_one_by_one")
class Generous(Resuming):
    """Takes an approval for one of the tool, once somebody has answered."""

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        if self.resuming and tool.name == "send" and call.arguments["to"] == "carol":
            return await tool.run(call.arguments)
        return await super().execute(run, call, tool)


@breaks("calls_of_one_turn_are_answered_one_by_one")
class Hasty(Player):
    """Leaves out of the answers what waits, and goes on."""

    async def turn(self, run: Run, number: int) -> list[Told]:
        return [one for one in await super().turn(run, number) if one is not WAITS]


# ---- failures ------------------------------------------------------------------------------------


@breaks("an_engine_that_fails_runs_nothing_and_stops_the_agent")
class Swallowing(Player):
    """Goes on when the engine has failed."""

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        try:
            return await super().execute(run, call, tool)
        except EngineError:
            return await tool.run(call.arguments)


@breaks("an_engine_that_fails_runs_nothing_and_stops_the_agent")
class Confiding(Player):
    """Tells the model that the engine has failed."""

    def fail(self, outcome: Outcome, error: EngineError) -> None:
        outcome.told.append(Told("add", f"{error} {error.__cause__}", failed=True))


@breaks("a_body_that_fails_is_recorded_and_ends_as_the_framework_has_it")
class Soothing(Player):
    """Catches what a body raises before the guard sees it."""

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        async def body(arguments: Any) -> Any:
            try:
                return await tool.run(arguments)
            except Exception as error:
                return str(error)

        return await super().execute(run, call, Tool2(tool, body))


@breaks(
    "a_body_that_fails_is_recorded_and_ends_as_the_framework_has_it",
    "a_cancelled_invocation_takes_its_body_along",
    "the_record_says_what_called_and_that_it_ended",
)
class Endless(Player):
    """Never ends a run."""

    async def end(self, run: Run, error: BaseException | None = None) -> None:
        return None


@breaks("a_cancelled_invocation_takes_its_body_along", "a_kill_cancels_a_coroutine_in_flight")
class Stubborn(Player):
    """Lets bodies go on by themselves."""

    kept: ClassVar[set[asyncio.Task[Any]]] = set()

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        async def body(arguments: Any) -> Any:
            task = asyncio.ensure_future(tool.run(arguments))
            self.kept.add(task)
            return await asyncio.shield(task)

        return await super().execute(run, call, Tool2(tool, body))


# ---- bounds --------------------------------------------------------------------------------------


@breaks(
    "a_body_past_its_tools_bound_fails_the_call_alone",
    "a_coroutine_past_its_tools_bound_is_cancelled",
    "a_run_that_is_killed_starts_nothing_more",
    "a_kill_cancels_a_coroutine_in_flight",
)
class Outside(Player):
    """Has the guard decide, and runs the body when that has let go of it."""

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        await self.guard.aexecute(run, call, lambda arguments: None, wait=False)
        return await tool.run(call.arguments)


@breaks(
    "nothing_starts_after_the_runs_deadline",
    "what_a_model_asks_after_the_runs_deadline_is_not_started",
    "a_run_that_is_killed_starts_nothing_more",
    "a_bound_on_calls_halts_the_run",
)
class Tireless(Player):
    """Takes a halt for a refusal, and asks the model again."""

    async def call(self, run: Run, asked: Asked, task: str) -> Told:
        try:
            return await super().call(run, asked, task)
        except RunHaltedError:
            return Told(asked.tool, "not authorized", failed=True)

    async def ask_model(self, run: Run, number: int, outcome: Outcome) -> None:
        with contextlib.suppress(RunHaltedError):
            await super().ask_model(run, number, outcome)


@breaks("a_bound_on_calls_halts_the_run")
class Alarmed(Player):
    """Raises something of its own where a run is halted."""

    async def call(self, run: Run, asked: Asked, task: str) -> Told:
        try:
            return await super().call(run, asked, task)
        except RunHaltedError:
            raise ValueError("it is over") from None

    async def go_on(self, run: Run, saved: Saved, *, fresh: bool) -> Outcome:
        outcome = await super().go_on(run, saved, fresh=fresh)
        if isinstance(outcome.error, ValueError):
            outcome.error = ValueError(str(outcome.error))
        return outcome


@breaks(
    "a_bound_on_calls_halts_the_run",
    "a_rate_refuses_what_is_beyond_it_and_the_agent_goes_on",
    "parallel_calls_share_one_rate",
    "the_record_says_what_called_and_that_it_ended",
)
class Scattered(Player):
    """Begins a run for each call."""

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        async with self.guard.run(principal=self.scene.principal, session=self.scene.session) as own:
            return await super().execute(own, call, tool)


# ---- company -------------------------------------------------------------------------------------


@breaks("parallel_calls_share_one_rate", "calls_of_one_turn_are_answered_one_by_one")
class Shuffled(Player):
    """Tells the answers of a turn in another order."""

    async def turn(self, run: Run, number: int) -> list[Told]:
        return list(reversed(await super().turn(run, number)))


@breaks("an_id_that_comes_again_is_another_call")
class Remembering(Player):
    """Answers an id that it knows from memory."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._known: dict[str, Told] = {}

    async def call(self, run: Run, asked: Asked, task: str) -> Told:
        if asked.id not in self._known:
            self._known[asked.id] = await super().call(run, asked, task)
        return self._known[asked.id]


@breaks("a_streamed_agent_is_guarded_like_any", "a_streamed_agent_asks_people")
class Streaming(Player):
    """Has another way for streams."""

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        if self.scene.streamed:
            return await tool.run(call.arguments)
        return await super().execute(run, call, tool)


@breaks("a_helpers_calls_are_guarded")
class Delegating(Player):
    """Leaves the helper's calls to the helper."""

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        if run.parent is not None:
            return await tool.run(call.arguments)
        return await super().execute(run, call, tool)


@breaks("a_helper_shares_the_budgets_of_the_run_around_it")
class Apart(Player):
    """Begins the helper's run as one of its own."""

    async def begin(self) -> Run:
        scene = self.scene
        return await self.guard.abegin_run(principal=scene.principal, session=scene.session)


@breaks(
    "a_helper_acts_for_the_same_principal",
    "a_run_acts_for_the_principal_it_was_begun_for",
)
class Anonymous(Player):
    """Acts for nobody, and its helper too."""

    async def begin(self) -> Run:
        return await self.guard.abegin_run(framework=self.framework, parent=current_run())


# ---- the record ----------------------------------------------------------------------------------


@breaks("the_record_says_what_called_and_that_it_ended")
class Nameless(Player):
    """Does not say what it is."""

    framework = "python"


@breaks("the_record_has_the_models_ids_of_calls")
class Idless(Player):
    """Leaves the model's ids out."""

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        bare = ToolCall(call.tool, call.arguments, task=call.task, schema_names=call.schema_names)
        return await super().execute(run, bare, tool)


@breaks("what_the_model_was_given_and_said_is_recorded")
class Unheard(Player):
    """Records no model."""

    async def ask_model(self, run: Run, number: int, outcome: Outcome) -> None:
        outcome.offered.append(frozenset(self.offered(run)))
        await self.guard.abound(run, partial(self.model, number))


@breaks("what_the_model_was_given_and_said_is_recorded")
class Afterwards(Player):
    """Records the model when everything is over."""

    async def ask_model(self, run: Run, number: int, outcome: Outcome) -> None:
        outcome.offered.append(frozenset(self.offered(run)))
        await self.guard.abound(run, partial(self.model, number))
        if number == len(self.scene.turns):
            for request in map(str, range(number + 1)):
                given: list[Any] = [self.scene.prompt, "look", "saw x", str(self.scene.last)]
                self.guard.record(run, ModelAsked(request, None, given, ["look"], None, None))
                self.guard.record(run, ModelAnswered(request, given, None, 0, None))


@breaks("a_session_remembers_what_an_earlier_turn_has_read")
class Forgetful(Player):
    """Takes every turn for a conversation of its own."""

    async def begin(self) -> Run:
        scene = self.scene
        return await self.guard.abegin_run(principal=scene.principal, framework=self.framework)


@breaks("under_full_audit_the_decision_is_kept_before_the_body_begins")
class Ahead(Player):
    """Begins the body while the decision is being kept."""

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        result = await tool.run(call.arguments)
        return await self.guard.aexecute(run, call, lambda _: result, wait=False)
