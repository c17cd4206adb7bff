"""Wrong about failures, bounds, company and the record."""

import asyncio
import contextlib
from functools import partial
from typing import Any, ClassVar

from ringfence.adapter import (
    EngineError,
    ModelAnswered,
    ModelAsked,
    Run,
    RunHaltedError,
    ToolCall,
    current_run,
)
from ringfence.testing import Asked, Outcome, Scene, Told
from tests.adapters.contract.mini import Player, Saved, Tool
from tests.adapters.contract.sabotage import Other, breaks


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

        return await super().execute(run, call, Other(tool, body))


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

        return await super().execute(run, call, Other(tool, body))


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
