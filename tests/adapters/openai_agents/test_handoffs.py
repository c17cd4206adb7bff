"""Handing over to another agent is a call like any other, and that agent is guarded."""

from typing import Any

import pytest
from agents import Agent, GuardrailFunctionOutput, RunHooks, Runner, handoff, input_guardrail
from agents.extensions.handoff_filters import remove_all_tools
from pydantic import BaseModel

from ringfence import EngineError
from ringfence.adapters.openai_agents import GuardedRunner
from tests.adapters.openai_agents.conftest import LoadGuard
from tests.adapters.openai_agents.desk import (
    ADD,
    ALICE,
    Ran,
    agent_of,
    asks,
    events,
    offered,
    script,
    statuses,
    told,
    verdicts,
)

OVER = "tool transfer_to_refunds { needs work  allow always }\n"
TO_REFUNDS = asks("transfer_to_refunds", {}, "h1")
TOO_MUCH = asks("add", {"amount": 500}, "c2")
BOTH = """language 1
policy desk
capability work is read
capability refund is external
agent triage { holds work, refund  may start refunds }
agent refunds { holds refund }
tool add { needs work  takes amount: integer  allow always }
tool pay { needs refund  takes amount: integer  allow when amount <= 100 }
"""


async def test_an_agent_that_takes_over_is_guarded(load: LoadGuard) -> None:
    ran, guard = Ran(), load(ADD + OVER)
    other = agent_of([ran.add()], TOO_MUCH, asks("add", {"amount": 5}, "c3"), name="refunds")
    agent = agent_of([], TO_REFUNDS, handoffs=[other])
    result = await GuardedRunner(guard).run(agent, "go", principal=ALICE)
    assert ran == [5] and verdicts(guard) == ["allow", "deny", "allow"] and result.final_output == "done"
    assert events(guard, "CallRequested")[0].tool == "transfer_to_refunds"
    assert len(events(guard, "ModelAsked")) == 4


async def test_agents_that_hand_over_to_one_another_are_copied_once(load: LoadGuard) -> None:
    ran, guard = Ran(), load(ADD + OVER + "tool transfer_to_desk { needs work  allow always }")
    other = agent_of([ran.add()], TOO_MUCH, asks("transfer_to_desk", {}, "h2"), name="refunds")
    agent = agent_of([ran.add()], TO_REFUNDS, asks("add", {"amount": 600}, "c9"), handoffs=[other])
    other.handoffs.append(agent)
    runner = GuardedRunner(guard)
    guarded: Any = runner.guarded(agent)
    assert guarded.handoffs[0]._agent_ref().handoffs[0]._agent_ref() is guarded
    await runner.run(agent, "go", principal=ALICE)
    assert ran == [] and verdicts(guard) == ["allow", "deny", "allow", "deny"]


async def test_a_handoff_that_the_policy_does_not_declare_is_hidden_and_refused(load: LoadGuard) -> None:
    guard = load(ADD)
    other = agent_of([], name="refunds")
    agent = agent_of([], TO_REFUNDS, handoffs=[other])
    result = await GuardedRunner(guard).run(agent, "go", principal=ALICE)
    assert offered(agent.model)[0] == set() and told(agent.model) == ["tool not found"]
    assert other.model.calls == () and result.last_agent.name == "desk"  # type: ignore[union-attr]
    assert verdicts(guard) == ["unknown"]


class Reason(BaseModel):
    why: str


@pytest.mark.parametrize("why", ["late", "greed"])
async def test_what_a_handoff_is_given_is_decided_before_its_callback(load: LoadGuard, why: str) -> None:
    called: list[str] = []

    def on_handoff(context: Any, given: Reason) -> None:
        called.append(given.why)

    other = agent_of([], name="refunds")
    passed = handoff(other, on_handoff=on_handoff, input_type=Reason, input_filter=remove_all_tools)
    agent = agent_of([], asks("transfer_to_refunds", {"why": why}, "h1"), handoffs=[passed])
    guard = load('tool transfer_to_refunds { needs work  takes why: text  allow when why == "late" }')
    result = await GuardedRunner(guard).run(agent, "go", principal=ALICE)
    if why == "late":
        assert called == ["late"] and result.last_agent.name == "refunds"
    else:
        assert called == [] and result.last_agent.name == "desk" and other.model.calls == ()  # type: ignore[union-attr]
        (asked,) = [item for item in result.new_items if item.type == "handoff_output_item"]
        assert asked.raw_item["output"] == "not authorized"  # type: ignore[typeddict-item]


async def test_an_agent_that_may_be_started_acts_in_a_run_of_its_own(load: LoadGuard) -> None:
    """With what both hold, and its bounds; what it has read joins the run around it."""
    ran, guard = Ran(), load("", head=BOTH)
    pay = ran.add()
    pay.name = "pay"
    other = agent_of(
        [ran.add(), pay], asks("add", {"amount": 1}, "c1"), asks("pay", {"amount": 7}, "c2"), name="refunds"
    )
    agent = agent_of(
        [ran.add()], asks("add", {"amount": 2}, "c0"), TO_REFUNDS, name="triage", handoffs=[other]
    )
    await GuardedRunner(guard).run(agent, "go", principal=ALICE)
    assert ran == [2, 7] and offered(other.model)[0] == {"pay"}
    began = events(guard, "RunStarted")
    assert [one.agent for one in began] == ["triage", "refunds"]
    assert statuses(guard) == ["done", "done"]


async def test_a_handoff_that_is_put_into_a_guarded_copy_is_an_error(load: LoadGuard) -> None:
    ran, guard = Ran(), load(ADD + OVER)
    runner = GuardedRunner(guard)
    guarded = runner.guarded(agent_of([], TO_REFUNDS))
    guarded.handoffs.append(agent_of([ran.add()], TOO_MUCH, name="refunds"))
    with pytest.raises(EngineError, match="not guarded"):
        await runner.run(guarded, "go", principal=ALICE)
    assert ran == []


async def test_a_handoff_to_whatever_agent_it_likes_is_guarded(load: LoadGuard) -> None:
    ran, guard = Ran(), load(ADD + OVER)
    other = agent_of([], name="refunds")
    elsewhere = agent_of([ran.add()], TOO_MUCH, name="elsewhere")
    passed = handoff(other)

    async def over(context: Any, given: str) -> Agent[Any]:
        return elsewhere

    passed.on_invoke_handoff = over
    agent = agent_of([], TO_REFUNDS, handoffs=[passed])
    await GuardedRunner(guard).run(agent, "go", principal=ALICE)
    assert ran == [] and verdicts(guard) == ["allow", "deny"]


class Fails(RunHooks[Any]):
    async def on_handoff(self, context: Any, from_agent: Any, to_agent: Any) -> None:
        raise RuntimeError("the host's hook")


async def test_a_hook_that_raises_ends_the_run(load: LoadGuard) -> None:
    guard = load(OVER)
    agent = agent_of([], TO_REFUNDS, handoffs=[agent_of([], name="refunds")])
    with pytest.raises(RuntimeError, match="the host's hook"):
        await GuardedRunner(guard).run(agent, "go", principal=ALICE, hooks=Fails())
    assert statuses(guard) == ["failed"]


async def test_an_agent_that_is_a_tool_keeps_its_own_config_guarded(load: LoadGuard) -> None:
    ran, guard = Ran(), load(ADD + "tool helper { needs work  takes input: text  allow always }")
    raw = script(TOO_MUCH, asks("add", {"amount": 5}, "c3"))
    inner = Agent(name="inner", tools=[ran.add()])
    helper = inner.as_tool("helper", "Help.", run_config={"model": raw})
    agent = agent_of([helper], asks("helper", {"input": "x"}, "h1"))
    await GuardedRunner(guard).run(agent, "go", principal=ALICE)
    assert ran == [5] and verdicts(guard) == ["allow", "deny", "allow"]
    assert len(raw.calls) == 3 and len(events(guard, "ModelAsked")) == 5
    assert [one.parent is None for one in events(guard, "RunStarted")] == [True, False]


async def test_a_tool_that_hides_its_agent_elsewhere_is_refused(load: LoadGuard) -> None:
    inner = Agent(name="inner", tools=[])
    helper = inner.as_tool("helper", "Help.")

    async def other(context: Any, text: str) -> str:
        return "unguarded"

    helper.on_invoke_tool = other
    with pytest.raises(EngineError, match="cannot be guarded"):
        GuardedRunner(load(ADD)).guarded(agent_of([helper]))


async def test_a_tool_of_a_guarded_agent_is_guarded(load: LoadGuard) -> None:
    ran, guard = Ran(), load(ADD + "tool helper { needs work  takes input: text  allow always }")
    runner = GuardedRunner(guard)
    inner = runner.guarded(agent_of([ran.add()], TOO_MUCH, name="inner"))
    agent = agent_of([inner.as_tool("helper", "Help.")], asks("helper", {"input": "x"}, "h1"))
    await runner.run(agent, "go", principal=ALICE)
    assert ran == [] and verdicts(guard) == ["allow", "deny"]


async def test_a_refused_handoff_does_not_go_to_an_agent_that_a_guardrail_runs(load: LoadGuard) -> None:
    guard = load("tool transfer_to_refunds { needs work }")
    runner = GuardedRunner(guard)
    beside = runner.guarded(agent_of([], name="beside"))

    @input_guardrail
    async def look(context: Any, agent: Any, given: Any) -> GuardrailFunctionOutput:
        await Runner.run(beside, "look")
        return GuardrailFunctionOutput(output_info=None, tripwire_triggered=False)

    agent = agent_of([], TO_REFUNDS, handoffs=[agent_of([], name="refunds")], input_guardrails=[look])
    result = await runner.run(agent, "go", principal=ALICE)
    assert result.last_agent.name == "desk" and told(agent.model) == ["not authorized"]
    assert len(events(guard, "ModelAsked")) == 3
