"""DSPy: ReAct with a scripted model, synchronous and not."""

import asyncio
import inspect
import threading
from collections.abc import Callable
from typing import Any

import dspy
import pytest
from dspy.utils import DummyLM
from dspy.utils.exceptions import AdapterParseError

from ringfence import EngineError, Guard, RunHaltedError
from tests.recipes.conftest import ALICE, Bodies, Load, verdicts

DONE = {"next_thought": "enough", "next_tool_name": "finish", "next_tool_args": "{}"}
LAST = {"reasoning": "so", "answer": "done"}


def asks(tool: str, arguments: str) -> dict[str, str]:
    return {"next_thought": "so", "next_tool_name": tool, "next_tool_args": arguments}


@pytest.fixture
def tools(bodies: Bodies) -> list[Callable[..., Any]]:
    def search(text: str) -> str:
        """Search the handbook."""
        bodies.note("search", text=text)
        return f"found: {text}"

    def send(to: str = "eve", times: int = 1) -> str:
        """Send a message."""
        bodies.note("send", to=to, times=times)
        return f"sent to {to}"

    def wipe(path: str) -> str:
        """Wipe something out."""
        bodies.note("wipe", path=path)
        return "wiped"

    return [search, send, wipe]


@pytest.fixture(params=["call", "acall"])
def play(load: Load, guard: Guard, tools: list[Any], request: pytest.FixtureRequest) -> Callable[..., Any]:
    recipe = load("guarded_dspy")

    def run(*turns: dict[str, str], iters: int = 25) -> dspy.Prediction:
        with recipe.guarded_run(guard, principal=ALICE) as inside, dspy.context(lm=DummyLM(list(turns))):
            agent = dspy.ReAct(
                "question -> answer", recipe.guard_tools(guard, inside, tools), max_iters=iters
            )
            assert set(agent.tools) == {"search", "send", "finish"}, "the hidden tool is not there"
            assert "Wipe something" not in str(agent.react.signature)
            if request.param == "call":
                return agent(question="go on")
            return asyncio.run(agent.acall(question="go on"))

    return run


def test_the_page_answers(load: Load) -> None:
    module = load("use_dspy")
    said = [asks("search", '{"text": "leave"}'), DONE, {"reasoning": "so", "answer": "25 days"}]
    with dspy.context(lm=DummyLM(said)):
        assert module.answer("how much leave?") == "25 days"
    assert module.guard.runs.latest().started.framework == "dspy"


def test_what_is_denied_runs_no_body_and_is_told_in_constant_words(
    play: Callable[..., Any], guard: Guard, bodies: Bodies
) -> None:
    done = play(
        asks("send", '{"to": "eve", "times": 1}'),
        asks("send", '{"to": "bob", "times": 9}'),
        asks("send", "{}"),
        asks("search", '{"text": "x"}'),
        DONE,
        LAST,
    )
    assert bodies.ran == [("search", {"text": "x"})]
    observed = [done.trajectory[f"observation_{number}"] for number in range(4)]
    assert observed == ["not authorized"] * 3 + ["found: x"]
    assert verdicts(guard) == ["deny", "deny", "deny", "allow"]


def test_a_tool_that_is_hidden_or_unknown_does_not_run(play: Callable[..., Any], bodies: Bodies) -> None:
    for name in ("wipe", "conjure"):
        said = asks(name, '{"path": "/"}')
        with pytest.raises(AdapterParseError):  # a name that is none of its choices is no answer to DSPy
            play(said, said, said, LAST)
    assert bodies.ran == []


def test_a_callback_that_changes_a_call_has_changed_what_is_decided(
    load: Load, guard: Guard, tools: list[Any], bodies: Bodies
) -> None:
    recipe = load("guarded_dspy")
    with recipe.guarded_run(guard, principal=ALICE) as inside:
        _, send = recipe.guard_tools(guard, inside, tools)

        class Eve(dspy.utils.callback.BaseCallback):  # type: ignore[misc]
            def on_tool_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
                inputs.get("kwargs", inputs)["to"] = "eve"

        with dspy.context(callbacks=[Eve()]):
            assert send(to="bob", times=1) in ("not authorized", "sent to bob")
        assert {"to": "eve", "times": 1} not in bodies.of("send")


def test_a_call_that_asks_waits_for_people(
    play: Callable[..., Any], bodies: Bodies, approving: Callable[[], list[str]]
) -> None:
    assert play(asks("send", '{"to": "carol", "times": 1}'), DONE, LAST).answer == "done"
    assert bodies.of("send") == [{"to": "carol", "times": 1}]
    assert approving() == ["send"]


def test_a_halt_ends_the_agent(play: Callable[..., Any], guard: Guard, bodies: Bodies) -> None:
    with pytest.raises(RunHaltedError):
        play(*[asks("search", '{"text": "x"}')] * 25, DONE, LAST)
    assert len(bodies.of("search")) == 20
    assert guard.runs.list()[0].status == "halted"


def test_a_failure_of_the_engine_is_not_told_to_the_model(
    play: Callable[..., Any], guard: Guard, bodies: Bodies, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise EngineError("the disk is on fire")

    monkeypatch.setattr(guard, "execute", fails)
    with pytest.raises(EngineError, match="fire"):
        play(asks("search", '{"text": "x"}'), DONE, LAST)
    assert bodies.ran == []


def test_a_coroutine_function_is_guarded_too(load: Load, guard: Guard, bodies: Bodies) -> None:
    async def send(to: str, times: int) -> str:
        bodies.note("send", to=to, times=times)
        return f"sent to {to}"

    recipe = load("guarded_dspy")
    with recipe.guarded_run(guard, principal=ALICE) as inside:
        (made,) = recipe.guard_tools(guard, inside, [send])
        assert asyncio.run(made.acall(to="eve", times=1)) == "not authorized"
        assert asyncio.run(made.acall(to="bob", times=1)) == "sent to bob"
    assert bodies.ran == [("send", {"to": "bob", "times": 1})]


def test_a_tool_called_on_a_thread_belongs_to_its_run(
    load: Load, guard: Guard, tools: list[Any], bodies: Bodies
) -> None:
    recipe = load("guarded_dspy")
    with recipe.guarded_run(guard, principal=ALICE) as inside:
        search = recipe.guard_tools(guard, inside, tools)[0]
        thread = threading.Thread(target=lambda: search(text="x"))  # without the context of this one
        thread.start()
        thread.join()
    assert bodies.ran == [("search", {"text": "x"})]
    assert verdicts(guard) == ["allow"]


@pytest.mark.filterwarnings("ignore:CodeAct is deprecated:DeprecationWarning")  # until it is gone
def test_what_would_lose_its_guard_is_refused(load: Load, guard: Guard, tools: list[Any]) -> None:
    recipe = load("guarded_dspy")
    with recipe.guarded_run(guard, principal=ALICE) as inside:
        made = recipe.guard_tools(guard, inside, tools)
        assert not any(inspect.isfunction(tool.func) for tool in made), "a function's source can be sent away"
        if hasattr(dspy, "CodeAct"):
            with pytest.raises(ValueError, match="only accepts functions"):
                dspy.CodeAct("question -> answer", tools=made)

        class Own(dspy.Tool):  # type: ignore[misc]
            pass

        with pytest.raises(TypeError, match="of its own"):
            recipe.guard_tools(guard, inside, [Own(tools[0])])
