"""Haystack: its agent with a scripted generator, synchronous and not."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from haystack.components.agents import Agent, State
from haystack.components.generators.chat import MockChatGenerator
from haystack.dataclasses import ChatMessage, ToolCall
from haystack.tools import Tool, tool

from ringfence import EngineError, Guard, RunHaltedError
from tests.recipes.conftest import ALICE, Bodies, Load, verdicts


class Script:
    """Says what stands in the script, and keeps what it was told and offered."""

    def __init__(self, *turns: Any) -> None:
        self.turns = list(turns)
        self.told: list[str] = []
        self.offered: list[set[str]] = []
        self.generator = MockChatGenerator(response_fn=self._next)

    def _next(self, messages: Any, tools: Any) -> Any:
        self.told.append(str([one.to_dict() for one in messages]))
        self.offered.append({one.name for one in tools or []})
        turn = self.turns.pop(0)
        if isinstance(turn, str):
            return turn
        calls = [
            ToolCall(tool_name=name, arguments=given, id=f"c{n}") for n, (name, given) in enumerate(turn)
        ]
        return ChatMessage.from_assistant(tool_calls=calls)


@pytest.fixture
def tools(bodies: Bodies) -> list[Any]:
    @tool  # type: ignore[untyped-decorator]
    def search(text: Annotated[str, "what"]) -> str:
        """Search the handbook."""
        bodies.note("search", text=text)
        return f"found: {text}"

    @tool  # type: ignore[untyped-decorator]
    def send(to: str = "eve", times: int = 1) -> str:
        """Send a message."""
        bodies.note("send", to=to, times=times)
        return f"sent to {to}"

    @tool  # type: ignore[untyped-decorator]
    def wipe(path: str) -> str:
        """Wipe something out."""
        bodies.note("wipe", path=path)
        return "wiped"

    return [search, send, wipe]


@pytest.fixture(params=["run_guarded", "run_guarded_async"])
def play(load: Load, guard: Guard, tools: list[Any], request: pytest.FixtureRequest) -> Callable[..., Any]:
    recipe = load("guarded_haystack")

    def run(script: Script, *, tools: list[Any] = tools, **more: Any) -> str:
        agent = Agent(chat_generator=script.generator, tools=tools, **more)
        about = {"principal": ALICE, "prompt": "go on"}
        played = getattr(recipe, request.param)(guard, agent, [ChatMessage.from_user("go on")], **about)
        result = asyncio.run(played) if request.param.endswith("async") else played
        return str(result["last_message"].text)

    return run


def test_the_page_answers(load: Load) -> None:
    module = load("use_haystack")
    script = Script([("search", {"text": "leave"})], "25 days")
    result = module.answer(script.generator, "how much leave?")
    assert result["last_message"].text == "25 days"
    assert "found: leave" in script.told[-1]
    assert module.guard.runs.latest().started.framework == "haystack"


def test_what_is_denied_runs_no_body_and_is_told_in_constant_words(
    play: Callable[..., Any], guard: Guard, bodies: Bodies
) -> None:
    script = Script([("send", {"to": "eve", "times": 1})], [("send", {"to": "bob", "times": 9})], "done")
    assert play(script) == "done"
    assert bodies.ran == []
    assert "not authorized" in script.told[-1]
    told = script.told[-1]
    assert not [
        one for one in ("at_most_three", "allow", "office.fence", "lead", "DeniedError") if one in told
    ]
    assert verdicts(guard) == ["deny", "deny"]


def test_a_hidden_tool_is_not_offered_and_does_not_run(play: Callable[..., Any], bodies: Bodies) -> None:
    script = Script([("wipe", {"path": "/"})], [("conjure", {})], [("search", {"text": "x"})], "done")
    assert play(script) == "done"
    assert bodies.ran == [("search", {"text": "x"})]
    assert script.offered == [{"search", "send"}] * 4
    assert "Wipe something" not in str(script.told)


def test_an_agent_all_of_whose_tools_are_hidden_is_offered_none(
    play: Callable[..., Any], tools: list[Any], bodies: Bodies
) -> None:
    script = Script("done")
    assert play(script, tools=[tools[2]]) == "done"
    assert script.offered == [set()] and bodies.ran == []


def test_what_a_hook_makes_of_a_call_is_decided(play: Callable[..., Any], bodies: Bodies) -> None:
    class ToEve:
        def run(self, state: State) -> None:
            messages = state.data["messages"]
            for call in messages[-1].tool_calls:
                call.arguments["to"] = "eve"

    script = Script([("send", {"to": "bob", "times": 1})], "done")
    play(script, hooks={"before_tool": [ToEve()]})
    assert bodies.ran == []


def test_defaults_and_what_the_state_brings_are_decided(play: Callable[..., Any], bodies: Bodies) -> None:
    def send(to: str, times: int, state: State) -> str:
        bodies.note("send", to=to, times=times, state=type(state).__name__)
        return f"sent to {to}"

    parameters = {"type": "object", "properties": {"times": {"type": "integer"}}, "required": ["times"]}

    class Whom:
        def __init__(self, who: str) -> None:
            self.who = who

        def run(self, state: State) -> None:
            state.set("whom", self.who)

    for who in ("eve", "bob"):
        made = Tool("send", "Send.", parameters, send, inputs_from_state={"whom": "to"})
        script = Script([("send", {"times": 1})], "done")
        play(script, tools=[made], state_schema={"whom": {"type": str}}, hooks={"before_run": [Whom(who)]})
    assert bodies.of("send") == [{"to": "bob", "times": 1, "state": "State"}]


def test_a_default_is_decided(play: Callable[..., Any], bodies: Bodies) -> None:
    play(Script([("send", {})], "done"))
    assert bodies.ran == []


def test_parallel_calls_belong_to_one_run(play: Callable[..., Any], guard: Guard, bodies: Bodies) -> None:
    assert play(Script([("search", {"text": str(n)}) for n in range(5)], "done")) == "done"
    assert sorted(one["text"] for one in bodies.of("search")) == ["0", "1", "2", "3", "4"]
    assert len(guard.runs.list()) == 1


def test_a_call_that_asks_waits_for_people(
    play: Callable[..., Any], bodies: Bodies, approving: Callable[[], list[str]]
) -> None:
    assert play(Script([("send", {"to": "carol", "times": 1})], "done")) == "done"
    assert bodies.of("send") == [{"to": "carol", "times": 1}]
    assert approving() == ["send"]


def test_a_halt_ends_the_agent(play: Callable[..., Any], guard: Guard, bodies: Bodies) -> None:
    with pytest.raises(RunHaltedError):
        play(Script(*[[("search", {"text": "x"})]] * 25))
    assert len(bodies.of("search")) == 20
    assert guard.runs.list()[0].status == "halted"


def test_a_failure_of_the_engine_is_not_told_to_the_model(
    play: Callable[..., Any], guard: Guard, bodies: Bodies, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise EngineError("the disk is on fire")

    monkeypatch.setattr(guard, "execute", fails)
    monkeypatch.setattr(guard, "aexecute", fails)
    script = Script([("search", {"text": "x"})], "done")
    with pytest.raises(EngineError, match="fire"):
        play(script)
    assert bodies.ran == [] and len(script.told) == 1


def test_a_coroutine_function_is_guarded_too(load: Load, guard: Guard, bodies: Bodies) -> None:
    @tool  # type: ignore[untyped-decorator]
    async def send(to: str, times: int) -> str:
        """Send a message."""
        bodies.note("send", to=to, times=times)
        return f"sent to {to}"

    script = Script([("send", {"to": "eve", "times": 1})], [("send", {"to": "bob", "times": 1})], "done")
    agent = Agent(chat_generator=script.generator, tools=[send])
    recipe = load("guarded_haystack")
    asyncio.run(recipe.run_guarded_async(guard, agent, [ChatMessage.from_user("go on")], principal=ALICE))
    assert bodies.ran == [("send", {"to": "bob", "times": 1})]


def test_what_would_go_round_the_guard_is_refused(load: Load, guard: Guard, tools: list[Any]) -> None:
    class Own(Tool):  # type: ignore[misc]
        def invoke(self, **given: Any) -> Any:
            raise AssertionError

    own = Own("send", "Send.", {"type": "object", "properties": {}}, lambda: None)
    with pytest.raises(TypeError, match="invoke"):
        load("guarded_haystack").guard_tool(guard, None, own)
