"""A guard that cannot do its work: the host hears it, the model never, whatever other middleware catches."""

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    ToolRetryMiddleware,
)
from langchain_core.messages import ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import interrupt

from ringfence import Guard
from ringfence.adapters.langchain import GuardMiddleware
from ringfence.engine.seams.errors import EngineError
from tests.adapters.langchain.agents import ADD, HELLO, THREAD, Invoke, add_of, both, replies
from tests.adapters.langchain.conftest import LoadGuard
from tests.adapters.langchain.model import asks, call, model, says


class Swallows(AgentMiddleware):
    """Tells the model of every error, as a host may wish for its own tools."""

    def wrap_tool_call(self, request: Any, handler: Any) -> Any:
        try:
            return handler(request)
        except Exception as error:
            return _told(request, error)

    async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
        try:
            return await handler(request)
        except Exception as error:
            return _told(request, error)


def _told(request: Any, error: Exception) -> Any:
    return ToolMessage(f"failed: {error}", tool_call_id=request.tool_call["id"])


def retrying() -> Any:
    return ToolRetryMiddleware(max_retries=1, initial_delay=0, jitter=False, on_failure="continue")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the guard fail as often as the one number in the list says."""
    left = [1_000]
    execute, aexecute = Guard.execute, Guard.aexecute

    def fails(*given: Any, **more: Any) -> Any:
        left[0] -= 1
        if left[0] >= 0:
            raise EngineError("the disk of the store is full")
        return execute(*given, **more)

    async def afails(*given: Any, **more: Any) -> Any:
        left[0] -= 1
        if left[0] >= 0:
            raise EngineError("the disk of the store is full")
        return await aexecute(*given, **more)

    monkeypatch.setattr(Guard, "execute", fails)
    monkeypatch.setattr(Guard, "aexecute", afails)
    return left


@both
@pytest.mark.parametrize("catching", [Swallows, retrying])
def test_what_other_middleware_catches_is_not_told_to_the_model(
    load: LoadGuard, invoke: Invoke, catching: Any, failing: list[int]
) -> None:
    scripted = model(asks(call("add", a=1)), says(), says())
    middleware = [catching(), ModelFallbackMiddleware(scripted), GuardMiddleware(load(ADD))]
    agent: Any = create_agent(scripted, [add_of([])], middleware=middleware, checkpointer=InMemorySaver())
    with pytest.raises(EngineError, match="the disk of the store is full"):
        invoke(agent, HELLO, THREAD)
    with pytest.raises(EngineError, match="the disk of the store is full"):
        invoke(agent, None, THREAD)  # nor when the graph goes on from where the text was saved
    assert len(scripted.asked) == 1
    failing[0] = 0
    assert replies(invoke(agent, HELLO, THREAD)) == ["not authorized"]
    assert "disk" not in str(scripted.asked)


@both
def test_a_retry_that_the_guard_could_serve_goes_on(
    load: LoadGuard, invoke: Invoke, failing: list[int]
) -> None:
    failing[0] = 1
    done: list[Any] = []
    agent: Any = create_agent(
        model(asks(call("add", a=1)), says()),
        [add_of(done)],
        middleware=[retrying(), GuardMiddleware(load(ADD))],
    )
    assert replies(invoke(agent, HELLO)) == ["2"]
    assert done == [1]


def interrupting(done: list[Any]) -> Any:
    """Return a tool that pauses the graph itself."""

    @tool
    def add(a: int) -> str:
        """Add one."""
        done.append(interrupt("really?"))
        return str(a + 1)

    return add


@both
def test_a_pause_that_other_middleware_catches_is_no_answer_to_the_model(
    load: LoadGuard, invoke: Invoke
) -> None:
    scripted = model(asks(call("add", a=1)), says())
    done: list[Any] = []
    middleware: Any = [Swallows(), GuardMiddleware(load(ADD))]
    agent: Any = create_agent(
        scripted, [interrupting(done)], middleware=middleware, checkpointer=InMemorySaver()
    )
    with pytest.raises(EngineError, match="caught what puts the graph away"):
        invoke(agent, HELLO, THREAD)
    assert (len(scripted.asked), done) == (1, [])


@both
def test_the_past_from_before_a_failure_goes_on(load: LoadGuard, invoke: Invoke, failing: list[int]) -> None:
    scripted = model(asks(call("add", a=1)), asks(call("add", a=1)), says())
    done: list[Any] = []
    middleware: Any = [Swallows(), GuardMiddleware(load(ADD))]
    agent: Any = create_agent(scripted, [add_of(done)], middleware=middleware, checkpointer=InMemorySaver())
    with pytest.raises(EngineError):
        invoke(agent, HELLO, THREAD)
    failing[0] = 0
    history = agent.get_state_history(THREAD)
    began = (one for one in history if len(one.values["messages"]) == 1 and one.next)
    past = next(one.config for one in began if one.next == ("model",))
    assert replies(invoke(agent, None, past)) == ["2"]
    assert done == [1]


@both
def test_what_a_retry_of_models_catches_is_heard_all_the_same(
    load: LoadGuard, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise EngineError("the disk of the store is full")

    scripted = model(says())
    catching: Any = ModelRetryMiddleware(max_retries=1, initial_delay=0, jitter=False, on_failure="continue")
    middleware = [catching, GuardMiddleware(load(ADD))]
    agent: Any = create_agent(scripted, [], middleware=middleware, checkpointer=InMemorySaver())
    with monkeypatch.context() as broken:
        broken.setattr(Guard, "bound", fails)
        broken.setattr(Guard, "abound", fails)
        with pytest.raises(EngineError, match="the disk of the store is full"):
            invoke(agent, HELLO, THREAD)
    assert scripted.asked == []
    invoke(agent, HELLO, THREAD)
    assert "disk" not in str(scripted.asked)
