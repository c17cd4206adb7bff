"""Saved states that somebody altered, copied or used at once: nothing runs that people did not answer."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from agents import Agent, RunState
from agents.exceptions import ModelBehaviorError
from pydantic import BaseModel

from ringfence import DeniedError, Principal
from ringfence.adapters.openai_agents import GuardedRunner, questions
from ringfence.adapters.openai_agents.saved import saved_in
from tests.adapters.openai_agents.conftest import LoadGuard
from tests.adapters.openai_agents.desk import (
    ALICE,
    SEND,
    Ran,
    agent_of,
    asks,
    events,
    script,
    statuses,
    told,
    verdicts,
)
from tests.adapters.openai_agents.test_tools import Files

BOB = asks("send", {"to": "bob"})
EVE = asks("send", {"to": "eve"}, "c2")
MALLORY = Principal(user="mallory", workspace="w1")
OPEN = "tool open_file { needs work  takes path: text  allow always  ask lead }"


async def altered(
    runner: GuardedRunner, agent: Agent[Any], paused: Any, change: Callable[[str], str]
) -> RunState[Any, Any]:
    """Return the state of a paused agent as it is read back after somebody changed its text."""
    return await RunState.from_string(runner.guarded(agent), change(paused.to_state().to_string()))


def runs_of(result: Any) -> str:
    (run,) = saved_in(result.context_wrapper).runs
    return run


@pytest.mark.parametrize(("was", "now"), [("bob", "eve"), ('"send"', '"mail"')], ids=["argument", "tool"])
async def test_an_answer_is_of_no_use_to_a_call_that_was_changed(load: LoadGuard, was: str, now: str) -> None:
    ran, guard = Ran(), load(SEND + SEND.replace("send", "mail"))
    mail = ran.send()
    mail.name = "mail"
    runner, agent = GuardedRunner(guard), agent_of([ran.send(), mail], BOB)
    paused = await runner.run(agent, "go", principal=ALICE)
    guard.approve(questions(paused)[0].ticket, by="dana")
    state = await altered(runner, agent, paused, lambda text: text.replace(was, now))
    try:
        result = await runner.run(agent, state)
    except ModelBehaviorError:
        result = None  # some versions of the SDK find it out themselves
    assert ran == [] and verdicts(guard) == ["ask", "ask"]
    assert result is None or len(result.interruptions) == 1


async def test_an_approval_that_was_copied_to_another_call_is_none(load: LoadGuard) -> None:
    ran, guard = Ran(), load(SEND)
    runner, agent = GuardedRunner(guard), agent_of([ran.send()], [*BOB, *EVE])
    paused = await runner.run(agent, "go", principal=ALICE)
    asked = {one.arguments["to"]: one.ticket for one in questions(paused)}
    guard.approve(asked["bob"], by="dana")
    state = paused.to_state()
    for item in state.get_interruptions():
        state.approve(item)
    again = await runner.run(agent, state)
    assert ran == ["bob"] and [one.arguments["to"] for one in questions(again)] == ["eve"]
    guard.approve(asked["eve"], by="dana")
    await runner.run(agent, again.to_state())
    assert ran == ["bob", "eve"] and statuses(guard) == ["done"]


async def test_a_state_that_names_another_users_run_does_not_act_as_it(load: LoadGuard) -> None:
    ran, guard = Ran(), load(SEND)
    runner = GuardedRunner(guard)
    agent, theirs = agent_of([ran.send()], BOB), agent_of([ran.send()], BOB)
    paused = await runner.run(agent, "go", principal=MALLORY)
    other = await runner.run(theirs, "go", principal=ALICE)
    guard.approve(questions(other)[0].ticket, by="dana")
    mine, hers = f'"{runs_of(paused)}"', f'"{runs_of(other)}"'
    for now in (hers, f"{mine}, {hers}"):
        state = await altered(runner, agent, paused, lambda text, now=now: text.replace(mine, now))  # type: ignore[misc]
        with pytest.raises(DeniedError):
            await runner.run(agent, state, principal=MALLORY)
    assert ran == []
    await runner.run(theirs, other.to_state(), principal=ALICE)
    assert ran == ["bob"]


async def test_one_state_at_once_runs_its_call_once(load: LoadGuard) -> None:
    ran, guard = Ran(), load(SEND)
    runner, agent = GuardedRunner(guard), agent_of([ran.send()], BOB)
    paused = await runner.run(agent, "go", principal=ALICE)
    guard.approve(questions(paused)[0].ticket, by="dana")
    states = [await altered(runner, agent, paused, str) for _ in range(3)]
    await asyncio.gather(*(runner.run(agent, state) for state in states), return_exceptions=True)
    assert ran == ["bob"]


async def test_an_approval_for_always_is_one_for_this_call(load: LoadGuard) -> None:
    ran, guard = Ran(), load(SEND)
    runner = GuardedRunner(guard, answered_by=lambda context: "dana")
    agent = agent_of([ran.send()], BOB, EVE)
    paused = await runner.run(agent, "go", principal=ALICE)
    state = paused.to_state()
    state.approve(state.get_interruptions()[0], always_approve=True)
    again = await runner.run(agent, state)
    assert ran == ["bob"] and [one.arguments["to"] for one in questions(again)] == ["eve"]


@pytest.mark.parametrize("people", ["  ask lead", '  ask lead when to == "eve"'], ids=["both", "host"])
async def test_the_policys_people_do_not_answer_for_the_host(load: LoadGuard, people: str) -> None:
    ran, guard = Ran(), load(SEND.replace("  ask lead", people))
    tool = ran.send()
    tool.needs_approval = True
    runner, agent = GuardedRunner(guard), agent_of([tool], BOB)
    result = await runner.run(agent, "go", principal=ALICE)
    for asked in questions(result):
        guard.approve(asked.ticket, by="dana")
    result = await runner.run(agent, await altered(runner, agent, result, str))
    assert ran == [] and len(result.interruptions) == 1
    state = result.to_state()
    state.approve(state.get_interruptions()[0])
    await runner.run(agent, state)
    assert ran == ["bob"]


@pytest.mark.parametrize("reread", [False, True])
async def test_a_stream_goes_on_with_a_call_of_a_server(load: LoadGuard, reread: bool) -> None:
    ran, guard = Ran(), load(OPEN)
    agent = agent_of([], asks("open_file", {"path": "a"}), mcp_servers=[Files(ran)])
    runner = GuardedRunner(guard)
    paused = runner.run_streamed(agent, "go", principal=ALICE)
    async for _ in paused.stream_events():
        pass
    guard.approve(questions(paused)[0].ticket, by="dana")
    state = await altered(runner, agent, paused, str) if reread else paused.to_state()
    result = runner.run_streamed(agent, state)
    async for _ in result.stream_events():
        pass
    assert ran == [("open_file", {"path": "a"})] and statuses(guard) == ["done"]


class Named(BaseModel):
    runs: list[str]


class Task(BaseModel):
    task: str
    ringfence: Named | None = None


HELPER = "tool helper { needs work  takes task: text, ringfence: record optional  allow always }\n"


@pytest.mark.parametrize("reread", [False, True])
async def test_an_agent_inside_with_parameters_of_its_own_goes_on(load: LoadGuard, reread: bool) -> None:
    ran, guard = Ran(), load(SEND + HELPER)
    runner = GuardedRunner(guard)
    inner = Agent(name="inner", tools=[ran.send()], model=script(BOB))
    agent = agent_of([inner.as_tool("helper", "Help.", parameters=Task)], asks("helper", {"task": "x"}))
    paused = await runner.run(agent, "go", principal=ALICE)
    guard.approve(questions(paused)[0].ticket, by="dana")
    state = await altered(runner, agent, paused, str) if reread else paused.to_state()
    for item in state.get_interruptions():
        state.approve(item)
    await runner.run(agent, state)
    assert ran == ["bob"] and len(events(guard, "ApprovalAsked")) == 1 and statuses(guard) == ["done", "done"]


async def test_what_a_model_writes_for_an_agent_inside_names_no_run(load: LoadGuard) -> None:
    ran, guard = Ran(), load(SEND + HELPER)
    runner = GuardedRunner(guard)
    other = await runner.run(agent_of([ran.send()], BOB), "go", principal=MALLORY)
    inner = Agent(name="inner", tools=[ran.send()], model=script(BOB))
    written = {"task": "x", "ringfence": {"runs": [runs_of(other)]}}
    agent = agent_of([inner.as_tool("helper", "Help.", parameters=Task)], asks("helper", written))
    await runner.run(agent, "go", principal=ALICE)
    assert statuses(guard) == ["suspended"] * 3 and ran == []
    assert [one.principal["user"] for one in events(guard, "RunStarted")] == ["mallory", "alice", "alice"]


async def test_another_users_word_withdraws_no_question(load: LoadGuard) -> None:
    ran, guard = Ran(), load(SEND)
    runner, agent = GuardedRunner(guard), agent_of([ran.send()], BOB)
    paused = await runner.run(agent, "go", principal=ALICE, session_id="s1")
    for other in (MALLORY, None):
        await runner.run(agent_of([]), "never mind", principal=other, session_id="s1")
    assert statuses(guard) == ["suspended", "done", "done"]
    guard.approve(questions(paused)[0].ticket, by="dana")
    await runner.run(agent, paused.to_state())
    assert ran == ["bob"] and told(agent.model) == ["sent to bob"]
