"""Arguments by which a model tries to reach what it may not set, or what is not decided."""

import asyncio
from typing import Annotated, Any

import pytest
from langchain_core.tools import BaseTool, InjectedToolArg, StructuredTool, tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedState, ToolNode
from pydantic import AliasChoices, BaseModel, Field

from ringfence import DeniedError, Guard
from ringfence.adapters.langchain import begin_node, guard_tools
from tests.adapters.langchain.agents import HELLO, agent_of, events, replies
from tests.adapters.langchain.conftest import LoadGuard
from tests.adapters.langchain.model import asks, call, says


class Served(BaseTool):
    """A tool whose schema came from elsewhere, as those of MCP servers do."""

    name: str = "probe"
    description: str = "Probe."
    seen: list[Any] = Field(default_factory=list)

    def _run(self, **given: Any) -> str:
        self.seen.append(given)
        return "ran"


def served(names: list[str], seen: list[Any]) -> list[BaseTool]:
    schema = {"type": "object", "properties": {name: {} for name in names}}

    async def probe(**given: Any) -> str:
        seen.append(given)
        return "ran"

    structured = StructuredTool(name="probe", description="Probe.", args_schema=schema, coroutine=probe)
    return [structured, Served(args_schema=schema, seen=seen)]


@pytest.mark.parametrize("name", ["callbacks", "run_manager", "ringfence_runtime"])
@pytest.mark.parametrize("kind", [0, 1])
def test_a_parameter_that_is_called_as_one_of_langchains_own_is_never_passed_by(
    load: LoadGuard, name: str, kind: int
) -> None:
    seen: list[Any] = []
    guard = load("tool probe { needs work  allow always }")
    [probe] = guard_tools(guard, [served(["a", name], seen)[kind]])

    seen = getattr(probe, "seen", seen)

    async def within() -> None:
        async with guard.run():
            assert await probe.ainvoke({"a": 1}) == "ran"
            with pytest.raises(DeniedError, match=r"probe\.arguments"):
                await probe.ainvoke({"a": 1, name: "evil"})

    asyncio.run(within())
    assert seen == [{"a": 1}]


@pytest.mark.parametrize("takes", ["", "takes config: text optional"])
def test_an_argument_that_langchain_would_drop_for_its_own_config_is_refused_or_handed_on(
    load: LoadGuard, takes: str
) -> None:
    seen: list[Any] = []
    guard = load(f"tool probe {{ needs work  {takes}  allow always }}")
    agent = agent_of(guard, served(["config"], seen)[:1], asks(call("probe", config="mine")), says())
    assert replies(asyncio.run(agent.ainvoke(HELLO))) == ["ran" if takes else "not authorized"]
    assert seen == ([{"config": "mine"}] if takes else [])


@pytest.mark.parametrize("name", ["callbacks", "run_manager", "config"])
def test_a_function_that_is_called_itself_gets_nothing_that_was_not_decided(
    load: LoadGuard, name: str
) -> None:
    seen: list[Any] = []
    guard = load("tool probe { needs work  allow always }")
    [probe] = guard_tools(guard, served(["a"], seen)[:1])

    async def within() -> None:
        async with guard.run():
            with pytest.raises(DeniedError, match=r"probe\.arguments"):
                await probe.coroutine(a=1, **{name: "evil"})  # type: ignore[attr-defined]

    asyncio.run(within())
    assert seen == []


class Payment(BaseModel):
    amount: int
    payer: Annotated[str, InjectedToolArg] = Field(default="nobody", alias="from")


class PaymentOfTheState(BaseModel):
    amount: int
    payer: Annotated[Any, InjectedState("payer")] = Field(
        default="nobody", validation_alias=AliasChoices("payer", "from")
    )


def paying(schema: type[BaseModel], paid: list[Any]) -> BaseTool:
    @tool(args_schema=schema)
    def pay(amount: int, payer: Any = "nobody") -> str:
        """Pay."""
        paid.append(payer)
        return "paid"

    return pay


def in_an_agent(guard: Guard, pay: BaseTool, forged: Any) -> list[str]:
    return replies(agent_of(guard, [pay], asks(forged), says()).invoke(HELLO))


def in_a_tool_node(guard: Guard, pay: BaseTool, forged: Any) -> list[str]:
    graph: Any = StateGraph(MessagesState)
    graph.add_node("begin", begin_node(guard))
    graph.add_node("tools", ToolNode(guard_tools(guard, [pay])))
    graph.add_edge(START, "begin")
    graph.add_edge("begin", "tools")
    return replies(graph.compile().invoke({"messages": [asks(forged)]}))


def by_itself(guard: Guard, pay: BaseTool, forged: Any) -> list[str]:
    [guarded] = guard_tools(guard, [pay])
    with guard.run():
        return [guarded.invoke(forged).content]


@pytest.mark.parametrize("way", [in_an_agent, in_a_tool_node, by_itself])
@pytest.mark.parametrize("schema", [Payment, PaymentOfTheState])
def test_an_injected_argument_is_not_forged_by_its_alias(
    load: LoadGuard, schema: type[BaseModel], way: Any
) -> None:
    paid: list[Any] = []
    guard = load("tool pay { needs work  takes amount: integer  allow always }")
    forged = {**call("pay", amount=1), "args": {"amount": 1, "from": "root"}}
    assert way(guard, paying(schema, paid), forged) == ["not authorized"]
    assert paid == []
    decided = next(event for event in events(guard) if event.kind == "CallDecided")
    assert decided.reasons[0]["name"] == "pay.arguments"  # type: ignore[union-attr]


@pytest.mark.parametrize("way", [in_an_agent, in_a_tool_node])
def test_an_injected_argument_that_a_model_writes_itself_never_reaches_the_body(
    load: LoadGuard, way: Any
) -> None:
    paid: list[Any] = []

    @tool
    def pay(amount: int, payer: Annotated[str, InjectedToolArg] = "nobody") -> str:
        """Pay."""
        paid.append(payer)
        return "paid"

    guard = load("tool pay { needs work  takes amount: integer  allow always }")
    way(guard, pay, call("pay", amount=1, payer="root"))
    assert set(paid) <= {"nobody"}


def test_none_is_missing_and_does_not_become_a_default(load: LoadGuard) -> None:
    ran: list[int | None] = []
    rule = "takes limit: integer optional  allow when limit is missing or limit <= 50"
    guard = load(f"tool look {{ needs work  {rule} }}")

    @tool
    def look(limit: int | None = 1000) -> str:
        """Look."""
        ran.append(limit)
        return "seen"

    agent = agent_of(guard, [look], asks(call("look", limit=None)), asks(call("look", id="c2")), says())
    assert replies(agent.invoke(HELLO)) == ["seen", "not authorized"]
    assert ran == [None]
