"""What LangChain's own suites found in the adapter, as tests of ours."""

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from langchain.agents.middleware import AgentMiddleware, ModelRequest
from langchain_core.messages import AIMessage
from langchain_core.tools import BaseTool, Tool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.prebuilt.tool_node import ToolRuntime
from langgraph.types import Command, interrupt
from pydantic import BaseModel, ValidationError

from ringfence.adapters.langchain import GuardMiddleware, begin_node, guard_tools
from tests.adapters.langchain.agents import ADD, HELLO, THREAD, Invoke, add_of, agent_of, both, replies
from tests.adapters.langchain.conftest import LoadGuard
from tests.adapters.langchain.model import asks, call, says
from tests.adapters.langchain.versions import needs

CALLS = {"messages": [AIMessage("", tool_calls=[{"name": "probe", "args": {}, "id": "c1"}])]}
PROBE = "tool probe { needs work  allow always }"


class Yes(BaseModel):
    yes: bool


@dataclasses.dataclass
class Said:
    word: str


def graph_of(guard: Any, probe: BaseTool, **options: Any) -> Any:
    graph = StateGraph(MessagesState, context_schema=Said)
    graph.add_node("begin", begin_node(guard))
    graph.add_node("tools", ToolNode(guard_tools(guard, [probe])))
    graph.add_edge(START, "begin")
    graph.add_edge("begin", "tools")
    return graph.compile(**options)


@needs("langgraph", "1.2")
def test_a_resume_that_does_not_fit_the_schema_of_a_body_s_interrupt_leaves_the_question_open(
    load: LoadGuard,
) -> None:
    @tool
    def probe() -> str:
        """Ask."""
        return f"yes={interrupt('Yes?', response_schema=Yes).yes}"

    graph = graph_of(load(PROBE), probe, checkpointer=InMemorySaver())
    [pending] = graph.invoke(CALLS, THREAD)["__interrupt__"]
    with pytest.raises(ValidationError, match="yes"):
        graph.invoke(Command(resume={pending.id: {"yes": "perhaps"}}), THREAD)
    assert [one.id for one in graph.get_state(THREAD).interrupts] == [pending.id]
    result = graph.invoke(Command(resume={pending.id: {"yes": True}}), THREAD)
    assert result["messages"][-1].content == "yes=True"


def test_a_runtime_under_any_name_and_with_types_reaches_the_body(load: LoadGuard) -> None:
    @tool
    def probe(rt: ToolRuntime[Said]) -> str:
        """Say it."""
        return rt.context.word

    graph = graph_of(load(PROBE), probe)
    assert graph.invoke(CALLS, context=Said("hello"))["messages"][-1].content == "hello"


def test_a_runtime_reaches_the_run_of_a_class(load: LoadGuard) -> None:
    class Probe(BaseTool):
        name: str = "probe"
        description: str = "Say it."

        def _run(self, runtime: ToolRuntime[Said]) -> str:
            return runtime.context.word

    graph = graph_of(load(PROBE), Probe())
    assert graph.invoke(CALLS, context=Said("hello"))["messages"][-1].content == "hello"


def test_a_single_argument_is_decided_under_its_name_in_a_json_schema(load: LoadGuard) -> None:
    schema = {"type": "object", "title": "probe", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    square = Tool(name="probe", description="Square.", args_schema=schema, func=lambda a: a * a)
    guard = load("tool probe { needs work  takes a: integer  allow when a < 10 }")
    [guarded] = guard_tools(guard, [square])
    with guard.run():
        assert guarded.invoke({"a": 3}) == 9
        with pytest.raises(Exception, match=r"probe\.allow"):
            guarded.invoke({"a": 30})


class Anew(AgentMiddleware):
    """Makes the model's request anew, without the agent's state and runtime."""

    def of(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        return ModelRequest(
            model=request.model,
            messages=request.messages,
            system_prompt="Be kind.",
            tool_choice=request.tool_choice,
            tools=request.tools,
            response_format=request.response_format,
            state={"messages": []},
            runtime=None,
        )

    def wrap_model_call(self, request: ModelRequest[Any], handler: Callable[..., Any]) -> Any:
        return handler(self.of(request))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[..., Awaitable[Any]]
    ) -> Any:
        return await handler(self.of(request))


@both
def test_a_request_that_was_made_anew_is_asked_in_the_run_of_its_graph(
    load: LoadGuard, invoke: Invoke
) -> None:
    guard = load(ADD)
    agent = agent_of(guard, [add_of([])], asks(call("add", a=1)), says(), middleware=[Anew()])
    result = invoke(agent, HELLO)
    assert replies(result) == ["2"] and result["messages"][-1].content == "done"
    assert [row.status for row in guard.runs.list()] == ["done"]


@both
def test_a_request_without_state_is_not_asked_in_the_run_of_the_agent_around_it(
    load: LoadGuard, invoke: Invoke
) -> None:
    class Beginless(GuardMiddleware):
        """Begins no run, so that there is none but the one around it."""

        def before_agent(self, state: Any, runtime: Any) -> None:
            return None

    guard = load(ADD)
    inner = agent_of(None, [], says(), middleware=[Anew(), Beginless(guard)])

    @tool("add")
    def ask_it(a: int) -> str:
        """Ask the inner agent."""
        return str(inner.invoke(HELLO)["messages"][-1].content)

    agent = agent_of(guard, [ask_it], asks(call("add", a=1)), says())
    result = invoke(agent, HELLO)
    assert replies(result) == ["not authorized"]
