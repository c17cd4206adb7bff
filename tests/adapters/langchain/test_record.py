"""The record of an agent is complete: each thing that a reader of the log may ask for stands in it.

Every test runs a real agent and reads its log back.
"""

import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ModelRetryMiddleware, SummarizationMiddleware
from langchain_core.language_models import LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.runnables import Runnable
from langchain_core.tools import tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import Field, SecretStr

import ringfence
from ringfence import Guard
from ringfence.adapters.langchain import GuardMiddleware, questions
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
    danger_of,
    events,
    kinds,
    run_sync,
    send_of,
)
from tests.adapters.langchain.conftest import LoadGuard
from tests.adapters.langchain.model import ScriptedModel, asks, call, says

KEY = "sk-of-the-provider-0123456789"
POLITE = "Be polite."


class Provided(ScriptedModel):
    """Says of itself what the models of providers say, binds tools as they do, and streams."""

    temperature: float = 0.25
    more: dict[str, Any] = Field(default_factory=dict)

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {
            "model": "provided-1",
            "temperature": self.temperature,
            "service_key": SecretStr(KEY),
            "headers": {"authorization": SecretStr(KEY)},
            **self.more,
        }

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return LangSmithParams(
            ls_provider="provider", ls_model_name="provided-1", ls_model_type="chat", ls_max_tokens=99
        )

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        said = {name: value for name, value in kwargs.items() if value is not None}
        return self.bind(tools=[convert_to_openai_tool(one) for one in tools], **said)

    def _stream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        made = self._generate(messages, stop, run_manager, **kwargs).generations[0].message
        assert isinstance(made, AIMessage)
        text = str(made.content)
        for piece in text[:1], text[1:]:
            yield ChatGenerationChunk(message=AIMessageChunk(content=piece))
        yield ChatGenerationChunk(
            message=AIMessageChunk(
                content="",
                usage_metadata=made.usage_metadata,
                tool_call_chunks=[
                    {"name": one["name"], "args": '{"a": 1}', "id": one["id"], "index": 0}
                    for one in made.tool_calls
                ],
            )
        )


def provided(guard: Guard, *script: Any, middleware: Sequence[Any] = ()) -> Any:
    """Return an agent of such a model, with a system prompt."""
    made: Any = create_agent(
        Provided(script=list(script)),
        [add_of([])],
        system_prompt=POLITE,
        middleware=[*middleware, GuardMiddleware(guard)],
    )
    return made


def of_type(guard: Guard, kind: type[Any]) -> list[Any]:
    return [event for event in events(guard) if isinstance(event, kind)]


def contents(messages: Any) -> list[Any]:
    return [(one["type"], one["data"]["content"]) for one in messages]


# ---- what it ran on --------------------------------------------------------------------------------


def test_a_run_says_which_versions_it_ran_on_and_by_which_policy(load: LoadGuard) -> None:
    guard = load(ADD)
    run_sync(agent_of(guard, [add_of([])], says()), HELLO, context=ALICE)
    (started,) = of_type(guard, e.RunStarted)
    assert started.versions == {
        "ringfence": ringfence.__version__,
        "python": ".".join(map(str, sys.version_info[:3])),
        **{name: version(name) for name in ("langchain", "langchain-core", "langgraph")},
        "langgraph-prebuilt": version("langgraph-prebuilt"),
    }
    assert (started.framework, started.policy) == ("langchain", "desk")
    assert started.policy_digest == guard.plan.digest
    assert ADD in started.policy_text


def test_a_run_without_a_framework_says_what_the_host_says_and_cannot_pass_for_another_version(
    load: LoadGuard,
) -> None:
    guard = load(ADD)
    with guard.run(framework="mine", versions={"mine": "7", "ringfence": "99"}):
        pass
    (started,) = of_type(guard, e.RunStarted)
    assert started.versions == {
        "mine": "7",
        "ringfence": ringfence.__version__,
        "python": ".".join(map(str, sys.version_info[:3])),
    }


# ---- prompts and models ----------------------------------------------------------------------------


@both
def test_a_model_request_has_its_prompts_tools_and_parameters(load: LoadGuard, invoke: Invoke) -> None:
    guard = load(ADD)
    agent = provided(guard, asks(call("add", a=1)), says("two", input=3, output=4, total=7))
    invoke(agent, HELLO, context=ALICE)
    assert [(one.source, one.text) for one in of_type(guard, e.PromptGiven)] == [("user", "hello")]
    first, second = of_type(guard, e.ModelAsked)
    assert contents(first.messages) == [("system", POLITE), ("human", "hello")]
    assert contents(second.messages)[3:] == [("tool", "2")]
    assert first.model == "provided-1"
    (offered,) = first.tools
    assert offered["function"]["name"] == "add"
    assert offered["function"]["parameters"]["required"] == ["a"]
    assert first.parameters["temperature"] == 0.25
    assert (first.parameters["provider"], first.parameters["max_tokens"]) == ("provider", 99)
    called, said = of_type(guard, e.ModelAnswered)
    assert called.messages[0]["data"]["tool_calls"][0]["args"] == {"a": 1}
    assert said.usage == {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    assert [one.request for one in (called, said)] == [one.request for one in (first, second)]
    assert guard.runs.latest().replay().identical


class Chooses(ModelRetryMiddleware):
    """Asks for one tool, and for another temperature than the model's own."""

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        return handler(request.override(tool_choice="add", model_settings={"temperature": 0.75}))

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        return await handler(request.override(tool_choice="add", model_settings={"temperature": 0.75}))


@both
def test_a_parameter_of_one_call_is_that_calls(load: LoadGuard, invoke: Invoke) -> None:
    guard = load(ADD)
    invoke(provided(guard, says(), middleware=[Chooses()]), HELLO)
    (asked,) = of_type(guard, e.ModelAsked)
    assert (asked.parameters["tool_choice"], asked.parameters["temperature"]) == ("add", 0.75)


def test_a_key_to_the_provider_is_not_in_the_record(load: LoadGuard) -> None:
    guard = load(ADD)
    run_sync(provided(guard, says()), HELLO)
    assert not [event for event in events(guard) if KEY in str(e.body_of(event))]
    (asked,) = of_type(guard, e.ModelAsked)
    assert asked.parameters["service_key"] == "**********"
    assert asked.parameters["headers"]["authorization"] == e.MARK


PLAIN: dict[str, Any] = {
    "openai_api_key": KEY,
    "aws_secret_access_key": KEY,
    "default_headers": {"X-Gateway": KEY, "Authorization": f"Bearer {KEY}"},
    "model_kwargs": {"extra_body": {"auth": {"client-secret": KEY}}, "extra_headers": [["x-key", KEY]]},
    "mcp_servers": [{"url": f"https://me:{KEY}@mcp.example/", "authorization_token": KEY}],
    "azure_ad_token": KEY.encode(),
    "tools": [
        {"type": "mcp", "server_url": "https://mcp.example", "headers": {"Authorization": KEY}},
        {"type": "mcp", "authorization": KEY},
    ],
}


def test_a_key_that_is_written_openly_in_a_parameter_or_a_tool_is_not_in_the_record(load: LoadGuard) -> None:
    guard = load(ADD)
    model = Provided(script=[says()], more=PLAIN)
    run_sync(create_agent(model, [], middleware=[GuardMiddleware(guard)]), HELLO)
    assert not [event for event in events(guard) if KEY in str(e.body_of(event))]
    (asked,) = of_type(guard, e.ModelAsked)
    assert asked.parameters["mcp_servers"][0]["url"] == f"https://me:{e.MARK}@mcp.example/"
    assert asked.parameters["temperature"] == 0.25 and asked.parameters["max_tokens"] == 99
    assert asked.tools[0]["server_url"] == "https://mcp.example"


@pytest.mark.parametrize("mode", ["messages", "values"])
def test_a_streamed_answer_is_recorded_whole_with_its_usage(load: LoadGuard, mode: str) -> None:
    guard = load(ADD)
    agent = provided(guard, asks(call("add", a=1)), says("two", input=3, output=4, total=7))
    assert len(list(agent.stream(HELLO, context=ALICE, stream_mode=mode))) > 2
    called, said = of_type(guard, e.ModelAnswered)
    assert called.messages[0]["data"]["tool_calls"][0]["args"] == {"a": 1}
    assert (said.messages[0]["data"]["content"], said.usage["total_tokens"]) == ("two", 7)
    assert kinds(guard).count("ModelAsked") == 2


async def test_an_answer_that_is_streamed_asynchronously_is_recorded_the_same(load: LoadGuard) -> None:
    guard = load(ADD)
    agent = provided(guard, asks(call("add", a=1)), says("two", input=3, output=4, total=7))
    pieces = [one async for one in agent.astream(HELLO, context=ALICE, stream_mode="messages")]
    assert len(pieces) > 2
    _, said = of_type(guard, e.ModelAnswered)
    assert (said.messages[0]["data"]["content"], said.usage["total_tokens"]) == ("two", 7)


@both
def test_a_summary_that_other_middleware_asks_for_is_a_model_call_of_the_run(
    load: LoadGuard, invoke: Invoke
) -> None:
    guard = load(ADD)
    summary = SummarizationMiddleware(
        model=Provided(script=[says("short", input=8, output=1, total=9)]),
        trigger=("messages", 2),
        keep=("messages", 1),
    )
    said = [("user", f"word {n}") for n in range(4)]
    invoke(provided(guard, says("end"), middleware=[summary]), {"messages": said}, context=ALICE)
    answered = of_type(guard, e.ModelAnswered)
    assert [one.messages[0]["data"]["content"] for one in answered] == ["short", "end"]
    assert answered[0].usage["total_tokens"] == 9
    first, second = of_type(guard, e.ModelAsked)
    assert "word 0" in str(first.messages) and "short" in str(second.messages)


@both
def test_each_attempt_of_a_model_call_is_recorded(load: LoadGuard, invoke: Invoke) -> None:
    def fails(_: Sequence[BaseMessage]) -> AIMessage:
        raise ValueError("overloaded")

    guard = load(ADD)
    retry = ModelRetryMiddleware(max_retries=2, initial_delay=0, jitter=False)
    invoke(agent_of(guard, [add_of([])], fails, fails, says("at last"), middleware=[retry]), HELLO)
    answered = of_type(guard, e.ModelAnswered)
    assert [one.error for one in answered] == ["ValueError: overloaded", "ValueError: overloaded", None]
    assert len({one.request for one in of_type(guard, e.ModelAsked)}) == 3


# ---- calls -----------------------------------------------------------------------------------------


@both
def test_each_call_is_requested_decided_reserved_started_and_ended(load: LoadGuard, invoke: Invoke) -> None:
    @tool
    def add(a: int) -> str:
        """Fail the first time."""
        if a == 1:
            raise ValueError("busy")
        return "2"

    guard = load("tool add { needs work  takes a: integer  allow always  rate 5 per run }")
    script = (asks(call("add", "c1", a=1)), asks(call("add", "c2", a=2)), says())
    invoke(agent_of(guard, [add], *script), HELLO, context=ALICE)
    each = ["CallRequested", "CallDecided", "CallStarted"]
    found = [one for one in kinds(guard) if one.startswith("Call")]
    assert found == [*each, "CallFailed", *each, "CallFinished"]
    (failed,), (finished,) = of_type(guard, e.CallFailed), of_type(guard, e.CallFinished)
    assert (failed.outcome, finished.result) == ("raised", "2")
    assert "ValueError" in failed.error
    assert [one.call_id for one in of_type(guard, e.CallRequested)] == ["c1", "c2"]
    for decided in of_type(guard, e.CallDecided):
        assert [(one["budget"], one["amount"]) for one in decided.charges] == [("desk/add/rate/run/run", 1)]


REFUSING = """
capability more is external
agent main { holds work  at most 6 calls }
tool add { needs work  takes a: integer  allow when a < 50  rate 2 per run }
tool send { needs more  takes to: text  allow always }
rule odd: deny add when a > 40 because "too large"
"""


@both
def test_a_refusal_of_any_kind_is_an_event_of_its_own(load: LoadGuard, invoke: Invoke) -> None:
    guard = load(REFUSING)

    @tool
    def send(to: str) -> str:
        """Never run."""
        raise AssertionError

    refused = {
        "u": (call("danger", "u"), "unknown", "unknown"),
        "c": (call("send", "c", to="x"), "unknown", "send.needs"),
        "t": (call("add", "t", a="x"), "deny", "add.arguments"),
        "r": (call("add", "r", a=45), "deny", "odd"),
        "n": (call("add", "n", a=60), "deny", "odd"),
    }
    turns = [asks(one) for one, _, _ in refused.values()]
    allowed = [asks(call("add", f"a{n}", a=n)) for n in range(3)]
    invoke(agent_of(guard, [add_of([]), send, danger_of([])], *turns, *allowed, says()), HELLO, context=ALICE)
    requested = {one.call: one.call_id for one in of_type(guard, e.CallRequested)}
    found = {requested[one.call]: (one.verdict, one.reasons) for one in of_type(guard, e.CallDecided)}
    assert found.keys() == {*refused, "a0", "a1", "a2"}
    for id, (_, verdict, name) in refused.items():
        assert found[id][0] == verdict
        assert name in [reason["name"] for reason in found[id][1]]
    assert [found[f"a{n}"][0] for n in range(3)] == ["allow", "allow", "deny"]
    assert "add.rate" in [reason["name"] for reason in found["a2"][1]]
    assert kinds(guard).count("CallStarted") == 2
    assert guard.runs.latest().replay().identical


@both
def test_a_refusal_of_people_and_a_halt_are_events(load: LoadGuard, invoke: Invoke) -> None:
    guard = load(
        SEND + "\ntool add { needs work  takes a: integer  allow always  rate 1 per run otherwise halt }"
    )
    script = [asks(call("send", "s", to="bob")), *(asks(call("add", f"a{n}", a=n)) for n in (1, 2)), says()]
    agent = agent_of(guard, [send_of([]), add_of([])], *script, checkpointer=InMemorySaver())
    (question,) = questions(invoke(agent, HELLO, THREAD, context=ALICE))
    guard.deny(question.ticket, by="dana", because="not to bob")
    invoke(agent, None, THREAD)
    (asked,), (answered,) = of_type(guard, e.ApprovalAsked), of_type(guard, e.ApprovalAnswered)
    assert (asked.approver, asked.ticket) == ("lead", question.ticket)
    assert (answered.verdict, answered.by, answered.because) == ("reject", "dana", "not to bob")
    assert kinds(guard).count("RunSuspended") == kinds(guard).count("RunResumed") == 1
    (halted,) = of_type(guard, e.RunHalted)
    assert halted.reason == "add.rate"
    assert events(guard)[-1] == e.RunEnded("halted", None)
    assert guard.runs.latest().replay().identical


# ---- time ------------------------------------------------------------------------------------------


def test_every_latency_is_the_monotonic_clocks_whatever_the_wall_clock_does(load: LoadGuard) -> None:
    clock = FakeClock()

    def slow(_: Sequence[BaseMessage]) -> AIMessage:
        clock.advance(2)
        clock.step_back(60)
        return asks(call("add", a=1))

    @tool
    def add(a: int) -> str:
        """Take three seconds."""
        clock.advance(3)
        clock.step_back(60)
        return "2"

    guard = load(ADD, clock=clock)
    run_sync(agent_of(guard, [add], slow, says()), HELLO)
    answered, _ = of_type(guard, e.ModelAnswered)
    (finished,) = of_type(guard, e.CallFinished)
    assert (answered.duration_ns, finished.duration_ns) == (2_000_000_000, 3_000_000_000)
    moments = [stamped.at_ns for stamped in guard.runs.latest().events]
    assert moments == sorted(moments)
