"""Playback of other runs: of a file, a graph of one's own, isolates, later turns, other providers."""

import contextlib
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph

from ringfence import Guard
from ringfence.__main__ import main
from ringfence.adapters.langchain import (
    DivergedError,
    GuardMiddleware,
    begin_node,
    guard_tools,
    isolate_tool,
    playback,
    questions,
    tool_node,
)
from ringfence.adapters.langchain.said import recorded_asking
from ringfence.engine.decision.events import ModelAsked
from ringfence.engine.retrospect.playback.asking import Asking, differs
from ringfence.engine.retrospect.record import RecordError
from ringfence.engine.seams.settings import Settings
from tests.adapters.langchain.agents import (
    ADD,
    ALICE,
    HELLO,
    SEND,
    THREAD,
    Invoke,
    add_of,
    agent_of,
    both,
    replies,
    send_of,
)
from tests.adapters.langchain.conftest import HEAD, LoadGuard
from tests.adapters.langchain.model import asks, call, model, says
from tests.adapters.langchain.played import ADDS, SENDS, agent_in, closed
from tests.adapters.langchain.test_isolates import query_of
from tests.adapters.langchain.test_playback import HELP, by_task, helpers
from tests.isolated_tools import executor, guard_of

__all__ = ["closed"]


def exported(folder: Path, run: str, *, mode: str = "w") -> Path:
    """Export a run as the command does."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(["export", "--run", run, "--store", f"sqlite:///{folder / 'guard.db'}"]) == 0
    file = folder / "run.jsonl"
    with file.open(mode, encoding="utf-8") as lines:
        lines.write(said.getvalue())
    return file


def test_a_file_of_an_export_plays_back_and_a_changed_one_does_not(load: LoadGuard, tmp_path: Path) -> None:
    guard = load(ADD, store=f"sqlite:///{tmp_path / 'guard.db'}")
    agent_of(guard, [add_of([])], asks(call("add", a=1)), says()).invoke(HELLO, context=ALICE)
    file = exported(tmp_path, guard.runs.latest().run)
    with playback(str(file)) as played:
        agent_in(played).invoke(played.input)
        played.check()
    file.write_text(file.read_text(encoding="utf-8").replace('"result":"2"', '"result":"3"'))
    with pytest.raises(RecordError, match=r"event run-\w+:\d+: .*ringfence export"):
        playback(file)


def test_the_run_of_a_sub_agent_must_be_in_the_file(load: LoadGuard, tmp_path: Path) -> None:
    guard = load(HELP, store=f"sqlite:///{tmp_path / 'guard.db'}")
    tools = helpers(guard, model(by_task, by_task), [add_of([])], own_run=True)
    agent_of(guard, tools, asks(call("help", task="one")), says()).invoke(HELLO, context=ALICE)
    run = guard.runs.latest()
    [inner] = [row.run for row in guard.runs.list() if row.parent is not None]
    file = exported(tmp_path, run.run)
    with pytest.raises(RecordError, match=f"export --run {inner} >> FILE"):
        playback(file, agents=["help"])
    exported(tmp_path, inner, mode="a")
    played = playback(file, agents=["help"])
    agent_in(played, helpers(played.guard, played.model, [ADDS], own_run=True)).invoke(played.input)
    played.check()


def graph_of(guard: Guard, tools: list[Any], asked: Any) -> Any:
    graph: Any = StateGraph(MessagesState)
    graph.add_node("begin", begin_node(guard))
    graph.add_node("model", lambda state: {"messages": [asked.invoke(state["messages"])]})
    graph.add_node("tools", tool_node(guard, tools))
    graph.add_edge(START, "begin")
    graph.add_edge("begin", "model")
    graph.add_conditional_edges("model", lambda state: "tools" if state["messages"][-1].tool_calls else END)
    graph.add_edge("tools", "model")
    return graph.compile()


@both
def test_a_graph_of_ones_own_plays_back(load: LoadGuard, invoke: Invoke) -> None:
    guard = load(ADD)
    script = [asks(call("add", "c1", a=1), call("nope", "c2")), says()]
    first = invoke(graph_of(guard, [add_of([])], model(*script)), HELLO)
    played = playback(guard.runs.latest())
    again = invoke(graph_of(played.guard, [ADDS], played.model), played.input)
    assert replies(again) == replies(first) == ["2", "tool not found"]
    played.check()


@pytest.fixture
def isolates() -> Iterator[Guard]:
    made = guard_of(executor())
    yield made
    made.close()


@both
def test_code_in_an_isolate_is_answered_with_its_call(isolates: Guard, invoke: Invoke) -> None:
    made = isolate_tool(isolates, "run_js", inner=[query_of([])])
    script = [asks(call("run_js", code="total")), says()]
    invoke(agent_of(isolates, [made], *script), HELLO, context=ALICE)
    run = isolates.runs.latest()
    assert any(stamped.event.kind == "IsolateStarted" for stamped in run.events)
    read: list[str] = []
    for anew in (False, True):
        played = playback(run)
        own = isolate_tool(played.guard, "run_js", inner=[query_of(read)]) if anew else made
        assert replies(invoke(agent_in(played, [own]), played.input)) == ["5"]
        played.check()
        assert "inside of it the record has 0 model requests, 1 calls" in str(played.report)
    assert read == []


def test_a_later_turn_begins_with_what_was_said_before(load: LoadGuard) -> None:
    guard = load(ADD)
    script = [asks(call("add", "c1", a=1)), says("two"), asks(call("add", "c2", a=2)), says("three")]
    agent = agent_of(guard, [add_of([])], *script, checkpointer=InMemorySaver(), system_prompt="Add.")
    agent.invoke(HELLO, THREAD, context=ALICE)
    agent.invoke({"messages": [("user", "and two?")]}, THREAD, context=ALICE)
    played = playback(guard.runs.latest(session="t1"))
    assert [message.type for message in played.input["messages"]] == ["human", "ai", "tool", "ai", "human"]
    agent_in(played, system_prompt="Add.").invoke(played.input)
    played.check()


@pytest.mark.not_replayed("played, each call has the decision of the record, in whichever order they come")
def test_equal_calls_that_come_at_once_are_each_answered_once(load: LoadGuard) -> None:
    guard = load("tool add { needs work  takes a: integer  allow always  rate 3 per run }")
    turn = asks(*(call("add", f"c{n}", a=1) for n in range(4)))
    first = agent_of(guard, [add_of([])], turn, says()).invoke(HELLO, context=ALICE)
    played = playback(guard.runs.latest())
    again = agent_in(played).invoke(played.input)
    assert replies(again) == replies(first), "each by its own id, though which one was refused is chance"
    played.check()
    assert played.report.calls == 4


def test_bare_tools_play_back(load: LoadGuard) -> None:
    guard = load(ADD)
    with guard.run(principal=ALICE):
        assert guard_tools(guard, [add_of([])])[0].invoke({"a": 1}) == "2"
    played = playback(guard.runs.latest())
    with played.guard.run():
        assert played.tools([ADDS])[0].invoke({"a": 1}) == "2"
    played.check()
    again = playback(guard.runs.latest())
    with again.guard.run(), pytest.raises(DivergedError, match="add with other arguments"):
        again.tools([ADDS])[0].invoke({"a": 2})


def test_a_failed_model_fails_again_by_its_name(load: LoadGuard) -> None:
    def overloaded(_: Any) -> AIMessage:
        raise ConnectionError("overloaded")

    guard = load(ADD)
    with pytest.raises(ConnectionError):
        agent_of(guard, [add_of([])], overloaded).invoke(HELLO, context=ALICE)
    played = playback(guard.runs.latest())
    with pytest.raises(ConnectionError, match="overloaded"):
        agent_in(played).invoke(played.input)
    played.check()


def test_what_was_hidden_fits_what_comes(tmp_path: Path) -> None:
    (tmp_path / "desk.fence").write_text(HEAD + ADD, encoding="utf-8")
    settings = Settings.of({"secrets": {"patterns": ["sk-[a-z]+"]}}, folder=tmp_path)
    guard = Guard.load(tmp_path / "desk.fence", settings=settings, store="memory:")
    prompt = "Use sk-abcdef and be kind."
    agent_of(guard, [add_of([])], says(), system_prompt=prompt).invoke(HELLO, context=ALICE)
    run = guard.runs.latest()
    guard.close()
    played = playback(run)
    agent_in(played, system_prompt=prompt).invoke(played.input)
    played.check()
    assert "something was hidden before it was recorded" in str(played.report)
    changed = playback(run)
    with pytest.raises(DivergedError):
        agent_in(changed, system_prompt="Use sk-abcdef and be quick.").invoke(changed.input)


@pytest.mark.parametrize(
    "said",
    [
        {"type": "function", "function": {"name": "add", "description": "Add one.", "parameters": "SCHEMA"}},
        {"name": "add", "description": "Add one.", "input_schema": "SCHEMA"},
        {"name": "add", "description": "Add one.", "parameters": "SCHEMA"},
    ],
)
def test_tools_are_the_same_in_every_providers_form(said: Any) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    given = json.loads(json.dumps(said).replace('"SCHEMA"', json.dumps(schema)))
    asked = ModelAsked("r", None, [], [given], {"tool_choice": {"type": "any"}, "temperature": 1}, None)
    came = Asking(
        [],
        [{"name": "add", "description": "Add one.", "parameters": schema}],
        {"tool_choice": "required"},
    )
    assert differs(recorded_asking(asked), came) == ()
    other = Asking([], [{"name": "add", "description": "Add two.", "parameters": schema}], {})
    assert differs(recorded_asking(asked), other) == ("tools", "parameters")


def test_the_middleware_of_a_playback_is_the_agents(load: LoadGuard) -> None:
    guard = load(ADD)
    agent_of(guard, [add_of([])], says()).invoke(HELLO, context=ALICE)
    played = playback(guard.runs.latest())
    middleware = played.middleware(on_halt="raise")
    assert isinstance(middleware, GuardMiddleware) and middleware.guard is played.guard
    assert (middleware.agent, middleware.on_halt) == ("main", "raise")
    assert [type(one) for one in played.input["messages"]] == [HumanMessage]
    tools: list[BaseTool] = played.tools([ADDS])
    agent: Any = create_agent(played.model, tools, middleware=[middleware])
    agent.invoke(played.input)
    played.check()


@both
@pytest.mark.parametrize("agents", [["outer"], []])
def test_a_sub_agent_that_waited_for_people_plays_back_without_waiting(
    load: LoadGuard, invoke: Invoke, agents: list[str]
) -> None:
    guard = load(SEND + "\ntool outer { needs work  allow always }")

    def outer_of(guard: Guard, asked: Any, send: BaseTool) -> BaseTool:
        inner: Any = create_agent(asked, [send], middleware=[GuardMiddleware(guard)])

        @tool
        def outer() -> str:
            """Let another agent do it."""
            return str(inner.invoke(HELLO)["messages"][-1].content)

        return outer

    turn = asks(call("send", to="bob"))
    tools = [outer_of(guard, model(turn, says("inner"), turn, says("inner")), send_of([]))]
    agent = agent_of(guard, tools, asks(call("outer")), says(), checkpointer=InMemorySaver())
    (question,) = questions(invoke(agent, HELLO, THREAD, context=ALICE))
    guard.approve(question.ticket, by="dana")
    first = invoke(agent, None, THREAD)
    for saver in (None, InMemorySaver()):
        played = playback(guard.runs.latest(), agents=agents)
        tools = [outer_of(played.guard, played.model, SENDS)]
        again = invoke(agent_in(played, tools, checkpointer=saver), played.input, THREAD)
        assert replies(again) == replies(first) == ["inner"]
        played.check()


def test_nothing_of_a_record_steers_the_terminal_that_shows_it(load: LoadGuard) -> None:
    hostile = "\x1b[2J\u202eforged\r\n+ line"
    guard = load("tool add { needs work  takes a: text  allow always }")

    @tool
    def add(a: str) -> str:
        """Add."""
        return hostile

    turns = (asks(call("add", "c1", a=hostile)), asks(call(hostile, "c2")), says(hostile))
    agent_of(guard, [add], *turns, system_prompt=hostile).invoke(HELLO, context=ALICE)
    run = guard.runs.latest()
    texts = []
    for at, stamped in enumerate(run.events):
        for name in ("messages", "arguments", "result"):
            if not hasattr(stamped.event, name) or stamped.event.kind == "CallDecided":
                continue
            said = ["x"] if name == "messages" else {"a": "x"} if name == "arguments" else "x"
            event = replace(stamped.event, **{name: said})
            played = playback(
                replace(run, events=(*run.events[:at], replace(stamped, event=event), *run.events[at + 1 :]))
            )
            with contextlib.suppress(DivergedError):
                invoked = agent_in(played, [add], system_prompt=hostile)
                invoked.invoke({"messages": [("user", "hello")]})
            texts.append(str(played.report))
    assert len(texts) >= 8
    for text in texts:
        assert all(line.isprintable() for line in text.split("\n")), text
        assert not any(line.startswith("+ line") for line in text.split("\n"))
