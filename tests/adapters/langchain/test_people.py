"""Asking people from a graph: suspension is LangGraph's, authority is the ticket's alone."""

import threading
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from ringfence import DeniedError, Guard, Principal, RingfenceError, RunHaltedError
from ringfence.adapters.langchain import guard_tools, questions
from ringfence.engine.decision import events as e
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
    events,
    kinds,
    replies,
    run_sync,
    send_of,
    statuses,
)
from tests.adapters.langchain.conftest import LoadGuard
from tests.adapters.langchain.model import asks, call, model, says

BOB = asks(call("send", to="bob"))


def paused_agent(guard: Guard, sent: list[str], *script: Any) -> Any:
    return agent_of(guard, [send_of(sent), add_of([])], *script, checkpointer=InMemorySaver())


@both
def test_an_ask_puts_the_graph_away_and_an_approval_lets_it_go_on(load: LoadGuard, invoke: Invoke) -> None:
    sent: list[str] = []
    guard = load(SEND)
    agent = paused_agent(guard, sent, BOB, says())
    result = invoke(agent, HELLO, THREAD, context=ALICE)
    (question,) = questions(result)
    assert (question.tool, question.arguments, question.approver) == ("send", {"to": "bob"}, "lead")
    assert questions(agent.get_state(THREAD)) == [question]
    assert guard.runs.list()[0].status == "suspended"
    guard.approve(question.ticket, by="dana")
    result = invoke(agent, None, THREAD)
    assert (sent, replies(result)) == (["bob"], ["sent to bob"])
    assert guard.runs.list()[0].status == "done"
    assert len(guard.runs.list()) == 1, "it is one run, before and after"


def test_the_interrupt_has_the_form_that_user_interfaces_know(load: LoadGuard) -> None:
    result = run_sync(paused_agent(load(SEND), [], BOB), HELLO, THREAD, context=ALICE)
    value = result["__interrupt__"][0].value
    (request,), (review,) = value["action_requests"], value["review_configs"]
    assert (request["name"], request["args"]) == ("send", {"to": "bob"})
    assert questions(result)[0].ticket in request["description"]
    assert review == {
        "action_name": "send",
        "allowed_decisions": ["approve", "edit", "reject", "respond"],
    }
    assert list(value) == ["action_requests", "review_configs", "ringfence"]


@both
@pytest.mark.parametrize("payload", ["approve", True, {"decisions": [{"type": "approve"}]}])
def test_a_resume_payload_carries_no_authority(load: LoadGuard, invoke: Invoke, payload: Any) -> None:
    sent: list[str] = []
    guard = load(SEND)
    agent = paused_agent(guard, sent, BOB, says())
    (question,) = questions(invoke(agent, HELLO, THREAD, context=ALICE))
    assert questions(invoke(agent, Command(resume=payload), THREAD)) == [question]
    assert questions(invoke(agent, None, THREAD)) == [question]
    assert sent == []
    assert kinds(guard).count("ApprovalAsked") == 1
    guard.approve(question.ticket, by="dana")
    invoke(agent, Command(resume=payload), THREAD)
    assert sent == ["bob"]


@both
def test_a_resume_payload_may_reject(load: LoadGuard, invoke: Invoke) -> None:
    sent: list[str] = []
    guard = load(SEND)
    agent = paused_agent(guard, sent, BOB, says())
    (question,) = questions(invoke(agent, HELLO, THREAD, context=ALICE))
    result = invoke(agent, Command(resume={"decisions": [{"type": "reject", "message": "no"}]}), THREAD)
    assert (sent, replies(result), statuses(result)) == ([], ["not authorized"], ["error"])
    assert guard.runs.list()[0].status == "done"
    answered = next(event for event in events(guard) if isinstance(event, e.ApprovalAnswered))
    assert (answered.ticket, answered.verdict, answered.because) == (question.ticket, "withdraw", "no")


@both
def test_a_person_may_refuse(load: LoadGuard, invoke: Invoke) -> None:
    sent: list[str] = []
    guard = load(SEND)
    agent = paused_agent(guard, sent, BOB, says())
    (question,) = questions(invoke(agent, HELLO, THREAD, context=ALICE))
    guard.deny(question.ticket, by="dana", because="not today")
    result = invoke(agent, None, THREAD)
    assert (sent, replies(result), statuses(result)) == ([], ["not authorized"], ["error"])


@both
def test_edited_arguments_are_decided_and_executed(load: LoadGuard, invoke: Invoke) -> None:
    sent: list[str] = []
    guard = load('tool send { needs work  takes to: text  allow when to in ["bob", "eve"]  ask lead }')
    agent = paused_agent(guard, sent, BOB, says())
    (question,) = questions(invoke(agent, HELLO, THREAD, context=ALICE))
    guard.approve(question.ticket, by="dana", edited={"to": "eve"})
    assert replies(invoke(agent, None, THREAD)) == ["sent to eve"]
    assert sent == ["eve"]


@both
def test_an_approval_is_used_once_however_often_the_graph_is_replayed(
    load: LoadGuard, invoke: Invoke
) -> None:
    sent: list[str] = []
    guard = load(SEND)
    script = (BOB, says(), says(), says())
    agent = paused_agent(guard, sent, *script)
    (question,) = questions(invoke(agent, HELLO, THREAD, context=ALICE))
    before = agent.get_state(THREAD).config
    guard.approve(question.ticket, by="dana")
    invoke(agent, None, THREAD)
    assert sent == ["bob"]
    again = invoke(agent, None, before)
    assert sent == ["bob"], "the fork asks anew"
    assert [new.ticket != question.ticket for new in questions(again)] == [True]


@both
def test_a_turn_waits_as_one_and_each_of_its_calls_runs_once(load: LoadGuard, invoke: Invoke) -> None:
    sent: list[str] = []
    done: list[int] = []
    guard = load(SEND + "\n" + ADD)
    turn = asks(call("add", "c1", a=1), call("send", "c2", to="bob"), call("send", "c3", to="eve"))
    agent = agent_of(guard, [send_of(sent), add_of(done)], turn, says(), checkpointer=InMemorySaver())
    asked = {q.arguments["to"]: q for q in questions(invoke(agent, HELLO, THREAD, context=ALICE))}
    assert (sorted(asked), done) == (["bob", "eve"], [])
    guard.approve(asked["eve"].ticket, by="dana")
    waiting = questions(invoke(agent, None, THREAD))
    assert (waiting, sent, done) == ([asked["bob"]], [], [])
    guard.approve(asked["bob"].ticket, by="erin")
    result = invoke(agent, None, THREAD)
    assert (sorted(sent), done) == (["bob", "eve"], [1])
    assert guard.runs.latest().replay().identical
    assert sorted(replies(result)) == ["2", "sent to bob", "sent to eve"]


@both
def test_another_principal_may_not_go_on(load: LoadGuard, invoke: Invoke) -> None:
    sent: list[str] = []
    guard = load(SEND)
    agent = paused_agent(guard, sent, BOB, says())
    (question,) = questions(invoke(agent, HELLO, THREAD, context=ALICE))
    guard.approve(question.ticket, by="dana")
    with pytest.raises(DeniedError, match="another principal"):
        invoke(agent, None, THREAD, context=Principal(user="eve", workspace="w1"))
    assert sent == []
    invoke(agent, None, THREAD, context=ALICE)
    assert sent == ["bob"]


@both
def test_a_new_word_of_the_user_withdraws_the_question_and_answers_the_call(
    load: LoadGuard, invoke: Invoke
) -> None:
    sent: list[str] = []
    guard = load(SEND)
    agent = paused_agent(guard, sent, BOB, says("never mind"))
    (question,) = questions(invoke(agent, HELLO, THREAD, context=ALICE))
    result = invoke(agent, {"messages": [("user", "forget it")]}, THREAD, context=ALICE)
    types = [type(message) for message in result["messages"]]
    assert types == [HumanMessage, AIMessage, ToolMessage, HumanMessage, AIMessage]
    assert (sent, replies(result)) == ([], ["not authorized"])
    assert [row.status for row in guard.runs.list()] == ["done", "done"]
    asked_in = [stamped.event for stamped in guard.runs.get(guard.runs.list()[1].run).events]
    said = [event for event in asked_in if isinstance(event, e.PromptGiven)]
    assert said[-1] == e.PromptGiven("user", "forget it"), "what withdrew the question is in its record"
    with pytest.raises(DeniedError):
        guard.approve(question.ticket, by="dana")


@both
def test_a_question_inside_a_sub_agent_puts_the_whole_graph_away(load: LoadGuard, invoke: Invoke) -> None:
    sent: list[str] = []
    guard = load(SEND + "\ntool delegate { needs work  allow always }")
    inner: Any = create_agent(model(BOB, says("inside")), guard_tools(guard, [send_of(sent)]))

    @tool
    def delegate(task: str) -> str:
        """Hand a task to a sub-agent."""
        return str(inner.invoke({"messages": [("user", task)]})["messages"][-1].content)

    script = (asks(call("delegate", task="x")), says())
    agent = agent_of(guard, [delegate], *script, checkpointer=InMemorySaver())
    (question,) = questions(invoke(agent, HELLO, THREAD, context=ALICE))
    assert guard.runs.list()[0].status == "suspended"
    guard.approve(question.ticket, by="dana")
    result = invoke(agent, None, THREAD)
    assert (sent, replies(result)) == (["bob"], ["inside"])
    assert kinds(guard).count("ApprovalAsked") == 1


@both
def test_a_question_in_a_sub_agent_with_a_run_of_its_own_puts_both_runs_away(
    load: LoadGuard, invoke: Invoke
) -> None:
    sent: list[str] = []
    guard = load(SEND + "\ntool delegate { needs work  allow always }")
    inner = agent_of(guard, [send_of(sent)], BOB, says("inside"))

    @tool
    def delegate(task: str) -> str:
        """Hand a task to a sub-agent."""
        return str(inner.invoke({"messages": [("user", task)]})["messages"][-1].content)

    script = (asks(call("delegate", task="x")), says())
    agent = agent_of(guard, [delegate], *script, checkpointer=InMemorySaver())
    (question,) = questions(invoke(agent, HELLO, THREAD, context=ALICE))
    assert [row.status for row in guard.runs.list()] == ["suspended", "suspended"]
    guard.approve(question.ticket, by="dana")
    result = invoke(agent, None, THREAD)
    assert (sent, replies(result)) == (["bob"], ["inside"])
    assert [row.status for row in guard.runs.list()] == ["done", "done"]


@both
def test_a_retry_after_an_error_of_the_model_is_the_same_run(load: LoadGuard, invoke: Invoke) -> None:
    done: list[int] = []
    guard = load("tool add { needs work  takes a: integer  allow always  rate 1 per run }")
    broken = [True]

    def flaky(_: Any) -> AIMessage:
        if broken.pop():
            broken.append(False)
            raise ValueError("overloaded")
        return asks(call("add", "c2", a=2))

    # The model's first answer, then one that fails, then (asked again) the same call once more.
    script = (asks(call("add", "c1", a=1)), flaky, flaky, says())
    agent = agent_of(guard, [add_of(done)], *script, checkpointer=InMemorySaver())
    with pytest.raises(ValueError, match="overloaded"):
        invoke(agent, HELLO, THREAD, context=ALICE)
    result = invoke(agent, None, THREAD)
    assert (done, replies(result)) == ([1], ["2", "not authorized"])
    assert [row.status for row in guard.runs.list()] == ["done"]


def test_a_stream_that_is_let_go_of_at_the_question_goes_on_later(load: LoadGuard) -> None:
    sent: list[str] = []
    guard = load(SEND)
    agent = paused_agent(guard, sent, BOB, says())
    found: list[Any] = []
    stream = agent.stream(HELLO, THREAD, context=ALICE, stream_mode="updates")
    for chunk in stream:
        found = questions(chunk)
        if found:
            break
    guard.approve(found[0].ticket, by="dana")
    result = run_sync(agent, None, THREAD)
    stream.close()
    assert (sent, replies(result)) == (["bob"], ["sent to bob"])


def recorded(guard: Guard) -> list[e.RunEvent]:
    return [one.event for row in guard.runs.list() for one in guard.runs.get(row.run).events]


@both
def test_without_a_checkpointer_people_are_waited_for_in_place_and_it_is_said(
    load: LoadGuard, invoke: Invoke, capsys: pytest.CaptureFixture[str]
) -> None:
    sent: list[str] = []
    guard = load(SEND)
    found = threading.Event()

    def answer() -> None:
        while not found.is_set():
            asked = [event for event in recorded(guard) if isinstance(event, e.ApprovalAsked)]
            for one in asked:
                try:
                    guard.approve(one.ticket, by="dana")
                except RingfenceError:  # recorded, and not yet in the store: look again
                    continue
                found.set()

    person = threading.Thread(target=answer)
    person.start()
    try:
        result = invoke(agent_of(guard, [send_of(sent)], BOB, says()), HELLO, context=ALICE)
    finally:
        found.set()
        person.join()
    assert (sent, replies(result)) == (["bob"], ["sent to bob"])
    assert "without a checkpointer it waits" in capsys.readouterr().err


@both
def test_a_sub_agent_asks_for_the_principal_around_it_who_may_not_approve(
    load: LoadGuard, invoke: Invoke
) -> None:
    sent: list[str] = []
    guard = load(f"tool help {{ needs work  takes text: text  allow always }}\n{SEND}")
    inner = agent_of(guard, [send_of(sent)], BOB, says())

    @tool
    def help(text: str) -> str:
        """Ask a sub-agent, and say nothing of whom it is for."""
        return str(inner.invoke(HELLO)["messages"][-1].content)

    outer = agent_of(guard, [help], asks(call("help", text="x")), says(), checkpointer=InMemorySaver())
    paused = invoke(outer, HELLO, THREAD, context=Principal(user="dana"))
    begun = [event.principal for event in recorded(guard) if isinstance(event, e.RunStarted)]
    assert begun == [{"user": "dana"}] * 2
    with pytest.raises(DeniedError):
        guard.approve(questions(paused)[0].ticket, by="dana")
    guard.approve(questions(paused)[0].ticket, by="erin")
    invoke(outer, None, THREAD)
    assert sent == ["bob"]


def test_a_run_inside_another_is_halted_with_it_also_after_both_were_put_away(load: LoadGuard) -> None:
    guard = load(ADD)
    outer = guard.begin_run()
    inner = guard.begin_run(parent=outer)
    guard.suspend(inner)
    guard.suspend(outer)
    outer = guard.resume_run(outer.id)
    inner = guard.resume_run(inner.id)
    assert inner.parent is outer
    guard.kill(outer.id)
    with pytest.raises(RunHaltedError):
        guard.check_live(inner)


@both
def test_each_execution_of_a_task_is_an_attempt_of_its_own(load: LoadGuard, invoke: Invoke) -> None:
    guard = load(SEND)
    agent = paused_agent(guard, [], BOB, says())
    (question,) = questions(invoke(agent, HELLO, THREAD, context=ALICE))
    guard.approve(question.ticket, by="dana")
    invoke(agent, None, THREAD)
    requests = [event for event in events(guard) if isinstance(event, e.CallRequested)]
    assert [event.ahead for event in requests] == [True, True, False]
    assert len({event.call for event in requests}) == 1, "the same call, taken up again"
    attempts = [event.attempt for event in requests]
    assert attempts[0] != attempts[1] == attempts[2] and None not in attempts


@both
def test_a_fork_of_the_past_goes_on_for_its_principal_alone(load: LoadGuard, invoke: Invoke) -> None:
    done: list[Any] = []
    guard = load(ADD)
    script = (asks(call("add", a=1)), says(), says())
    agent = agent_of(guard, [add_of(done)], *script, checkpointer=InMemorySaver())
    invoke(agent, HELLO, THREAD, context=ALICE)
    (past,) = [one.config for one in agent.get_state_history(THREAD) if one.next == ("tools",)]
    with pytest.raises(DeniedError, match="another principal"):
        invoke(agent, None, past, context=Principal(user="eve"))
    assert done == [1]
    invoke(agent, None, past)
    assert done == [1, 1]
    assert [guard.runs.get(row.run).started.principal["user"] for row in guard.runs.list()] == ["alice"] * 2


def test_an_agent_inside_a_run_of_the_host_is_for_the_hosts_principal(load: LoadGuard) -> None:
    guard = load(ADD)
    with guard.run(principal=ALICE):
        run_sync(agent_of(guard, [add_of([])], says()), HELLO)
    begun = [event.principal for event in recorded(guard) if isinstance(event, e.RunStarted)]
    assert begun == [dict(ALICE.values)] * 2


@both
def test_a_question_in_a_sub_agent_puts_both_away_and_both_replay(load: LoadGuard, invoke: Invoke) -> None:
    sent: list[str] = []
    guard = load(SEND + "\ntool outer { needs work  allow always }")
    inner = agent_of(guard, [send_of(sent)], BOB, says("inner"), BOB, says("inner"))

    @tool
    def outer() -> str:
        """Let another agent do it."""
        return str(inner.invoke(HELLO)["messages"][-1].content)

    agent = agent_of(guard, [outer], asks(call("outer")), says(), checkpointer=InMemorySaver())
    (question,) = questions(invoke(agent, HELLO, THREAD, context=ALICE))
    assert [row.status for row in guard.runs.list()] == ["suspended", "suspended"]
    guard.approve(question.ticket, by="dana")
    assert replies(invoke(agent, None, THREAD)) == ["inner"]
    assert sent == ["bob"]
    for row in guard.runs.list():
        assert row.status == "done"
        assert guard.runs.get(row.run).replay().identical
