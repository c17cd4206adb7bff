"""Allowed, denied, hidden, unknown: what runs, what is offered, and what the model is told."""

from pathlib import Path

from ringfence.testing.adapters.props import awaiting
from ringfence.testing.adapters.scenes import Asked
from ringfence.testing.adapters.stage import NOT_FOUND, Stage, needs

BECAUSE = "the archive belongs to the ministry"
ARCHIVE = f"""tool archive {{
  needs work  takes what: text  allow always
  deny sealed: when what == "open" because "{BECAUSE}"
}}"""


class Deciding(Stage):
    """What is allowed runs once; what is not never does."""

    async def test_an_allowed_call_runs_once_and_its_result_is_told(self, folder: Path) -> None:
        """With the arguments that the model gave."""
        async with self.props(folder, "") as props:
            outcome = await self.played(props, [Asked("look", {"what": "x"})])
            assert props.ran == [("look", {"what": "x"})], f"an allowed body runs once; it ran {props.ran}"
            self.succeeded(outcome, "look", "saw x")
            self.went_on(outcome)
            assert await props.verdicts("look") == ["allow"], "each call is decided by the guard, once"

    @needs("awaits")
    async def test_a_body_may_be_a_coroutine_function(self, folder: Path) -> None:
        """Its result is told, not the coroutine."""
        async with self.props(folder, "") as props:
            tools = [awaiting(props.look())]
            outcome = await self.played(props, [Asked("look", {"what": "x"})], tools=tools)
            assert props.ran == [("look", {"what": "x"})], f"an allowed body runs once; it ran {props.ran}"
            self.succeeded(outcome, "look", "saw x")

    async def test_a_denied_call_runs_no_body_and_the_agent_goes_on(self, folder: Path) -> None:
        """It is told as a failure of the tool, in the framework's form."""
        async with self.props(folder, "") as props:
            outcome = await self.played(
                props, [Asked("look", {"what": "classified"}, "c1")], [Asked("look", {"what": "x"}, "c2")]
            )
            assert props.ran == [("look", {"what": "x"})], (
                f"a denied body must not run and the next call must; these ran: {props.ran}"
            )
            assert [one.failed for one in outcome.told] == [True, False], (
                f"the denied call is told as a failure, the allowed one is not: {outcome}"
            )
            self.went_on(outcome)
            assert await props.verdicts("look") == ["deny", "allow"], "a refusal is a decision, on the record"

    @needs("awaits")
    async def test_a_denied_coroutine_function_does_not_begin(self, folder: Path) -> None:
        """No more than a plain function does."""
        async with self.props(folder, "") as props:
            tools = [awaiting(props.look())]
            outcome = await self.played(props, [Asked("look", {"what": "classified"})], tools=tools)
            self.nothing_ran(props, "look", "it was denied")
            self.refused(outcome, "look")

    async def test_a_refusal_says_nothing_of_the_policy(self, folder: Path) -> None:
        """One constant text: no rule, no reason, no place, no capability."""

        def archive(what: str) -> str:
            """Read the archive."""
            props.note("archive", what=what)
            return "all of it"

        async with self.props(folder, ARCHIVE) as props:
            outcome = await self.played(props, [Asked("archive", {"what": "open"})], tools=[archive])
            self.nothing_ran(props, "archive", "it was denied")
            told = self.refused(outcome, "archive")
            for secret in ("sealed", "ministry", "needs", "policy", ".fence", "DeniedError"):
                assert secret not in told.text, (
                    f"of a refusal the model reads `error.model_text` alone; it was told {told.text!r}"
                )

    @needs("hides_tools")
    async def test_tools_that_the_policy_does_not_open_are_not_offered(self, folder: Path) -> None:
        """Neither one that nobody declared, nor one whose capability is not held."""
        async with self.props(folder, "") as props:
            tools = [props.scrub(), props.look(), props.wipe()]
            outcome = await self.played(props, [Asked("look", {"what": "x"})], tools=tools)
            assert outcome.offered, "the stage must say what was offered in each request"
            for names in outcome.offered:
                assert names == {"look"}, (
                    f"offered must be what `guard.visible` returns, here `look` alone; it was {set(names)}"
                )
            self.succeeded(outcome, "look", "saw x")

    async def test_a_hidden_tool_does_not_run_if_it_is_called_all_the_same(self, folder: Path) -> None:
        """A model may know its name from elsewhere."""
        async with self.props(folder, "") as props:
            tools = [props.scrub(), props.look(), props.wipe()]
            outcome = await self.played(
                props,
                [Asked("wipe", {"what": "x"}, "c1")],
                [Asked("scrub", {"what": "x"}, "c2")],
                [Asked("look", {"what": "x"}, "c3")],
                tools=tools,
            )
            self.nothing_ran(props, "wipe", "its capability is not held")
            self.nothing_ran(props, "scrub", "the policy does not declare it")
            for tool, other in (("wipe", "scrub"), ("scrub", "wipe")):
                told = self.told_of(outcome, tool)
                assert told.failed, f"a call of a hidden tool must be told as a failure: {told}"
                assert other not in told.text, f"no refusal names hidden tools; it said {told.text!r}"
                if self.records_unknown:
                    assert NOT_FOUND in told.text, (
                        f"a tool that is not held is told as one that there is not, `{NOT_FOUND}`: {told}"
                    )
                    assert await props.verdicts(tool) == ["unknown"], (
                        f"a call of the hidden `{tool}` is decided and recorded like any other"
                    )
            self.succeeded(outcome, "look", "saw x")
            self.went_on(outcome)

    @needs("has_unknown_tools")
    async def test_a_name_that_no_tool_has_is_refused_and_the_agent_goes_on(self, folder: Path) -> None:
        """Without naming the tools that there are and that the model may not see."""
        async with self.props(folder, "") as props:
            outcome = await self.played(
                props,
                [Asked("conjure", {"what": "x"}, "c1")],
                [Asked("look", {"what": "x"}, "c2")],
                tools=[props.look(), props.wipe()],
            )
            told = self.told_of(outcome, "conjure")
            assert told.failed and "wipe" not in told.text, (
                f"an unknown tool is a failure that names no hidden tool; it was told {told}"
            )
            if self.records_unknown:
                assert await props.verdicts("conjure") == ["unknown"], (
                    "a call of an unknown tool goes to `guard.refuse` or `guard.execute`, so that it counts"
                )
            assert props.ran == [("look", {"what": "x"})], f"only `look` may run; these ran: {props.ran}"
            self.went_on(outcome)
