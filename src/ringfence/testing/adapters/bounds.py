"""Bounds of time and number, and orders to stop."""

import asyncio
from pathlib import Path

from ringfence.engine.decision import events as e
from ringfence.engine.seams.errors import RunHaltedError
from ringfence.testing.adapters.props import Props
from ringfence.testing.adapters.scenes import Asked, Outcome
from ringfence.testing.adapters.stage import FAILED, Stage, causes_of, needs

SHORT = "tool hang { needs work  takes what: text  allow always  stop after 100 ms }"
HANG = "tool hang { needs work  takes what: text  allow always }"
LATE = "tool late { needs work  takes what: text  allow always }"
FEW = 'tool few { needs work  takes what: text  allow when what != ""  rate 2 per run }'
THEN_LOOK = [Asked("look", {"what": "x"}, "c2")]


class Bounds(Stage):
    """Nothing starts after a bound, and the agent comes to a clean end."""

    async def test_a_body_past_its_tools_bound_fails_the_call_alone(self, folder: Path) -> None:
        """A plain function, which is abandoned; the agent goes on."""
        async with self.props(folder, SHORT) as props:
            outcome = await self.played(
                props, [Asked("hang", {"what": "godot"})], THEN_LOOK, tools=[props.hang(), props.look()]
            )
            assert props.returned == [], "a body past its tool's bound is abandoned, not waited for"
            self.refused(outcome, "hang", FAILED)
            self.succeeded(outcome, "look", "saw x")
            self.went_on(outcome)
            outcomes = [one.outcome for one in await props.events(e.CallFailed)]
            assert outcomes in (["abandoned"], ["timeout"]), f"the record must say so; it says {outcomes}"

    @needs("awaits")
    async def test_a_coroutine_past_its_tools_bound_is_cancelled(self, folder: Path) -> None:
        """Nobody waits for it, and the agent goes on."""
        async with self.props(folder, SHORT) as props:
            tools = [props.hang_awaiting(), props.look()]
            outcome = await self.played(props, [Asked("hang", {"what": "godot"})], THEN_LOOK, tools=tools)
            assert props.stopped == ["hang"], "a coroutine past its tool's bound must be cancelled"
            self.refused(outcome, "hang", FAILED)
            self.succeeded(outcome, "look", "saw x")
            self.went_on(outcome)

    async def test_nothing_starts_after_the_runs_deadline(self, folder: Path) -> None:
        """The time passes in a body; what it returned is told, and that was all."""
        async with self.props(folder, LATE, limits="stop after 5 minutes") as props:
            outcome = await self.played(
                props, [Asked("late", {"what": "it"})], THEN_LOOK, tools=[props.late(), props.look()]
            )
            assert props.bodies("late"), "the body came before the deadline, and did not run"
            self.nothing_ran(props, "look", "the run's time was up")
            await self._halted(props, outcome)

    @needs("has_model")
    async def test_what_a_model_asks_after_the_runs_deadline_is_not_started(self, folder: Path) -> None:
        """The time passes while the model thinks: run it under `guard.bound`, and decide its calls after."""
        async with self.props(folder, "", limits="stop after 5 minutes") as props:
            outcome = await self.played(
                props, [Asked("look", {"what": "x"})], before=lambda _: props.clock.advance(600)
            )
            self.nothing_ran(props, "look", "the run's time was up before the model had answered")
            await self._halted(props, outcome)

    async def test_a_run_that_is_killed_starts_nothing_more(self, folder: Path) -> None:
        """A plain function in flight is abandoned."""
        async with self.props(folder, HANG, limits="stop after 50 minutes") as props:
            outcome = await self._killed(props, [props.hang(), props.look()])
            assert props.returned == [], "a body in flight is abandoned by a kill, not waited for"
            self.nothing_ran(props, "look", "its run had been killed")
            await self._halted(props, outcome)

    @needs("awaits")
    async def test_a_kill_cancels_a_coroutine_in_flight(self, folder: Path) -> None:
        """And nothing starts after it."""
        async with self.props(folder, HANG) as props:
            outcome = await self._killed(props, [props.hang_awaiting(), props.look()])
            assert props.stopped == ["hang"], "a coroutine of a run that is killed must be cancelled"
            self.nothing_ran(props, "look", "its run had been killed")
            await self._halted(props, outcome)

    async def test_a_bound_on_calls_halts_the_run(self, folder: Path) -> None:
        """The first call beyond it ends the run: cleanly, or with RunHaltedError."""
        async with self.props(folder, "", limits="at most 2 calls") as props:
            turns = [[Asked("look", {"what": str(number)}, f"c{number}")] for number in range(4)]
            outcome = await self.played(props, *turns)
            assert props.bodies("look") == [{"what": "0"}, {"what": "1"}], (
                f"two calls fit in the run; these ran: {props.bodies('look')}"
            )
            await self._halted(props, outcome)

    async def test_a_rate_refuses_what_is_beyond_it_and_the_agent_goes_on(self, folder: Path) -> None:
        """All calls of an invocation are of one run."""
        async with self.props(folder, FEW) as props:
            turns = [[Asked("few", {"what": str(number)}, f"c{number}")] for number in range(3)]
            outcome = await self.played(props, *turns, tools=[few_of(props)])
            assert props.bodies("few") == [{"what": "0"}, {"what": "1"}], (
                f"`rate 2 per run`: calls of one invocation belong to one run; ran: {props.bodies('few')}"
            )
            assert [one.failed for one in outcome.told] == [False, False, True], (
                f"the third is refused, and told so: {outcome}"
            )
            self.went_on(outcome)

    async def _killed(self, props: Props, tools: list[object]) -> Outcome:
        """Kill the run while its first body hangs."""
        scene = self.scene(props, [Asked("hang", {"what": "godot"})], THEN_LOOK, tools=tools)
        playing = asyncio.create_task(self.play(scene))
        await props.until(lambda: bool(props.bodies("hang")) or playing.done(), "the body did not begin")
        assert props.bodies("hang"), f"the body did not begin: {playing}"
        run = await props.run()
        killed = await props.guard.akill(run, by="olga")
        assert killed.missing == (), "a kill must be acknowledged by the guard of the run"
        return await self.within(playing, "a killed run must come to an end, and its caller to an answer")

    async def _halted(self, props: Props, outcome: Outcome) -> None:
        """Claim a clean end, or the halt itself, and that the record says so."""
        statuses = [await props.status(run) for run in await props.runs()]
        assert statuses == ["halted"], f"the run was halted, and its record says {statuses}"
        if outcome.error is not None and self.raises_ours:
            assert any(isinstance(one, RunHaltedError) for one in causes_of(outcome.error)), (
                f"a halt ends the agent cleanly or raises RunHaltedError; it raised {outcome.error!r}"
            )
        assert outcome.said != "done", "a halted run's model must not be asked for its last word"


def few_of(props: Props) -> "object":
    """Return a tool of which little is allowed."""

    def few(what: str) -> str:
        """Do something that is rationed."""
        props.note("few", what=what)
        return f"did {what}"

    return few
