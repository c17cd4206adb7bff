"""What LangChain's own suites found in the adapter, as tests of ours."""

import dataclasses
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.tools import BaseTool, Tool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.prebuilt.tool_node import ToolRuntime
from langgraph.types import Command, interrupt
from pydantic import BaseModel, ValidationError

from ringfence.adapters.langchain import begin_node, guard_tools
from tests.adapters.langchain.agents import THREAD
from tests.adapters.langchain.conftest import LoadGuard
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
