"""What is decided is what runs: hooks, coercions, defaults, canonical forms, texts that are no JSON."""

from pathlib import Path

from ringfence.dsl.plan import Json
from ringfence.testing.adapters.scenes import Asked
from ringfence.testing.adapters.stage import Stage, needs

SEND = 'tool send { needs work  takes to: text  allow when to in ["bob", "carol"] }'
PAGE = "tool page { needs work  takes limit: integer optional  allow when limit is missing or limit <= 50 }"
ADD = "tool add { needs work  takes amount: integer  allow when amount <= 100 }"
MAIL = "tool mail { needs work  takes to: email  allow always }"


class Arguments(Stage):
    """The body gets the arguments that were decided, and no others."""

    @needs("has_hooks")
    async def test_arguments_that_a_hook_changes_are_decided_as_they_are_then(self, folder: Path) -> None:
        """A later hook cannot smuggle a forbidden value past the decision."""

        def to_eve(tool: str, arguments: dict[str, Json]) -> dict[str, Json]:
            return {**arguments, "to": "eve"}

        async with self.props(folder, SEND) as props:
            outcome = await self.played(
                props, [Asked("send", {"to": "bob"})], tools=[props.send()], rewrites=to_eve
            )
            self.nothing_ran(
                props,
                "send",
                "a hook changed the arguments after the decision: decide in the innermost wrapper",
            )
            self.refused(outcome, "send")

    @needs("has_hooks")
    async def test_what_a_hook_makes_of_a_call_is_what_is_recorded(self, folder: Path) -> None:
        """Decision, record and body see the same."""

        def to_carol(tool: str, arguments: dict[str, Json]) -> dict[str, Json]:
            return {**arguments, "to": "carol"}

        async with self.props(folder, SEND) as props:
            await self.played(props, [Asked("send", {"to": "bob"})], tools=[props.send()], rewrites=to_carol)
            assert props.bodies("send") == [{"to": "carol"}], (
                f"the body gets what the hook made of it, once; it got {props.bodies('send')}"
            )
            assert await props.decided_arguments("send") == [{"to": "carol"}], (
                "the record must show the arguments that ran"
            )

    async def test_the_body_gets_the_canonical_arguments(self, folder: Path) -> None:
        """The guard hands them to the body: `body(arguments)`."""

        def mail(to: str) -> str:
            """Send a mail."""
            props.note("mail", to=to)
            return f"mailed {to}"

        async with self.props(folder, MAIL) as props:
            outcome = await self.played(props, [Asked("mail", {"to": "Ann@ACME.example"})], tools=[mail])
            assert props.bodies("mail") == [{"to": "Ann@acme.example"}], (
                "the body must be run with the arguments that the guard hands to it, not those it had before:"
                f" {props.bodies('mail')}"
            )
            self.succeeded(outcome, "mail", "Ann@acme.example")

    async def test_a_default_that_the_body_would_get_is_decided(self, folder: Path) -> None:
        """An argument that is left out is not an argument that is allowed."""
        async with self.props(folder, SEND) as props:
            outcome = await self.played(props, [Asked("send", {})], tools=[props.send()])
            self.nothing_ran(props, "send", "its default, `eve`, is not allowed")
            assert self.told_of(outcome, "send").failed
            self.went_on(outcome)

    async def test_a_null_does_not_become_a_default_of_the_body(self, folder: Path) -> None:
        """Null is decided as missing, handed to the body as null; its default was decided by nobody."""

        def page(limit: int | None = 1000) -> str:
            """Read a page."""
            props.note("page", limit=limit)
            return "read"

        async with self.props(folder, PAGE) as props:
            await self.played(props, [Asked("page", {"limit": None})], tools=[page])
            assert props.bodies("page") in ([], [{"limit": None}]), (
                f"null was decided, and the body began with its default: {props.bodies('page')}"
            )

    async def test_a_value_that_the_framework_coerces_is_decided_coerced(self, folder: Path) -> None:
        """`"500"` where a number is wanted is 500, or nothing at all."""
        async with self.props(folder, ADD) as props:
            await self.played(props, [Asked("add", {"amount": "500"})], tools=[props.add()])
            self.nothing_ran(props, "add", 'the text "500" was taken for a number after the decision')
            await self.played(props, [Asked("add", {"amount": "5"})], tools=[props.add()])
            for got in props.bodies("add"):
                assert got == {"amount": 5}, f"a body that takes a number got {got}"
                assert {"amount": 5} in await props.decided_arguments("add"), (
                    "what ran must be what was decided: decide on the validated arguments"
                )

    async def test_arguments_that_fit_no_schema_run_nothing(self, folder: Path) -> None:
        """Wrong in type, missing, or of another shape; the agent goes on."""
        for given in ({"amount": {"x": 1}}, {"amount": None}, {}, {"sum": 5}, {"amount": "many"}):
            async with self.props(folder, ADD) as props:
                outcome = await self.played(props, [Asked("add", given)], tools=[props.add()])
                self.nothing_ran(props, "add", f"{given} is nothing it takes")
                assert self.told_of(outcome, "add").failed, f"{given} must be told as a failure: {outcome}"
                self.went_on(outcome)

    async def test_an_argument_that_the_policy_does_not_name_runs_as_it_is_recorded(
        self, folder: Path
    ) -> None:
        """Refused, dropped, or decided and recorded with the others."""

        def send(to: str, bcc: str = "") -> str:
            """Send a message."""
            props.note("send", to=to, bcc=bcc)
            return f"sent to {to}"

        async with self.props(folder, SEND) as props:
            await self.played(props, [Asked("send", {"to": "bob", "bcc": "eve"})], tools=[send])
            for got in props.bodies("send"):
                recorded = await props.decided_arguments("send")
                assert got["bcc"] == "" or got in recorded, (
                    f"the body got {got}, and decided was {recorded}: pass all arguments to `execute`"
                )

    async def test_arguments_that_no_function_has_do_not_fail_open(self, folder: Path) -> None:
        """Neither policy nor function knows them."""
        async with self.props(folder, SEND) as props:
            outcome = await self.played(
                props, [Asked("send", {"to": "eve", "force": True})], tools=[props.send()]
            )
            self.nothing_ran(props, "send", "`eve` is not allowed")
            assert self.told_of(outcome, "send").failed

    @needs("writes_text")
    async def test_a_name_that_stands_twice_is_decided_as_it_runs(self, folder: Path) -> None:
        """JSON readers differ in which of two values they take."""
        for text in ('{"to": "bob", "to": "eve"}', '{"to": "eve", "to": "bob"}'):
            async with self.props(folder, SEND) as props:
                await self.played(props, [Asked("send", text=text)], tools=[props.send()])
                for got in props.bodies("send"):
                    assert got == {"to": "bob"}, f"{text} reached the body as {got}: it was never decided"
                    assert await props.decided_arguments("send") == [{"to": "bob"}]

    @needs("writes_text")
    async def test_a_text_that_is_no_record_runs_nothing(self, folder: Path) -> None:
        """Broken JSON, a list, null; the agent goes on."""
        for text in ('{"to": "bob"', "[1]", "null", "", "bob"):
            async with self.props(folder, SEND) as props:
                outcome = await self.played(props, [Asked("send", text=text)], tools=[props.send()])
                self.nothing_ran(
                    props, "send", f"{text!r} is no record of arguments, and its default is denied"
                )
                assert self.told_of(outcome, "send").failed, f"{text!r} must be told as a failure: {outcome}"
                self.went_on(outcome)
