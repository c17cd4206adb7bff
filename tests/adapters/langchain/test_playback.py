"""A recorded run through the agent's own code: nothing runs, and what differs is shown where it differs."""

import asyncio
from typing import Any

import pytest
from langchain_core.tools import tool

from ringfence.adapters.langchain import DivergedError, NotAsRecordedError, playback
from tests.adapters.langchain.agents import ADD, ALICE, HELLO, Invoke, add_of, agent_of, both, replies
from tests.adapters.langchain.conftest import LoadGuard
from tests.adapters.langchain.model import asks, call, says


def never_runs() -> Any:
    @tool
    def add(a: int) -> str:
        """Add one."""
        raise AssertionError("a tool ran in a playback")

    return add


def played_agent(played: Any, tools: Any, **more: Any) -> Any:
    from langchain.agents import create_agent

    return create_agent(played.model, tools, middleware=[played.middleware()], **more)


@both
def test_a_recorded_run_plays_back_without_a_tool_running(load: LoadGuard, invoke: Invoke) -> None:
    guard = load(ADD)
    done: list[Any] = []
    script = [asks(call("add", "c1", a=1), call("add", "c2", a=2)), asks(call("nope", "c3")), says("fine")]
    first = invoke(agent_of(guard, [add_of(done)], *script), HELLO, context=ALICE)
    played = playback(guard.runs.latest())
    again = invoke(played_agent(played, [never_runs()]), played.input)
    assert replies(again) == replies(first) == ["2", "3", "tool not found"]
    assert sorted(done) == [1, 2]
    played.check()


@both
def test_a_changed_prompt_is_a_divergence_with_its_diff(load: LoadGuard, invoke: Invoke) -> None:
    guard = load(ADD)
    script = [asks(call("add", "c1", a=1)), says("fine")]
    invoke(agent_of(guard, [add_of([])], *script, system_prompt="Be kind."), HELLO, context=ALICE)
    played = playback(guard.runs.latest())
    with pytest.raises(DivergedError) as left:
        invoke(played_agent(played, [never_runs()], system_prompt="Be quick."), played.input)
    print(left.value)
    with pytest.raises(NotAsRecordedError, match="Be quick"):
        played.check()
    print(played.report)
