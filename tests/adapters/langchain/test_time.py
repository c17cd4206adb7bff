"""The run's time: what hangs is cancelled where Python can, abandoned where it cannot, and nothing follows."""

import asyncio
import threading
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.tools import tool

from ringfence import RunHaltedError
from ringfence.adapters.langchain import GuardMiddleware, guard_tools
from ringfence.engine.decision import events as e
from tests.adapters.langchain.agents import HELLO, Invoke, add_of, agent_of, both, events, replies
from tests.adapters.langchain.conftest import LoadGuard
from tests.adapters.langchain.model import asks, call, model, says

SHORT = """agent main { holds work  stop after 1 seconds }
tool add { needs work  takes a: integer  allow always }
tool hang { needs work  allow always }"""


@both
def test_a_model_call_past_the_deadline_is_stopped_and_ends_the_agent(
    load: LoadGuard, invoke: Invoke
) -> None:
    guard = load(SHORT)
    script = model(says(), hangs_at=0)
    middleware: list[Any] = [GuardMiddleware(guard)]
    try:
        result = invoke(create_agent(script, [add_of([])], middleware=middleware), HELLO)
    finally:
        script.release()
    assert result["messages"][-1].content == "not authorized"
    assert guard.runs.list()[0].status == "halted"
    halted = next(event for event in events(guard) if isinstance(event, e.RunHalted))
    assert halted.reason == "main.stop"
    assert len(script.asked) == 1


def test_a_model_call_in_a_task_is_cancelled_at_the_deadline(load: LoadGuard) -> None:
    script = model(says(), hangs_at=0)
    middleware: list[Any] = [GuardMiddleware(load(SHORT), on_halt="raise")]
    agent: Any = create_agent(script, [add_of([])], middleware=middleware)
    with pytest.raises(RunHaltedError):
        asyncio.run(agent.ainvoke(HELLO))
    assert script.cancelled == [0]


def test_an_async_tool_that_hangs_is_cancelled_at_the_deadline(load: LoadGuard) -> None:
    cancelled: list[bool] = []

    @tool
    async def hang() -> str:
        """Hang."""
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return "late"

    guard = load(SHORT)
    agent = agent_of(guard, [hang], asks(call("hang")), says("never asked"))
    result = asyncio.run(agent.ainvoke(HELLO))
    assert cancelled == [True]
    assert (replies(result), result["messages"][-1].content) == (["not authorized"], "not authorized")
    failed = next(event for event in events(guard) if isinstance(event, e.CallFailed))
    assert failed.outcome == "cancelled"


def test_a_sync_tool_that_hangs_is_abandoned_and_its_late_result_thrown_away(load: LoadGuard) -> None:
    go_on = threading.Event()
    ended = threading.Event()

    @tool
    def hang() -> str:
        """Hang."""
        go_on.wait()
        ended.set()
        return "late"

    guard = load(SHORT)
    try:
        result = agent_of(guard, [hang], asks(call("hang")), says("never asked")).invoke(HELLO)
    finally:
        go_on.set()
    assert ended.wait(10)
    assert (replies(result), result["messages"][-1].content) == (["not authorized"], "not authorized")
    failed = next(event for event in events(guard) if isinstance(event, e.CallFailed))
    assert failed.outcome == "abandoned"
    assert "late" not in str(events(guard))


@both
def test_nothing_starts_after_the_deadline(load: LoadGuard, invoke: Invoke) -> None:
    done: list[Any] = []
    guard = load(SHORT)
    run_id: list[str] = []

    @tool
    def hang() -> str:
        """Hang until the run is halted."""
        run_id.append(guard.runs.list()[0].run)
        threading.Event().wait(1.5)
        return "late"

    script = (asks(call("hang")), asks(call("add", "c2", a=1)), says())
    invoke(agent_of(guard, [hang, add_of(done)], *script), HELLO)
    assert done == []
    (add,) = guard_tools(guard, [add_of(done)])
    assert add is not None
    assert [row.status for row in guard.runs.list()] == ["halted"]


def test_a_tools_own_time_bound_fails_the_call_and_not_the_run(load: LoadGuard) -> None:
    @tool
    async def hang() -> str:
        """Hang."""
        await asyncio.Event().wait()
        return "late"

    guard = load("tool hang { needs work  allow always  stop after 1 seconds }")
    result = asyncio.run(agent_of(guard, [hang], asks(call("hang")), says("went on")).ainvoke(HELLO))
    assert (replies(result), result["messages"][-1].content) == (["the tool failed"], "went on")
    assert guard.runs.list()[0].status == "done"
