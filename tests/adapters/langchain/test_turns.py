"""A turn of the model is asked about as one; what a resume brings back has no authority of its own."""

from collections.abc import Mapping
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from pydantic import BaseModel, Field

from ringfence import DeniedError, Guard, Principal
from ringfence.adapters.langchain import GuardMiddleware, ResumeError, questions
from ringfence.adapters.langchain.principals import dangling
from ringfence.engine.decision import events as e
from ringfence.testing import FakeClock
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

TWO = asks(call("send", "c1", to="bob"), call("send", "c2", to="eve"))
PAIR = """approver owner { group "owners" answer within 15 minutes otherwise deny }
tool send { needs work  takes to: text  allow always  ask lead  ask owner }"""


class Door:
    """The host's own check of who resumes the graph."""

    def __init__(self, who: Any = None) -> None:
        self.who = who

    def __call__(self, runtime: Any) -> Any:
        return self.who


def agent(guard: Guard, sent: list[str], *script: Any, door: Door | None = None, **more: Any) -> Any:
    middleware: list[Any] = [GuardMiddleware(guard, answered_by=door)]
    options = {"checkpointer": InMemorySaver(), "middleware": middleware, **more}
    return create_agent(model(*script), [send_of(sent), add_of([])], **options)


def resume(*decisions: Mapping[str, Any]) -> Any:
    """Return what agent-chat-ui sends: the decisions, and no interrupt's id."""
    return Command(resume={"decisions": list(decisions)})


APPROVE = {"type": "approve"}


def edit(name: str = "send", **args: Any) -> dict[str, Any]:
    return {"type": "edit", "edited_action": {"name": name, "args": args}}


def answers(guard: Guard) -> list[tuple[str, str | None]]:
    return [(one.verdict, one.by) for one in events(guard) if isinstance(one, e.ApprovalAnswered)]


def replays(guard: Guard) -> bool:
    return all(guard.runs.get(row.run).replay().identical for row in guard.runs.list())


# ---- one question for a turn ---------------------------------------------------------------------


@both
def test_all_calls_of_a_turn_that_ask_are_one_interrupt_in_their_order(
    load: LoadGuard, invoke: Invoke
) -> None:
    sent: list[str] = []
    guard = load(SEND + "\n" + ADD)
    turn = asks(call("send", "c1", to="bob"), call("add", "c2", a=1), call("send", "c3", to="eve"))
    app = agent(guard, sent, turn, says())
    paused = invoke(app, HELLO, THREAD, context=ALICE)
    (interrupt,) = paused["__interrupt__"]
    assert [one["args"] for one in interrupt.value["action_requests"]] == [{"to": "bob"}, {"to": "eve"}]
    assert [one["action_name"] for one in interrupt.value["review_configs"]] == ["send", "send"]
    found = questions(paused)
    assert [one.call_id for one in found] == ["c1", "c3"]
    assert questions(app.get_state(THREAD)) == found
    for question in found:
        guard.approve(question.ticket, by="dana")
    result = invoke(app, None, THREAD)
    assert sorted(sent) == ["bob", "eve"]
    assert sorted(replies(result)) == ["2", "sent to bob", "sent to eve"]
    assert kinds(guard).count("ApprovalAsked") == 2
    assert replays(guard)


@both
def test_two_equal_calls_of_a_turn_are_two_questions_and_run_once_each(
    load: LoadGuard, invoke: Invoke
) -> None:
    sent: list[str] = []
    guard = load(SEND)
    app = agent(guard, sent, asks(call("send", "c1", to="bob"), call("send", "c2", to="bob")), says())
    found = questions(invoke(app, HELLO, THREAD, context=ALICE))
    assert len({one.ticket for one in found}) == 2
    guard.approve(found[0].ticket, by="dana")
    guard.deny(found[1].ticket, by="erin")
    result = invoke(app, None, THREAD)
    assert (sent, sorted(replies(result))) == (["bob"], ["not authorized", "sent to bob"])
    assert replays(guard)


def test_a_policy_that_asks_nobody_pays_no_node(load: LoadGuard) -> None:
    quiet, asking = (set(agent(load(body), []).get_graph().nodes) for body in (ADD, SEND + "\n" + ADD))
    assert asking - quiet == {"GuardMiddleware.after_model"}


def test_a_middleware_made_of_ours_asks_too(load: LoadGuard) -> None:
    class Mine(GuardMiddleware):
        """One of the host's own."""

    guard, sent = load(SEND), list[str]()
    middleware: list[Any] = [Mine(guard)]
    app: Any = create_agent(
        model(TWO, says()), [send_of(sent)], middleware=middleware, checkpointer=InMemorySaver()
    )
    assert isinstance(middleware[0], Mine) and middleware[0].name == "Mine"
    assert len(run_sync(app, HELLO, THREAD, context=ALICE)["__interrupt__"]) == 1


@both
def test_a_call_that_is_denied_while_its_sibling_waits_is_denied_once(
    load: LoadGuard, invoke: Invoke
) -> None:
    sent: list[str] = []
    guard = load("tool send { needs work  takes to: text  allow always  ask lead  rate 1 per run }")
    app = agent(guard, sent, TWO, says())
    (question,) = questions(invoke(app, HELLO, THREAD, context=ALICE))
    invoke(app, None, THREAD)
    guard.approve(question.ticket, by="dana")
    result = invoke(app, None, THREAD)
    assert (sent, sorted(replies(result))) == (["bob"], ["not authorized", "sent to bob"])
    denied = [one for one in events(guard) if isinstance(one, e.CallDecided) and one.verdict == "deny"]
    assert len(denied) <= 1
    assert replays(guard)


# ---- what the gate still asks by itself ------------------------------------------------------------


@both
def test_calls_that_share_an_id_ask_at_their_gate(load: LoadGuard, invoke: Invoke) -> None:
    sent: list[str] = []
    guard = load(SEND)
    app = agent(guard, sent, asks(call("send", "c1", to="bob"), call("send", "c1", to="eve")), says())
    paused = invoke(app, HELLO, THREAD, context=ALICE)
    assert len(paused["__interrupt__"]) == 2
    for question in questions(paused):
        guard.approve(question.ticket, by="dana")
    invoke(app, None, THREAD)
    assert sorted(sent) == ["bob", "eve"]


@both
def test_arguments_that_are_others_each_time_are_asked_about_as_they_will_run(
    load: LoadGuard, invoke: Invoke
) -> None:
    sent: list[str] = []
    made = iter(range(100))

    class Given(BaseModel):
        to: str = Field(default_factory=lambda: f"n{next(made)}")

    tool = send_of(sent).model_copy(update={"args_schema": Given})
    guard = load(SEND)
    middleware: list[Any] = [GuardMiddleware(guard)]
    app: Any = create_agent(
        model(asks(call("send", "c1")), says()), [tool], middleware=middleware, checkpointer=InMemorySaver()
    )
    approved: set[Any] = set()
    paused = invoke(app, HELLO, THREAD, context=ALICE)
    while found := questions(paused):
        if len(approved) >= 5:
            break
        for question in found:
            guard.approve(question.ticket, by="dana")
            approved.add(question.arguments["to"])
        paused = invoke(app, None, THREAD)
    assert set(sent) <= approved, "what was not shown did not run"


@both
def test_a_call_that_asks_only_when_it_is_made_asks_at_its_gate(load: LoadGuard, invoke: Invoke) -> None:
    sent: list[str] = []
    guard = load("tool send { needs work  takes to: text  allow always  ask lead when after add }\n" + ADD)
    turns = (asks(call("add", "c1", a=1)), asks(call("send", "c2", to="bob")))
    app = agent(guard, sent, *turns, says())
    (question,) = questions(invoke(app, HELLO, THREAD, context=ALICE))
    guard.approve(question.ticket, by="dana")
    invoke(app, None, THREAD)
    assert sent == ["bob"]


# ---- a resume that approves ----------------------------------------------------------------------


@both
@pytest.mark.parametrize("who", [None, "", 7, True])
def test_without_a_verified_person_nothing_is_approved(load: LoadGuard, invoke: Invoke, who: Any) -> None:
    sent: list[str] = []
    guard = load(SEND)
    app = agent(guard, sent, TWO, says(), door=Door(who))
    found = questions(invoke(app, HELLO, THREAD, context=ALICE))
    again = invoke(app, resume(APPROVE, edit(to="mallory")), THREAD)
    assert (questions(again), sent, answers(guard)) == (found, [], [])


@both
def test_a_verified_person_approves_and_edits(load: LoadGuard, invoke: Invoke) -> None:
    sent: list[str] = []
    guard = load(SEND)
    app = agent(guard, sent, TWO, says(), door=Door("dana"))
    invoke(app, HELLO, THREAD, context=ALICE)
    result = invoke(app, resume(APPROVE, edit(to="carol")), THREAD)
    assert sorted(sent) == ["bob", "carol"]
    assert sorted(replies(result)) == ["sent to bob", "sent to carol"]
    assert answers(guard) == [("approve", "dana")] * 2
    assert replays(guard)


@both
@pytest.mark.parametrize("who", ["alice", "mallory"])
def test_the_requester_and_strangers_have_no_effect_and_are_asked_again(
    load: LoadGuard, invoke: Invoke, who: str
) -> None:
    sent: list[str] = []
    guard = load(SEND)
    app = agent(guard, sent, TWO, says(), door=Door(who))
    found = questions(invoke(app, HELLO, THREAD, context=ALICE))
    assert questions(invoke(app, resume(APPROVE, APPROVE), THREAD)) == found
    assert sent == []
    assert answers(guard) == [("ignored", who)] * 2, "and it is recorded"


@both
def test_what_one_person_said_is_never_taken_for_the_word_of_the_next(
    load: LoadGuard, invoke: Invoke
) -> None:
    sent: list[str] = []
    guard, door = load(SEND), Door("mallory")
    app = agent(guard, sent, TWO, says(), door=door)
    found = questions(invoke(app, HELLO, THREAD, context=ALICE))
    invoke(app, resume(APPROVE, APPROVE), THREAD)
    door.who = "dana"
    for _ in range(2):  # LangGraph hands out what mallory said, again and again
        assert questions(invoke(app, None, THREAD)) == found
    assert (sent, answers(guard)) == ([], [("ignored", "mallory")] * 2)
    invoke(app, resume(APPROVE, APPROVE), THREAD)
    assert sorted(sent) == ["bob", "eve"]


@both
def test_a_resume_by_the_interrupts_id_is_heard_too(load: LoadGuard, invoke: Invoke) -> None:
    sent: list[str] = []
    guard = load(SEND)
    app = agent(guard, sent, TWO, says(), door=Door("dana"))
    (interrupt,) = invoke(app, HELLO, THREAD, context=ALICE)["__interrupt__"]
    invoke(app, Command(resume={interrupt.id: {"decisions": [APPROVE, APPROVE]}}), THREAD)
    assert sorted(sent) == ["bob", "eve"]


@both
def test_an_answer_to_one_question_is_none_to_a_sibling_that_heard_the_same_before(
    load: LoadGuard, invoke: Invoke
) -> None:
    sent: list[str] = []
    guard, door = load(SEND + "\ntool help { needs work  takes to: text  allow always }"), Door("mallory")

    @tool
    def help(to: str) -> str:
        """Have a sub-agent send it."""
        turns = [asks(call("send", "c1", to=to)), says(to)]
        inner: Any = create_agent(
            model(*[lambda messages: turns[isinstance(messages[-1], ToolMessage)]] * 2),
            [send_of(sent)],
            middleware=[GuardMiddleware(guard, answered_by=door)],
        )
        return str(inner.invoke({"messages": [("user", to)]})["messages"][-1].content)

    both_of_them = asks(call("help", "h1", to="bob"), call("help", "h2", to="eve"))
    app: Any = create_agent(
        model(both_of_them, says()), [help], middleware=[GuardMiddleware(guard)], checkpointer=InMemorySaver()
    )
    paused = invoke(app, HELLO, THREAD, context=ALICE)
    ids = {one.value["action_requests"][0]["args"]["to"]: one.id for one in paused["__interrupt__"]}
    approve = {"decisions": [APPROVE]}
    again = invoke(app, Command(resume={ids["bob"]: approve}), THREAD)
    ids = {one.value["action_requests"][0]["args"]["to"]: one.id for one in again["__interrupt__"]}
    door.who = "dana"
    left = invoke(app, Command(resume={ids["eve"]: approve}), THREAD)
    assert sent == ["eve"], "mallory's word for bob is not dana's, who spoke of eve"
    assert [one.arguments["to"] for one in questions(left)] == ["bob"]
    (bob,) = left["__interrupt__"]
    invoke(app, Command(resume={bob.id: approve}), THREAD)
    assert sent == ["eve", "bob"]
    assert replays(guard)


# ---- reject and respond --------------------------------------------------------------------------


@both
def test_a_rejection_withdraws_and_leaves_the_others_open(load: LoadGuard, invoke: Invoke) -> None:
    sent: list[str] = []
    guard = load(SEND)
    app = agent(guard, sent, TWO, says())
    bob, eve = questions(invoke(app, HELLO, THREAD, context=ALICE))
    waiting = invoke(app, resume({"type": "reject", "message": "not bob"}, APPROVE), THREAD)
    assert questions(waiting) == [eve]
    assert questions(invoke(app, None, THREAD)) == [eve]
    guard.approve(eve.ticket, by="dana")
    result = invoke(app, None, THREAD)
    assert (sent, sorted(replies(result))) == (["eve"], ["not authorized", "sent to eve"])
    withdrawn = next(one for one in events(guard) if isinstance(one, e.ApprovalAnswered))
    assert (withdrawn.ticket, withdrawn.verdict, withdrawn.because) == (bob.ticket, "withdraw", "not bob")
    assert replays(guard)


@both
def test_a_verified_rejection_is_an_answer(load: LoadGuard, invoke: Invoke) -> None:
    sent: list[str] = []
    guard = load(SEND)
    app = agent(guard, sent, TWO, says(), door=Door("dana"))
    invoke(app, HELLO, THREAD, context=ALICE)
    result = invoke(app, resume({"type": "reject"}, {"type": "reject", "message": "no"}), THREAD)
    assert (sent, replies(result), statuses(result)) == ([], ["not authorized"] * 2, ["error"] * 2)
    assert answers(guard) == [("reject", "dana")] * 2


@both
@pytest.mark.parametrize(("who", "source"), [(None, "host"), ("dana", "host"), ("alice", "user")])
def test_a_response_stands_in_the_tools_place_and_nothing_runs(
    load: LoadGuard, invoke: Invoke, who: str | None, source: str
) -> None:
    sent: list[str] = []
    guard = load(SEND)
    app = agent(guard, sent, TWO, says(), door=Door(who))
    _, eve = questions(invoke(app, HELLO, THREAD, context=ALICE))
    waiting = invoke(app, resume({"type": "respond", "message": "ask me later"}, {"type": "approve"}), THREAD)
    if who == "dana":
        result = waiting
    else:
        assert questions(waiting) == [eve], "the other one stays open"
        guard.approve(eve.ticket, by="dana")
        result = invoke(app, None, THREAD)
    said = next(m for m in result["messages"] if isinstance(m, ToolMessage) and m.tool_call_id == "c1")
    assert (said.content, said.status, sent) == ("ask me later", "success", ["eve"])
    given = [one for one in events(guard) if isinstance(one, e.PromptGiven)]
    assert given[-1] == e.PromptGiven(source, "ask me later")
    assert replays(guard)


# ---- what cannot be read -------------------------------------------------------------------------

UNREADABLE: list[Any] = [
    {"decisions": [APPROVE]},
    {"decisions": [APPROVE] * 3},
    {"decisions": []},
    {"decisions": "approve"},
    {"decisions": [APPROVE, {"type": "allow"}]},
    {"decisions": [APPROVE, {}]},
    {"decisions": [APPROVE, "approve"]},
    {"decisions": [APPROVE, {"type": "edit"}]},
    {"decisions": [APPROVE, edit("add", a=1)]},
    {"decisions": [{"type": "reject"}, edit("add", a=1)]},
    {"decisions": [{"type": "reject"}, {"type": "respond"}]},
    {"decisions": [APPROVE, {"type": "reject", "message": 7}]},
]


@both
@pytest.mark.parametrize("payload", UNREADABLE)
def test_decisions_that_cannot_be_read_are_an_error_and_change_nothing(
    load: LoadGuard, invoke: Invoke, payload: Any
) -> None:
    sent: list[str] = []
    guard = load(SEND + "\n" + ADD)
    app = agent(guard, sent, TWO, says(), door=Door("dana"))
    found = questions(invoke(app, HELLO, THREAD, context=ALICE))
    with pytest.raises(ResumeError, match="cannot be read"):
        invoke(app, Command(resume=payload), THREAD)
    assert questions(invoke(app, None, THREAD)) == found
    assert (sent, answers(guard)) == ([], [])
    invoke(app, resume(APPROVE, APPROVE), THREAD)
    assert sorted(sent) == ["bob", "eve"]


@both
def test_decisions_for_a_sub_agent_that_cannot_be_read_change_nothing_either(
    load: LoadGuard, invoke: Invoke
) -> None:
    sent: list[str] = []
    guard = load(SEND + "\ntool help { needs work  allow always }")
    inner: Any = create_agent(
        model(asks(call("send", "c1", to="bob")), says("inside")),
        [send_of(sent)],
        middleware=[GuardMiddleware(guard, answered_by=Door("dana"))],
    )

    @tool
    def help() -> str:
        """Have a sub-agent do it."""
        return str(inner.invoke(HELLO)["messages"][-1].content)

    app: Any = create_agent(
        model(asks(call("help", "h1")), says()),
        [help],
        middleware=[GuardMiddleware(guard)],
        checkpointer=InMemorySaver(),
    )
    found = questions(invoke(app, HELLO, THREAD, context=ALICE))
    with pytest.raises(ResumeError):
        invoke(app, resume(APPROVE, APPROVE), THREAD)
    assert [row.status for row in guard.runs.list()] == ["suspended"] * 2
    assert questions(invoke(app, None, THREAD)) == found
    assert replies(invoke(app, resume(APPROVE), THREAD)) == ["inside"]
    assert sent == ["bob"]
    assert replays(guard)


@both
def test_a_call_that_two_must_approve_waits_for_both(load: LoadGuard, invoke: Invoke) -> None:
    sent: list[str] = []
    guard, door = load(PAIR), Door("dana")
    app = agent(guard, sent, asks(call("send", "c1", to="bob")), says(), door=door)
    paused = invoke(app, HELLO, THREAD, context=ALICE)
    assert [one.approver for one in questions(paused)] == ["lead", "owner"]
    assert len(paused["__interrupt__"][0].value["action_requests"]) == 1
    assert [one.approver for one in questions(invoke(app, resume(APPROVE), THREAD))] == ["owner"]
    door.who = "olga"
    invoke(app, resume(APPROVE), THREAD)
    assert sent == ["bob"]
    assert replays(guard)


# ---- time travel ---------------------------------------------------------------------------------


class Stop(AgentMiddleware[Any, Any, Any]):
    """Nothing but a name for a node between the model and the tools."""

    def after_model(self, state: Any, runtime: Any) -> None:
        return None

    async def aafter_model(self, state: Any, runtime: Any) -> None:
        return None


@both
@pytest.mark.parametrize("ended", [True, False])
def test_no_saved_state_runs_an_approved_call_again(load: LoadGuard, invoke: Invoke, ended: bool) -> None:
    sent: list[str] = []
    guard = load(SEND)

    def breaks(_: Any) -> AIMessage:
        raise ValueError("overloaded")

    def fresh(_: Any) -> AIMessage:
        return asks(call("send", "c1", to="bob"), call("send", "c2", to="eve"))

    script = [fresh, says() if ended else breaks, *[fresh] * 20]
    middleware: list[Any] = [Stop(), GuardMiddleware(guard)]
    app = agent_of(None, [send_of(sent)], *script, middleware=middleware, checkpointer=InMemorySaver())
    for question in questions(invoke(app, HELLO, THREAD, context=ALICE)):
        guard.approve(question.ticket, by="dana")
    try:
        invoke(app, None, THREAD)
    except ValueError:
        assert not ended
    assert sorted(sent) == ["bob", "eve"]
    past = list(app.get_state_history(THREAD))
    assert {("GuardMiddleware.after_model",), ("Stop.after_model",), ("tools", "tools")} <= {
        one.next for one in past
    }
    for saved in past:
        again = invoke(app, None, saved.config, context=ALICE)
        assert sorted(sent) == ["bob", "eve"], saved.next
        assert not dangling(saved.values.get("messages", [])) or len(questions(again)) == 2, "asked anew"
    assert replays(guard)


@both
def test_a_breakpoint_between_asking_and_running_keeps_the_answers(load: LoadGuard, invoke: Invoke) -> None:
    sent: list[str] = []
    guard = load(SEND)
    app = agent(guard, sent, TWO, says(), interrupt_before=["tools"])
    for question in questions(invoke(app, HELLO, THREAD, context=ALICE)):
        guard.approve(question.ticket, by="dana")
    invoke(app, None, THREAD)
    assert (sent, guard.runs.list()[0].status) == ([], "suspended")
    invoke(app, None, THREAD)
    assert sorted(sent) == ["bob", "eve"]
    assert kinds(guard).count("ApprovalAsked") == 2
    assert replays(guard)


def test_a_person_who_goes_on_otherwise_withdraws_the_whole_turn(load: LoadGuard) -> None:
    sent: list[str] = []
    guard = load(SEND)
    app = agent(guard, sent, TWO, says("never mind"))
    found = questions(run_sync(app, HELLO, THREAD, context=ALICE))
    result = run_sync(app, {"messages": [("user", "forget it")]}, THREAD, context=ALICE)
    assert (sent, replies(result)) == ([], ["not authorized"] * 2)
    for one in found:
        with pytest.raises(DeniedError):
            guard.approve(one.ticket, by="dana")


def test_another_principal_may_not_answer(load: LoadGuard) -> None:
    sent: list[str] = []
    guard = load(SEND)
    app = agent(guard, sent, TWO, says(), door=Door("dana"))
    run_sync(app, HELLO, THREAD, context=ALICE)
    with pytest.raises(DeniedError, match="another principal"):
        run_sync(app, resume(APPROVE, APPROVE), THREAD, context=Principal(user="eve"))
    assert sent == []


@both
def test_a_turn_that_nobody_answers_in_time_is_refused_for_good(load: LoadGuard, invoke: Invoke) -> None:
    sent: list[str] = []
    clock = FakeClock()
    guard = load(SEND, clock=clock)
    app = agent(guard, sent, TWO, says(), door=Door("dana"))
    invoke(app, HELLO, THREAD, context=ALICE)
    clock.advance(16 * 60)
    result = invoke(app, resume(APPROVE, APPROVE), THREAD)
    assert (sent, replies(result), statuses(result)) == ([], ["not authorized"] * 2, ["error"] * 2)
    assert replays(guard)
