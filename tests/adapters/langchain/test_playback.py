"""A recorded run through the agent's own code: nothing runs, and what differs is shown where it differs."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ModelFallbackMiddleware, ToolRetryMiddleware
from langchain_core.messages import AIMessage
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.memory import InMemorySaver

from ringfence import Guard, Principal
from ringfence.adapters.langchain import (
    DivergedError,
    GuardMiddleware,
    NotAsRecordedError,
    guard_tools,
    playback,
    questions,
)
from ringfence.engine.retrospect.record import RecordError
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
    run_async,
    run_sync,
    send_of,
)
from tests.adapters.langchain.conftest import LoadGuard
from tests.adapters.langchain.model import asks, call, model, says
from tests.adapters.langchain.played import ADDS, SENDS, agent_in, closed, no_network, offering

__all__ = ["closed", "no_network"]

TWO_TURNS = (
    asks(call("add", "c1", a=1), call("add", "c2", a=2)),
    asks(call("nope", "c3")),
    asks(call("add", "c1", a=9, b=3)),
    says("fine"),
)


def recorded(guard: Guard, *script: Any, tools: Any = None, **more: Any) -> dict[str, Any]:
    """Record a run of an agent whose model says what it was offered."""
    used = [add_of([])] if tools is None else tools
    agent: Any = create_agent(offering(*script), used, middleware=[GuardMiddleware(guard)], **more)
    result: dict[str, Any] = agent.invoke(HELLO, context=ALICE)
    return result


@both
def test_a_recorded_run_plays_back_with_no_network_and_no_tool(
    load: LoadGuard, invoke: Invoke, no_network: Callable[[], None]
) -> None:
    guard = load(ADD)
    first = recorded(guard, *TWO_TURNS, system_prompt="Be kind.")
    played = playback(guard.runs.latest())
    agent = agent_in(played, system_prompt="Be kind.")
    if invoke is run_sync:  # the event loop of the other has sockets of its own
        no_network()
    again = invoke(agent, played.input)
    assert replies(again) == replies(first) == ["2", "3", "tool not found", "not authorized"]
    played.check()
    assert (played.report.requests, played.report.calls) == (4, 4)
    assert played.prompts == ("hello",)


@both
def test_one_changed_word_of_a_prompt_is_shown_where_it_stands(load: LoadGuard, invoke: Invoke) -> None:
    guard = load(ADD)
    recorded(guard, *TWO_TURNS, system_prompt="Be kind.\nBe brief.")
    played = playback(guard.runs.latest())
    with pytest.raises(DivergedError) as left:
        invoke(agent_in(played, system_prompt="Be kind.\nBe quick."), played.input)
    assert left.value.divergence.step == 1
    for words in ("step 1, model request 1", "other messages", "-  Be brief.", "+  Be quick.", "   Be kind."):
        assert words in str(left.value)
    with pytest.raises(NotAsRecordedError, match="Be quick"):
        played.check()


@pytest.mark.parametrize("at", range(4))
def test_a_changed_answer_of_a_model_is_found_at_the_step_after_it(load: LoadGuard, at: int) -> None:
    guard = load(ADD)
    recorded(guard, *TWO_TURNS)
    run = guard.runs.latest()
    # The agent is the recorded one; its model says a word more in one answer.
    played = playback(run)
    agent = agent_in(played)

    answers = []
    ask = played.model._ask  # type: ignore[attr-defined]

    def changed(*given: Any) -> Any:
        (said,) = ask(*given)
        answers.append(said)
        if len(answers) == at + 1:
            said = {**said, "data": {**said["data"], "content": "one word more"}}
        return [said]

    played.model._ask = changed  # type: ignore[attr-defined]
    if at == 3:  # the last answer: nothing is asked after it
        assert agent.invoke(played.input)["messages"][-1].content == "one word more"
        return
    with pytest.raises(DivergedError) as left:
        agent.invoke(played.input)
    assert f"model request {at + 2} " in str(left.value) and "one word more" in str(left.value)


def test_other_arguments_of_a_call_are_shown(load: LoadGuard) -> None:
    guard = load(ADD)
    recorded(guard, asks(call("add", a=1)), says())
    played = playback(guard.runs.latest())

    @tool
    def add(a: int, b: int = 0) -> str:
        """Add one."""
        raise AssertionError

    with pytest.raises(DivergedError, match="model request with other tools"):
        agent_in(played, [add]).invoke(played.input)
    assert '+  b: {"default": 0' in str(played.report)
    [guarded] = playback(guard.runs.latest()).tools([ADDS])
    assert guarded.name == "add"


class Warmer(AgentMiddleware[Any, Any, Any]):
    """Sets a parameter of every model request."""

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        return handler(request.override(model_settings={"temperature": 0.7}))


def test_parameters_of_a_request_are_compared(load: LoadGuard) -> None:
    guard = load(ADD)
    recorded(guard, says())
    played = playback(guard.runs.latest())
    with pytest.raises(DivergedError, match="other parameters") as left:
        agent_in(played, [ADDS], [Warmer()]).invoke(played.input)
    assert "+temperature: 0.7" in str(left.value)


def test_an_agent_that_ends_early_fails_the_check(load: LoadGuard) -> None:
    guard = load(ADD)
    recorded(guard, *TWO_TURNS)
    played = playback(guard.runs.latest())
    with pytest.raises(NotAsRecordedError, match="never came to"):
        played.check()
    assert len(played.report.never_came) == 8
    with pytest.raises(NotAsRecordedError, match="step 1, model request 1"):
        played.check()


def test_one_request_too_many_is_a_divergence_behind_the_end(load: LoadGuard) -> None:
    guard = load(ADD)
    recorded(guard, says())
    played = playback(guard.runs.latest())
    agent_in(played).invoke(played.input)
    played.check()
    with pytest.raises(DivergedError, match="a second run begins"):
        agent_in(played).invoke(played.input)
    with pytest.raises(NotAsRecordedError):
        played.check()


def test_a_divergence_is_no_failure_that_another_model_or_a_retry_mends(load: LoadGuard) -> None:
    guard = load(ADD)
    recorded(guard, *TWO_TURNS)
    for invoke_it in (run_sync, run_async):
        played = playback(guard.runs.latest())
        other = model(says("from elsewhere"))
        more = [ModelFallbackMiddleware(other), ToolRetryMiddleware(max_retries=3)]
        with pytest.raises(DivergedError):
            invoke_it(agent_in(played, [ADDS], more, system_prompt="changed"), played.input)
        assert other.asked == []
        with pytest.raises(DivergedError):  # and nothing goes on after it
            played.guard.begin_run(principal=ALICE)


def test_another_principal_is_a_divergence_and_none_is_the_recorded_one(load: LoadGuard) -> None:
    guard = load(ADD)
    recorded(guard, says())
    with pytest.raises(DivergedError, match="the principal is another"):
        played = playback(guard.runs.latest())
        agent_in(played).invoke(played.input, context=Principal(user="eve"))


@pytest.mark.not_replayed("played by another policy, a run records the reasons that were given then")
@both
def test_a_changed_policy_is_a_divergence_at_the_call_that_it_decides_otherwise(
    load: LoadGuard, invoke: Invoke, tmp_path: Path
) -> None:
    guard = load(ADD)
    recorded(guard, asks(call("add", "c1", a=1)), asks(call("add", "c2", a=7)), says())
    text = guard.plan.text.replace("allow always", "allow when a < 5")
    (tmp_path / "strict.fence").write_text(text, encoding="utf-8")
    played = playback(guard.runs.latest(), policy=tmp_path / "strict.fence")
    with pytest.raises(DivergedError) as left:
        invoke(agent_in(played), played.input)
    assert "call 2, add" in str(left.value) and "it is decided otherwise now" in str(left.value)
    assert "decided then: allow; by this policy: deny" in str(left.value)
    assert played.report.calls == 1
    (tmp_path / "same.fence").write_text("# a comment\n" + guard.plan.text, encoding="utf-8")
    same = playback(guard.runs.latest(), policy=tmp_path / "same.fence")
    agent_in(same).invoke(same.input)
    same.check()


@both
@pytest.mark.parametrize("word", ["approve", "deny"])
def test_approvals_are_answered_from_the_record(load: LoadGuard, invoke: Invoke, word: str) -> None:
    guard, sent = load(SEND + ADD), []  # type: ignore[var-annotated]
    turn = asks(call("send", "c1", to="bob"), call("add", "c2", a=1))
    agent = agent_of(guard, [send_of(sent), add_of([])], turn, says(), checkpointer=InMemorySaver())
    paused = invoke(agent, HELLO, THREAD, context=ALICE)
    getattr(guard, word)(questions(paused)[0].ticket, by="dana")
    first = invoke(agent, None, THREAD)
    for saver in (None, InMemorySaver()):
        played = playback(guard.runs.latest())
        again = invoke(agent_in(played, [SENDS, ADDS], checkpointer=saver), played.input, THREAD)
        assert sorted(replies(again)) == sorted(replies(first))
        played.check()
    assert len(sent) == (word == "approve")


def test_a_run_whose_question_nobody_answered_waits_where_its_record_ends(load: LoadGuard) -> None:
    guard = load(SEND)
    agent = agent_of(guard, [send_of([])], asks(call("send", to="bob")), says(), checkpointer=InMemorySaver())
    agent.invoke(HELLO, THREAD, context=ALICE)
    played = playback(guard.runs.latest())
    app = agent_in(played, [SENDS], checkpointer=InMemorySaver())
    for given in (played.input, None):
        assert [question.tool for question in questions(app.invoke(given, THREAD))] == ["send"]
    played.check()
    played = playback(guard.runs.latest())
    with pytest.raises(DivergedError, match="people were asked and had not answered"):
        agent_in(played, [SENDS]).invoke(played.input)


def helpers(
    guard: Guard, inner: Any, chosen: Any, *, own_run: bool, prompt: str = "You help."
) -> list[BaseTool]:
    """Return the tool `help`, whose body is a sub-agent: with a run of its own, or in the run around it."""
    tools = chosen if own_run else guard_tools(guard, chosen)
    middleware = [GuardMiddleware(guard)] if own_run else []
    agent: Any = create_agent(inner, tools, middleware=middleware, system_prompt=prompt)

    @tool("help")
    def delegate(task: str) -> str:
        """Help."""
        return str(agent.invoke({"messages": [("user", task)]})["messages"][-1].content)

    return [delegate]


HELP = ADD + "\ntool help { needs work  takes task: text  allow always }"


@both
@pytest.mark.parametrize("own_run", [True, False])
def test_sub_agents_are_played_where_they_are_named_and_answered_as_a_whole_where_not(
    load: LoadGuard, invoke: Invoke, own_run: bool
) -> None:
    guard = load(HELP)
    both_tasks = asks(call("help", "h1", task="one"), call("help", "h2", task="two"))
    inner = model(*([by_task] * 4))
    tools = helpers(guard, inner, [add_of([])], own_run=own_run)
    invoke(agent_of(guard, tools, both_tasks, says("all done")), HELLO, context=ALICE)

    played = playback(guard.runs.latest(), agents=["help"])
    tools = helpers(played.guard, played.model, [ADDS], own_run=own_run)
    invoke(agent_in(played, tools), played.input)
    played.check()
    assert (played.report.requests, played.report.calls) == (6, 4)

    whole = playback(guard.runs.latest())
    invoke(agent_in(whole, helpers(whole.guard, whole.model, [ADDS], own_run=own_run)), whole.input)
    whole.check()
    assert (whole.report.requests, whole.report.calls) == (2, 2)
    assert "was answered as a whole" in str(whole.report)

    changed = playback(guard.runs.latest(), agents=["help"])
    tools = helpers(changed.guard, changed.model, [ADDS], own_run=own_run, prompt="You hinder.")
    with pytest.raises(DivergedError, match="You hinder"):
        invoke(agent_in(changed, tools), changed.input)


def by_task(messages: Any) -> AIMessage:
    """Answer as a helper: first a call, then the task's name."""
    task = next(m.content for m in messages if m.type == "human")
    if messages[-1].type == "tool":
        return says(f"{task}: {messages[-1].content}")
    return asks(call("add", "i1", a=len(task)))


def test_a_tool_that_is_not_guarded_does_not_run(load: LoadGuard) -> None:
    guard = load(HELP)
    inner = model(asks(call("add", "i1", a=1)), says("inner"))
    unguarded: Any = create_agent(inner, [add_of([])])

    @tool("help")
    def delegate(task: str) -> str:
        """Help."""
        return str(unguarded.invoke({"messages": [("user", task)]})["messages"][-1].content)

    agent_of(guard, [delegate], asks(call("help", task="x")), says()).invoke(HELLO, context=ALICE)
    played = playback(guard.runs.latest(), agents=["help"])
    inside: Any = create_agent(played.model, [ADDS])

    @tool("help")
    def again(task: str) -> str:
        """Help."""
        return str(inside.invoke({"messages": [("user", task)]})["messages"][-1].content)

    with pytest.raises(DivergedError, match="the tool add, which is not guarded"):
        agent_in(played, [again]).invoke(played.input)


def test_a_model_outside_of_any_run_answers_nothing(load: LoadGuard) -> None:
    guard = load(ADD)
    recorded(guard, asks(call("add", a=1)), says())
    played = playback(guard.runs.latest())
    with pytest.raises(DivergedError, match="outside of any run"):
        run_sync(create_agent(played.model, [ADDS]), played.input)


@both
def test_a_halt_comes_where_it_came(load: LoadGuard, invoke: Invoke) -> None:
    guard = load("tool add { needs work  takes a: integer  allow always  rate 1 per run otherwise halt }")
    script = [asks(call("add", f"c{n}", a=n)) for n in range(3)]
    first = invoke(agent_of(guard, [add_of([])], *script, says()), HELLO, context=ALICE)
    played = playback(guard.runs.latest())
    again = invoke(agent_in(played), played.input)
    assert [m.content for m in again["messages"]] == [m.content for m in first["messages"]]
    played.check()


def test_what_a_tool_raised_is_told_as_it_was(load: LoadGuard) -> None:
    @tool
    def breaks(a: int) -> str:
        """Break."""
        raise LookupError("no such page")

    guard = load("tool breaks { needs work  takes a: integer  allow always }")
    first = recorded(guard, asks(call("breaks", a=1)), says(), tools=[breaks])

    @tool("breaks")
    def never(a: int) -> str:
        """Break."""
        raise AssertionError

    played = playback(guard.runs.latest())
    again = agent_in(played, [never]).invoke(played.input)
    assert replies(again) == replies(first)
    played.check()
    with guard.run(principal=ALICE), pytest.raises(LookupError):
        guard_tools(guard, [breaks])[0].invoke({"a": 1})
    bare = playback(guard.runs.latest())
    with bare.guard.run(), pytest.raises(LookupError, match="no such page"):
        bare.tools([never])[0].invoke({"a": 1})
    bare.check()


def test_content_and_artifact_come_as_they_were(load: LoadGuard) -> None:
    @tool(response_format="content_and_artifact")
    def add(a: int) -> tuple[str, dict[str, int]]:
        """Add one."""
        return "two", {"rows": a}

    guard = load(ADD)
    recorded(guard, asks(call("add", a=1)), says(), tools=[add])

    @tool("add", response_format="content_and_artifact")
    def never(a: int) -> tuple[str, dict[str, int]]:
        """Add one."""
        raise AssertionError

    played = playback(guard.runs.latest())
    message = agent_in(played, [never]).invoke(played.input)["messages"][2]
    assert (message.content, message.artifact) == ("two", {"rows": 1})
    played.check()


@pytest.mark.parametrize("mode", ["messages", "updates"])
def test_a_stream_is_answered_with_its_calls(load: LoadGuard, mode: str) -> None:
    guard = load(ADD)
    recorded(guard, *TWO_TURNS)
    played = playback(guard.runs.latest())
    parts = list(agent_in(played).stream(played.input, stream_mode=mode))
    assert len(parts) > 4
    played.check()


def _changed(value: Any) -> Any:
    """Return a value with one word more in it."""
    if isinstance(value, str):
        return f"{value} changed"
    if isinstance(value, list):
        return [*value[:-1], _changed(value[-1])] if value else ["changed"]
    if isinstance(value, dict):
        name = next((one for one in ("data", "content", "a") if one in value), "changed")
        return {**value, name: _changed(value.get(name, ""))}
    return 99


def test_any_one_change_of_the_record_is_found_at_its_place_or_right_after_it(load: LoadGuard) -> None:
    guard = load(ADD)
    turns = (asks(call("add", "c1", a=1)), asks(call("add", "c2", a=2)), says("fine"))
    recorded(guard, *turns, system_prompt="Be kind.")
    whole = guard.runs.latest()
    given = playback(whole).input
    field = {"ModelAsked": "messages", "ModelAnswered": "messages", "CallRequested": "arguments"}
    field["CallFinished"] = "result"
    last = max(stamped.seq for stamped in whole.events if stamped.event.kind == "ModelAnswered")
    found = 0
    for at, stamped in enumerate(whole.events):
        name = field.get(stamped.event.kind)
        if name is None or stamped.seq == last:  # nothing is asked after the last answer
            continue
        event = replace(stamped.event, **{name: _changed(getattr(stamped.event, name))})
        events = (*whole.events[:at], replace(stamped, event=event), *whole.events[at + 1 :])
        played = playback(replace(whole, events=events))
        with pytest.raises(DivergedError) as left:
            agent_in(played, system_prompt="Be kind.").invoke(given)
        later = [s.seq for s in whole.events if s.seq >= stamped.seq and s.event.kind in _STEPS]
        assert left.value.divergence.seq in later[:2], stamped.event
        found += 1
    assert found == 3 + 2 + 2 + 2


_STEPS = ("ModelAsked", "CallRequested")


def test_audit_minimal_is_refused_with_the_calls(load: LoadGuard) -> None:
    guard = load("tool add { needs work  takes a: integer  allow always  audit minimal }")
    recorded(guard, asks(call("add", a=1)), says())
    with pytest.raises(RecordError, match=r"call 1, add .*`audit minimal` keeps its arguments"):
        playback(guard.runs.latest())
