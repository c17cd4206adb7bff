"""When something breaks: the engine, a body, the caller's patience.  Nothing runs that was not decided."""

import asyncio
import contextlib
from pathlib import Path

from ringfence.engine.decision import events as e
from ringfence.engine.seams.errors import EngineError
from ringfence.testing.adapters.held_store import BROKEN
from ringfence.testing.adapters.props import Props
from ringfence.testing.adapters.scenes import Asked, Outcome
from ringfence.testing.adapters.stage import Stage, causes_of, needs

FULL = "tool add { needs work  takes amount: integer  allow always  audit full }"
BREAK = "tool break_down { needs work  takes what: text  allow always }"
HANG = "tool hang { needs work  takes what: text  allow always }"


class Failing(Stage):
    """Failures are told to whom they concern, and open nothing."""

    async def test_an_engine_that_fails_runs_nothing_and_stops_the_agent(self, folder: Path) -> None:
        """It comes out as an error of the host's; the model is told nothing of it and goes no further."""
        async with self.props(folder, FULL) as props:
            props.store.log.fails = True
            outcome = await self.played(
                props,
                [Asked("add", {"amount": 5}, "c1")],
                [Asked("look", {"what": "x"}, "c2")],
                tools=[props.add(), props.look()],
            )
            assert props.ran == [], f"the log cannot be written, and bodies ran: {props.ran}"
            self._fatal(outcome)
            assert outcome.said is None, "an EngineError is fatal: the agent must not go on to a last word"
            for told in outcome.told:
                assert BROKEN not in told.text, f"the model was told of the host's store: {told.text!r}"
            assert len(outcome.offered) <= 1 or not self.has_model, (
                "an EngineError is fatal: the model must not be asked again"
            )

    def _fatal(self, outcome: Outcome) -> None:
        if not self.raises_ours:
            assert outcome.error is not None or all(one.failed for one in outcome.told), (
                f"a failure of the engine must reach the caller as a failure: {outcome}"
            )
            return
        assert any(isinstance(one, EngineError) for one in causes_of(outcome.error)), (
            f"an EngineError must come out of the framework, never be swallowed; it raised {outcome.error!r}"
        )

    async def test_a_body_that_fails_is_recorded_and_ends_as_the_framework_has_it(self, folder: Path) -> None:
        """Told to the model or raised to the host: the framework's own way; on the record either way."""
        async with self.props(folder, BREAK) as props:
            outcome = await self.played(
                props, [Asked("break_down", {"what": "vase"})], tools=[props.break_down()]
            )
            assert props.bodies("break_down"), "the body was allowed and did not begin"
            failed = await props.events(e.CallFailed)
            assert [one.outcome for one in failed][:1] == ["raised"], (
                f"the guard must see the body's own exception; the record says {failed}"
            )
            told = [one for one in outcome.told if one.tool == "break_down"]
            assert outcome.error is not None or (told and all(one.failed for one in told)), (
                f"a body that raised must not look as if it had returned: {outcome}"
            )
            await self._over(props)

    @needs("cancels", "awaits")
    async def test_a_cancelled_invocation_takes_its_body_along(self, folder: Path) -> None:
        """It is cancelled, recorded as such, and its run ends."""
        async with self.props(folder, HANG) as props:
            scene = self.scene(
                props,
                [Asked("hang", {"what": "godot"}, "c1")],
                [Asked("look", {"what": "x"}, "c2")],
                tools=[props.hang_awaiting(), props.look()],
            )
            playing = asyncio.create_task(self.play(scene))
            await props.until(lambda: bool(props.bodies("hang")) or playing.done(), "the body did not begin")
            assert props.bodies("hang"), f"the body did not begin: {playing}"
            playing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await playing
            await props.until(lambda: bool(props.stopped), "the body was not cancelled with its caller")
            self.nothing_ran(props, "look", "the invocation had been cancelled")
            await self._over(props)
            outcomes = {one.outcome for one in await props.events(e.CallFailed)}
            assert outcomes & {"cancelled", "abandoned", "interrupted"}, (
                f"a body that was cancelled must be recorded so; the record says {outcomes or 'nothing'}"
            )

    async def _over(self, props: Props) -> None:
        """Claim that no run is left running."""
        for _ in range(400):
            statuses = {await props.status(run) for run in await props.runs()}
            if "running" not in statuses:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the run was left `running`: end it whatever comes out of the framework")
