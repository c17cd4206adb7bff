"""What is recorded: who, what the model was given and said, how it ended; what a session remembers."""

import asyncio
import json
from pathlib import Path

from ringfence.engine.decision import events as e
from ringfence.engine.journal.jsonable import jsonable
from ringfence.testing.adapters.scenes import Asked
from ringfence.testing.adapters.stage import Stage, needs

MINE = "tool mine { needs work  takes what: text  allow when what == principal.user }"
FULL = "tool add { needs work  takes amount: integer  allow always  audit full }"
SECRETS = """language 1
policy contract
levels public < secret
capability work is read
capability publish is external
agent main {{ holds work, publish {limits} }}
tool look {{
  needs work  takes what: text  allow always
  result is secret when what == "payroll"
  result is public otherwise
}}
tool post {{ needs publish  takes what: text  allow always  rate 90 per hour }}
rule leak: deny post when after reading secret
"""
PROMPT = "please look it up in 1789"


class Recording(Stage):
    """The record says what happened, and replays to the same decisions."""

    async def test_a_run_acts_for_the_principal_it_was_begun_for(self, folder: Path) -> None:
        """The policy sees who it is."""

        def mine(what: str) -> str:
            """Read what is yours."""
            props.note("mine", what=what)
            return f"read {what}"

        async with self.props(folder, MINE) as props:
            outcome = await self.played(
                props,
                [Asked("mine", {"what": "alice"}, "c1")],
                [Asked("mine", {"what": "bob"}, "c2")],
                tools=[mine],
            )
            assert props.bodies("mine") == [{"what": "alice"}], (
                f"the run is alice's (`begin_run(principal=…)`); these ran: {props.bodies('mine')}"
            )
            assert [one.failed for one in outcome.told] == [False, True], str(outcome)
            started = await props.started()
            assert started.principal is not None and started.principal["user"] == "alice"

    async def test_the_record_says_what_called_and_that_it_ended(self, folder: Path) -> None:
        """The framework's name, its versions; one run, done; a replay decides the same."""
        async with self.props(folder, "") as props:
            await self.played(props, [Asked("look", {"what": "x"})])
            started = await props.started()
            assert started.framework == self.framework, (
                f"`begin_run(framework=…)` names `{self.framework}`; the record says `{started.framework}`"
            )
            run = await props.run()
            assert await props.status(run) == "done", f"a run that came to its end is `done`: {run}"
            record = await props.guard.runs.aget(run)
            replayed = await asyncio.to_thread(record.replay)
            assert replayed.identical, f"the record replays to other decisions: {replayed}"

    @needs("has_ids")
    async def test_the_record_has_the_models_ids_of_calls(self, folder: Path) -> None:
        """So that a call can be found in the framework's own logs."""
        async with self.props(folder, "") as props:
            await self.played(props, [Asked("look", {"what": "x"}, "call-77")])
            ids = [one.call_id for one in await props.events(e.CallRequested)]
            assert ids == ["call-77"], f"`ToolCall.call_id` is the model's id of the call; recorded: {ids}"

    @needs("has_model")
    async def test_what_the_model_was_given_and_said_is_recorded(self, folder: Path) -> None:
        """Every request with its messages and tools, every answer with its calls, before they are decided."""
        async with self.props(folder, "") as props:
            outcome = await self.played(
                props,
                [Asked("look", {"what": "x"})],
                tools=[props.look(), props.wipe()],
                prompt=PROMPT,
            )
            asked, answered = await props.events(e.ModelAsked), await props.events(e.ModelAnswered)
            assert (len(asked), len(answered)) == (2, 2), (
                f"two requests and two answers were made; recorded are {len(asked)} and {len(answered)}"
            )
            assert [one.request for one in asked] == [one.request for one in answered], (
                "an answer names its request"
            )
            assert PROMPT in _text(asked[0].messages), "the first request carries the prompt"
            assert "saw x" in _text(asked[1].messages), "the second request carries the tool's result"
            assert "look" in _text(asked[0].tools) and "wipe" not in _text(asked[0].tools), (
                "a request carries the tools that were offered, and no hidden one"
            )
            assert "look" in _text(answered[0].messages), "an answer carries the calls that the model makes"
            assert str(outcome.said) in _text(answered[1].messages), "an answer carries what the model said"
            run = await props.run()
            kinds = [one.event.kind for one in (await props.guard.runs.aget(run)).events]
            assert kinds.index("ModelAnswered") < kinds.index("CallDecided"), (
                "a model's answer is recorded before its calls are decided"
            )

    @needs("has_sessions")
    async def test_a_session_remembers_what_an_earlier_turn_has_read(self, folder: Path) -> None:
        """A second turn does not launder what the first one was shown."""

        def post(what: str) -> str:
            """Publish something."""
            props.note("post", what=what)
            return f"posted {what}"

        async with self.props(folder, "", policy=SECRETS) as props:
            tools = [props.look(), post]
            await self.played(props, [Asked("look", {"what": "payroll"})], tools=tools, session="s1")
            outcome = await self.played(props, [Asked("post", {"what": "news"})], tools=tools, session="s1")
            self.nothing_ran(props, "post", "its session has read something secret in an earlier turn")
            self.refused(outcome, "post")
            await self.played(props, [Asked("post", {"what": "news"})], tools=tools, session="s2")
            assert props.bodies("post") == [{"what": "news"}], "another session has read nothing: it may post"

    async def test_under_full_audit_the_decision_is_kept_before_the_body_begins(self, folder: Path) -> None:
        """The body waits for the store."""
        async with self.props(folder, FULL) as props:
            log = props.store.log
            log.hold()
            scene = self.scene(props, [Asked("add", {"amount": 5})], tools=[props.add()])
            playing = asyncio.create_task(self.play(scene))
            await props.until(
                lambda: log.allows_seen > 0 or playing.done(), "no allow was given to the log to keep"
            )
            self.nothing_ran(props, "add", "its decision was not durable yet (`audit full`)")
            assert not playing.done(), "a call under `audit full` must wait for the store"
            log.release()
            outcome = await self.within(playing, "the store had kept everything, and the scene did not end")
            assert props.bodies("add") == [{"amount": 5}], "and then it runs, once"
            self.succeeded(outcome, "add", "added 5")


def _text(value: object) -> str:
    return json.dumps(jsonable(value), ensure_ascii=False)
