"""A tool of the policy whose body is JavaScript, as a LangChain tool: in an agent, in a raw graph, alone."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.tools import BaseTool, tool
from langgraph.graph import END, START, MessagesState, StateGraph

from ringfence._assembly import assemble
from ringfence.adapters.langchain import begin_node, isolate_tool, tool_node
from ringfence.dsl.load import load_text
from ringfence.engine.decision.events import CallRequested
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.isolates import IsolateJob
from ringfence.engine.seams.settings import Settings
from tests.adapters.langchain.agents import ALICE, HELLO, Invoke, agent_of, both, events, replies
from tests.adapters.langchain.model import asks, call, model, says
from tests.guards import GROUPS
from tests.isolates import Executors, FakeExecutor, ToolError, Tools

POLICY = """
language 1
policy desk
levels public < secret
capability look is read
capability run is code
approver lead { group "leads"  never the requester  answer within 5 minutes otherwise deny }
isolate box { may call query, quote }
isolate small { time 1 second }
tool query is "db_query" "Read rows" {
  needs look
  takes table: text, limit: integer optional
  allow when table in ["orders", "payments"]
  result is secret when table == "payments"
  result is public otherwise
}
tool quote {
  needs look
  takes items: list of text at most 5
  runs "quote.js" in small
  allow always
  result is public
}
tool run_js "Compute over rows" {
  needs run
  takes code: text at most 32 KB
  runs code in box
  allow when size(code) > 0 bytes
}
tool plain { needs look  takes a: integer  allow always  result is public }
"""
FILES = {"quote.js": "({ items }) => items.length"}


def guard_of(fake: FakeExecutor, policy: str = POLICY) -> Guard:
    loaded = load_text(policy, "desk.fence", read=FILES.__getitem__)
    assert loaded.plan is not None, loaded.diagnostics
    settings = Settings.of({"store": "memory:", "groups": GROUPS})
    return assemble(loaded.plan, settings, plugins=[Executors(fake)])


async def totals(job: IsolateJob, tools: Tools) -> Any:
    return sum(row["total"] for row in await tools("query", table="orders"))


async def probes(job: IsolateJob, tools: Tools) -> Any:
    try:
        await tools("query", table="users")
    except ToolError as error:
        return f"told: {error}"


async def counts(job: IsolateJob, tools: Tools) -> Any:
    return len(json.loads(job.arguments)["items"])


@pytest.fixture
def fake() -> FakeExecutor:
    return FakeExecutor({"total": totals, "probe": probes, FILES["quote.js"]: counts})


@pytest.fixture
def guard(fake: FakeExecutor) -> Iterator[Guard]:
    guard = guard_of(fake)
    yield guard
    guard.close()


def query_of(read: list[str]) -> BaseTool:
    @tool("db_query")
    def query(table: str) -> list[dict[str, int]]:
        """Read rows of the host."""
        read.append(table)
        return [{"total": 2}, {"total": 3}]

    return query


@both
def test_a_models_code_calls_a_tool_in_an_agent(guard: Guard, invoke: Invoke) -> None:
    read: list[str] = []
    made = isolate_tool(guard, "run_js", inner=[query_of(read)])
    agent = agent_of(guard, [made], asks(call("run_js", code="total")), says())
    assert replies(invoke(agent, HELLO, context=ALICE)) == ["5"]
    assert read == ["orders"]
    asked = [event for event in events(guard) if isinstance(event, CallRequested)]
    assert [(one.tool, one.parent) for one in asked] == [("run_js", None), ("db_query", asked[0].call)]


def graph_of(guard: Guard, tools: list[BaseTool], *script: Any) -> Any:
    scripted = model(*script)
    graph: Any = StateGraph(MessagesState)
    graph.add_node("begin", begin_node(guard))
    graph.add_node("model", lambda state: {"messages": [scripted.invoke(state["messages"])]})
    graph.add_node("tools", tool_node(guard, tools))
    graph.add_edge(START, "begin")
    graph.add_edge("begin", "model")
    graph.add_edge("model", "tools")
    graph.add_edge("tools", END)
    return graph.compile()


@both
def test_it_runs_in_a_raw_graph(guard: Guard, invoke: Invoke) -> None:
    read: list[str] = []
    made = [isolate_tool(guard, "run_js", inner=[query_of(read)]), isolate_tool(guard, "quote")]
    script = asks(call("run_js", code="total"), call("quote", id="c2", items=["a", "b"]))
    assert replies(invoke(graph_of(guard, made, script), HELLO, context=ALICE)) == ["5", "2"]


@both
def test_a_refused_inner_call_says_the_constant_text_and_runs_nothing(guard: Guard, invoke: Invoke) -> None:
    read: list[str] = []
    made = isolate_tool(guard, "run_js", inner=[query_of(read)])
    agent = agent_of(guard, [made], asks(call("run_js", code="probe")), says())
    assert replies(invoke(agent, HELLO, context=ALICE)) == ["told: not authorized"]
    assert read == []
