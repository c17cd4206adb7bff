"""Limits after resumes: LangChain's own two, which do not fire, beside ours, which do."""

from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import (
    HumanInTheLoopMiddleware,
    ModelCallLimitMiddleware,
    ToolCallLimitMiddleware,
)
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from ringfence.adapters.langchain import GuardMiddleware, questions
from tests.adapters.langchain.agents import ALICE, HELLO, THREAD, Invoke, both, replies, send_of
from tests.adapters.langchain.conftest import LoadGuard
from tests.adapters.langchain.model import asks, call, model, says

TIMES = 4
TURNS = [asks(call("send", f"c{n}", to=f"bob{n}")) for n in range(TIMES)]
PEOPLE: Any = HumanInTheLoopMiddleware(interrupt_on={"send": True})
APPROVE: Any = Command(resume={"decisions": [{"type": "approve"}]})


def turns() -> list[Any]:
    """Return a model's turns, each with a call that asks, and its last word."""
    return [*(one.model_copy() for one in TURNS), says()]


def of_langchain(limit: Any, sent: list[str], invoke: Invoke) -> list[str]:
    """Run with a limit of LangChain's and its own approvals: return what the tools answered."""
    made = create_agent(
        model(*turns()), [send_of(sent)], middleware=[limit, PEOPLE], checkpointer=InMemorySaver()
    )
    result = invoke(made, HELLO, THREAD)
    for _ in range(TIMES):
        if "__interrupt__" not in result:
            break
        result = invoke(made, APPROVE, THREAD)
    return replies(result)


def of_ours(load: LoadGuard, limits: str, tool: str, sent: list[str], invoke: Invoke) -> dict[str, Any]:
    """Run with limits of ours, every question approved: return what came out of it."""
    guard = load(
        f"agent main {{ holds work  {limits} }}\n"
        f"tool send {{ needs work  takes to: text  allow always  ask lead  {tool} }}"
    )
    middleware: list[Any] = [GuardMiddleware(guard)]
    made: Any = create_agent(
        model(*turns()), [send_of(sent)], middleware=middleware, checkpointer=InMemorySaver()
    )
    result = invoke(made, HELLO, THREAD, context=ALICE)
    while found := questions(result):
        for question in found:
            guard.approve(question.ticket, by="dana")
        result = invoke(made, None, THREAD)
    assert guard.runs.latest().replay().identical
    return result


@both
def test_a_limit_of_one_tool_call(load: LoadGuard, invoke: Invoke) -> None:
    theirs: list[str] = []
    of_langchain(ToolCallLimitMiddleware(tool_name="send", run_limit=1), theirs, invoke)
    assert len(theirs) == TIMES, "LangChain's counter of the run begins anew with each resume"
    ours: list[str] = []
    result = of_ours(load, "", "rate 1 per run", ours, invoke)
    assert ours == ["bob0"]
    assert replies(result) == ["sent to bob0", *["not authorized"] * (TIMES - 1)]


@both
def test_a_limit_of_two_turns(load: LoadGuard, invoke: Invoke) -> None:
    theirs: list[str] = []
    of_langchain(ModelCallLimitMiddleware(run_limit=2), theirs, invoke)
    assert len(theirs) == TIMES, "nor does the one for model calls fire"
    ours: list[str] = []
    of_ours(load, "at most 2 calls", "", ours, invoke)
    assert ours == ["bob0", "bob1"], "each turn makes a call, and the third is one too many"
