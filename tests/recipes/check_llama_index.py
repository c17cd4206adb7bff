"""LlamaIndex: its function agent with a scripted model."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, TextBlock, ToolCallBlock
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Context
from pydantic import Field

from ringfence import EngineError, Guard, RunHaltedError
from tests.recipes.conftest import ALICE, Bodies, Load, verdicts

pytestmark = pytest.mark.filterwarnings(
    "ignore::pydantic.PydanticDeprecationWarning"  # its workflows look at every member of an agent
)
WITHIN_S = 60


class Script:
    """Says what stands in the script, and keeps what it was told and offered."""

    def __init__(self, *turns: Any) -> None:
        self.turns = list(turns)
        self.told: list[str] = []
        self.offered: list[set[str]] = []
        self.llm = MockFunctionCallingLLM(response_generator=self._next, is_chat_model=True)

    def _next(self, messages: Any, **given: Any) -> ChatMessage:
        self.told.append(str([one.model_dump() for one in messages]))
        self.offered.append({tool.metadata.name for tool in given.get("tools") or []})
        turn = self.turns.pop(0)
        blocks: list[Any] = (
            [TextBlock(text=turn)]
            if isinstance(turn, str)
            else [
                ToolCallBlock(tool_call_id=f"c{number}", tool_name=name, tool_kwargs=arguments)
                for number, (name, arguments) in enumerate(turn)
            ]
        )
        return ChatMessage(role="assistant", blocks=blocks)


@pytest.fixture
def tools(bodies: Bodies) -> list[Any]:
    def search(text: str) -> str:
        """Search the handbook."""
        bodies.note("search", text=text)
        return f"found: {text}"

    def send(to: str = "eve", times: int = 1) -> str:
        """Send a message."""
        bodies.note("send", to=to, times=times)
        return f"sent to {to}"

    async def wipe(path: str) -> str:
        """Wipe something out."""
        bodies.note("wipe", path=path)
        return "wiped"

    return [search, send, wipe]


@pytest.fixture
def play(load: Load, guard: Guard, tools: list[Any]) -> Callable[..., Any]:
    recipe = load("guarded_llama_index")

    def run(script: Script, *, tools: list[Any] = tools) -> str:
        def agent(guarded: Callable[..., Any]) -> FunctionAgent:
            return FunctionAgent(tools=guarded(tools), llm=script.llm, streaming=False)

        played = recipe.run_guarded(guard, agent, "go on", principal=ALICE)
        return str(asyncio.run(asyncio.wait_for(played, WITHIN_S)))

    return run


def test_the_page_answers(load: Load) -> None:
    module = load("use_llama_index")
    script = Script([("search", {"text": "leave"})], "25 days")
    assert str(asyncio.run(module.answer(script.llm, "how much leave?"))) == "25 days"
    assert "found: leave" in script.told[-1]
    assert module.guard.runs.latest().started.framework == "llama-index"


def test_what_is_denied_runs_no_body_and_is_told_in_constant_words(
    play: Callable[..., Any], guard: Guard, bodies: Bodies
) -> None:
    script = Script(
        [("send", {"to": "eve", "times": 1})], [("send", {"to": "bob", "times": 9})], [("send", {})], "done"
    )
    assert play(script) == "done"
    assert bodies.ran == []
    told = script.told[-1]
    assert "not authorized" in told
    assert not [
        one for one in ("at_most_three", "allow", "office.fence", "lead", "DeniedError") if one in told
    ]
    assert verdicts(guard) == ["deny", "deny", "deny"]


def test_a_hidden_tool_is_not_offered_and_does_not_run(play: Callable[..., Any], bodies: Bodies) -> None:
    script = Script([("wipe", {"path": "/"})], [("conjure", {})], [("search", {"text": "x"})], "done")
    assert play(script) == "done"
    assert bodies.ran == [("search", {"text": "x"})]
    assert "Wipe something" not in str(script.told)
    assert all(names <= {"search", "send"} for names in script.offered)


def test_partial_parameters_and_defaults_of_fields_are_decided(
    play: Callable[..., Any], bodies: Bodies, tools: list[Any]
) -> None:
    def send(to: Annotated[str, "whom"] = Field(default="eve"), times: int = 1) -> str:
        bodies.note("send", to=to, times=times)
        return f"sent to {to}"

    for made in (
        FunctionTool.from_defaults(tools[1], partial_params={"to": "eve"}),
        FunctionTool.from_defaults(tools[1], partial_params={"to": "bob"}),
        FunctionTool.from_defaults(send),
    ):
        play(Script([("send", {"times": 1})], "done"), tools=[made])
    assert bodies.ran == [("send", {"to": "bob", "times": 1})]


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
    turns = [[("search", {"text": f"{n}.{m}"}) for m in range(5)] for n in range(5)]
    with pytest.raises(RunHaltedError):
        play(Script(*turns, "done"))
    assert len(bodies.of("search")) == 20
    assert guard.runs.list()[0].status == "halted"


def test_a_failure_of_the_engine_is_not_told_to_the_model(
    play: Callable[..., Any], guard: Guard, bodies: Bodies, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: Any, **__: Any) -> Any:
        raise EngineError("the disk is on fire")

    monkeypatch.setattr(guard, "aexecute", fails)
    script = Script([("search", {"text": "x"})], "done")
    with pytest.raises(EngineError, match="fire"):
        play(script)
    assert bodies.ran == [] and len(script.told) == 1


def test_the_synchronous_way_is_guarded_too(
    load: Load, guard: Guard, tools: list[Any], bodies: Bodies
) -> None:
    recipe = load("guarded_llama_index")
    with guard.run(principal=ALICE) as run:
        _, send = recipe.guard_tools(guard, run, tools)
        with pytest.raises(recipe.Refused, match="not authorized"):
            send.call(to="eve", times=1)
        with pytest.raises(recipe.Refused):
            send("eve")
        assert str(send("bob")) == "sent to bob"
    assert bodies.ran == [("send", {"to": "bob", "times": 1})]


def test_what_would_run_twice_or_go_round_the_guard_is_refused(load: Load, guard: Guard) -> None:
    recipe = load("guarded_llama_index")

    async def waits(ctx: Context, text: str) -> str:
        raise AssertionError

    def send(to: str) -> str:
        raise AssertionError

    class Own(FunctionTool):  # type: ignore[misc]
        pass

    for made, why in (
        (FunctionTool.from_defaults(waits), "Context"),
        (FunctionTool.from_defaults(send, callback=str), "callback"),
        (Own.from_defaults(send), "FunctionTool"),
    ):
        with pytest.raises(TypeError, match=why):
            recipe.guard_tool(guard, None, made)
