"""`AgentExecutor`: what it does by itself, around guarded tools."""

from typing import Any

import pytest
from langchain_classic.agents import AgentExecutor, create_tool_calling_agent
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool

from ringfence import RunHaltedError
from ringfence.adapters.langchain import guard_tools
from ringfence.engine.decision import events as e
from tests.adapters.langchain.agents import ADD, ALICE, add_of, danger_of, events
from tests.adapters.langchain.conftest import LoadGuard
from tests.adapters.langchain.model import asks, call, model, says

PROMPT = ChatPromptTemplate.from_messages([("human", "{input}"), ("placeholder", "{agent_scratchpad}")])


def executor(tools: list[Any], *script: Any) -> AgentExecutor:
    agent = create_tool_calling_agent(model(*script), tools, PROMPT)
    return AgentExecutor(agent=agent, tools=tools, return_intermediate_steps=True)


def observed(made: AgentExecutor) -> list[str]:
    return [str(said) for _, said in made.invoke({"input": "hello"})["intermediate_steps"]]


def test_names_that_an_executor_does_not_have_are_recorded_and_counted(
    load: LoadGuard, capsys: pytest.CaptureFixture[str]
) -> None:
    guard = load("agent main { holds work at most 2 denials }\n" + ADD)
    tools = guard_tools(guard, [add_of([])])
    ghosts = [asks(call("ghost", f"c{at}", x=1)) for at in range(3)]
    with guard.run(principal=ALICE):
        assert (
            observed(executor(tools, *ghosts[:2], says()))
            == ["ghost is not a valid tool, try one of [add]."] * 2
        )
    decided = [one.verdict for one in events(guard) if isinstance(one, e.CallDecided)]
    assert decided == ["unknown", "unknown"]
    with pytest.raises(RunHaltedError), guard.run(principal=ALICE):
        executor(tools, *ghosts, says()).invoke({"input": "hello"})
    assert "unguarded" not in capsys.readouterr().err


def test_an_unguarded_tool_of_an_executor_is_named_once(
    load: LoadGuard, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[Any] = []
    guard = load(ADD)
    tools = [*guard_tools(guard, [add_of(done)]), danger_of(done)]
    with guard.run(principal=ALICE):
        executor(tools, *[asks(call("danger", f"c{at}")) for at in range(3)], says()).invoke({"input": "x"})
    assert done == ["danger"] * 3
    assert capsys.readouterr().err.count("`danger` ran unguarded") == 1


def test_what_a_refused_direct_tool_answers_is_the_refusal(load: LoadGuard) -> None:
    @tool(return_direct=True)
    def add(a: int) -> str:
        """Add one."""
        return str(a + 1)

    guard = load("tool add { needs work  takes a: integer  allow when a < 5 }")
    tools = guard_tools(guard, [add])
    for a, said in ((1, "2"), (9, "not authorized")):
        with guard.run(principal=ALICE):
            assert executor(tools, asks(call("add", a=a))).invoke({"input": "x"})["output"] == said


def test_a_host_that_calls_run_itself_gets_the_refusal_raised(load: LoadGuard) -> None:
    from ringfence import DeniedError

    guard = load("tool add { needs work  takes a: integer  allow when a < 5 }")
    [guarded] = guard_tools(guard, [add_of([])])
    with guard.run(principal=ALICE), pytest.raises(DeniedError):
        guarded.run({"a": 9})
