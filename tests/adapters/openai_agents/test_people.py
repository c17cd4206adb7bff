"""People are asked; the SDK's own approvals put an agent away, and may reject, but allow nothing."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from agents import Agent, RunState

from ringfence import DeniedError, EngineError, PendingError, Principal
from ringfence.adapters.openai_agents import GuardedRunner, questions
from tests.adapters.openai_agents.conftest import LoadGuard
from tests.adapters.openai_agents.desk import (
    ADD,
    ALICE,
    SEND,
    Ran,
    agent_of,
    asks,
    events,
    says,
    script,
    statuses,
    told,
)

BOB = asks("send", {"to": "bob"})
HELPED = SEND + "tool helper { needs work  takes input: text  allow always }\n"


def answers(guard: Any) -> list[tuple[str, str | None]]:
    return [(one.verdict, one.by) for one in events(guard, "ApprovalAnswered")]


async def reread(runner: GuardedRunner, agent: Agent[Any], result: Any) -> Any:
    """Return the state of a result, as another process would read it."""
    return await RunState.from_string(runner.guarded(agent), result.to_state().to_string())


async def test_a_paused_agent_says_what_it_waits_for_and_goes_on_once_it_is_answered(load: LoadGuard) -> None:
    ran, guard = Ran(), load(SEND)
    runner, agent = GuardedRunner(guard), agent_of([ran.send()], BOB)
    paused = await runner.run(agent, "go", principal=ALICE)
    (asked,) = questions(paused)
    assert (asked.tool, asked.arguments, asked.approver, asked.call_id) == (
        "send",
        {"to": "bob"},
        "lead",
        "c1",
    )
    assert questions(await reread(runner, agent, paused)) == [asked] and statuses(guard) == ["suspended"]
    guard.approve(asked.ticket, by="dana")
    result = await runner.run(agent, paused.to_state())
    assert ran == ["bob"] and result.final_output == "done" and told(agent.model) == ["sent to bob"]
    assert statuses(guard) == ["done"] and questions(result) == []


async def test_it_goes_on_in_another_process(load: LoadGuard, tmp_path: Path) -> None:
    ran, store = Ran(), f"sqlite:///{tmp_path}/runs.db"
    first = load(SEND, store=store)
    agent = agent_of([ran.send()], BOB)
    paused = await GuardedRunner(first).run(agent, "go", principal=ALICE)
    text = paused.to_state().to_string()
    first.close()
    guard = load(SEND, store=store)
    agent = agent_of([ran.send()])
    runner = GuardedRunner(guard)
    state: Any = await RunState.from_string(runner.guarded(agent), text)
    guard.approve(questions(state)[0].ticket, by="dana")
    await runner.run(agent, state)
    assert ran == ["bob"] and statuses(guard) == ["done"]
    assert {one.principal["user"] for one in events(guard, "RunStarted")} == {"alice"}


@pytest.mark.parametrize("always", [False, True])
async def test_a_state_that_somebody_approved_waits_on(load: LoadGuard, always: bool) -> None:
    ran, guard = Ran(), load(SEND)
    runner, agent = GuardedRunner(guard), agent_of([ran.send()], BOB)
    paused = await runner.run(agent, "go", principal=ALICE)
    state = paused.to_state()
    state.approve(state.get_interruptions()[0], always_approve=always)
    again = await runner.run(agent, state)
    assert ran == [] and len(again.interruptions) == 1 and len(questions(again)) == 1
    assert answers(guard) == [] and statuses(guard) == ["suspended"]


async def test_a_verified_person_approves_in_the_state(load: LoadGuard) -> None:
    ran, guard = Ran(), load(SEND)
    who = {"by": "mallory"}
    runner = GuardedRunner(guard, answered_by=lambda context: context["by"])
    agent = agent_of([ran.send()], BOB)
    paused = await runner.run(agent, "go", principal=ALICE, context=who)
    state = paused.to_state()
    state.approve(state.get_interruptions()[0])
    again = await runner.run(agent, state)
    assert ran == [] and again.interruptions  # she is in no group
    who["by"] = "dana"
    state = again.to_state()
    state.approve(state.get_interruptions()[0])
    await runner.run(agent, state)
    assert ran == ["bob"] and answers(guard)[-1] == ("approve", "dana")


async def test_a_rejection_in_the_state_withdraws_the_question(load: LoadGuard) -> None:
    ran, guard = Ran(), load(SEND)
    runner, agent = GuardedRunner(guard), agent_of([ran.send()], BOB)
    paused = await runner.run(agent, "go", principal=ALICE)
    (asked,) = questions(paused)
    state = paused.to_state()
    state.reject(state.get_interruptions()[0], rejection_message="not today")
    await runner.run(agent, state)
    assert ran == [] and told(agent.model) == ["not today"]
    assert [verdict for verdict, _ in answers(guard)] == ["withdraw"]
    with pytest.raises(DeniedError):
        guard.approve(asked.ticket, by="dana")


async def test_a_saved_state_that_is_used_again_asks_again(load: LoadGuard) -> None:
    ran, guard = Ran(), load(SEND)
    runner, agent = GuardedRunner(guard), agent_of([ran.send()], BOB)
    paused = await runner.run(agent, "go", principal=ALICE)
    text = paused.to_state().to_string()
    guard.approve(questions(paused)[0].ticket, by="dana")
    await runner.run(agent, paused.to_state())
    for _ in range(2):
        state: Any = await RunState.from_string(runner.guarded(agent), text)
        state.approve(state.get_interruptions()[0])
        again = await runner.run(agent, state)
        assert again.interruptions
    assert ran == ["bob"]


async def test_another_principal_may_not_go_on(load: LoadGuard) -> None:
    ran, guard = Ran(), load(SEND)
    runner, agent = GuardedRunner(guard), agent_of([ran.send()], BOB)
    paused = await runner.run(agent, "go", principal=ALICE)
    guard.approve(questions(paused)[0].ticket, by="dana")
    text = paused.to_state().to_string()
    with pytest.raises(DeniedError):
        await runner.run(agent, paused.to_state(), principal=Principal(user="mallory"))
    assert ran == [] and statuses(guard) == ["suspended"]
    await runner.run(agent, await RunState.from_string(runner.guarded(agent), text))
    assert ran == ["bob"]


async def test_a_state_of_an_unguarded_agent_is_refused(load: LoadGuard) -> None:
    ran, guard = Ran(), load(SEND)
    runner, agent = GuardedRunner(guard), agent_of([ran.send()], BOB)
    paused = await runner.run(agent, "go", principal=ALICE)
    guard.approve(questions(paused)[0].ticket, by="dana")
    raw: Any = await RunState.from_string(agent, paused.to_state().to_string())
    with pytest.raises(EngineError, match="not guarded"):
        await runner.run(agent, raw)
    assert ran == []


async def test_a_new_word_of_the_user_withdraws_what_is_open(load: LoadGuard) -> None:
    ran, guard = Ran(), load(SEND)
    runner, agent = GuardedRunner(guard), agent_of([ran.send()], BOB)
    await runner.run(agent, "go", principal=ALICE, session_id="s1")
    await runner.run(agent, "never mind", principal=ALICE, session_id="s1")
    assert [verdict for verdict, _ in answers(guard)] == ["withdraw"] and statuses(guard) == ["done", "done"]
    assert ran == []


async def test_the_hosts_own_approval_is_kept(load: LoadGuard) -> None:
    """Where the policy asks nobody, it is the host's to suspend, and to go on."""
    ran, guard = Ran(), load(ADD)
    tool = ran.add()
    tool.needs_approval = True
    runner, agent = GuardedRunner(guard), agent_of([tool], asks("add", {"amount": 5}))
    paused = await runner.run(agent, "go", principal=ALICE)
    assert paused.interruptions and questions(paused) == [] and statuses(guard) == ["suspended"]
    state = paused.to_state()
    again = await runner.run(agent, state)
    assert again.interruptions and ran == []
    state = again.to_state()
    state.approve(state.get_interruptions()[0])
    await runner.run(agent, state)
    assert ran == [5] and statuses(guard) == ["done"]


async def test_a_runner_that_waits_needs_no_state(load: LoadGuard) -> None:
    ran, guard = Ran(), load(SEND)
    runner, agent = GuardedRunner(guard, waits=True), agent_of([ran.send()], BOB)
    running = asyncio.create_task(runner.run(agent, "go", principal=ALICE))
    while not (open_ones := guard.runs.list() and await asyncio.to_thread(_open, guard)):
        assert not running.done()
        await asyncio.sleep(0.01)
    guard.approve(open_ones[0], by="dana")
    assert (await asyncio.wait_for(running, 30)).final_output == "done" and ran == ["bob"]


def _open(guard: Any) -> list[str]:
    asked = [one.ticket for one in events(guard, "ApprovalAsked")]
    return asked


async def test_what_an_approver_edits_is_what_runs(load: LoadGuard) -> None:
    ran, guard = Ran(), load(SEND)
    runner, agent = GuardedRunner(guard), agent_of([ran.send()], BOB)
    paused = await runner.run(agent, "go", principal=ALICE)
    guard.approve(questions(paused)[0].ticket, by="dana", edited={"to": "carol"})
    result = await runner.run(agent, paused.to_state())
    while result.interruptions:  # the changed call may ask again
        for asked in questions(result):
            guard.approve(asked.ticket, by="dana")
        result = await runner.run(agent, result.to_state())
    assert ran == ["carol"]


def helped(ran: Ran) -> tuple[Agent[Any], Agent[Any]]:
    inner = Agent(name="inner", tools=[ran.send()], model=script(BOB))
    outer = agent_of([inner.as_tool("helper", "Help.")], asks("helper", {"input": "x"}, "h1"))
    return outer, inner


async def test_an_agent_inside_is_put_away_and_goes_on_with_its_own_run(load: LoadGuard) -> None:
    ran, guard = Ran(), load(HELPED)
    runner = GuardedRunner(guard)
    agent, _ = helped(ran)
    paused = await runner.run(agent, "go", principal=ALICE)
    (asked,) = questions(paused)
    assert asked.tool == "send" and statuses(guard) == ["suspended", "suspended"] and ran == []
    guard.approve(asked.ticket, by="dana")
    state = paused.to_state()
    for item in state.get_interruptions():
        state.approve(item)
    result = await runner.run(agent, state)
    assert ran == ["bob"] and result.final_output == "done", (ran, result)
    assert statuses(guard) == ["done", "done"]


async def test_an_agent_inside_that_somebody_approved_is_not_run(load: LoadGuard) -> None:
    ran, guard = Ran(), load(HELPED)
    runner = GuardedRunner(guard)
    agent, _ = helped(ran)
    paused = await runner.run(agent, "go", principal=ALICE)
    text = paused.to_state().to_string()
    state = paused.to_state()
    for item in state.get_interruptions():
        state.approve(item)
    with pytest.raises(PendingError):
        await runner.run(agent, state)
    assert ran == [] and set(statuses(guard)) == {"suspended"}
    guard.approve(questions(paused)[0].ticket, by="dana")
    state = await RunState.from_string(runner.guarded(agent), text)
    for item in state.get_interruptions():
        state.approve(item)
    await runner.run(agent, state)
    assert ran == ["bob"]


DEEP = HELPED + "tool deeper { needs work  takes input: text  allow always }\n"


@pytest.mark.parametrize("more", [{}, {"on_stream": lambda event: None}], ids=["whole", "streamed"])
async def test_an_agent_inside_an_agent_inside_goes_on_in_another_process(
    load: LoadGuard, more: dict[str, Any]
) -> None:
    ran, guard = Ran(), load(DEEP)
    runner = GuardedRunner(guard)
    inmost: Agent[Any] = Agent(name="inmost", tools=[ran.send()], model=script(BOB))
    tool = inmost.as_tool("deeper", "Help.", **more)
    inner = Agent(name="inner", tools=[tool], model=script(asks("deeper", {"input": "x"}, "d1")))
    agent = agent_of([inner.as_tool("helper", "Help.", **more)], asks("helper", {"input": "x"}, "h1"))
    paused = await runner.run(agent, "go", principal=ALICE)
    guard.approve(questions(paused)[0].ticket, by="dana")
    state = await reread(runner, agent, paused)
    for item in state.get_interruptions():
        state.approve(item)
    await runner.run(agent, state)
    assert ran == ["bob"] and statuses(guard) == ["done"] * 3


def test_a_synchronous_caller_goes_on_too(load: LoadGuard) -> None:
    ran, guard = Ran(), load(SEND)
    runner, agent = GuardedRunner(guard), agent_of([ran.send()], BOB, says())
    paused = runner.run_sync(agent, "go", principal=ALICE)
    guard.approve(questions(paused)[0].ticket, by="dana")
    assert runner.run_sync(agent, paused.to_state()).final_output == "done" and ran == ["bob"]


async def test_a_stream_goes_on_too(load: LoadGuard) -> None:
    ran, guard = Ran(), load(SEND)
    runner, agent = GuardedRunner(guard), agent_of([ran.send()], BOB)
    paused = runner.run_streamed(agent, "go", principal=ALICE)
    async for _ in paused.stream_events():
        pass
    assert statuses(guard) == ["suspended"]
    guard.approve(questions(paused)[0].ticket, by="dana")
    result = runner.run_streamed(agent, paused.to_state())
    async for _ in result.stream_events():
        pass
    assert ran == ["bob"] and statuses(guard) == ["done"] and result.final_output == "done"
