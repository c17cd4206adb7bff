"""smolagents: both kinds of agents, with a scripted model."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from smolagents import CodeAgent, ToolCallingAgent, tool
from smolagents.models import (
    ChatMessage,
    ChatMessageToolCall,
    ChatMessageToolCallFunction,
    MessageRole,
    Model,
)

from ringfence import EngineError, Guard, RunHaltedError
from tests.recipes.conftest import ALICE, Bodies, Load, verdicts


class Script(Model):  # type: ignore[misc]
    """Says what stands in the script, and keeps what it was told."""

    def __init__(self, *turns: Any) -> None:
        super().__init__(model_id="script")
        self.turns = list(turns)
        self.told: list[str] = []
        self.offered: list[list[str]] = []

    def generate(self, messages: Any, tools_to_call_from: Any = None, **_: Any) -> ChatMessage:
        self.told.append(str(messages))
        self.offered.append([one.name for one in tools_to_call_from or []])
        turn = self.turns.pop(0)
        if isinstance(turn, str):
            return ChatMessage(role=MessageRole.ASSISTANT, content=turn)
        calls = [
            ChatMessageToolCall(
                id=f"c{number}",
                type="function",
                function=ChatMessageToolCallFunction(name=name, arguments=arguments),
            )
            for number, (name, arguments) in enumerate(turn)
        ]
        return ChatMessage(role=MessageRole.ASSISTANT, content="", tool_calls=calls)


FINAL = [("final_answer", {"answer": "done"})]


def code(text: str) -> str:
    return f"Thought: so be it\n<code>\n{text}\n</code>"


@pytest.fixture
def tools(bodies: Bodies) -> list[Any]:
    @tool  # type: ignore[untyped-decorator]
    def search(text: str) -> str:
        """Search the handbook.

        Args:
            text: What to look for.
        """
        bodies.note("search", text=text)
        return f"found: {text}"

    @tool  # type: ignore[untyped-decorator]
    def send(to: str = "eve", times: int = 1) -> str:
        """Send a message.

        Args:
            to: To whom.
            times: How often.
        """
        bodies.note("send", to=to, times=times)
        return f"sent to {to}"

    @tool  # type: ignore[untyped-decorator]
    def wipe(path: str) -> str:
        """Wipe something out.

        Args:
            path: What.
        """
        bodies.note("wipe", path=path)
        return "wiped"

    return [search, send, wipe]


@pytest.fixture
def play(load: Load, guard: Guard, tools: list[Any]) -> Callable[..., Any]:
    recipe = load("guarded_smolagents")

    def run(model: Script, kind: Any = ToolCallingAgent, **more: Any) -> Any:
        agent = kind(tools=tools, model=model, **more)
        try:
            return recipe.run_guarded(guard, agent, "go on", principal=ALICE)
        finally:
            assert set(agent.tools) >= {"search", "send", "wipe"}, "the agent has its own tools again"

    return run


def test_the_page_answers(load: Load) -> None:
    module = load("use_smolagents")
    model = Script([("search", {"text": "leave"})], [("final_answer", {"answer": "25 days"})])
    assert module.answer(model, "how much leave?") == "25 days"
    assert "found: leave" in model.told[-1]
    assert module.guard.runs.latest().started.framework == "smolagents"


def test_what_is_denied_runs_no_body_and_is_told_in_constant_words(
    play: Callable[..., Any], guard: Guard, bodies: Bodies
) -> None:
    model = Script([("send", {"to": "eve", "times": 1})], [("send", {"to": "bob", "times": 9})], FINAL)
    assert play(model) == "done"
    assert bodies.ran == []
    assert "not authorized" in model.told[-1]
    assert not [
        word
        for word in ("at_most_three", "allow", "office.fence", "lead", "DeniedError")
        if word in model.told[-1]
    ]
    assert verdicts(guard) == ["deny", "deny"]


def test_a_hidden_tool_is_not_offered_and_does_not_run(play: Callable[..., Any], bodies: Bodies) -> None:
    model = Script([("wipe", {"path": "/"})], [("conjure", {})], [("search", {"text": "x"})], FINAL)
    assert play(model) == "done"
    assert bodies.ran == [("search", {"text": "x"})]
    assert all(set(names) == {"search", "send", "final_answer"} for names in model.offered)
    assert "Wipe something" not in str(model.told)


def test_a_default_and_a_value_of_the_state_are_decided(play: Callable[..., Any], bodies: Bodies) -> None:
    class Agent(ToolCallingAgent):  # type: ignore[misc]
        def __init__(self, **more: Any) -> None:
            super().__init__(**more)
            self.state["friend"] = "eve"

    model = Script([("send", {"to": "friend", "times": 1})], [("send", {"to": "bob", "times": 1})], FINAL)
    play(model, Agent)
    assert bodies.of("send") == [{"to": "bob", "times": 1}]


def test_code_of_a_model_calls_guarded_tools(play: Callable[..., Any], guard: Guard, bodies: Bodies) -> None:
    model = Script(
        code("send('bob', 1)\nprint(search(text='x'))"),
        code("try:\n    send()\nexcept Exception as error:\n    print('told', error)"),
        code("send.forward('eve', 1)"),
        code("type(send).forward(send, 'eve', 1)"),
        code("wipe('/')"),
        code("final_answer('done')"),
    )
    assert play(model, CodeAgent) == "done"
    assert bodies.ran == [("send", {"to": "bob", "times": 1}), ("search", {"text": "x"})]
    assert "told not authorized" in model.told[2]
    assert verdicts(guard) == ["allow", "allow", "deny", "deny"]


def test_parallel_calls_belong_to_one_run(play: Callable[..., Any], guard: Guard, bodies: Bodies) -> None:
    calls: Sequence[Any] = [("search", {"text": str(number)}) for number in range(5)]
    assert play(Script(calls, FINAL)) == "done"
    assert sorted(one["text"] for one in bodies.of("search")) == ["0", "1", "2", "3", "4"]
    assert len(guard.runs.list()) == 1


def test_a_call_that_asks_waits_for_people(
    play: Callable[..., Any], bodies: Bodies, approving: Callable[[], list[str]]
) -> None:
    assert play(Script([("send", {"to": "carol", "times": 1})], FINAL)) == "done"
    assert bodies.of("send") == [{"to": "carol", "times": 1}]
    assert approving() == ["send"]


@pytest.mark.parametrize("kind", [ToolCallingAgent, CodeAgent])
def test_a_halt_ends_the_agent(play: Callable[..., Any], guard: Guard, bodies: Bodies, kind: Any) -> None:
    turn = [("search", {"text": "x"})] if kind is ToolCallingAgent else code("search('x')")
    model = Script(*[turn] * 25)
    with pytest.raises(RunHaltedError):
        play(model, kind, max_steps=25)
    assert len(bodies.of("search")) == 20
    assert guard.runs.list()[0].status == "halted"


@pytest.mark.parametrize("kind", [ToolCallingAgent, CodeAgent])
def test_a_failure_of_the_engine_is_not_told_to_the_model(
    play: Callable[..., Any], guard: Guard, bodies: Bodies, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise EngineError("the disk is on fire")

    monkeypatch.setattr(guard, "execute", fails)
    turn = (
        [("search", {"text": "x"})]
        if kind is ToolCallingAgent
        else code("try:\n    search('x')\nexcept:\n    pass")
    )
    model = Script(turn, FINAL if kind is ToolCallingAgent else code("final_answer('done')"))
    with pytest.raises(EngineError, match="fire"):
        play(model, kind)
    assert bodies.ran == [] and len(model.told) == 1


def test_a_managed_agent_has_guarded_tools(
    load: Load, guard: Guard, tools: list[Any], bodies: Bodies
) -> None:
    inner = ToolCallingAgent(
        tools=tools,
        model=Script([("send", {"to": "eve", "times": 1})], [("wipe", {"path": "/"})], FINAL),
        name="helper",
        description="Helps.",
    )
    agent = ToolCallingAgent(
        tools=[], model=Script([("helper", {"task": "wipe it"})], FINAL), managed_agents=[inner]
    )
    assert load("guarded_smolagents").run_guarded(guard, agent, "go on", principal=ALICE) == "done"
    assert bodies.ran == []
    assert verdicts(guard) == ["deny"]


def test_what_would_lose_its_guard_is_refused(load: Load, guard: Guard, tools: list[Any]) -> None:
    recipe = load("guarded_smolagents")
    agent = CodeAgent(tools=tools, model=Script())
    agent.python_executor = object()
    with pytest.raises(TypeError, match="remote"):
        recipe.run_guarded(guard, agent, "go on", principal=ALICE)

    class Direct(type(tools[0])):  # type: ignore[misc]
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            raise AssertionError

    own = Direct()
    with pytest.raises(TypeError, match="__call__"):
        recipe.GuardedTool(guard, None, own)
