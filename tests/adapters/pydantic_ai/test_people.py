"""Calls that ask people put the agent away, and go on from what was saved: in any process, once."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import Agent, DeferredToolRequests, DeferredToolResults, RunContext
from pydantic_ai.capabilities import HandleDeferredToolCalls
from pydantic_ai.exceptions import ApprovalRequired, UserError
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ModelResponse
from pydantic_ai.tools import Tool, ToolApproved, ToolDefinition, ToolDenied
from pydantic_ai.toolsets import ExternalToolset

from ringfence.adapters.pydantic_ai import Guarded, questions
from ringfence.engine.decision import events as e
from ringfence.engine.decision.calls import Principal
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.errors import DeniedError, RunHaltedError
from ringfence.testing import Asked
from tests.adapters.pydantic_ai.agents import ALICE, Notes, Played, asked, events, statuses, verdicts
from tests.adapters.pydantic_ai.conftest import LoadGuard
from tests.adapters.pydantic_ai.scripted import Script

SEND = "tool send { needs work  takes to: text  allow always  ask lead }\n"
LOOK = "tool look { needs work  takes what: text  allow always }\n"


class Desk:
    """An agent that can be put away."""

    def __init__(self, guard: Guard, *turns: Sequence[Asked], **guarded: Any) -> None:
        self.guard = guard
        self.notes = Notes()
        self.script = Script(turns)
        self.guarded = {"principal": ALICE, **guarded}
        self.more: dict[str, Any] = {"tools": [self.notes.send, self.notes.look]}

    def agent(self, guard: Guard | None = None) -> Agent[Any, Any]:
        """Return the agent, made anew as another process would."""
        return Agent(
            self.script.model(),
            capabilities=[Guarded(guard or self.guard, **self.guarded)],
            output_type=[str, DeferredToolRequests],
            **self.more,
        )

    async def begin(self, **run: Any) -> "Paused":
        """Run it until people are asked."""
        result = await self.agent().run("go", **run)
        assert isinstance(result.output, DeferredToolRequests)
        return Paused(self, result)


class Paused:
    """What is kept of an agent that was put away: bytes, and what is open."""

    def __init__(self, desk: Desk, result: Any) -> None:
        self.desk = desk
        self.saved: bytes = result.all_messages_json()
        self.requests: DeferredToolRequests = result.output
        self.questions = questions(result)

    def history(self) -> list[ModelMessage]:
        """Return the saved messages."""
        return ModelMessagesTypeAdapter.validate_json(self.saved)

    async def go_on(self, answer: Any = True, *, guard: Guard | None = None, **run: Any) -> Any:
        """Go on; `answer` is what the framework is told of every open call."""
        results = DeferredToolResults(approvals={one.tool_call_id: answer for one in self.requests.approvals})
        return await self.desk.agent(guard).run(
            message_history=self.history(), deferred_tool_results=results, **run
        )


async def test_what_waits_is_shown_with_its_ticket(load: LoadGuard) -> None:
    desk = Desk(load(SEND), asked("send", to="bob"))
    paused = await desk.begin()
    (question,) = paused.questions
    assert (question.tool, question.arguments, question.approver) == ("send", {"to": "bob"}, "lead")
    assert paused.requests.metadata["c1"]["ticket"] == question.ticket
    assert await statuses(desk.guard) == ["suspended"]


async def test_the_same_run_goes_on_under_the_frameworks_new_id(load: LoadGuard) -> None:
    desk = Desk(load(SEND + LOOK), [*asked("send", to="bob"), *asked("look", id="c2", what="x")])
    paused = await desk.begin()
    assert desk.notes.ran == [("look", {"what": "x"})], "what asks nobody runs at once"
    await desk.guard.aapprove(paused.questions[0].ticket, by="dana")
    result = await paused.go_on()
    assert result.output == "done"
    assert desk.notes.ran == [("look", {"what": "x"}), ("send", {"to": "bob"})]
    assert await statuses(desk.guard) == ["done"]


async def test_it_goes_on_in_another_process(load: LoadGuard, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/r.db"
    first = load(SEND, store=store)
    desk = Desk(first, asked("send", to="bob"), asked("send", id="c1", to="bob"))
    paused = await desk.begin()
    await first.aclose()
    second = load(SEND, store=store)
    await second.aapprove(paused.questions[0].ticket, by="dana")
    again = await paused.go_on(guard=second)
    assert desk.notes.ran == [("send", {"to": "bob"})]
    assert isinstance(again.output, DeferredToolRequests), "the same call under the same id is another one"
    assert await statuses(second) == ["suspended"]
    await second.aapprove(questions(again)[0].ticket, by="dana")
    last = await Paused(desk, again).go_on(guard=second)
    assert (last.output, len(desk.notes.ran)) == ("done", 2)


async def test_another_principal_does_not_go_on_with_it(load: LoadGuard) -> None:
    desk = Desk(load(SEND), asked("send", to="bob"))
    paused = await desk.begin()
    await desk.guard.aapprove(paused.questions[0].ticket, by="dana")
    desk.guarded["principal"] = Principal(user="mallory")
    with pytest.raises(DeniedError, match="another principal"):
        await paused.go_on()
    assert desk.notes.ran == []
    assert await statuses(desk.guard) == ["suspended"]


async def test_the_frameworks_yes_approves_only_where_the_host_vouches_for_who_said_it(
    load: LoadGuard,
) -> None:
    said = ["mallory"]
    desk = Desk(load(SEND), asked("send", to="bob"), answered_by=lambda ctx: said[0])
    paused = await desk.begin()
    still = await paused.go_on()
    assert isinstance(still.output, DeferredToolRequests) and desk.notes.ran == []
    assert questions(still)[0].ticket == paused.questions[0].ticket
    said[0] = "alice"  # the requester herself
    assert isinstance((await paused.go_on()).output, DeferredToolRequests)
    said[0] = "dana"
    assert (await paused.go_on()).output == "done"
    assert desk.notes.ran == [("send", {"to": "bob"})]
    replayed = await paused.go_on()
    assert isinstance(replayed.output, DeferredToolRequests) and len(desk.notes.ran) == 1
    answers = await events(desk.guard, e.ApprovalAnswered)
    assert [one.by for one in answers if one.verdict == "approve"] == ["dana"]


async def test_an_edit_of_the_host_is_decided_anew(load: LoadGuard) -> None:
    desk = Desk(load(SEND.replace("always", 'when to in ["bob", "carol"]')), asked("send", to="bob"))
    paused = await desk.begin()
    await desk.guard.aapprove(paused.questions[0].ticket, by="dana")
    other = await paused.go_on(ToolApproved(override_args={"to": "carol"}))
    assert isinstance(other.output, DeferredToolRequests) and desk.notes.ran == []
    assert questions(other)[0].arguments == {"to": "carol"}
    assert questions(other)[0].ticket != paused.questions[0].ticket


async def test_an_edit_takes_back_what_was_asked_and_a_forbidden_one_is_denied(load: LoadGuard) -> None:
    desk = Desk(load(SEND.replace("always", 'when to in ["bob", "carol"]')), asked("send", to="bob"))
    paused = await desk.begin()
    result = await paused.go_on(ToolApproved(override_args={"to": "eve"}))
    assert result.output == "done" and desk.notes.ran == []
    assert Played(result).texts() == [("not authorized", True)]
    (answered,) = await events(desk.guard, e.ApprovalAnswered)
    assert answered.verdict == "withdraw"
    with pytest.raises(DeniedError):
        await desk.guard.aapprove(paused.questions[0].ticket, by="dana")


async def test_an_approvers_edit_is_what_the_function_gets(load: LoadGuard) -> None:
    desk = Desk(load(SEND), asked("send", to="bob"))
    paused = await desk.begin()
    await desk.guard.aapprove(paused.questions[0].ticket, by="dana", edited={"to": "carol"})
    result = await paused.go_on()
    assert result.output == "done"
    assert desk.notes.ran == [("send", {"to": "carol"})]


async def test_the_frameworks_no_takes_the_question_back(load: LoadGuard) -> None:
    desk = Desk(load(SEND), asked("send", to="bob"))
    paused = await desk.begin()
    result = await paused.go_on(ToolDenied("the user says no"))
    assert result.output == "done" and desk.notes.ran == []
    assert Played(result).texts() == [("the user says no", True)]
    (answered,) = await events(desk.guard, e.ApprovalAnswered)
    assert answered.verdict == "withdraw"
    with pytest.raises(DeniedError):
        await desk.guard.aapprove(paused.questions[0].ticket, by="dana")


async def test_a_result_that_the_host_forges_takes_the_question_back(load: LoadGuard) -> None:
    desk = Desk(load(SEND), asked("send", to="bob"))
    paused = await desk.begin()
    result = await desk.agent().run(
        message_history=paused.history(), deferred_tool_results=DeferredToolResults(calls={"c1": "sent"})
    )
    assert result.output == "done" and desk.notes.ran == []
    assert [one.verdict for one in await events(desk.guard, e.ApprovalAnswered)] == ["withdraw"]


async def test_a_new_prompt_takes_back_what_waits(load: LoadGuard) -> None:
    desk = Desk(load(SEND), asked("send", to="bob"))
    paused = await desk.begin(conversation_id="talk")
    before = [one for one in paused.history() if not isinstance(one, ModelResponse)]
    desk.script.turns = []
    result = await desk.agent().run("never mind", message_history=before)
    assert result.output == "done"
    assert await statuses(desk.guard) == ["done", "done"]
    with pytest.raises(DeniedError):
        await desk.guard.aapprove(paused.questions[0].ticket, by="dana")


async def test_a_host_that_goes_on_wrongly_loses_nothing(load: LoadGuard) -> None:
    desk = Desk(load(SEND), asked("send", to="bob"))
    paused = await desk.begin()
    with pytest.raises(UserError):
        await desk.agent().run("what now?", message_history=paused.history())
    with pytest.raises(UserError):
        await desk.agent().run(message_history=paused.history(), deferred_tool_results=DeferredToolResults())
    assert await statuses(desk.guard) == ["suspended"]
    await desk.guard.aapprove(paused.questions[0].ticket, by="dana")
    assert (await paused.go_on()).output == "done"
    assert desk.notes.ran == [("send", {"to": "bob"})]


async def test_a_run_that_was_killed_while_it_waited_does_not_go_on(load: LoadGuard) -> None:
    desk = Desk(load(SEND), asked("send", to="bob"))
    paused = await desk.begin()
    await desk.guard.aapprove(paused.questions[0].ticket, by="dana")
    row = (await desk.guard.runs.alist())[0]
    await desk.guard.akill(row.run, by="olga")
    with pytest.raises(RunHaltedError):
        await paused.go_on()
    assert desk.notes.ran == []


async def test_an_agent_that_cannot_be_put_away_waits_in_place_and_says_so(
    load: LoadGuard, capsys: pytest.CaptureFixture[str]
) -> None:
    guard, notes = load(SEND), Notes()
    agent: Agent[None, str] = Agent(
        Script([asked("send", to="bob")]).model(),
        tools=[notes.send],
        capabilities=[Guarded(guard, principal=ALICE)],
    )
    running = asyncio.create_task(agent.run("go"))
    ticket = await ticket_of(guard)
    assert notes.ran == []
    await guard.aapprove(ticket, by="dana")
    assert (await running).output == "done"
    assert notes.ran == [("send", {"to": "bob"})]
    assert "waits for them in place" in capsys.readouterr().err


async def test_a_handler_of_another_capability_does_not_approve(load: LoadGuard) -> None:
    def yes(ctx: RunContext[Any], requests: DeferredToolRequests) -> DeferredToolResults:
        return requests.build_results(approve_all=True)

    desk = Desk(load(SEND), asked("send", to="bob"))
    agent: Agent[Any, Any] = Agent(
        desk.script.model(),
        tools=[desk.notes.send],
        capabilities=[Guarded(desk.guard, principal=ALICE), HandleDeferredToolCalls(handler=yes)],
        output_type=[str, DeferredToolRequests],
    )
    result = await agent.run("go")
    assert isinstance(result.output, DeferredToolRequests) and desk.notes.ran == []
    assert len(await events(desk.guard, e.ApprovalAsked)) == 1


# ---- the framework's own deferrals -----------------------------------------------------------------


async def test_a_tool_of_the_host_that_asks_natively_is_decided_when_it_runs(load: LoadGuard) -> None:
    desk = Desk(load(LOOK.replace("always", 'when what != "classified"')), asked("look", what="x"))
    desk.more = {"tools": [Tool(desk.notes.look, requires_approval=True)]}
    paused = await desk.begin()
    assert await verdicts(desk.guard) == [] and await statuses(desk.guard) == ["suspended"]
    assert (await paused.go_on(ToolApproved(override_args={"what": "classified"}))).output == "done"
    assert desk.notes.ran == []
    assert await verdicts(desk.guard) == [("look", "deny")]


async def test_a_body_that_asks_natively_runs_again_when_it_was_answered(load: LoadGuard) -> None:
    desk = Desk(load(LOOK), asked("look", what="x"))

    def look(ctx: RunContext[Any], what: str) -> str:
        """Look something up."""
        if not ctx.tool_call_approved:
            raise ApprovalRequired
        return desk.notes.look(what)

    desk.more = {"tools": [look]}
    paused = await desk.begin()
    assert (await paused.go_on()).output == "done"
    assert desk.notes.ran == [("look", {"what": "x"})]
    assert await statuses(desk.guard) == ["done"]


async def test_a_call_that_the_host_executes_elsewhere_is_decided_before_it_is_handed_out(
    load: LoadGuard,
) -> None:
    guard = load(LOOK.replace("always", 'when what != "classified"'))
    desk = Desk(guard, asked("look", what="classified"), asked("look", what="x"))
    schema = {"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]}
    external = ExternalToolset([ToolDefinition(name="look", parameters_json_schema=schema)])
    desk.more = {"toolsets": [external]}
    paused = await desk.begin()
    assert [one.args for one in paused.requests.calls] == [{"what": "x"}]
    assert await verdicts(guard) == [("look", "deny"), ("look", "allow")]
    result = await desk.agent().run(
        message_history=paused.history(), deferred_tool_results=DeferredToolResults(calls={"c1": "saw it"})
    )
    assert result.output == "done"
    assert Played(result).texts()[-1] == ("saw it", False)
    assert await statuses(guard) == ["done"]


async def ticket_of(guard: Guard) -> str:
    """Wait for the only open ticket."""
    opening = guard.opening
    for _ in range(2_000):
        if opening.is_open:
            found = await asyncio.wrap_future(opening.submit(opening.ready.tickets.pending()))
            if found:
                return str(found[0].id)
        await asyncio.sleep(0.005)
    raise AssertionError("nobody was asked")
