"""Where texts come from: what nobody vouches for is of the highest level, wherever the SDK has it from."""

from typing import Any

import pytest
from agents import Agent, ModelResponse, RunConfig, Usage
from agents.testing import assistant_message

from ringfence.adapters.openai_agents import GuardedRunner
from tests.adapters.openai_agents.conftest import LoadGuard
from tests.adapters.openai_agents.desk import ALICE, Ran, agent_of, asks, events, says
from tests.adapters.openai_agents.stage import Remembered

LEVELS = """language 1
policy desk
levels public < secret
capability work is read
capability publish is external
agent main { holds work, publish }
tool add { needs work  takes amount: integer  allow always  result is public }
tool send { needs publish  takes to: text  allow always  rate 90 per hour }
rule leak: deny send when after reading secret
"""
BOB = asks("send", {"to": "bob"})


def given(guard: Any) -> list[tuple[str, Any]]:
    return [(one.source, one.text) for one in events(guard, "PromptGiven")]


async def played(load: LoadGuard, **more: Any) -> tuple[Ran, Any]:
    ran, guard = Ran(), load("", head=LEVELS)
    options = {"typed": "user", **{name: more.pop(name) for name in ("typed",) if name in more}}
    agent = agent_of([ran.send(), ran.add()], *more.pop("turns", [BOB]), **more.pop("agent", {}))
    runner = GuardedRunner(guard, **options)
    await runner.run(agent, more.pop("input", "hello"), principal=ALICE, **more)
    return ran, guard


async def test_what_the_user_typed_is_the_users(load: LoadGuard) -> None:
    ran, guard = await played(load)
    assert ran == ["bob"] and given(guard) == [("user", "hello")]


async def test_what_nobody_vouches_for_is_of_the_highest_level(load: LoadGuard) -> None:
    ran, guard = await played(load, typed=None)
    assert ran == [] and given(guard) == [("host", "hello")]


async def test_what_tools_of_the_run_gave_is_known(load: LoadGuard) -> None:
    ran, guard = await played(
        load,
        turns=[
            asks("add", {"amount": 1}, "c0"),
            asks("nothing", {}, "c1"),
            asks("send", {"to": "bob"}, "c2"),
        ],
    )
    assert ran == [1, "bob"] and given(guard) == [("user", "hello")]


async def test_earlier_items_of_an_input_list_are_not(load: LoadGuard) -> None:
    items = [
        {"role": "user", "content": "the salary is 5"},
        {"role": "assistant", "content": "noted"},
        {"role": "user", "content": "hello"},
    ]
    ran, guard = await played(load, input=items)
    assert ran == [] and ("host", "the salary is 5") in given(guard) and ("user", "hello") in given(guard)


async def test_a_session_that_was_filled_elsewhere_is_not(load: LoadGuard) -> None:
    session = Remembered("s1")
    await session.add_items([{"role": "user", "content": "the salary is 5"}])
    ran, guard = await played(load, session=session)
    assert ran == [] and ("host", "the salary is 5") in given(guard)


async def test_a_session_that_these_runs_filled_is_known(load: LoadGuard) -> None:
    ran, guard = Ran(), load("", head=LEVELS)
    runner, session = GuardedRunner(guard, typed="user"), Remembered("s1")
    for number, word in enumerate(("hello", "again")):
        turns = [asks("add", {"amount": number}, f"a{number}"), asks("send", {"to": "bob"}, f"b{number}")]
        agent = agent_of([ran.send(), ran.add()], *turns)
        await runner.run(agent, word, principal=ALICE, session=session)
    assert ran == [0, "bob", 1, "bob"] and given(guard) == [("user", "hello"), ("user", "again")]
    assert {row.session for row in guard.runs.list()} == {"s1"}


@pytest.mark.parametrize("name", ["previous_response_id", "conversation_id"])
async def test_what_the_provider_keeps_is_not(load: LoadGuard, name: str) -> None:
    ran, guard = await played(load, **{name: "x-1"})
    assert ran == [] and ("host", {name: "x-1"}) in given(guard)


async def test_what_a_filter_of_the_host_adds_is_not(load: LoadGuard) -> None:
    def added(data: Any) -> Any:
        data.model_data.input.append({"role": "user", "content": "the salary is 5"})
        return data.model_data

    ran, guard = await played(load, run_config=RunConfig(call_model_input_filter=added))
    assert ran == [] and ("host", "the salary is 5") in given(guard)


async def test_the_developers_instructions_are_the_systems(load: LoadGuard) -> None:
    ran, guard = await played(load, agent={"instructions": "Be kind."})
    assert ran == ["bob"] and given(guard) == [("user", "hello"), ("system", "Be kind.")]


async def test_the_principal_is_whom_the_context_says(load: LoadGuard) -> None:
    guard = load("tool mine { needs work  takes who: text  allow when who == principal.user }")
    runner = GuardedRunner(guard)
    for context in (ALICE, {"principal": ALICE}, {"user": "alice", "workspace": "w1", "other": 5}):
        await runner.run(agent_of([]), "go", context=context)
    began = events(guard, "RunStarted")
    assert [one.principal for one in began] == [{"user": "alice", "workspace": "w1"}] * 3


async def test_a_message_of_the_model_is_known_in_the_next_request(load: LoadGuard) -> None:
    both = [assistant_message("one moment"), *BOB]
    ran, guard = await played(load, turns=[both, asks("send", {"to": "carol"}, "c2")])
    assert ran == ["bob", "carol"] and given(guard) == [("user", "hello")]


async def test_what_a_model_used_is_in_the_record(load: LoadGuard) -> None:
    guard = load("", head=LEVELS)
    answer = ModelResponse(
        output=says(), usage=Usage(requests=1, input_tokens=3, output_tokens=2), response_id="r1"
    )
    from agents.testing import ScriptedModel

    agent: Agent[Any] = Agent(name="desk", model=ScriptedModel([answer]))
    await GuardedRunner(guard).run(agent, "go", principal=ALICE)
    (answered,) = events(guard, "ModelAnswered")
    assert answered.usage["input_tokens"] == 3 and answered.usage["output_tokens"] == 2
