"""The run's time: what hangs is cancelled where Python can, else abandoned, and nothing follows."""

import asyncio
import threading
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.tools import tool

from ringfence import RunHaltedError
from ringfence.adapters.langchain import GuardMiddleware
from ringfence.engine.decision import events as e
from ringfence.testing.clock import FakeClock
from tests.adapters.langchain.agents import HELLO, Invoke, add_of, agent_of, both, events, replies
from tests.adapters.langchain.conftest import LoadGuard
from tests.adapters.langchain.model import asks, call, model, says


class InOrder(AgentMiddleware):
    """Lets the calls of a turn come to the guard one after another, in the order of their ids."""

    def __init__(self) -> None:
        super().__init__()
        self.first_is_over = threading.Event()

    def wrap_tool_call(self, request: Any, handler: Any) -> Any:
        if request.tool_call["id"] != "c1":
            assert self.first_is_over.wait(30)
        try:
            return handler(request)
        finally:
            self.first_is_over.set()

    async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
        if request.tool_call["id"] != "c1":
            assert await asyncio.to_thread(self.first_is_over.wait, 30)
        try:
            return await handler(request)
        finally:
            self.first_is_over.set()


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
    clock = FakeClock()
    guard = load(SHORT, clock=clock)

    @tool
    def hang() -> str:
        """Return after the run's time was up, by the engine's clock."""
        clock.advance(2)
        return "in time, by its own clock"

    script = model(asks(call("hang"), call("add", "c2", a=1)), asks(call("add", "c3", a=1)), says())
    middleware: list[Any] = [InOrder(), GuardMiddleware(guard)]
    result = invoke(create_agent(script, [hang, add_of(done)], middleware=middleware), HELLO)
    assert (done, len(script.asked)) == ([], 1)
    assert replies(result) == ["in time, by its own clock", "not authorized"]
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


def test_a_body_that_outlives_its_run_begins_no_agent_of_its_own(load: LoadGuard) -> None:
    go_on, ended = threading.Event(), threading.Event()
    added: list[Any] = []

    @tool
    def hang() -> str:
        """Hang, and then let another agent go on with it."""
        go_on.wait()
        try:
            agent_of(guard, [add_of(added)], asks(call("add", a=1)), says("done")).invoke(HELLO)
        finally:
            ended.set()
        return "late"

    guard = load(SHORT)
    try:
        agent_of(guard, [hang], asks(call("hang")), says("never asked")).invoke(HELLO)
    finally:
        go_on.set()
    assert ended.wait(10)
    assert added == []
    assert len(guard.runs.list()) == 1
