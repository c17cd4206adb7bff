"""Models, tool servers and moments that mean harm: bounds hold, nothing is lost, nothing is told."""

import asyncio
import json
import threading
from typing import Any

import pytest
from agents import (
    Agent,
    FunctionTool,
    RunConfig,
    ToolGuardrailFunctionOutput,
    function_tool,
    set_tracing_disabled,
    tool_input_guardrail,
)
from agents.extensions.handoff_filters import remove_all_tools
from agents.realtime import RealtimeAgent
from agents.tracing import TracingProcessor, set_trace_processors
from openai.types.responses import ResponseFunctionToolCall

from ringfence import EngineError
from ringfence.adapters.openai_agents import GuardedRunner
from tests.adapters.openai_agents.conftest import LoadGuard
from tests.adapters.openai_agents.desk import (
    ADD,
    ALICE,
    SEND,
    Ran,
    agent_of,
    asks,
    events,
    says,
    script,
    statuses,
    told,
    verdicts,
)
from tests.adapters.openai_agents.stage import Remembered

BOB = asks("send", {"to": "bob"})
FREE = SEND.replace("  ask lead", "")


async def test_a_schema_that_goes_round_and_round_is_left_in_time(load: LoadGuard) -> None:
    ran, guard = Ran(), load("tool odd { needs work  takes a: text  allow always }")
    parts: dict[str, Any] = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(60)}
    parts["d60"] = {"type": "string"}
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": parts}

    async def body(context: Any, text: str) -> str:
        ran.append(text)
        return "ok"

    tool = FunctionTool("odd", "Odd.", schema, body, strict_json_schema=False)
    await GuardedRunner(guard).run(agent_of([tool], asks("odd", {"a": "a"})), "go", principal=ALICE)
    assert ran == [] and verdicts(guard) == ["deny"]


@pytest.mark.parametrize("name", ["add", "nothing", "transfer_to_refunds"])
async def test_a_call_that_a_program_at_the_provider_would_make_is_refused(
    load: LoadGuard, name: str
) -> None:
    ran, guard = Ran(), load(ADD + "tool transfer_to_refunds { needs work  allow always }")
    call = ResponseFunctionToolCall.model_validate(
        {
            "type": "function_call",
            "name": name,
            "call_id": "c1",
            "arguments": '{"amount": 5}',
            "caller": {"type": "program", "caller_id": "p1"},
        }
    )
    agent = agent_of([ran.add()], [call], handoffs=[agent_of([], name="refunds")])
    await GuardedRunner(guard).run(agent, "go", principal=ALICE)
    assert ran == [] and len(verdicts(guard)) == 1 and "allow" not in verdicts(guard)
    assert len(told(agent.model)) == 1 and statuses(guard) == ["done"]


async def test_who_is_cancelled_while_the_run_begins_leaves_none_behind(
    load: LoadGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = load(SEND)
    runner, agent = GuardedRunner(guard), agent_of([Ran().send()], BOB)
    paused = await runner.run(agent, "go", principal=ALICE)
    on, going = threading.Event(), threading.Event()
    resume = guard.resume_run

    def slowly(*given: Any, **more: Any) -> Any:
        run = resume(*given, **more)
        going.set()
        assert on.wait(30)
        return run

    monkeypatch.setattr(guard, "resume_run", slowly)
    running = asyncio.create_task(runner.run(agent, paused.to_state()))
    while not going.is_set():
        assert not running.done()
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.sleep(0)
    on.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert "running" not in statuses(guard)


LEVELS = """language 1
policy desk
levels public < secret
capability work is read
capability publish is external
agent main { holds work, publish }
tool read { needs work  allow always  result is secret }
tool send { needs publish  takes to: text  allow always  rate 90 per hour }
rule leak: deny send when after reading secret
responses { failure says because }
"""


async def test_what_a_failed_tool_says_is_of_the_highest_level(load: LoadGuard) -> None:
    ran, guard = Ran(), load("", head=LEVELS)

    @function_tool(failure_error_function=lambda context, error: str(error))
    def read() -> str:
        """Read."""
        raise RuntimeError("the salary is 5")

    agent = agent_of([read, ran.send()], asks("read", {}, "c0"), BOB)
    await GuardedRunner(guard, typed="user").run(agent, "go", principal=ALICE)
    assert told(agent.model) == ["the salary is 5", "not authorized"] and ran == []


async def test_a_refusal_that_the_policy_words_raises_no_level(load: LoadGuard) -> None:
    guard = load(
        "tool no { needs work  result is public }",
        head=LEVELS.replace("failure says because", 'deny says "no"'),
    )
    ran = Ran()

    @function_tool
    def no() -> str:
        """No."""
        raise AssertionError("it ran")

    agent = agent_of([no, ran.send()], asks("no", {}, "c0"), BOB)
    await GuardedRunner(guard, typed="user").run(agent, "go", principal=ALICE)
    assert told(agent.model) == ["no", "sent to bob"] and ran == ["bob"]


async def test_an_agent_inside_that_a_check_of_the_host_ended_is_bounded(load: LoadGuard) -> None:
    """The SDK had been told to wait with the call that the check then rejected."""
    guard = load(
        SEND + "tool helper { needs work  takes input: text  allow always  result at most 100 bytes }"
    )

    @tool_input_guardrail
    def no(data: Any) -> ToolGuardrailFunctionOutput:
        return ToolGuardrailFunctionOutput.reject_content("x" * 500)

    send = Ran().send()
    send.tool_input_guardrails = [no]
    for more in ({}, {"tool_use_behavior": "stop_on_first_tool"}):
        inner: Agent[Any] = Agent(name="inner", tools=[send], model=script(BOB, says("y" * 500)), **more)  # type: ignore[arg-type]
        agent = agent_of([inner.as_tool("helper", "Help.")], asks("helper", {"input": "x"}, "h1"))
        await GuardedRunner(guard).run(
            agent,
            "go",
            principal=ALICE,
            run_config=RunConfig(tool_execution={"pre_approval_tool_input_guardrails": True}),
        )
        assert len(told(agent.model)[0]) <= 100
    assert len(events(guard, "CallFinished")) == 2 and set(statuses(guard)) == {"done"}


@pytest.mark.parametrize("where", ["abegin_run", "aexecute"])
async def test_a_failure_of_the_engine_inside_an_agent_inside_is_told_no_model(
    load: LoadGuard, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    ran, guard = Ran(), load(FREE + "tool helper { needs work  takes input: text  allow always }")
    inner: Agent[Any] = Agent(name="inner", tools=[ran.send()], model=script(BOB))
    agent = agent_of([inner.as_tool("helper", "Help.")], asks("helper", {"input": "x"}, "h1"))
    real = getattr(guard, where)

    def failing(*given: Any, **more: Any) -> Any:
        run = given[0] if given else more.get("parent")
        if run is not None and (where == "abegin_run" or run.parent is not None):
            raise EngineError("the store is away")
        return real(*given, **more)

    monkeypatch.setattr(guard, where, failing)
    with pytest.raises(EngineError, match="the store is away"):
        await GuardedRunner(guard).run(agent, "go", principal=ALICE)
    assert ran == [] and len(agent.model.calls) == 1 and set(statuses(guard)) == {"failed"}  # type: ignore[union-attr]


async def test_whoever_stays_is_shown_the_refusal_whatever_filters_there_are(load: LoadGuard) -> None:
    guard = load("tool transfer_to_refunds { needs work }")
    handed = asks("transfer_to_refunds", {}, "h1")
    agent = agent_of([], handed, handoffs=[agent_of([], name="refunds")])
    config = RunConfig(handoff_input_filter=remove_all_tools)
    await GuardedRunner(guard).run(agent, "go", principal=ALICE, run_config=config)
    assert told(agent.model) == ["not authorized"]


async def test_a_conversation_that_has_not_begun_has_no_name(load: LoadGuard) -> None:
    class Elsewhere(Remembered):
        @property
        def session_id(self) -> str:
            raise ValueError("not yet")

        @session_id.setter
        def session_id(self, value: str) -> None:
            """It is the provider that names it."""

    guard = load(ADD)
    await GuardedRunner(guard).run(agent_of([]), "go", principal=ALICE, session=Elsewhere("s1"))
    assert statuses(guard) == ["done"]


def test_a_realtime_agent_is_none_that_runs_here(load: LoadGuard) -> None:
    with pytest.raises(TypeError, match="no agent"):
        GuardedRunner(load(ADD)).guarded(RealtimeAgent(name="desk"))  # type: ignore[arg-type]


class Sent(TracingProcessor):
    """Where the SDK would send its traces."""

    def __init__(self) -> None:
        self.text = ""

    def on_trace_start(self, trace: Any) -> None:
        """Wait for its end."""

    def on_trace_end(self, trace: Any) -> None:
        self.text += json.dumps(trace.export(), default=str)

    def on_span_start(self, span: Any) -> None:
        """Wait for its end."""

    def on_span_end(self, span: Any) -> None:
        self.text += json.dumps(span.export(), default=str)

    def shutdown(self) -> None:
        """Nothing is open."""

    def force_flush(self) -> None:
        """Nothing waits."""


@pytest.mark.parametrize(("data", "config"), [(False, None), (False, True), (True, True), (True, False)])
async def test_traces_carry_what_was_said_only_if_both_say_so(
    load: LoadGuard, data: bool, config: bool | None
) -> None:
    ran, guard, sent = (
        Ran(),
        load(FREE + "tool helper { needs work  takes input: text  allow always }"),
        Sent(),
    )
    own = None if config is None else RunConfig(trace_include_sensitive_data=config)
    inner: Agent[Any] = Agent(name="inner", tools=[ran.send()], model=script(BOB))
    agent = agent_of([inner.as_tool("helper", "Help.", run_config=own)], asks("helper", {"input": "carol"}))
    set_trace_processors([sent])
    set_tracing_disabled(False)
    try:
        await GuardedRunner(guard, traces_data=data).run(agent, "go", principal=ALICE, run_config=own)
    finally:
        set_tracing_disabled(True)
        set_trace_processors([])
    assert ran == ["bob"] and '"send"' in sent.text
    assert ("bob" in sent.text or "carol" in sent.text) == (data and config is True)


@pytest.mark.parametrize("strict", [True, False])
async def test_none_is_missing_and_does_not_become_a_default(load: LoadGuard, strict: bool) -> None:
    rule = "takes limit: integer optional  allow when limit is missing or limit <= 50"
    ran, guard = Ran(), load(f"tool look {{ needs work  {rule} }}")

    @function_tool(strict_mode=strict)
    def look(limit: int | None = 1000) -> str:
        """Look."""
        ran.append(limit)
        return "seen"

    turns = (asks("look", {"limit": None}), asks("look", {}, "c2"))
    await GuardedRunner(guard).run(agent_of([look], *turns), "go", principal=ALICE)
    assert ran == [None] and verdicts(guard) == ["allow", "deny"]
