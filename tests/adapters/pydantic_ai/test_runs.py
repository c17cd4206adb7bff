"""Runs: when they begin and end, whose they are, what they remember, and what stops them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic_ai import Agent, CancellationToken, DeferredToolRequests, DeferredToolResults, RunContext
from pydantic_ai.capabilities import AbstractCapability, HandleDeferredToolCalls
from pydantic_ai.exceptions import ModelHTTPError, ModelRetry, RunCancelled, RunTimedOut, UsageLimitExceeded
from pydantic_ai.messages import (
    CachePoint,
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ToolReturn,
    UserPromptPart,
)
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.tools import Tool, ToolDefinition
from pydantic_ai.toolsets import ExternalToolset, FunctionToolset
from pydantic_ai.usage import UsageLimits

from ringfence.adapters.pydantic_ai import Guarded
from ringfence.engine.decision import events as e
from ringfence.engine.decision.calls import Principal
from ringfence.engine.seams.errors import EngineError, RunHaltedError
from ringfence.testing import FakeClock
from tests.adapters.pydantic_ai.agents import ALICE, Notes, Played, asked, events, play, statuses, verdicts
from tests.adapters.pydantic_ai.conftest import LoadGuard
from tests.adapters.pydantic_ai.scripted import Script

LOOK = "tool look { needs work  takes what: text  allow always }\n"
LEVELS = """language 1
policy desk
levels public < secret
capability work is read
capability publish is external
agent main { holds work, publish }
tool look {
  needs work
  takes what: text
  allow always
  result is secret when what == "payroll"
  result is public otherwise
}
tool post { needs publish  takes what: text  allow always  rate 90 per hour }
rule leak: deny post when after reading secret
"""


def post_of(notes: Notes) -> Any:
    """Return a tool that publishes."""

    def post(what: str) -> str:
        """Publish something."""
        return notes.note("post", what=what)

    return post


# ---- whose they are --------------------------------------------------------------------------------


@dataclass
class Deps:
    principal: Principal | dict[str, Any] | None


@pytest.mark.parametrize(
    ("deps", "user"),
    [
        (Principal(user="bob"), "bob"),
        (Deps(Principal(user="bob")), "bob"),
        (Deps({"user": "bob", "secret": "x"}), "bob"),
        ({"user": "bob", "other": object()}, "bob"),
        ({"other": 1}, None),
        (None, None),
        (Deps(None), None),
    ],
)
async def test_the_principal_is_what_the_deps_say(load: LoadGuard, deps: Any, user: str | None) -> None:
    guard = load(LOOK)
    await play(guard, guarded=Guarded(guard), run={"deps": deps})
    (started,) = await events(guard, e.RunStarted)
    assert started.principal == ({} if user is None else {"user": user})


async def test_a_function_of_the_context_says_it(load: LoadGuard) -> None:
    guard = load(LOOK)
    capability = Guarded(guard, principal=lambda ctx: Principal(user=ctx.deps), session=lambda ctx: "s9")
    await play(guard, guarded=capability, run={"deps": "carol"})
    (started,) = await events(guard, e.RunStarted)
    assert (started.principal, started.session) == ({"user": "carol"}, "s9")


async def test_an_agent_inside_acts_for_whom_the_one_around_it_does(load: LoadGuard) -> None:
    guard, notes = load(LOOK + "tool ask { needs work  takes task: text  allow always }\n"), Notes()
    inner: Agent[None, str] = Agent(
        Script([asked("look", what="x")]).model(), tools=[notes.look], capabilities=[Guarded(guard)]
    )

    async def ask(task: str) -> str:
        """Ask somebody."""
        return (await inner.run(task)).output

    await play(guard, asked("ask", task="find it"), tools=[ask])
    outer, inside = await events(guard, e.RunStarted)
    assert (outer.principal, inside.principal) == (inside.principal, {"user": "alice", "workspace": "w1"})
    assert inside.session == outer.session
    assert [one.source for one in await events(guard, e.PromptGiven)] == ["user", "model"]


# ---- begin and end ---------------------------------------------------------------------------------


async def test_a_stream_that_is_left_early_ends_its_run(load: LoadGuard) -> None:
    guard = load(LOOK)
    agent: Agent[None, str] = Agent(
        Script([], last="a long answer").model(), capabilities=[Guarded(guard, principal=ALICE)]
    )
    async with agent.run_stream("go") as streamed:
        async for _ in streamed.stream_text(delta=True, debounce_by=None):
            break
    async with agent.iter("go") as run:
        async for _ in run:
            break
    assert "running" not in await statuses(guard)
    asks, answers = await events(guard, e.ModelAsked), await events(guard, e.ModelAnswered)
    assert [one.request for one in asks] == [one.request for one in answers]


async def test_the_hosts_time_and_its_token_stop_a_body_and_end_the_run(load: LoadGuard) -> None:
    guard, stopped, began = load(LOOK), [], asyncio.Event()

    async def look(what: str) -> str:
        """Look something up."""
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(what)
        return what

    with pytest.raises(RunTimedOut):
        await play(guard, asked("look", what="time"), tools=[look], run={"timeout": 0.2})
    token = CancellationToken()
    began.clear()
    running = asyncio.create_task(
        play(guard, asked("look", what="token"), tools=[look], run={"cancellation_token": token})
    )
    await asyncio.wait_for(began.wait(), 30)
    token.cancel()
    with pytest.raises(RunCancelled):
        await running
    assert stopped == ["time", "token"]
    assert await statuses(guard) == ["failed", "failed"]
    assert {one.outcome for one in await events(guard, e.CallFailed)} <= {"cancelled", "abandoned"}


async def test_a_tools_own_time_in_the_framework_is_a_retry(load: LoadGuard) -> None:
    guard = load(LOOK)

    async def look(what: str) -> str:
        """Look something up."""
        await asyncio.Event().wait()
        return what

    played = await play(guard, asked("look", what="x"), tools=[Tool(look, timeout=0.05)])
    assert played.told[0].failed and "Timed out" in played.told[0].text
    (failed,) = await events(guard, e.CallFailed)
    assert failed.outcome == "raised"


async def test_each_retry_is_a_call_of_its_own(load: LoadGuard) -> None:
    guard, tries = load(LOOK.replace("}", "rate 2 per run }")), []

    def look(what: str) -> str:
        """Look something up."""
        tries.append(what)
        raise ModelRetry("once more")

    played = await play(
        guard,
        *(asked("look", what="x") for _ in range(3)),
        tools=[Tool(look, max_retries=9)],
    )
    assert tries == ["x", "x"]
    assert [one.text for one in played.told][2] == "not authorized"
    assert "once more" in played.told[0].text
    assert await verdicts(guard) == [("look", "allow"), ("look", "allow"), ("look", "deny")]


async def test_the_frameworks_limits_end_the_run(load: LoadGuard) -> None:
    guard, notes = load(LOOK), Notes()
    with pytest.raises(UsageLimitExceeded):
        await play(
            guard,
            *(asked("look", what=str(n)) for n in range(3)),
            tools=[notes.look],
            run={"usage_limits": UsageLimits(tool_calls_limit=1)},
        )
    assert len(notes.ran) == 1
    assert await statuses(guard) == ["failed"]


async def test_a_kill_ends_a_stream_whose_model_hangs(load: LoadGuard) -> None:
    guard, began = load(LOOK), asyncio.Event()

    async def hanging(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        yield "a"
        began.set()
        await asyncio.Event().wait()
        yield "b"

    agent: Agent[None, str] = Agent(
        FunctionModel(stream_function=hanging), capabilities=[Guarded(guard, principal=ALICE)]
    )

    async def work() -> str:
        async with agent.run_stream("go") as streamed:
            return await streamed.get_output()

    running = asyncio.create_task(work())
    await asyncio.wait_for(began.wait(), 30)
    await guard.akill(by="olga")
    with pytest.raises(RunHaltedError):
        await asyncio.wait_for(running, 30)
    assert await statuses(guard) == ["halted"]


async def test_the_runs_deadline_bounds_the_model(load: LoadGuard) -> None:
    clock = FakeClock()
    head = (
        LEVELS.split("levels")[0] + "capability work is read\nagent main { holds work stop after 100 ms }\n"
    )
    guard = load(LOOK, head=head, clock=clock)

    async def thinking(messages: list[ModelMessage], info: AgentInfo) -> Any:
        await asyncio.Event().wait()

    agent: Agent[None, str] = Agent(FunctionModel(thinking), capabilities=[Guarded(guard, principal=ALICE)])
    with pytest.raises(RunHaltedError):
        await asyncio.wait_for(agent.run("go"), 30)
    assert await statuses(guard) == ["halted"]
    (answered,) = await events(guard, e.ModelAnswered)
    assert answered.error is not None


# ---- what is recorded ------------------------------------------------------------------------------


async def test_a_model_that_fails_is_recorded_so_and_the_one_that_stands_in_too(load: LoadGuard) -> None:
    guard = load(LOOK)

    def broken(messages: list[ModelMessage], info: AgentInfo) -> Any:
        raise ModelHTTPError(500, "m", "sk-secret")

    agent: Agent[None, str] = Agent(FunctionModel(broken), capabilities=[Guarded(guard, principal=ALICE)])
    with pytest.raises(ModelHTTPError):
        await agent.run("go")
    (answered,) = await events(guard, e.ModelAnswered)
    assert answered.messages is None and "ModelHTTPError" in answered.error
    both = FallbackModel(FunctionModel(broken), Script([]).model())
    assert (await agent.run("go", model=both)).output == "done"
    assert [one.error is None for one in await events(guard, e.ModelAnswered)] == [False, True]


async def test_usage_and_settings_are_recorded(load: LoadGuard) -> None:
    guard, notes = load(LOOK), Notes()
    await play(
        guard, asked("look", what="x"), tools=[notes.look], run={"model_settings": {"temperature": 0.5}}
    )
    first, second = await events(guard, e.ModelAsked)
    assert first.parameters == {"temperature": 0.5}
    assert [tool["name"] for tool in first.tools] == ["look"]
    assert len(second.messages) == 3
    answered = await events(guard, e.ModelAnswered)
    assert all(one.usage["output_tokens"] > 0 for one in answered)
    (started,) = await events(guard, e.RunStarted)
    assert {"pydantic-ai-slim", "pydantic"} <= started.versions.keys()


async def test_keys_in_the_settings_of_a_request_are_not_recorded(load: LoadGuard) -> None:
    guard = load(LOOK)
    settings = {
        "max_tokens": 50,
        "extra_headers": {"X-Tenant": "k-1", "Authorization": "Bearer k-2"},
        "extra_body": {"api_key": "k-3", "options": [{"session_token": "k-4", "user": "u"}]},
    }
    await play(guard, run={"model_settings": settings})
    (asked_,) = await events(guard, e.ModelAsked)
    assert "k-" not in repr(asked_)
    assert asked_.parameters["max_tokens"] == 50
    assert asked_.parameters["extra_body"]["options"][0]["user"] == "u"
    assert asked_.parameters["extra_headers"].keys() == {"X-Tenant", "Authorization"}


async def test_work_outside_of_a_run_does_not_start(load: LoadGuard) -> None:
    guard, notes = load(LOOK), Notes()
    capability = Guarded(guard, principal=ALICE)
    with pytest.raises(EngineError, match="outside of any run"):
        capability.get_wrapper_toolset(FunctionToolset([notes.look]))
    context = RunContext[Any](deps=None, model=Script([]).model(), usage=None)  # type: ignore[arg-type]
    per_run = await capability.for_run(context)
    toolset = per_run.get_wrapper_toolset(FunctionToolset([notes.look]))
    with pytest.raises(EngineError, match="outside of any run"):
        await toolset.get_tools(context)
    assert notes.ran == []


# ---- what a conversation remembers -----------------------------------------------------------------


async def test_a_label_of_one_turn_holds_in_the_next(load: LoadGuard) -> None:
    guard, notes = load("", head=LEVELS), Notes()
    tools = [notes.look, post_of(notes)]
    capability = Guarded(guard, principal=ALICE, typed="prompt")
    first = await play(guard, asked("look", what="payroll"), tools=tools, guarded=capability)
    script = Script([asked("post", what="news")], earlier=2)
    again = await play(
        guard, script=script, tools=tools, guarded=capability, run={"message_history": first.messages}
    )
    assert again.told[-1].text == "not authorized"
    fresh = await play(guard, asked("post", what="news"), tools=tools, guarded=capability)
    assert fresh.texts() == [("post did it", False)]


async def test_what_a_session_has_recorded_is_no_news_to_it(load: LoadGuard) -> None:
    guard, notes = load("", head=LEVELS), Notes()
    tools = [notes.look, post_of(notes)]
    capability = Guarded(guard, principal=ALICE, typed="prompt")
    first = await play(guard, asked("look", what="x"), tools=tools, guarded=capability)
    saved = ModelMessagesTypeAdapter.validate_json(ModelMessagesTypeAdapter.dump_json(first.messages))
    again = await play(
        guard,
        script=Script([asked("post", what="news")], earlier=2),
        tools=tools,
        guarded=capability,
        run={"message_history": saved},
    )
    assert again.told[-1].text == "post did it"
    assert [one.source for one in await events(guard, e.PromptGiven)] == ["user", "user"]


async def test_a_history_of_unknown_origin_is_of_the_highest_level(load: LoadGuard) -> None:
    guard, notes = load("", head=LEVELS), Notes()
    history = [ModelRequest(parts=[UserPromptPart("the payroll: bob 12")])]
    played = await play(
        guard,
        script=Script([asked("post", what="news")]),
        tools=[post_of(notes)],
        guarded=Guarded(guard, principal=ALICE, typed="prompt"),
        run={"message_history": history},
    )
    assert notes.ran == []
    assert played.told[-1].text == "not authorized"
    assert [one.source for one in await events(guard, e.PromptGiven)] == ["user", "host"]


async def test_a_prompt_that_nobody_vouches_for_is_too(load: LoadGuard) -> None:
    guard, notes = load("", head=LEVELS), Notes()
    await play(guard, asked("post", what="news"), tools=[post_of(notes)])
    assert notes.ran == []
    await play(
        guard,
        asked("post", what="news"),
        tools=[post_of(notes)],
        guarded=Guarded(guard, principal=ALICE, typed=lambda ctx: [str(ctx.prompt)]),
    )
    assert notes.ran == [("post", {"what": "news"})]


async def test_a_result_from_the_host_is_too(load: LoadGuard) -> None:
    guard, notes = load("", head=LEVELS), Notes()
    schema = {"type": "object", "properties": {"what": {"type": "string"}}}
    agent: Agent[None, Any] = Agent(
        Script([asked("look", what="payroll"), asked("post", what="news")]).model(),
        tools=[post_of(notes)],
        toolsets=[ExternalToolset([ToolDefinition(name="look", parameters_json_schema=schema)])],
        output_type=[str, DeferredToolRequests],
        capabilities=[Guarded(guard, principal=ALICE, typed="prompt")],
    )
    paused = await agent.run("go")
    result = await agent.run(
        message_history=paused.all_messages(),
        deferred_tool_results=DeferredToolResults(calls={"c1": "bob 12"}),
    )
    assert notes.ran == []
    assert Played(result).told[-1].text == "not authorized"


async def test_what_a_capability_puts_among_the_messages_is_too(load: LoadGuard) -> None:
    class Retrieving(AbstractCapability[Any]):
        async def before_model_request(self, ctx: Any, request_context: Any) -> Any:
            found = ModelRequest(parts=[UserPromptPart("the payroll: bob 12")])
            request_context.messages = [*request_context.messages, found]
            return request_context

    guard, notes = load("", head=LEVELS), Notes()
    await play(
        guard,
        asked("post", what="news"),
        tools=[post_of(notes)],
        guarded=Guarded(guard, principal=ALICE, typed="prompt"),
        capabilities=[Retrieving()],
    )
    assert notes.ran == []
    assert [one.source for one in await events(guard, e.PromptGiven)] == ["user", "host"]


async def test_content_beside_a_result_has_the_label_of_the_result(load: LoadGuard) -> None:
    guard, notes = load("", head=LEVELS), Notes()

    def look(what: str) -> ToolReturn:
        """Look something up."""
        return ToolReturn("short", content=["and long", CachePoint(), "and longer"])

    await play(
        guard,
        asked("look", what="x"),
        asked("post", what="news"),
        tools=[look, post_of(notes)],
        guarded=Guarded(guard, principal=ALICE, typed="prompt"),
    )
    assert notes.ran == [("post", {"what": "news"})]
    assert [one.source for one in await events(guard, e.PromptGiven)] == ["user"]


async def test_so_is_one_that_a_capability_gives_at_once(load: LoadGuard) -> None:
    def answer(ctx: RunContext[Any], requests: DeferredToolRequests) -> DeferredToolResults:
        return requests.build_results(calls={"c1": "bob 12"})

    guard, notes = load("", head=LEVELS), Notes()
    schema = {"type": "object", "properties": {"what": {"type": "string"}}}
    await play(
        guard,
        asked("look", what="payroll"),
        asked("post", what="news"),
        tools=[post_of(notes)],
        toolsets=[ExternalToolset([ToolDefinition(name="look", parameters_json_schema=schema)])],
        guarded=Guarded(guard, principal=ALICE, typed="prompt"),
        capabilities=[HandleDeferredToolCalls(handler=answer)],
    )
    assert notes.ran == []
    assert [one.source for one in await events(guard, e.PromptGiven)] == ["user", "host"]


async def test_instructions_are_the_developers(load: LoadGuard) -> None:
    guard = load("", head=LEVELS)
    await play(
        guard, guarded=Guarded(guard, typed="prompt"), instructions="be brief", system_prompt="be kind"
    )
    given = [(one.source, one.text) for one in await events(guard, e.PromptGiven)]
    assert given == [("user", "go"), ("system", "be brief"), ("system", "be kind")]
