"""`GuardMiddleware` in an agent: what the model is told and offered, what is recorded, how a run ends."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.tools import ToolException, tool
from langgraph.config import get_stream_writer

from ringfence import EngineError, Principal, RunHaltedError
from ringfence.adapters.langchain import GuardMiddleware, guard_tools
from ringfence.engine.decision import events as e
from tests.adapters.langchain.agents import (
    ADD,
    ALICE,
    HELLO,
    Invoke,
    add_of,
    agent_of,
    both,
    danger_of,
    events,
    kinds,
    replies,
    run_sync,
    send_of,
    statuses,
)
from tests.adapters.langchain.conftest import LoadGuard
from tests.adapters.langchain.model import asks, call, model, says


@both
def test_an_allowed_call_runs_and_everything_is_recorded(load: LoadGuard, invoke: Invoke) -> None:
    done: list[int] = []
    guard = load(ADD)
    script = (asks(call("add", a=1)), says("two", input=3, output=4, total=7))
    result = invoke(agent_of(guard, [add_of(done)], *script), HELLO, context=ALICE)
    assert (done, replies(result), statuses(result)) == ([1], ["2"], ["success"])
    assert result["messages"][-1].content == "two"
    assert kinds(guard) == [
        "RunStarted",
        "PromptGiven",
        "ModelAsked",
        "ModelAnswered",
        "CallRequested",
        "CallDecided",
        "CallStarted",
        "CallFinished",
        "ModelAsked",
        "ModelAnswered",
        "RunEnded",
    ]
    recorded = events(guard)
    started, prompt = recorded[0], recorded[1]
    assert isinstance(started, e.RunStarted)
    assert started.principal == {"user": "alice", "workspace": "w1"}
    assert started.framework == "langchain"
    assert prompt == e.PromptGiven("user", "hello")
    asked, answered = recorded[-3], recorded[-2]
    assert isinstance(asked, e.ModelAsked)
    assert isinstance(answered, e.ModelAnswered)
    assert asked.request == answered.request
    assert asked.messages[-1]["data"]["content"] == "2"
    assert answered.messages[0]["data"]["content"] == "two"
    assert answered.usage["total_tokens"] == 7
    assert answered.duration_ns > 0
    assert guard.runs.latest().replay().decisions == 1


@both
def test_a_denial_is_an_error_message_with_the_policy_text(load: LoadGuard, invoke: Invoke) -> None:
    done: list[int] = []
    policy = 'tool add { needs work  takes a: integer  allow when a < 5 }\nresponses { deny says "no" }'
    result = invoke(agent_of(load(policy), [add_of(done)], asks(call("add", a=9)), says()), HELLO)
    assert (done, replies(result), statuses(result)) == ([], ["no"], ["error"])


@both
def test_arguments_of_the_wrong_type_are_refused_and_recorded(load: LoadGuard, invoke: Invoke) -> None:
    done: list[int] = []
    guard = load("tool add { needs work  takes a: integer  allow always }")
    result = invoke(agent_of(guard, [add_of(done)], asks(call("add", a="x")), says()), HELLO)
    assert (done, replies(result)) == ([], ["not authorized"])
    decided = [event for event in events(guard) if isinstance(event, e.CallDecided)]
    assert [(one.verdict, one.reasons[0]["name"]) for one in decided] == [("deny", "add.arguments")]
    assert guard.runs.latest().replay().divergence is None


@both
@pytest.mark.parametrize("error", [ValueError("the password is hunter2"), ToolException("hunter2")])
def test_a_tool_that_raises_is_recorded_and_told_in_the_policy_words(
    load: LoadGuard, invoke: Invoke, error: Exception
) -> None:
    @tool
    def add(a: int) -> str:
        """Fail."""
        raise error

    with pytest.raises(type(error)):
        run_sync(agent_of(None, [add], asks(call("add", a=1)), says()), HELLO)
    guard = load(ADD)
    result = invoke(agent_of(guard, [add], asks(call("add", a=1)), says()), HELLO)
    assert (replies(result), statuses(result)) == (["the tool failed"], ["error"])
    failed = next(event for event in events(guard) if isinstance(event, e.CallFailed))
    assert failed.outcome == "raised"
    assert "hunter2" in failed.error


# ---- what the model is offered ---------------------------------------------------------------------


@both
def test_undeclared_and_unheld_tools_are_not_offered(load: LoadGuard, invoke: Invoke) -> None:
    @tool
    def unheld() -> str:
        """Need what the agent does not hold."""
        return "ran"

    policy = """capability other is write
agent main { holds work }
tool add { needs work  takes a: integer  allow always }
tool unheld { needs other  allow always }"""
    script = model(asks(call("unheld")), says())
    middleware: list[Any] = [GuardMiddleware(load(policy))]
    agent: Any = create_agent(script, [add_of([]), unheld, danger_of([])], middleware=middleware)
    result = invoke(agent, HELLO)
    assert script.offered == [["add"], ["add"]]
    assert replies(result) == ["tool not found"]


SEARCH = {"type": "web_search_20250305", "name": "web_search"}


@both
def test_provider_side_tools_are_refused_unless_the_policy_writes_them(
    load: LoadGuard, invoke: Invoke, capsys: pytest.CaptureFixture[str]
) -> None:
    def offered(policy: str) -> list[list[str]]:
        script = model(says())
        middleware: list[Any] = [GuardMiddleware(load(policy))]
        invoke(create_agent(script, [add_of([]), dict(SEARCH)], middleware=middleware), HELLO)
        return script.offered

    assert offered(ADD) == [["add"]]
    assert capsys.readouterr().err.count("`web_search` is not offered") == 1
    assert offered(ADD + "\ntool web_search { needs work  allow always }") == [["add", "web_search"]]
    assert capsys.readouterr().err == ""


class Settings(AgentMiddleware):
    """Offers a provider-side tool through the settings of the model call."""

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        return handler(request.override(model_settings={"functions": [dict(SEARCH)]}))


def test_a_provider_side_tool_in_the_model_settings_is_refused_too(load: LoadGuard) -> None:
    guard = load(ADD)
    run_sync(agent_of(guard, [add_of([])], says(), middleware=[Settings()]), HELLO)
    asked = next(event for event in events(guard) if isinstance(event, e.ModelAsked))
    assert "web_search" not in str(asked)


# ---- capture ---------------------------------------------------------------------------------------


class Summarises(AgentMiddleware):
    """Asks a model of its own before each turn."""

    def before_model(self, state: Any, runtime: Any) -> None:
        model(says("a summary")).invoke("summarise")

    async def abefore_model(self, state: Any, runtime: Any) -> None:
        await model(says("a summary")).ainvoke("summarise")


@both
def test_model_calls_of_other_middleware_and_of_sub_agents_are_recorded_once(
    load: LoadGuard, invoke: Invoke
) -> None:
    inner: Any = create_agent(model(says("from inside")), [])

    @tool
    def delegate(task: str) -> str:
        """Hand a task to a sub-agent."""
        return str(inner.invoke({"messages": [("user", task)]})["messages"][-1].content)

    guard = load("tool delegate { needs work  allow always }")
    script = (asks(call("delegate", task="x")), says("the end"))
    agent = agent_of(guard, [delegate], *script, middleware=[Summarises()])
    assert replies(invoke(agent, HELLO)) == ["from inside"]
    answers = [
        event.messages[0]["data"]["content"] for event in events(guard) if isinstance(event, e.ModelAnswered)
    ]
    assert answers == ["a summary", "", "from inside", "a summary", "the end"]
    assert kinds(guard).count("ModelAsked") == 5


def test_a_model_call_outside_of_any_run_is_not_recorded(load: LoadGuard) -> None:
    guard = load(ADD)
    model(says()).invoke("hello")
    assert guard.runs.list() == []


@both
def test_a_model_that_fails_is_recorded_and_the_run_has_failed(load: LoadGuard, invoke: Invoke) -> None:
    def fails(_: Sequence[BaseMessage]) -> AIMessage:
        raise ValueError("overloaded")

    guard = load(ADD)
    with pytest.raises(ValueError, match="overloaded"):
        invoke(agent_of(guard, [add_of([])], fails), HELLO)
    *_, answered, ended = events(guard)
    assert isinstance(answered, e.ModelAnswered)
    assert answered.error == "ValueError: overloaded"
    assert ended == e.RunEnded("failed", "ValueError: overloaded")


# ---- sub-agents with a run of their own ------------------------------------------------------------


@both
def test_a_guarded_sub_agent_has_a_run_inside_the_one_around_it(load: LoadGuard, invoke: Invoke) -> None:
    done: list[Any] = []
    guard = load(ADD + "\ntool delegate { needs work  allow always }")
    inner = agent_of(guard, [add_of(done)], asks(call("add", a=1)), says("inside"))

    @tool
    def delegate(task: str) -> str:
        """Hand a task to a sub-agent."""
        return str(inner.invoke({"messages": [("user", task)]})["messages"][-1].content)

    agent = agent_of(guard, [delegate], asks(call("delegate", task="x")), says())
    assert replies(invoke(agent, HELLO, context=ALICE)) == ["inside"]
    sub, outer = guard.runs.list()
    assert (sub.parent, outer.parent) == (outer.run, None)
    assert (sub.status, outer.status) == ("done", "done")
    prompt = guard.runs.get(sub.run).events[1].event
    assert prompt == e.PromptGiven("model", "x"), "a sub-agent's prompt is not the user's word"


CALL_ADD = asks(call("add", id="c2", a=1))


@both
def test_a_guarded_sub_agent_has_its_own_capabilities_and_its_own_record(
    load: LoadGuard, invoke: Invoke
) -> None:
    done: list[Any] = []
    guard = load(
        "capability more is external\nagent main { holds work, more }\nagent reader { holds work }\n"
        "tool delegate { needs work  takes task: text  allow always }\n"
        "tool add { needs more  takes a: integer  allow always }"
    )
    last = GuardMiddleware(guard, agent="reader")
    inner = create_agent(model(asks(call("add", a=1)), says("inside")), [add_of(done)], middleware=[last])

    @tool
    def delegate(task: str) -> str:
        """Hand a task to a sub-agent."""
        return str(run_sync(inner, {"messages": [("user", task)]})["messages"][-1].content)

    agent = agent_of(guard, [delegate, add_of(done)], asks(call("delegate", task="x")), CALL_ADD, says())
    assert replies(invoke(agent, HELLO, context=ALICE)) == ["inside", "2"]
    assert done == [1]
    sub, outer = (guard.runs.get(row.run).events for row in guard.runs.list())
    assert [s.event.tool for s in sub if isinstance(s.event, e.CallRequested)] == ["add"]
    assert [s.event.tool for s in outer if isinstance(s.event, e.CallRequested)] == ["delegate", "add"]
    assert [s.event.kind for s in sub].count("ModelAsked") == 2


# ---- halts -----------------------------------------------------------------------------------------


HALTS = "tool add { needs work  takes a: integer  allow always  rate 2 per run otherwise halt }"


@both
def test_a_halt_answers_every_call_and_ends_the_agent(load: LoadGuard, invoke: Invoke) -> None:
    done: list[Any] = []
    guard = load(HALTS)
    first, second, *others = [call("add", f"c{n}", a=n) for n in range(5)]
    agent = agent_of(guard, [add_of(done)], asks(first), asks(second), asks(*others), says("never asked"))
    result = invoke(agent, HELLO)
    assert len(done) == 2
    assert statuses(result) == ["success", "success", "error", "error", "error"]
    assert len(replies(result)) == 5, "no call is left without an answer"
    assert isinstance(result["messages"][-1], AIMessage)
    assert result["messages"][-1].content == "not authorized"
    assert guard.runs.list()[0].status == "halted"
    assert kinds(guard).count("ModelAsked") == 3


@both
def test_a_halt_in_the_middle_of_a_turn_stops_what_is_in_flight(load: LoadGuard, invoke: Invoke) -> None:
    done: list[Any] = []
    guard = load(HALTS)
    calls = [call("add", f"c{n}", a=n) for n in range(5)]
    agent = agent_of(guard, [add_of(done)], asks(*calls), says("never asked"))
    result = invoke(agent, HELLO)
    # The third call's halt stops the two that the rate allows wherever it finds them: before their
    # bodies began, in the middle (an effect, and no result), or at their end.
    answers = statuses(result)
    assert answers.count("success") <= len(done) <= 2
    assert len(replies(result)) == 5, "no call is left without an answer"
    assert set(answers) <= {"success", "error"}
    assert result["messages"][-1].content == "not authorized"
    assert guard.runs.list()[0].status == "halted"
    assert kinds(guard).count("ModelAsked") == 1


@both
def test_a_halt_is_raised_on_wish(load: LoadGuard, invoke: Invoke) -> None:
    script = (asks(*[call("add", f"c{n}", a=n) for n in range(3)]), says())
    with pytest.raises(RunHaltedError) as halted:
        invoke(agent_of(load(HALTS), [add_of([])], *script, on_halt="raise"), HELLO)
    assert halted.value.rule == "add.rate"


@both
def test_a_halted_run_asks_no_model_on_its_way_out(load: LoadGuard, invoke: Invoke) -> None:
    guard = load(ADD)

    @tool
    def add(a: int) -> str:
        """Have an operator stop the run."""
        guard.kill(guard.runs.list()[0].run, by="ops")
        return "late"

    script = model(asks(call("add", a=1)), says("never asked"))
    middleware: list[Any] = [GuardMiddleware(guard)]
    agent: Any = create_agent(script, [add], middleware=middleware)
    invoke(agent, HELLO)
    assert len(script.asked) == 1
    assert guard.runs.list()[0].status == "halted"


# ---- the run ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "context",
    [
        Principal(user="alice", tier="gold"),
        {"user": "alice", "tier": "gold", "db": object()},
        {"principal": {"user": "alice", "tier": "gold"}},
        type("Context", (), {"principal": Principal(user="alice", tier="gold")})(),
    ],
)
def test_the_principal_comes_from_the_context(load: LoadGuard, context: Any) -> None:
    guard = load("principal has tier: text\n" + ADD)
    run_sync(agent_of(guard, [add_of([])], says()), HELLO, context=context)
    started = events(guard)[0]
    assert isinstance(started, e.RunStarted)
    assert started.principal == {"user": "alice", "tier": "gold"}


@both
def test_each_turn_is_a_run_and_the_thread_is_their_session(load: LoadGuard, invoke: Invoke) -> None:
    from langgraph.checkpoint.memory import InMemorySaver

    guard = load(ADD)
    agent = agent_of(guard, [add_of([])], says("one"), says("two"), checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "t7"}}
    invoke(agent, HELLO, config)
    invoke(agent, {"messages": [("user", "again")]}, config)
    assert [row.session for row in guard.runs.list()] == ["t7", "t7"]
    assert [row.status for row in guard.runs.list()] == ["done", "done"]
    assert events(guard)[1] == e.PromptGiven("user", "again"), "only what is new is this turn's prompt"


def test_the_run_id_is_not_shown_to_the_caller(load: LoadGuard) -> None:
    result = run_sync(agent_of(load(ADD), [add_of([])], says()), HELLO)
    assert set(result) == {"messages"}


def test_two_tools_of_one_name_are_refused_when_they_are_bound(load: LoadGuard) -> None:
    with pytest.raises(ValueError, match="two tools are called `add`"):
        guard_tools(load(ADD), [add_of([]), add_of([])])


def test_a_guarded_tool_in_a_guarded_agent_is_decided_once(load: LoadGuard) -> None:
    done: list[Any] = []
    guard = load("tool add { needs work  takes a: integer  allow always  rate 1 per run }")
    agent = agent_of(guard, guard_tools(guard, [add_of(done)]), asks(call("add", a=1)), says())
    assert replies(run_sync(agent, HELLO)) == ["2"]
    assert kinds(guard).count("CallDecided") == 1


def test_streaming_shows_the_same_answers(load: LoadGuard) -> None:
    guard = load(ADD)
    agent = agent_of(guard, [add_of([])], asks(call("add", a=1), call("nope", "c2")), says("end"))
    *_, last = agent.stream(HELLO, stream_mode="values")
    assert sorted(replies(last)) == ["2", "tool not found"]
    assert guard.runs.list()[0].status == "done"


def test_a_stream_that_the_host_lets_go_of_ends_its_run(load: LoadGuard) -> None:
    guard = load(ADD)
    stream = agent_of(guard, [add_of([])], asks(call("add", a=1)), says()).stream(HELLO, stream_mode="values")
    next(stream)
    next(stream)
    stream.close()
    assert guard.runs.list()[0].status == "failed"


def test_the_wrong_word_for_on_halt_is_refused(load: LoadGuard) -> None:
    with pytest.raises(ValueError, match="on_halt"):
        GuardMiddleware(load(ADD), on_halt="ignore")  # type: ignore[arg-type]


def test_a_store_that_cannot_be_opened_is_fatal_and_runs_nothing(load: LoadGuard, tmp_path: Any) -> None:
    done: list[Any] = []
    guard = load(ADD, store=f"sqlite:///{tmp_path}/no/such/folder/x.db")
    with pytest.raises(EngineError):
        run_sync(agent_of(guard, [add_of(done)], asks(call("add", a=1)), says()), HELLO)
    assert done == []


async def test_tasks_of_one_turn_are_decided_in_the_order_of_the_list(load: LoadGuard) -> None:
    done: list[int] = []

    @tool
    async def add(a: int) -> str:
        """Add one."""
        done.append(a)
        return str(a + 1)

    guard = load("tool add { needs work  takes a: integer  allow always  rate 3 per run }")
    calls = [call("add", f"c{n}", a=n) for n in range(12)]
    result = await agent_of(guard, [add], asks(*calls), says()).ainvoke(HELLO)
    assert sorted(done) == [0, 1, 2]
    assert replies(result) == ["1", "2", "3", *["not authorized"] * 9]
    requested = [event.call_id for event in events(guard) if isinstance(event, e.CallRequested)]
    assert requested == [f"c{n}" for n in range(12)]


@both
def test_tokens_and_what_a_tool_writes_are_streamed_as_before(load: LoadGuard, invoke: Invoke) -> None:
    @tool
    def add(a: int) -> str:
        """Write to the stream."""
        get_stream_writer()(f"adding {a}")
        return str(a + 1)

    guard = load("agent main { holds work  stop after 5 minutes }\n" + ADD)
    agent = agent_of(guard, [add], asks(call("add", a=1)), says("the end"))
    modes = ["messages", "custom"]
    if invoke is run_sync:
        chunks = list(agent.stream(HELLO, stream_mode=modes))
    else:

        async def collect() -> list[Any]:
            return [chunk async for chunk in agent.astream(HELLO, stream_mode=modes)]

        chunks = asyncio.run(collect())
    assert ("custom", "adding 1") in chunks
    said = [chunk[1][0].content for chunk in chunks if chunk[0] == "messages"]
    assert said == ["", "2", "the end"]


def test_tools_that_the_policy_does_not_declare_are_named_once_all_together(
    load: LoadGuard, capsys: pytest.CaptureFixture[str]
) -> None:
    guard = load(ADD)
    script = (says(), says())
    agent = agent_of(guard, [add_of([]), danger_of([]), send_of([])], *script)
    run_sync(agent, HELLO)
    run_sync(agent, HELLO)
    assert capsys.readouterr().err.splitlines() == [
        "ringfence: the policy `desk` declares no tool `danger`, `send`:"
        " not offered to the model, and never run",
        "  help: `ringfence init --tools langchain:MODULE:TOOLS` writes a policy that declares every tool",
    ]
    guard_tools(guard, [add_of([]), danger_of([]), send_of([])])  # the same tools, bound in another way
    assert capsys.readouterr().err == ""


class Bystander(AgentMiddleware[Any, Any, Any]):
    """Wraps model calls and changes nothing."""

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        return handler(request)

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        return await handler(request)


@both
@pytest.mark.parametrize("is_last", [True, False])
def test_a_guard_that_is_not_the_last_middleware_says_so_once(
    load: LoadGuard, invoke: Invoke, capsys: pytest.CaptureFixture[str], is_last: bool
) -> None:
    guard = GuardMiddleware(load(ADD))
    order = [Bystander(), guard] if is_last else [guard, Bystander()]
    agent = create_agent(model(asks(call("add", a=1)), says()), [add_of([])], middleware=order)
    invoke(agent, HELLO)
    assert capsys.readouterr().err.count("is not the last one") == (0 if is_last else 1)
