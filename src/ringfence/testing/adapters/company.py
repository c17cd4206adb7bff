"""Several at once: parallel calls, streams, agents inside agents, tools of the model's provider."""

from pathlib import Path

from ringfence.engine.decision import events as e
from ringfence.testing.adapters.bounds import FEW, few_of
from ringfence.testing.adapters.people import BOB, SEND, approving
from ringfence.testing.adapters.props import Props
from ringfence.testing.adapters.scenes import ALICE, Asked, Outcome, Scene
from ringfence.testing.adapters.stage import Stage, needs

HELPER = "tool helper { needs work  takes task: text  allow always }\n"


class Company(Stage):
    """No way around the guard by doing things beside or inside one another."""

    @needs("parallel")
    async def test_parallel_calls_share_one_rate(self, folder: Path) -> None:
        """Of three at once exactly two run, and each is told its own answer."""
        async with self.props(folder, FEW) as props:
            turn = [Asked("few", {"what": str(number)}, f"c{number}") for number in range(3)]
            outcome = await self.played(props, turn, tools=[few_of(props)])
            assert len(props.bodies("few")) == 2, (
                f"`rate 2 per run`, three calls at once: {len(props.bodies('few'))} bodies ran"
            )
            assert sorted(one.failed for one in outcome.told) == [False, False, True], (
                f"two results and one refusal are told: {outcome}"
            )
            for number, told in enumerate(outcome.told):
                assert told.failed or f"did {number}" in told.text, f"answers are told in order: {outcome}"
            self.went_on(outcome)

    @needs("has_ids", "reuses_ids")
    async def test_an_id_that_comes_again_is_another_call(self, folder: Path) -> None:
        """Models reuse ids: the second call is decided and run, not answered from the first."""
        async with self.props(folder, "") as props:
            outcome = await self.played(
                props,
                [Asked("look", {"what": "x"}, "c1")],
                [Asked("look", {"what": "x"}, "c1")],
                [Asked("look", {"what": "classified"}, "c1")],
            )
            assert props.bodies("look") == [{"what": "x"}, {"what": "x"}], (
                f"three calls under one id, the last one denied; these ran: {props.bodies('look')}"
            )
            assert await props.verdicts("look") == ["allow", "allow", "deny"]
            assert [one.failed for one in outcome.told] == [False, False, True], str(outcome)

    @needs("streams")
    async def test_a_streamed_agent_is_guarded_like_any(self, folder: Path) -> None:
        """Allowed, denied, and what is offered."""
        async with self.props(folder, "") as props:
            outcome = await self.played(
                props,
                [Asked("look", {"what": "x"}, "c1")],
                [Asked("look", {"what": "classified"}, "c2")],
                tools=[props.look(), props.scrub()],
                streamed=True,
            )
            assert props.ran == [("look", {"what": "x"})], f"one call is allowed; these ran: {props.ran}"
            assert [one.failed for one in outcome.told] == [False, True], f"as without a stream: {outcome}"
            if self.hides_tools:
                assert set(outcome.offered) == {frozenset({"look"})}, (
                    f"hidden tools are not offered in a stream either: {outcome.offered}"
                )
            self.went_on(outcome)

    @needs("streams")
    async def test_a_streamed_agent_asks_people(self, folder: Path) -> None:
        """Nothing runs before they have answered."""
        async with self.props(folder, SEND) as props:
            scene = self.scene(props, BOB, tools=[props.send()], streamed=True)
            outcome, playing = await self.asked(props, scene)
            self.nothing_ran(props, "send", "nobody has approved it")
            assert len(await props.questions()) == 1, f"a streamed call asks people too: {outcome}"
            (ticket,) = await props.questions()
            approving(props)(ticket)
            if playing is not None:
                outcome = await playing
            elif outcome is not None and outcome.resume is not None:
                outcome = await outcome.resume()
            assert props.bodies("send") == [{"to": "bob"}], "an approved call runs once, streamed or not"
            assert outcome is not None
            self.succeeded(outcome, "send", "sent to bob")

    @needs("has_helpers")
    async def test_a_helpers_calls_are_guarded(self, folder: Path) -> None:
        """What is denied to the agent is denied to whom it starts."""
        async with self.props(folder, HELPER) as props:
            inner = self._helper(
                props,
                [Asked("look", {"what": "classified"}, "i1")],
                [Asked("look", {"what": "inside"}, "i2")],
            )
            outcome = await self._helped(props, inner)
            assert props.bodies("look") == [{"what": "inside"}], (
                f"a helper's calls are decided like the agent's own; these ran: {props.bodies('look')}"
            )
            assert sorted(await props.verdicts("look")) == ["allow", "deny"], "and recorded"
            self.went_on(outcome)

    @needs("has_helpers")
    async def test_a_helper_shares_the_budgets_of_the_run_around_it(self, folder: Path) -> None:
        """`per run` counts the whole tree: pass `parent=current_run()`."""
        async with self.props(folder, HELPER + FEW) as props:
            inner = self._helper(
                props,
                [Asked("few", {"what": "1"}, "i1")],
                [Asked("few", {"what": "2"}, "i2")],
                tools=[few_of(props)],
            )
            outcome = await self._helped(
                props, inner, before=[Asked("few", {"what": "0"}, "c0")], tools=[few_of(props)]
            )
            assert props.bodies("few") == [{"what": "0"}, {"what": "1"}], (
                f"`rate 2 per run` holds for the run and all inside it; these ran: {props.bodies('few')}"
            )
            self.went_on(outcome)

    @needs("has_helpers")
    async def test_a_helper_acts_for_the_same_principal(self, folder: Path) -> None:
        """Whoever started it, it is on their behalf."""
        async with self.props(folder, HELPER) as props:
            await self._helped(props, self._helper(props, [Asked("look", {"what": "x"}, "i1")]))
            users = {one.principal.get("user") for one in await props.events(e.RunStarted) if one.principal}
            assert users == {ALICE.user}, f"every run of the tree is alice's; they are of {users}"

    @needs("has_provider_tools")
    async def test_a_tool_that_runs_at_the_provider_is_not_offered(self, folder: Path) -> None:
        """Nobody here could intercept its call: refused at the outset, or left out."""
        async with self.props(folder, "") as props:
            outcome = await self.played(props, [Asked("look", {"what": "x"})], provider_tools=["web_search"])
            if outcome.error is not None:
                assert props.ran == [] and outcome.offered == [], (
                    f"a provider-side tool is refused before the model is asked: {outcome}"
                )
                return
            for names in outcome.offered:
                assert names == {"look"}, f"a provider-side tool was offered to the model: {set(names)}"
            assert outcome.offered, "the stage must say what was offered in each request"

    def _helper(self, props: Props, *turns: list[Asked], **scene: object) -> Scene:
        return self.scene(props, *turns, **{"tools": [props.look()], **scene})

    async def _helped(
        self, props: Props, inner: Scene, *, before: list[Asked] | None = None, tools: object = None
    ) -> Outcome:
        """Play an agent that calls its helper."""
        turns = [*([before] if before else []), [Asked("helper", {"task": "help me"}, "c1")]]
        outcome = await self.played(props, *turns, tools=tools or [props.look()], helper=inner)
        told = self.told_of(outcome, "helper")
        assert not told.failed, f"the call that starts the helper is allowed: {told}"
        return outcome
