"""A sub-agent with a run of its own acts with what that run holds."""

from typing import Any

from langchain.agents import create_agent
from langchain_core.tools import BaseTool, tool

from ringfence import Principal
from ringfence.adapters.langchain import GuardMiddleware
from tests.adapters.langchain.agents import Invoke, both
from tests.adapters.langchain.conftest import LoadGuard
from tests.adapters.langchain.model import asks, call, model, says

POLICY = """
capability pay_out is money
agent clerk { holds work, pay_out }
agent researcher { holds work }
tool research { needs work  takes question: text  allow when size(question) > 0 bytes  rate 9 per hour }
tool look { needs work  takes what: text  allow when what == "x"  rate 9 per hour }
tool pay { needs pay_out  takes amount: integer  allow when amount < 100  rate 9 per hour }
"""


@both
def test_a_sub_agents_calls_are_decided_by_what_its_own_run_holds(load: LoadGuard, invoke: Invoke) -> None:
    guard, paid = load(POLICY), list[int]()

    @tool
    def look(what: str) -> str:
        """Look something up."""
        return what

    @tool
    def pay(amount: int) -> str:
        """Pay somebody."""
        paid.append(amount)
        return "paid"

    tools: list[BaseTool] = [look, pay]
    inner: Any = create_agent(
        model(asks(call("look", what="x")), asks(call("pay", amount=5)), says("done")),
        tools,
        middleware=[GuardMiddleware(guard, agent="researcher")],
    )

    @tool
    def research(question: str) -> str:
        """Hand a question to the researcher."""
        inner.invoke({"messages": [("user", question)]}, context=Principal(user="alice"))
        return "found"

    outer = create_agent(
        model(asks(call("research", question="who?")), asks(call("pay", amount=7)), says("done")),
        [research, *tools],
        middleware=[GuardMiddleware(guard, agent="clerk")],
    )
    invoke(outer, {"messages": [("user", "go")]}, context=Principal(user="alice"))
    by_agent = {row.agent: guard.runs.get(row.run).calls for row in guard.runs.list()}
    assert [(one.tool, one.verdict) for one in by_agent["clerk"]] == [("research", "allow"), ("pay", "allow")]
    assert [(one.tool, one.verdict) for one in by_agent["researcher"]] == [
        ("look", "allow"),
        ("pay", "unknown"),
    ]
    assert paid == [7]
