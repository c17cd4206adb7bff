"""Raw LangGraph: `begin_node`, `ToolNode(guard_tools(...))`, and tools outside of any graph."""

import asyncio
import copy
import threading
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, interrupt

from ringfence import DeniedError, Guard, Principal, RunHaltedError
from ringfence.adapters.langchain import NoRunError, begin_node, end_node, guard_tools, questions, tool_node
from ringfence.adapters.langchain.runs import Runs
from ringfence.adapters.langchain.tree import Tree
from ringfence.engine.decision import events as e
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.ports import Ticket
from tests.adapters.langchain.agents import (
    ADD,
    ALICE,
    SEND,
    THREAD,
    Invoke,
    add_of,
    both,
    danger_of,
    events,
    kinds,
    replies,
    run_async,
    run_sync,
    send_of,
)
from tests.adapters.langchain.conftest import LoadGuard
from tests.adapters.langchain.model import asks, call, model, says


def graph_of(guard: Guard, tools: list[Any], *, begin: bool = True, saver: Any = None, **more: Any) -> Any:
    """Return a graph with one step of tools; the messages that come in hold the calls."""
    graph: Any = StateGraph(MessagesState, context_schema=Principal)
    graph.add_node("tools", ToolNode(guard_tools(guard, tools)))
    if begin:
        graph.add_node("begin", begin_node(guard))
        graph.add_edge(START, "begin")
        graph.add_edge("begin", "tools")
    else:
        graph.add_edge(START, "tools")
    graph.add_node("end", end_node(guard))
    graph.add_edge("tools", "end")
    graph.add_edge("end", END)
    return graph.compile(checkpointer=saver, **more)


def turn(*calls: Any) -> dict[str, Any]:
    return {"messages": [("user", "go"), asks(*calls)]}


@both
def test_the_tools_of_a_tool_node_are_guarded(load: LoadGuard, invoke: Invoke) -> None:
    done: list[Any] = []
    guard = load("tool add { needs work  takes a: integer  allow when a < 5 }\ntool danger { needs work }")
    given = turn(call("add", "c1", a=1), call("add", "c2", a=9), call("danger", "c3"))
    bare = StateGraph(MessagesState)
    bare.add_node("tools", ToolNode([add_of(done), danger_of(done)]))
    bare.add_edge(START, "tools")
    run_sync(bare.compile(), turn(call("add", "c1", a=9), call("danger", "c2")))
    assert sorted(map(str, done)) == ["9", "danger"]
    done.clear()
    result = invoke(graph_of(guard, [add_of(done), danger_of(done)]), given, context=ALICE)
    assert (done, replies(result)) == ([1], ["2", "not authorized", "not authorized"])
    started = events(guard)[0]
    assert isinstance(started, e.RunStarted)
    assert started.principal == {"user": "alice", "workspace": "w1"}
    assert guard.runs.list()[0].status == "done"


@both
def test_what_is_in_flight_beside_a_question_ends_before_the_graph_is_put_away(
    load: LoadGuard, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, waits, done = threading.Event(), threading.Event(), list[Any]()

    def look() -> str:
        """Look."""
        begun.set()
        assert waits.wait(10)
        done.append("look")
        return "seen"

    def told(wait: Any) -> Any:
        def waiting(self: Runs, run: Run, tool: UUID | None) -> Any:
            assert begun.wait(10)
            waits.set()
            return wait(self, run, tool)

        return waiting

    monkeypatch.setattr(Runs, "wait_for_others", told(Runs.wait_for_others))
    monkeypatch.setattr(Runs, "await_others", told(Runs.await_others))
    guard = load("tool look { needs work  allow always }\n" + SEND)
    graph = graph_of(guard, [tool(look), send_of(done)], saver=InMemorySaver())
    paused = invoke(graph, turn(call("look", "c1"), call("send", "c2", to="bob")), THREAD, context=ALICE)
    assert len(questions(paused)) == 1 and done == ["look"]
    assert guard.runs.list()[0].status == "suspended"


class Slow(BaseCallbackHandler):
    """A host's own handler, which a call of `look` waits for on its way to the guard."""

    def __init__(self, until: threading.Event) -> None:
        self.until = until

    def on_tool_start(self, serialized: dict[str, Any], input_str: str, **_: Any) -> None:
        if serialized["name"] == "look":
            assert self.until.wait(10)


def test_what_began_beside_a_question_and_has_not_reached_the_guard_ends_before_the_graph_is_put_away(
    load: LoadGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    missed, done = threading.Event(), list[Any]()
    looks = Tree.has_others_at_work

    async def look() -> str:  # it begins in the event loop, and before what is asked about
        """Look."""
        done.append("look")
        return "seen"

    def seen(self: Tree, id: UUID | None) -> bool:
        found = looks(self, id)
        if found:
            missed.set()
        return found

    monkeypatch.setattr(Tree, "has_others_at_work", seen)
    guard = load("tool look { needs work  allow always }\n" + SEND)
    graph = graph_of(guard, [tool(look), send_of(done)], saver=InMemorySaver())
    given = turn(call("look", "c1"), call("send", "c2", to="bob"), call("send", "c3", to="carol"))
    paused = run_async(graph, given, {**THREAD, "callbacks": [Slow(missed)]}, context=ALICE)
    assert len(questions(paused)) == 1 and done == ["look"]
    assert guard.runs.list()[0].status == "suspended"


def test_a_question_that_a_graph_has_left_half_asked_on_a_thread_is_put_before_the_run_is_put_away(
    load: LoadGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    half, ended = threading.Event(), threading.Event()
    guard = load(SEND)
    assert guard.runs.list() == []
    tickets, looks = guard.opening.ready.tickets, Run.is_decided_elsewhere
    store = tickets.open

    async def open_late(ticket: Ticket) -> None:
        if ticket.arguments["to"] == "carol":
            half.set()
            assert await asyncio.to_thread(ended.wait, 10)
        await store(ticket)

    def too_early(self: Runs, run: Run, tool: UUID | None) -> None:
        assert half.wait(10)

    def seen(self: Run) -> bool:
        found = looks(self)
        if found:
            ended.set()
        return found

    monkeypatch.setattr(tickets, "open", open_late)
    monkeypatch.setattr(Runs, "wait_for_others", too_early)
    monkeypatch.setattr(Run, "is_decided_elsewhere", seen)
    graph = graph_of(guard, [send_of([])], saver=InMemorySaver())
    paused = run_async(
        graph, turn(call("send", "c1", to="bob"), call("send", "c2", to="carol")), THREAD, context=ALICE
    )
    assert [question.arguments for question in questions(paused)] == [{"to": "bob"}]
    assert guard.runs.list()[0].status == "suspended"
    assert [event.ticket for event in events(guard) if isinstance(event, e.ApprovalAsked)] == [
        ticket.id for ticket in guard.opening.submit(tickets.pending()).result()
    ]


@both
def test_a_sibling_that_already_ran_does_not_run_again_after_a_resume(
    load: LoadGuard, invoke: Invoke
) -> None:
    done: list[Any] = []
    sent: list[str] = []
    given = turn(call("add", "c1", a=1), call("send", "c2", to="bob"))

    def unguarded(to: str) -> str:
        """Send, after asking in LangGraph's own way."""
        interrupt({"to": to})
        sent.append(to)
        return "sent"

    bare = StateGraph(MessagesState)
    unguarded.__name__ = "send"
    bare.add_node("tools", ToolNode([add_of(done), unguarded]))
    bare.add_edge(START, "tools")
    compiled = bare.compile(checkpointer=InMemorySaver())
    run_sync(compiled, given, THREAD)
    run_sync(compiled, Command(resume="yes"), THREAD)
    assert done == [1, 1], "LangGraph runs the whole node again"
    done.clear()
    sent.clear()
    guard = load(SEND + "\n" + ADD)
    graph = graph_of(guard, [add_of(done), send_of(sent)], saver=InMemorySaver())
    (question,) = questions(invoke(graph, given, THREAD, context=ALICE))
    assert (done, guard.runs.list()[0].status) == ([1], "suspended")
    guard.approve(question.ticket, by="dana")
    result = invoke(graph, None, THREAD)
    assert (done, sent) == ([1], ["bob"])
    assert replies(result) == ["2", "sent to bob"]
    assert kinds(guard).count("CallStarted") == 2


@both
def test_without_a_run_nothing_executes(load: LoadGuard, invoke: Invoke) -> None:
    done: list[Any] = []
    graph = graph_of(load(ADD), [add_of(done)], begin=False)
    with pytest.raises(NoRunError, match="no run"):
        invoke(graph, turn(call("add", a=1)))
    assert done == []


@both
def test_another_principal_may_not_go_on_with_a_thread(load: LoadGuard, invoke: Invoke) -> None:
    sent: list[str] = []
    guard = load(SEND)
    graph = graph_of(guard, [send_of(sent)], saver=InMemorySaver())
    (question,) = questions(invoke(graph, turn(call("send", to="bob")), THREAD, context=ALICE))
    guard.approve(question.ticket, by="dana")
    with pytest.raises(DeniedError, match="another principal"):
        invoke(graph, None, THREAD, context=Principal(user="eve"))
    assert sent == []


@both
def test_a_new_turn_of_a_thread_withdraws_its_open_question(load: LoadGuard, invoke: Invoke) -> None:
    sent: list[str] = []
    guard = load(SEND + "\n" + ADD)
    graph = graph_of(guard, [send_of(sent), add_of([])], saver=InMemorySaver())
    (question,) = questions(invoke(graph, turn(call("send", to="bob")), THREAD, context=ALICE))
    invoke(graph, turn(call("add", "c9", a=1)), THREAD, context=ALICE)
    assert [row.status for row in guard.runs.list()] == ["done", "done"]
    with pytest.raises(DeniedError):
        guard.approve(question.ticket, by="dana")


def test_model_calls_of_a_graph_are_recorded_under_its_run(load: LoadGuard) -> None:
    guard = load(ADD)

    def think(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model(says("thought")).invoke("think")]}

    graph: Any = StateGraph(MessagesState)
    graph.add_node("begin", begin_node(guard))
    graph.add_node("think", think)
    graph.add_edge(START, "begin")
    graph.add_edge("begin", "think")
    graph.add_edge("think", END)
    graph.compile().invoke({"messages": [("user", "go")]})
    assert kinds(guard) == ["RunStarted", "PromptGiven", "ModelAsked", "ModelAnswered", "RunEnded"]


def test_a_graph_that_raises_has_failed(load: LoadGuard) -> None:
    guard = load(ADD)

    def breaks(state: MessagesState) -> dict[str, Any]:
        raise KeyError("x")

    graph: Any = StateGraph(MessagesState)
    graph.add_node("begin", begin_node(guard))
    graph.add_node("breaks", breaks)
    graph.add_edge(START, "begin")
    graph.add_edge("begin", "breaks")
    with pytest.raises(KeyError):
        graph.compile().invoke({"messages": [("user", "go")]})
    assert guard.runs.list()[0].status == "failed"


@both
def test_a_halt_is_raised_from_a_raw_graph(load: LoadGuard, invoke: Invoke) -> None:
    guard = load("tool add { needs work  takes a: integer  allow always  rate 1 per run otherwise halt }")
    graph = graph_of(guard, [add_of([])])
    with pytest.raises(RunHaltedError):
        invoke(graph, turn(call("add", "c1", a=1), call("add", "c2", a=2)))
    assert guard.runs.list()[0].status == "halted"


@both
def test_a_breakpoint_of_the_host_does_not_begin_the_counters_anew(load: LoadGuard, invoke: Invoke) -> None:
    done: list[Any] = []
    guard = load("tool add { needs work  takes a: integer  allow always  rate 1 per run }")
    graph: Any = StateGraph(MessagesState)
    graph.add_node("begin", begin_node(guard))
    graph.add_node("first", ToolNode(guard_tools(guard, [add_of(done)])))
    graph.add_node("second", ToolNode(guard_tools(guard, [add_of(done)])))
    graph.add_edge(START, "begin")
    graph.add_edge("begin", "first")
    graph.add_edge("first", "second")
    app = graph.compile(checkpointer=InMemorySaver(), interrupt_before=["first", "second"])
    invoke(app, turn(call("add", a=1)), THREAD)
    invoke(app, None, THREAD)
    result = invoke(app, None, THREAD)
    assert (done, replies(result)) == ([1], ["2", "not authorized"])
    assert len(guard.runs.list()) == 1


@both
def test_a_tool_may_interrupt_the_graph_itself(load: LoadGuard, invoke: Invoke) -> None:
    heard: list[Any] = []

    def add(a: int) -> str:
        """Ask the host for a word."""
        heard.append(interrupt({"a": a}))
        return str(heard[-1])

    guard = load(ADD)
    graph = graph_of(guard, [add], saver=InMemorySaver())
    paused = invoke(graph, turn(call("add", a=1)), THREAD)
    assert (paused["__interrupt__"][0].value, questions(paused)) == ({"a": 1}, [])
    result = invoke(graph, Command(resume="a word"), THREAD)
    assert (heard, replies(result)) == (["a word"], ["a word"])
    failed = [event for event in events(guard) if isinstance(event, e.CallFailed)]
    assert [one.outcome for one in failed] == ["interrupted"], "a pause is not a failure"
    assert guard.runs.list()[0].status == "done"


def test_a_tool_that_runs_unguarded_inside_a_run_is_named_once(
    load: LoadGuard, capsys: pytest.CaptureFixture[str]
) -> None:
    guard = load(ADD)
    graph: Any = StateGraph(MessagesState)
    graph.add_node("begin", begin_node(guard))
    graph.add_node("tools", ToolNode([danger_of([]), *guard_tools(guard, [add_of([])])]))
    graph.add_edge(START, "begin")
    graph.add_edge("begin", "tools")
    graph.compile().invoke(turn(call("danger", "c1"), call("add", "c2", a=1), call("danger", "c3")))
    assert capsys.readouterr().err.count("`danger` ran unguarded") == 1


async def test_refusals_and_decisions_of_parallel_tasks_never_wait_for_each_other(
    load: LoadGuard, tmp_path: Path
) -> None:
    done: list[Any] = []

    @tool
    async def add(a: int) -> str:
        """Add one."""
        done.append(a)
        return str(a + 1)

    policy = "tool add { needs work  takes a: integer  allow always  rate 5 per day }"
    guard = load(policy, store=f"sqlite:///{tmp_path}/guard.db")
    calls = [call("add", f"c{n}", a=n if n % 2 else "x") for n in range(30)]
    result = await graph_of(guard, [add]).ainvoke(turn(*calls))
    assert len(done) == 5
    assert replies(result).count("not authorized") == 25


@both
def test_a_graph_inside_a_tool_that_begins_a_run_has_that_runs_capabilities(
    load: LoadGuard, invoke: Invoke
) -> None:
    done: list[Any] = []
    guard = load(
        "capability more is external\nagent main { holds work, more }\nagent reader { holds work }\n"
        "tool delegate { needs work  takes task: text  allow always }\n"
        "tool add { needs more  takes a: integer  allow always }"
    )
    inner: Any = StateGraph(MessagesState)
    inner.add_node("begin", begin_node(guard, agent="reader"))
    inner.add_node("tools", ToolNode(guard_tools(guard, [add_of(done)])))
    inner.add_edge(START, "begin")
    inner.add_edge("begin", "tools")
    compiled = inner.compile()

    @tool
    def delegate(task: str) -> str:
        """Hand a task to a graph."""
        return replies(compiled.invoke(turn(call("add", a=1))))[0]

    graph = graph_of(guard, [delegate, add_of(done)])
    asked = turn(call("delegate", "c1", task="x"))
    assert replies(invoke(graph, asked)) == ["tool not found"]
    assert done == []
    assert replies(invoke(graph, turn(call("add", a=1)))) == ["2"], "the one around it may"


@both
def test_a_name_that_the_node_does_not_have_is_refused_recorded_and_lists_nothing(
    load: LoadGuard, invoke: Invoke
) -> None:
    done: list[Any] = []
    guard = load("""responses { unknown says "nothing there" deny says "no" }
agent main { holds work at most 2 denials }
tool add { needs work  takes a: integer  allow always }
tool danger { needs work }""")
    graph: Any = StateGraph(MessagesState, context_schema=Principal)
    graph.add_node("begin", begin_node(guard))
    graph.add_node("tools", tool_node(guard, [add_of(done)]))
    graph.add_edge(START, "begin")
    graph.add_edge("begin", "tools")
    given = turn(call("add", "c1", a=1), call("nonsense", "c2"), call("danger", "c3"))
    result = invoke(graph.compile(), given)
    assert replies(result)[1:] == ["nothing there", "no"]
    assert done == [1]
    decided = [event for event in events(guard) if isinstance(event, e.CallDecided)]
    assert sorted(one.verdict for one in decided) == ["allow", "deny", "unknown"]
    assert guard.runs.list()[0].status != "halted"
    with pytest.raises(RunHaltedError):
        invoke(graph.compile(), turn(*(call("nonsense", f"c{n}") for n in range(4))))


# ---- several questions in one turn ---------------------------------------------------------------


def asking_graph(guard: Guard, tools: list[Any], *, batched: bool, saver: Any = None, **options: Any) -> Any:
    """Return a graph whose node asks about its turn at once, or about each call at its gate."""
    node = tool_node(guard, tools, **options) if batched else ToolNode(guard_tools(guard, tools))
    graph: Any = StateGraph(MessagesState, context_schema=Principal)
    graph.add_node("begin", begin_node(guard))
    graph.add_node("tools", node)
    graph.add_node("end", end_node(guard))
    graph.add_edge(START, "begin")
    graph.add_edge("begin", "tools")
    graph.add_edge("tools", "end")
    return graph.compile(checkpointer=saver or InMemorySaver())


TURN = turn(call("send", "c1", to="bob"), call("add", "c2", a=1), call("send", "c3", to="eve"))


@both
@pytest.mark.parametrize("batched", [True, False])
def test_two_questions_in_one_turn_are_answered_in_any_order_and_each_call_runs_once(
    load: LoadGuard, invoke: Invoke, batched: bool
) -> None:
    sent: list[str] = []
    done: list[int] = []
    guard = load(SEND + "\n" + ADD)
    graph = asking_graph(guard, [send_of(sent), add_of(done)], batched=batched)
    paused = invoke(graph, TURN, THREAD, context=ALICE)
    if batched:
        assert [one.arguments["to"] for one in questions(paused)] == ["bob", "eve"]
    while questions(paused):
        asked = [one for one in events(guard) if isinstance(one, e.ApprovalAsked)]
        for one in reversed(asked):
            try:
                guard.approve(one.ticket, by="dana")
            except DeniedError:  # it was answered in the round before
                continue
            break
        paused = invoke(graph, None, THREAD)
    assert len(sent) == len(set(sent)) and len(done) <= 1
    if batched:  # else LangGraph may have given up a call that was under way beside one that waits
        assert (sorted(sent), done) == (["bob", "eve"], [1])
        assert kinds(guard).count("ApprovalAsked") == 2
        assert replies(paused) == ["sent to bob", "2", "sent to eve"]
    assert guard.runs.latest().replay().identical


@both
def test_a_turn_of_a_tool_node_is_resumed_with_one_decision_for_each_call(
    load: LoadGuard, invoke: Invoke
) -> None:
    sent: list[str] = []
    guard = load(SEND + "\n" + ADD)
    graph = asking_graph(guard, [send_of(sent), add_of([])], batched=True, answered_by=lambda runtime: "dana")
    invoke(graph, TURN, THREAD, context=ALICE)
    decisions = [{"type": "respond", "message": "bob knows"}, {"type": "approve"}]
    result = invoke(graph, Command(resume={"decisions": decisions}), THREAD)
    assert (sent, replies(result)) == (["eve"], ["bob knows", "2", "sent to eve"])
    assert guard.runs.latest().replay().identical


@both
def test_an_approval_that_is_sent_again_to_a_saver_restored_to_the_question_runs_nothing_again(
    load: LoadGuard, invoke: Invoke
) -> None:
    sent: list[str] = []
    guard, saver = load(SEND + "\n" + ADD), InMemorySaver()
    graph = asking_graph(
        guard, [send_of(sent), add_of([])], batched=True, answered_by=lambda runtime: "dana", saver=saver
    )
    invoke(graph, TURN, THREAD, context=ALICE)
    kept = {name: copy.deepcopy(getattr(saver, name)) for name in ("storage", "writes", "blobs")}
    for _ in range(3):
        for name, was in kept.items():
            setattr(saver, name, copy.deepcopy(was))
        invoke(graph, Command(resume={"decisions": [{"type": "approve"}] * 2}), THREAD)
    assert sorted(sent) == ["bob", "eve"]
    assert all(guard.runs.get(row.run).replay().identical for row in guard.runs.list())


@both
def test_a_tool_that_interrupts_beside_an_approved_call_does_not_run_that_again(
    load: LoadGuard, invoke: Invoke
) -> None:
    sent: list[str] = []

    @tool
    def add(a: int) -> str:
        """Ask the host for a word."""
        return str(interrupt({"a": a}))

    guard = load(SEND + "\n" + ADD)
    graph = asking_graph(guard, [send_of(sent), add], batched=True)
    found = questions(invoke(graph, TURN, THREAD, context=ALICE))
    for question in found:
        guard.approve(question.ticket, by="dana")
    paused = invoke(graph, None, THREAD)
    # LangGraph gives up the siblings of a call that interrupts: one may not have been made yet.
    assert set(sent) <= {"bob", "eve"} and questions(paused) == []
    result = invoke(graph, Command(resume="a word"), THREAD)
    assert len(sent) == len(set(sent))
    if invoke is run_sync:  # in tasks, it gives up those that are under way too: they are not made again
        assert sorted(sent) == ["bob", "eve"]
        assert replies(result) == ["sent to bob", "a word", "sent to eve"]
    assert guard.runs.latest().replay().identical
