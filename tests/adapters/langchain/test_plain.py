"""What is plain goes a shorter way, which ends where the long way does."""

from collections.abc import Callable
from inspect import signature
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import InjectedToolArg, StructuredTool, tool
from langgraph.checkpoint.memory import InMemorySaver

from ringfence import Guard
from ringfence.adapters.langchain import GuardMiddleware, guard_tools
from ringfence.adapters.langchain.capture import shown
from ringfence.adapters.langchain.runs import runs_of
from ringfence.adapters.langchain.values import json_of
from ringfence.dsl.canonical import canonical
from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.journal.jsonable import jsonable
from tests.adapters.langchain.agents import ADD, ALICE, HELLO, THREAD, add_of, agent_of
from tests.adapters.langchain.conftest import LoadGuard
from tests.adapters.langchain.model import says
from tests.test_work import counted

_LEAVES: list[Any] = [
    None, True, 0, -1, 2**53, 2**60, 1.5, float("nan"), "", "text", "é", "\ud800", b"bytes", {1}, object,
    (1, "a"),
]  # fmt: skip
_values = st.recursive(
    st.sampled_from(_LEAVES),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=2).map(tuple)
        | st.dictionaries(st.sampled_from(["a", "b", "é", 1]), inner, max_size=3)
    ),
    max_leaves=6,
)
_more = st.dictionaries(st.sampled_from(["a", "name", "é"]), _values, max_size=2)
_messages: st.SearchStrategy[BaseMessage] = st.one_of(
    st.builds(HumanMessage, st.text(max_size=5), additional_kwargs=_more),
    st.builds(AIMessage, st.text(max_size=5), response_metadata=_more),
    st.builds(ToolMessage, st.text(max_size=5), tool_call_id=st.just("c1"), artifact=_values),
)


class _Unhidden:
    """A run of which nothing is hidden."""

    def hide(self, text: str) -> str:
        return text


@given(st.one_of(_messages, _values))
def test_what_is_recorded_of_a_value_is_what_the_long_way_says(value: Any) -> None:
    run: Any = _Unhidden()
    expected = jsonable(json_of(value, hide=run.hide), hide=run.hide)
    assert canonical(shown(value, run)) == canonical(expected)


class _Heard(BaseCallbackHandler):
    def __init__(self) -> None:
        self.inputs: list[Any] = []

    def on_tool_start(self, serialized: Any, input_str: str, *, inputs: Any = None, **_: Any) -> None:
        self.inputs.append(inputs)


@pytest.mark.parametrize("given", [{"a": 1}, {"a": 1, "secret": "s"}, {"a": 1, "other": 2}])
def test_callbacks_are_told_of_the_arguments_what_langchain_tells(
    load: LoadGuard, given: dict[str, Any]
) -> None:
    @tool
    def add(a: int, secret: Annotated[str, InjectedToolArg] = "") -> str:
        """Add one."""
        return str(a + 1)

    guard = load(ADD)
    heard: list[list[Any]] = []
    with guard.run(principal=ALICE):
        for one in (add, *guard_tools(guard, [add])):
            handler = _Heard()
            try:
                one.invoke(dict(given), {"callbacks": [handler]})
            except Exception:
                assert one is not add or "other" in given
            heard.append(handler.inputs)
    without_secret = {name: value for name, value in given.items() if name != "secret"}
    assert heard[1] == heard[0] == [without_secret]


def _takes_config(a: int, config: RunnableConfig) -> str:
    """Add."""
    return f"{a} {config['metadata']['who']}"


def _takes_annotated(a: int, config: Annotated[RunnableConfig, "mine"]) -> str:
    """Add."""
    return f"{a} {config['metadata']['who']}"


def _takes_callbacks(a: int, callbacks: Any = None) -> str:
    """Add."""
    return f"{a} {callbacks is not None}"


def _takes_nothing(a: int) -> str:
    """Add."""
    return f"{a}"


@pytest.mark.parametrize("function", [_takes_config, _takes_annotated, _takes_callbacks, _takes_nothing])
def test_a_function_gets_of_the_framework_what_it_gets_unguarded(
    load: LoadGuard, function: Callable[..., str]
) -> None:
    bare = StructuredTool.from_function(function, name="add")
    guard = load(ADD)
    (guarded,) = guard_tools(guard, [bare])
    config: RunnableConfig = {"metadata": {"who": "me"}}
    with guard.run(principal=ALICE):
        assert guarded.invoke({"a": 1}, config) == bare.invoke({"a": 1}, config)


def test_the_signature_of_a_guarded_tools_methods_is_langchains(load: LoadGuard) -> None:
    (guarded,) = guard_tools(load(ADD), [add_of([])])
    bare = add_of([])
    for name in ("_run", "_arun"):
        ours, theirs = signature(getattr(guarded, name)), signature(getattr(bare, name))
        assert list(ours.parameters) == list(theirs.parameters)


def test_a_guarded_tool_is_no_more_work_than_the_bare_one_and_the_guarded_call(load: LoadGuard) -> None:
    """Python functions, counted: LangChain finds out less of a guarded tool than the adapter adds."""
    guard, bare = load(ADD), add_of([])
    (guarded,) = guard_tools(guard, [bare])
    with guard.run(principal=ALICE) as run:
        works: list[Callable[[], object]] = [
            lambda: bare.invoke({"a": 1}),
            lambda: guard.execute(run, ToolCall(tool="add", arguments={"a": 1}), lambda _: "2"),
            lambda: guarded.invoke({"a": 1}),
        ]
        least = []
        for work in works:
            counts = []
            for _ in range(10):
                with counted() as count:
                    work()
                counts.append(count.calls)
            least.append(min(counts))
    assert least[2] <= least[0] + least[1]


class _Asked:
    """Counts how often the store is asked whether a run goes on."""

    def __init__(self, guard: Guard, patch: pytest.MonkeyPatch) -> None:
        self.runs: list[str] = []
        resume = guard.resume_run

        def counted(run_id: str, **more: Any) -> Any:
            self.runs.append(run_id)
            return resume(run_id, **more)

        patch.setattr(guard, "resume_run", counted)


def test_a_turn_does_not_ask_again_for_the_turn_before_that_has_ended(
    load: LoadGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = load(ADD)
    agent = agent_of(guard, [], says("1"), says("2"), says("3"), checkpointer=InMemorySaver())
    asked = _Asked(guard, monkeypatch)
    for _ in range(3):
        agent.invoke(HELLO, THREAD, context=ALICE)
    assert asked.runs == [] and [row.status for row in guard.runs.list()] == ["done"] * 3


async def test_a_turn_begins_and_ends_on_no_thread(load: LoadGuard, monkeypatch: pytest.MonkeyPatch) -> None:
    guard = load(ADD)
    agent = agent_of(guard, [], says("one"))
    with monkeypatch.context() as patch:
        patch.setattr("asyncio.to_thread", None)
        await agent.ainvoke(HELLO, context=ALICE)
    assert guard.runs.list()[0].status == "done"


async def test_a_run_whose_end_was_interrupted_ends_with_its_graph(
    load: LoadGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = load(ADD)
    agent = agent_of(guard, [], says("one"))

    async def interrupted(run: Any, *_: Any) -> None:
        raise KeyError("interrupted")

    monkeypatch.setattr(guard, "aend_run", interrupted)
    with pytest.raises(KeyError):
        await agent.ainvoke(HELLO, context=ALICE)
    assert guard.runs.list()[0].status == "failed"
    assert runs_of(guard).is_over(guard.runs.list()[0].run)


def test_a_request_of_which_nothing_is_hidden_is_handed_on_as_it_is(load: LoadGuard) -> None:
    seen: list[bool] = []

    class Watching(GuardMiddleware):
        def _offer(self, run: Any, request: Any) -> Any:
            offered = super()._offer(run, request)
            seen.append(offered is request)
            return offered

    guard = load(ADD)
    for tools in ([add_of([])], [add_of([]), tool(_takes_nothing)]):
        agent = agent_of(None, tools, says("one"), middleware=[Watching(guard)])
        agent.invoke(HELLO, context=ALICE)
    assert seen == [True, False]
