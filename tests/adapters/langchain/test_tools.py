"""Guarded copies of tools: every kind, every path to the body, nothing else about them changed."""

import asyncio
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Annotated, Any

import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import (
    BaseTool,
    InjectedToolArg,
    InjectedToolCallId,
    StructuredTool,
    Tool,
    ToolException,
    tool,
)
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedState, InjectedStore, ToolNode, ToolRuntime
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command
from pydantic import BaseModel, Field, SecretStr, field_validator

from ringfence import DeniedError, Guard, Principal, RunHaltedError
from ringfence.adapters.langchain import NoRunError, begin_node, guard_tools, injected
from ringfence.engine.decision import events as e
from ringfence.engine.seams.errors import EngineError, RingfenceError
from tests.adapters.langchain.agents import ADD, HELLO, add_of, agent_of, events, kinds, replies, run_sync
from tests.adapters.langchain.conftest import LoadGuard
from tests.adapters.langchain.model import asks, call, says

SMALL = "tool add { needs work  takes a: integer  allow when a < 5 }"


def in_a_graph(guard: Guard, tools: list[Any], *calls: Any, store: Any = None) -> list[str]:
    graph: Any = StateGraph(MessagesState)
    graph.add_node("begin", begin_node(guard))
    graph.add_node("tools", ToolNode(guard_tools(guard, tools)))
    graph.add_edge(START, "begin")
    graph.add_edge("begin", "tools")
    return replies(graph.compile(store=store).invoke({"messages": [asks(*calls)]}))


# ---- every kind of tool ----------------------------------------------------------------------------


class Adds(BaseTool):
    name: str = "add"
    description: str = "Add one."
    done: list[Any] = Field(default_factory=list)

    def _run(self, a: int) -> str:
        self.done.append(a)
        return str(int(a) + 1)


class AddsBothWays(Adds):
    async def _arun(self, a: int) -> str:
        self.done.append(a)
        return str(int(a) + 1)


def plain(done: list[Any]) -> Any:
    def add(a: int) -> str:
        """Add one."""
        done.append(a)
        return str(a + 1)

    return add


def structured_both(done: list[Any]) -> BaseTool:
    async def aadd(a: int) -> str:
        done.append(a)
        return str(a + 1)

    return StructuredTool.from_function(plain(done), coroutine=aadd, name="add", description="Add one.")


def structured_async(done: list[Any]) -> BaseTool:
    async def add(a: int) -> str:
        """Add one."""
        done.append(a)
        return str(a + 1)

    return StructuredTool.from_function(coroutine=add)


def mcp_like(done: list[Any]) -> BaseTool:
    async def add(**arguments: Any) -> str:
        done.append(arguments["a"])
        return str(arguments["a"] + 1)

    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    return StructuredTool(name="add", description="Add one.", args_schema=schema, coroutine=add)


def base(done: list[Any]) -> BaseTool:
    return Adds(done=done)


def base_both(done: list[Any]) -> BaseTool:
    return AddsBothWays(done=done)


SYNC = [plain, add_of, structured_both, base, base_both]
ASYNC = [*SYNC, structured_async, mcp_like]


@pytest.mark.parametrize("make", SYNC)
def test_every_kind_of_tool_is_guarded_when_invoked(load: LoadGuard, make: Any) -> None:
    done: list[Any] = []
    guard = load(SMALL)
    (add,) = guard_tools(guard, [make(done)])
    done = add.done if isinstance(add, Adds) else done
    with guard.run():
        assert add.invoke({"a": 1}) == "2"
        assert add.run({"a": 2}) == "3"
        with pytest.raises(DeniedError):
            add.invoke({"a": 9})
        with pytest.raises(DeniedError):
            add.run({"a": 9})
    assert done == [1, 2]


@pytest.mark.parametrize("make", ASYNC)
async def test_every_kind_of_tool_is_guarded_when_awaited(load: LoadGuard, make: Any) -> None:
    done: list[Any] = []
    guard = load(SMALL)
    (add,) = guard_tools(guard, [make(done)])
    done = add.done if isinstance(add, Adds) else done
    async with guard.run():
        assert await add.ainvoke({"a": 1}) == "2"
        assert await add.arun({"a": 2}) == "3"
        with pytest.raises(DeniedError):
            await add.ainvoke({"a": 9})
    assert done == [1, 2]


@pytest.mark.parametrize("make", ASYNC)
async def test_every_kind_of_tool_is_guarded_in_a_tool_node(load: LoadGuard, make: Any) -> None:
    done: list[Any] = []
    guard = load(SMALL)
    graph: Any = StateGraph(MessagesState)
    graph.add_node("begin", begin_node(guard))
    tools = guard_tools(guard, [make(done)])
    done = tools[0].done if isinstance(tools[0], Adds) else done
    graph.add_node("tools", ToolNode(tools))
    graph.add_edge(START, "begin")
    graph.add_edge("begin", "tools")
    given = {"messages": [asks(call("add", "c1", a=1), call("add", "c2", a=9))]}
    assert replies(await graph.compile().ainvoke(given)) == ["2", "not authorized"]
    assert done == [1]


def test_the_function_itself_is_guarded(load: LoadGuard) -> None:
    done: list[Any] = []
    guard = load(SMALL)
    (add,) = guard_tools(guard, [add_of(done)])
    assert isinstance(add, StructuredTool)
    assert add.func is not None
    with guard.run():
        assert add.func(1) == "2"
        assert add.func(a=2) == "3"
        with pytest.raises(DeniedError):
            add.func(a=9)
    with pytest.raises(NoRunError):
        add.func(a=1)
    assert done == [1, 2]


def test_the_coroutine_itself_is_guarded(load: LoadGuard) -> None:
    done: list[Any] = []
    guard = load(SMALL)
    (add,) = guard_tools(guard, [structured_async(done)])
    assert isinstance(add, StructuredTool)
    coroutine: Any = add.coroutine

    async def within() -> None:
        async with guard.run():
            assert await coroutine(a=1) == "2"
            with pytest.raises(DeniedError):
                await coroutine(a=9)

    asyncio.run(within())
    assert done == [1]


def test_the_protected_method_of_a_tool_class_is_guarded(load: LoadGuard) -> None:
    guard = load(SMALL)
    (add,) = guard_tools(guard, [Adds()])
    with guard.run():
        assert add._run(a=1) == "2"
        with pytest.raises(DeniedError):
            add._run(a=9)


def test_a_single_input_tool_is_guarded(load: LoadGuard) -> None:
    guard = load('tool look { needs work  takes tool_input: text  allow when tool_input == "x" }')
    (look,) = guard_tools(guard, [Tool(name="look", func=lambda q: f"saw {q}", description="Look.")])
    with guard.run():
        assert look.invoke("x") == "saw x"
        assert look.invoke({"__arg1": "x"}) == "saw x"
        with pytest.raises(DeniedError):
            look.invoke("y")


def test_a_text_alone_is_the_first_parameter_and_is_validated(load: LoadGuard) -> None:
    done: list[Any] = []
    guard = load(SMALL)
    (add,) = guard_tools(guard, [add_of(done)])
    with guard.run():
        assert add.invoke("1") == "2"
    assert done == [1]


def test_what_is_no_tool_of_ours_cannot_be_guarded(load: LoadGuard) -> None:
    provider: Any = {"type": "web_search"}
    with pytest.raises(TypeError, match="provider-side"):
        guard_tools(load(ADD), [provider])


# ---- nothing else is changed -----------------------------------------------------------------------


@pytest.mark.parametrize("make", ASYNC)
def test_name_schema_and_class_are_those_of_the_original(load: LoadGuard, make: Any) -> None:
    made = make([])
    original = made if isinstance(made, BaseTool) else tool(made)
    (copy,) = guard_tools(load(ADD), [original])
    assert copy is not original
    assert isinstance(copy, type(original))
    assert (copy.name, copy.description, copy.args) == (original.name, original.description, original.args)
    ours, theirs = copy.tool_call_schema, original.tool_call_schema
    if isinstance(theirs, dict):
        assert ours == theirs
    else:
        assert ours.model_json_schema() == theirs.model_json_schema()  # type: ignore[union-attr]


def test_the_original_stays_as_it_was(load: LoadGuard) -> None:
    done: list[Any] = []
    original = add_of(done)
    guard_tools(load(ADD), [original])
    assert original.invoke({"a": 1}) == "2"


def test_a_guarded_tool_is_not_guarded_twice(load: LoadGuard) -> None:
    guard = load(ADD)
    tools = guard_tools(guard, [add_of([])])
    assert guard_tools(guard, tools) == tools
    with pytest.raises(ValueError, match="another guard"):
        guard_tools(load(ADD), tools)


def test_artifacts_reach_the_caller_beside_a_result_that_was_cut(load: LoadGuard) -> None:
    @tool(response_format="content_and_artifact")
    def rows() -> tuple[list[int], str]:
        """Return rows."""
        return [1, 2, 3], "the artifact"

    guard = load("tool rows { needs work  allow always  result at most 2 rows }")
    (guarded,) = guard_tools(guard, [rows])
    with guard.run():
        message = guarded.invoke({**call("rows")})
    assert isinstance(message, ToolMessage)
    assert (message.content, message.artifact) == ("[1, 2]", "the artifact")
    finished = next(event for event in events(guard) if isinstance(event, e.CallFinished))
    assert (finished.result, finished.truncated) == ([1, 2], {"rows": 2, "rows_before": 3})


def test_a_tool_that_returns_directly_still_ends_the_agent(load: LoadGuard) -> None:
    @tool(return_direct=True)
    def add(a: int) -> str:
        """Add one."""
        return str(a + 1)

    result = run_sync(agent_of(load(ADD), [add], asks(call("add", a=1)), says("never")), HELLO)
    assert result["messages"][-1].content == "2"


def test_a_handler_of_tool_errors_still_answers(load: LoadGuard) -> None:
    @tool
    def add(a: int) -> str:
        """Fail."""
        raise ToolException("try again")

    add.handle_tool_error = True
    guard = load(ADD)
    (guarded,) = guard_tools(guard, [add])
    with guard.run():
        assert guarded.invoke({"a": 1}) == "try again"
    assert kinds(guard)[-2] == "CallFailed"


def test_config_and_callbacks_of_the_framework_reach_the_function(load: LoadGuard) -> None:
    seen: list[Any] = []

    @tool
    def add(a: int, config: RunnableConfig) -> str:
        """Add one."""
        seen.append(config["tags"])
        return str(a + 1)

    guard = load(ADD)
    (guarded,) = guard_tools(guard, [add])
    with guard.run():
        assert guarded.invoke({"a": 1}, {"tags": ["mine"]}) == "2"
    assert seen == [["mine"]]


# ---- injected arguments ----------------------------------------------------------------------------


def stateful(seen: list[Any]) -> BaseTool:
    @tool
    def look(
        x: int,
        state: Annotated[dict[str, Any], InjectedState],
        messages: Annotated[list[Any], InjectedState("messages")],
        tool_call_id: Annotated[str, InjectedToolCallId],
        store: Annotated[BaseStore, InjectedStore()],
    ) -> str:
        """Look at what is injected."""
        seen.append((x, sorted(state), len(messages), tool_call_id, type(store).__name__))
        return "looked"

    return look


LOOK = "tool look { needs work  takes x: integer  allow always }"


def test_what_a_tool_node_injects_reaches_the_function_and_not_the_policy(load: LoadGuard) -> None:
    seen: list[Any] = []
    guard = load(LOOK)
    forged = call("look", "c1", x=1, state={"messages": []}, tool_call_id="forged", messages=["forged"])
    assert in_a_graph(guard, [stateful(seen)], forged, store=InMemoryStore()) == ["looked"]
    assert seen == [(1, ["messages"], 1, "c1", "InMemoryStore")]
    requested = next(event for event in events(guard) if isinstance(event, e.CallRequested))
    assert requested.arguments == {"x": 1}


def test_what_an_agent_injects_reaches_the_function(load: LoadGuard) -> None:
    seen: list[Any] = []
    guard = load(LOOK)
    forged = asks(call("look", "c1", x=1, state={"messages": []}))
    agent = agent_of(guard, [stateful(seen)], forged, says(), store=InMemoryStore())
    assert replies(run_sync(agent, HELLO)) == ["looked"]
    assert [(x, count, id) for x, _, count, id, _ in seen] == [(1, 2, "c1")]


def test_the_runtime_reaches_the_function(load: LoadGuard) -> None:
    seen: list[Any] = []

    @tool
    def look(x: int, runtime: ToolRuntime) -> str:
        """Look at the runtime."""
        seen.append((x, runtime.tool_call_id, sorted(runtime.state)))
        return "looked"

    guard = load(LOOK)
    assert in_a_graph(guard, [look], call("look", "c1", x=1, runtime="forged")) == ["looked"]
    assert seen == [(1, "c1", ["messages"])]


class LooksAtState(BaseTool):
    name: str = "look"
    description: str = "Look."
    seen: list[Any] = Field(default_factory=list)

    def _run(self, x: int, state: Annotated[dict[str, Any], InjectedState]) -> str:
        self.seen.append((x, type(state["messages"][0]).__name__))
        return "looked"


def test_what_is_injected_reaches_a_tool_class(load: LoadGuard) -> None:
    guard = load(LOOK)
    look = LooksAtState()
    assert in_a_graph(guard, [look], call("look", "c1", x=1, state={"messages": ["forged"]})) == ["looked"]
    assert look.seen == [(1, "AIMessage")]


@pytest.mark.parametrize("name", ["account", "ringfence_runtime"])
def test_an_injected_argument_that_a_model_forged_is_refused_on_a_bare_invoke(
    load: LoadGuard, name: str
) -> None:
    seen: list[str] = []

    @tool
    def look(x: int, account: Annotated[str, InjectedToolArg] = "own") -> str:
        """Look into an account."""
        seen.append(account)
        return "looked"

    forged = call("look", x=1, **{name: "boss"})
    look.invoke({**forged})
    assert seen == (["boss"] if name == "account" else ["own"]), "LangChain lets a forged value through"
    seen.clear()
    guard = load(LOOK)
    (guarded,) = guard_tools(guard, [look])
    with guard.run():
        message = guarded.invoke({**forged})
        assert (message.status, message.content) == ("error", "not authorized")
        with pytest.raises(DeniedError):
            guarded.invoke({"x": 1, name: "boss"})
        assert seen == []
        with injected(account="given by the host"):
            assert guarded.invoke({"x": 1}) == "looked"
    assert seen == ["given by the host"]


def test_what_a_body_injects_into_its_own_tool_is_not_the_frameworks_word(load: LoadGuard) -> None:
    seen: list[str] = []
    refused: list[str] = []

    @tool
    def look(x: int, account: Annotated[str, InjectedToolArg] = "own") -> str:
        """Look into an account, and then into one that is named in a text."""
        seen.append(account)
        if x:
            refused.append(tools[0].invoke({**call("look", x=0, account="boss")}).content)
        return "looked"

    guard = load(LOOK)
    tools = guard_tools(guard, [look])
    assert replies(run_sync(agent_of(guard, tools, asks(call("look", x=1)), says()), HELLO)) == ["looked"]
    assert (seen, refused) == (["own"], ["not authorized"])


# ---- what is decided is executed -------------------------------------------------------------------


class Mail(BaseModel):
    to: str = Field(alias="recipient")
    copies: int = 1


def test_a_canonical_value_goes_back_through_the_schema(load: LoadGuard) -> None:
    seen: list[Any] = []

    @tool(args_schema=Mail)
    def mail(to: str, copies: int = 1) -> str:
        """Send mail."""
        seen.append((to, copies))
        return "sent"

    guard = load("tool mail { needs work  takes to: email, copies: integer optional  allow always }")
    (guarded,) = guard_tools(guard, [mail])
    with guard.run():
        guarded.invoke({"recipient": "bob@ACME.example"})
    assert seen == [("bob@acme.example", 1)]


def test_a_model_inside_of_an_argument_is_decided_by_the_names_that_the_schema_shows(load: LoadGuard) -> None:
    seen: list[Any] = []

    @tool
    def post(mail: Mail, tag: str) -> str:
        """Post a mail."""
        seen.append((mail.to, tag))
        return "sent"

    guard = load("tool post { needs work  takes tag: email  allow always }")
    (guarded,) = guard_tools(guard, [post])
    with guard.run():
        guarded.invoke({"mail": {"recipient": "bob"}, "tag": "bob@ACME.example"})
    assert seen == [("bob", "bob@acme.example")], "what was made canonical goes back through the schema"
    (asked,) = [one for one in events(guard) if isinstance(one, e.CallRequested)]
    assert asked.arguments["mail"] == {"recipient": "bob", "copies": 1}


def test_a_schema_that_changes_values_each_time_runs_nothing(load: LoadGuard) -> None:
    class Grows(BaseModel):
        to: str

        @field_validator("to")
        @classmethod
        def grow(cls, value: str) -> str:
            return "x" + value

    seen: list[Any] = []

    @tool(args_schema=Grows)
    def mail(to: str) -> str:
        """Send mail."""
        seen.append(to)
        return "sent"

    guard = load("tool mail { needs work  takes to: email  allow always }")
    (guarded,) = guard_tools(guard, [mail])
    with guard.run():
        guarded.invoke({"to": "bob@acme.example"})
        assert seen == ["xbob@acme.example"], "decided and executed after the schema"
        message = guarded.invoke({**call("mail", to="bob@ACME.example")})
    assert message.status == "error"
    assert len(seen) == 1, "the canonical value would have been changed once more"


@pytest.mark.parametrize(
    "arguments",
    [{"a": float("nan")}, {"a": "\ud800"}, {"a": 2**60}, {"a": 1, "b": "x" * 11_000_000}],
)
def test_values_that_json_cannot_say_are_refused(load: LoadGuard, arguments: dict[str, Any]) -> None:
    seen: list[Any] = []

    async def add(**given: Any) -> str:
        seen.append(given)
        return "ran"

    schema = {"type": "object", "properties": {"a": {}, "b": {}}}
    anything = StructuredTool(name="add", description="Anything.", args_schema=schema, coroutine=add)
    asyncio.run(anything.ainvoke(arguments))
    assert len(seen) == 1
    guard = load("tool add { needs work  allow always }")
    (guarded,) = guard_tools(guard, [anything])

    async def within() -> None:
        async with guard.run():
            with pytest.raises(DeniedError):
                await guarded.ainvoke(arguments)

    asyncio.run(within())
    assert len(seen) == 1
    decided = next(event for event in events(guard) if isinstance(event, e.CallDecided))
    assert (decided.verdict, decided.reasons[0]["name"]) == ("deny", "add.arguments")


def test_a_denial_for_a_tool_call_is_a_message_and_for_the_host_an_error(load: LoadGuard) -> None:
    guard = load(SMALL)
    (add,) = guard_tools(guard, [add_of([])])
    with guard.run():
        message = add.invoke({**call("add", "c7", a=9)})
        assert (message.tool_call_id, message.status) == ("c7", "error")
        with pytest.raises(DeniedError) as denied:
            add.invoke({"a": 9})
    assert denied.value.rule == "add.allow"


def test_a_halt_of_a_bare_tool_is_raised(load: LoadGuard) -> None:
    guard = load("tool add { needs work  takes a: integer  allow always  rate 1 per run otherwise halt }")
    (add,) = guard_tools(guard, [add_of([])])
    with guard.run():
        add.invoke({**call("add", "c1", a=1)})
        with pytest.raises(RunHaltedError):
            add.invoke({**call("add", "c2", a=1)})


def test_a_tool_that_calls_a_tool_stays_in_the_run(load: LoadGuard) -> None:
    done: list[Any] = []
    guard = load(SMALL + "\ntool outer { needs work  allow always }")
    (add,) = guard_tools(guard, [add_of(done)])

    @tool
    def outer(n: int) -> str:
        """Call another tool, both ways."""
        assert isinstance(add, StructuredTool) and add.func is not None
        return str(add.func(a=n)) + str(add.invoke({"a": n}))

    (guarded,) = guard_tools(guard, [outer])
    with guard.run():
        assert guarded.invoke({"n": 1}) == "22"
        with pytest.raises(DeniedError):
            guarded.invoke({"n": 9})
    requested = [event for event in events(guard) if isinstance(event, e.CallRequested)]
    assert requested[1].parent == requested[0].call


def test_guard_tools_needs_langchain_core_alone() -> None:
    program = """
import sys
for name in ("langchain", "langgraph", "langgraph.prebuilt", "langgraph.errors"):
    sys.modules[name] = None
from ringfence.adapters.langchain import guard_tools, questions
print(guard_tools.__name__, questions([]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "guard_tools []\n"


def _own_door(name: str) -> BaseTool:
    def door(self: Any, *args: Any, **kwargs: Any) -> str:
        return "undecided"

    fields = {"name": (str, "pay"), "description": (str, "Pay.")}
    kind = type(
        "Own",
        (BaseTool,),
        {
            "__annotations__": {field: of for field, (of, _) in fields.items()},
            **{field: value for field, (_, value) in fields.items()},
            "_run": lambda self, amount: "paid",
            name: door,
        },
    )
    made: BaseTool = kind()
    return made


@pytest.mark.parametrize("name", ["invoke", "ainvoke", "run", "arun", "batch", "stream"])
def test_a_tool_class_with_a_door_of_its_own_cannot_be_guarded(load: LoadGuard, name: str) -> None:
    with pytest.raises(TypeError, match=f"`{name}` of its own"):
        guard_tools(load("tool pay { needs work  takes amount: integer  allow always }"), [_own_door(name)])


@pytest.mark.parametrize("name", ["invoke", "_run"])
def test_a_tool_whose_method_was_exchanged_on_the_object_cannot_be_guarded(
    load: LoadGuard, name: str
) -> None:
    tool_of_core = StructuredTool.from_function(lambda amount: "paid", name="pay", description="Pay.")
    tool_of_core.__dict__[name] = lambda *args, **kwargs: "undecided"
    with pytest.raises(TypeError, match="cannot be guarded"):
        guard_tools(load("tool pay { needs work  takes amount: integer  allow always }"), [tool_of_core])


# ---- methods that lead to each other ---------------------------------------------------------------


class OwnRun(StructuredTool):
    """Does its work in a `_run` of its own and never calls `func`."""

    def _run(self, *args: Any, config: RunnableConfig, **kwargs: Any) -> str:
        PAID.append(kwargs)
        return "done"


class LeadsOn(Adds):
    """Its `_arun` hands the call on to its `_run`, as many do."""

    async def _arun(self, a: int) -> str:
        return self._run(a)


class GoesFurther(Adds):
    """Its `_run` goes on with a larger number."""

    def _run(self, a: int) -> str:
        self.done.append(a)
        return "end" if a >= 9 else str(self._run(a=a + 3))


PAID: list[Any] = []


def own_run() -> BaseTool:
    PAID.clear()
    return OwnRun.from_function(lambda a: "never", name="add", description="Add.", args_schema=OnlyA)


class OnlyA(BaseModel):
    a: int


def test_a_run_method_of_a_structured_tools_subclass_is_decided_first(load: LoadGuard) -> None:
    guard = load(SMALL)
    [add] = guard_tools(guard, [own_run()])
    with guard.run():
        with pytest.raises(DeniedError):
            add.invoke({"a": 7})
        assert PAID == []
        assert add.invoke({"a": 1}) == "done"
    assert PAID == [{"a": 1}]


async def test_a_coroutine_that_hands_its_call_on_to_the_function_is_one_call(load: LoadGuard) -> None:
    guard = load("tool add { needs work  takes a: integer  allow always  rate 1 per run }")
    adds = LeadsOn()
    [add] = guard_tools(guard, [adds])
    async with guard.run():
        assert await add.ainvoke({"a": 1}) == "2"
        with pytest.raises(DeniedError):
            await add.ainvoke({"a": 1})
    assert kinds(guard).count("CallStarted") == 1


def test_a_body_that_goes_on_with_other_arguments_is_decided_again(load: LoadGuard) -> None:
    guard = load(SMALL)
    further = GoesFurther()
    [add] = guard_tools(guard, [further])
    with guard.run(), pytest.raises(DeniedError):
        add.invoke({"a": 1})
    assert further.done == [1, 4]


def test_a_body_that_invokes_its_own_tool_again_is_decided_again(load: LoadGuard) -> None:
    guard = load("tool add { needs work  takes a: integer  allow always  rate 2 per run }")
    made: list[BaseTool] = []

    @tool
    def add(a: int) -> str:
        """Add one, for ever."""
        return str(made[0].invoke({"a": a}))

    made.extend(guard_tools(guard, [add]))
    with guard.run(), pytest.raises(DeniedError):
        made[0].invoke({"a": 1})
    assert kinds(guard).count("CallStarted") == 2


def test_the_same_function_called_twice_in_a_row_is_two_calls(load: LoadGuard) -> None:
    done: list[Any] = []
    guard = load("tool add { needs work  takes a: integer  allow always  rate 1 per run }")
    [add] = guard_tools(guard, [add_of(done)])
    with guard.run():
        assert add.func(a=1) == "2"  # type: ignore[attr-defined]
        with pytest.raises(DeniedError):
            add.func(a=1)  # type: ignore[attr-defined]
    assert done == [1]


# ---- values that are not what they show ------------------------------------------------------------


def test_what_a_secret_hides_is_decided(load: LoadGuard) -> None:
    used: list[str] = []

    @tool
    def add(a: SecretStr) -> str:
        """Use a secret."""
        used.append(a.get_secret_value())
        return "used"

    guard = load('tool add { needs work  takes a: text  allow when not (a in ["root"]) }')
    [add_copy] = guard_tools(guard, [add])
    with guard.run():
        with pytest.raises(DeniedError):
            add_copy.invoke({"a": "root"})
        assert add_copy.invoke({"a": "guest"}) == "used"
    assert used == ["guest"]


def test_what_can_be_read_once_reaches_the_function_as_it_was_decided(load: LoadGuard) -> None:
    read: list[list[int]] = []

    @tool
    def add(a: Iterable[int]) -> str:
        """Read numbers."""
        read.append(list(a))
        return "read"

    guard = load("tool add { needs work  takes a: list of integer  allow always }")
    [add_copy] = guard_tools(guard, [add])
    with guard.run():
        assert add_copy.invoke({"a": [1, 2]}) == "read"
    assert read == [[1, 2]]
    requested = next(one for one in events(guard) if isinstance(one, e.CallRequested))
    assert requested.arguments == {"a": [1, 2]}


class Names(BaseModel):
    a: Any


def test_arguments_that_other_code_changes_while_people_think_are_not_used(load: LoadGuard) -> None:
    done: list[Any] = []
    guard = load("tool add { needs work  takes a: list of text  allow always  ask lead }")
    add = StructuredTool.from_function(
        lambda a: done.append(a), name="add", description="Add.", args_schema=Names
    )
    [copy] = guard_tools(guard, [add])
    names = ["bob"]
    with guard.run(principal=Principal(user="alice")) as run, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(copy_context().run, copy.invoke, {"a": names})
        answered = False
        while not answered and not waiting.done():
            for ticket in tuple(run.state.open_tickets):
                names[:] = ["bob", "eve"]
                try:
                    answered = guard.approve(ticket, by="dana") is not None
                except RingfenceError:  # recorded, and not yet in the store: look again
                    continue
        with pytest.raises(ValueError, match="changed after they were decided"):
            waiting.result()
    assert done == []


def test_a_run_under_another_guard_does_not_open_the_tools_of_this_one(load: LoadGuard) -> None:
    done: list[Any] = []
    open_to_all, strict = load(ADD), load(SMALL)
    [add] = guard_tools(strict, [add_of(done)])
    with open_to_all.run():
        with pytest.raises(NoRunError):
            add.invoke({"a": 7})
        with strict.run():
            with pytest.raises(DeniedError):
                add.invoke({"a": 7})
            assert add.invoke({"a": 1}) == "2"
    assert done == [1]


@pytest.mark.parametrize("name", ["func", "_run"])
def test_a_copy_whose_function_was_exchanged_runs_nothing(load: LoadGuard, name: str) -> None:
    done: list[Any] = []
    guard = load(SMALL)
    [add] = guard_tools(guard, [add_of([])])
    changed = add.model_copy()
    changed.__dict__[name] = lambda *args, **kwargs: done.append(kwargs)
    with guard.run():
        assert add.model_copy().invoke({"a": 1}) == "2"
        with pytest.raises(EngineError, match="exchanged after it was guarded"):
            changed.invoke({"a": 7})
    assert done == []


@pytest.mark.parametrize("limit", ["", "result at most 10 bytes"])
def test_a_command_cannot_say_beside_its_message_what_the_limit_cuts(load: LoadGuard, limit: str) -> None:
    @tool
    def add(a: int, id: Annotated[str, InjectedToolCallId]) -> Any:
        """Say it twice."""
        said = [ToolMessage("x" * 20, tool_call_id=id), HumanMessage("y" * 20)]
        return Command(update={"messages": said})

    guard = load(f"tool add {{ needs work  takes a: integer  allow always  {limit} }}")
    result = run_sync(agent_of(guard, [add], asks(call("add", a=1)), says()), HELLO)
    texts = [str(message.content) for message in result["messages"]]
    assert ("y" * 20 in texts, "x" * 20 in texts) == (not limit, not limit)
