"""The sub-agents of deepagents, with the tools that they bring along."""

from typing import Any

import pytest
from deepagents import create_deep_agent
from langchain.agents import create_agent
from langgraph.checkpoint.memory import InMemorySaver

from ringfence import Guard, Principal
from ringfence.adapters.langchain import GuardMiddleware, guard_subagents, guard_tools, questions
from ringfence.engine.decision import events as e
from tests.adapters.langchain.agents import ADD, ALICE, HELLO, SEND, THREAD, Invoke, add_of, both, send_of
from tests.adapters.langchain.conftest import LoadGuard
from tests.adapters.langchain.model import ScriptedModel, asks, call, model, says

# LangChain before 1.4 dumps the runtime of a tool, whose context it took for none: bare agents warn, too.
pytestmark = pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")

TASK = "tool task { needs work  allow always }\n"
WRITE = call("write_file", "w1", file_path="/notes.txt", content="x")


def task(to: str) -> Any:
    return asks(call("task", "t1", description="do it", subagent_type=to))


def worker(inner: ScriptedModel, tools: list[Any]) -> dict[str, Any]:
    return {
        "name": "worker",
        "description": "Works.",
        "system_prompt": "Work.",
        "model": inner,
        "tools": tools,
    }


def deep(guard: Guard, outer: ScriptedModel, specs: list[Any], **options: Any) -> Any:
    return create_deep_agent(
        outer,
        [],
        middleware=[GuardMiddleware(guard)],
        subagents=specs,
        context_schema=Principal,
        **options,
    )


def files_of(result: dict[str, Any]) -> list[str]:
    return sorted(result.get("files") or {})


def decided(guard: Guard) -> list[tuple[str, str]]:
    """Return every decision of all runs, with the tool's name."""
    found = []
    for row in guard.runs.list():
        told = [one.event for one in guard.runs.get(row.run).events]
        names = {one.call: one.tool for one in told if isinstance(one, e.CallRequested)}
        found += [(names[one.call], one.verdict) for one in told if isinstance(one, e.CallDecided)]
    return sorted(found)


@both
def test_the_tools_that_a_sub_agent_brings_are_decided(load: LoadGuard, invoke: Invoke) -> None:
    guard = load(TASK)
    bare = [worker(model(asks(WRITE), says()), [])]
    unguarded = deep(guard, model(task("worker"), says()), bare)
    assert files_of(invoke(unguarded, HELLO, context=ALICE)) == ["/notes.txt"], "nobody sees it unguarded"
    inner = model(asks(WRITE), says())
    app = deep(guard, model(task("worker"), says()), guard_subagents(guard, [worker(inner, [])]))
    assert files_of(invoke(app, HELLO, context=ALICE)) == []
    assert inner.offered == [[], []]
    assert ("write_file", "unknown") in decided(guard)


@both
def test_a_sub_agent_writes_a_file_where_the_policy_says_so(load: LoadGuard, invoke: Invoke) -> None:
    guard = load(
        TASK
        + 'tool write_file { needs work  allow when file_path == "/notes.txt" }'.replace(
            "allow", "takes file_path: text, content: text  allow"
        )
    )
    other = call("write_file", "w2", file_path="/etc/passwd", content="x")
    specs = guard_subagents(guard, [worker(model(asks(WRITE, other), says()), [])])
    app = deep(guard, model(task("worker"), says()), specs)
    assert files_of(invoke(app, HELLO, context=ALICE)) == ["/notes.txt"]


@both
def test_the_general_purpose_sub_agent_is_guarded_without_being_named(
    load: LoadGuard, invoke: Invoke
) -> None:
    guard = load(TASK)
    one = model(task("general-purpose"), asks(WRITE), says(), says())
    app = deep(guard, one, guard_subagents(guard))
    assert files_of(invoke(app, HELLO, context=ALICE)) == []
    assert ("write_file", "unknown") in decided(guard)


@both
def test_a_call_of_a_sub_agent_that_asks_puts_the_main_agent_away(load: LoadGuard, invoke: Invoke) -> None:
    sent: list[str] = []
    guard = load(TASK + SEND)
    inner = model(asks(call("send", to="bob")), says())
    specs = guard_subagents(guard, [worker(inner, [send_of(sent)])])
    app = deep(guard, model(task("worker"), says()), specs, checkpointer=InMemorySaver())
    (asked,) = questions(invoke(app, HELLO, THREAD, context=ALICE))
    assert sent == []
    guard.approve(asked.ticket, by="dana")
    invoke(app, None, THREAD)
    assert sent == ["bob"]


def test_a_sub_agent_acts_as_the_policys_agent_of_its_name(load: LoadGuard) -> None:
    guard = load("""capability wide is read
agent main { holds work, wide }
agent worker { holds wide }
tool task { needs work  allow always }
tool add { needs work  takes a: integer  allow always }""")
    done: list[Any] = []
    inner = model(asks(call("add", a=1)), says())
    specs = guard_subagents(guard, [worker(inner, [add_of(done)])])
    deep(guard, model(task("worker"), says()), specs).invoke(HELLO, context=ALICE)
    assert (done, inner.offered[0]) == ([], [])


def test_a_specification_that_has_the_middleware_is_left_as_it_is(load: LoadGuard) -> None:
    guard = load(ADD)
    spec = {**worker(model(says()), []), "middleware": [GuardMiddleware(guard)]}
    general, own = guard_subagents(guard, [spec])
    assert own == spec
    assert general["name"] == "general-purpose" and len(general["middleware"]) == 1
    assert guard_subagents(guard, [spec], general_purpose=False) == [spec]


def test_a_compiled_sub_agent_that_nobody_guards_is_refused(load: LoadGuard) -> None:
    guard, other = load(ADD), load(ADD)

    def compiled(tools: list[Any], *middleware: Any) -> dict[str, Any]:
        runnable = create_agent(model(says()), tools, middleware=list(middleware))
        return {"name": "worker", "description": "Works.", "runnable": runnable}

    add = add_of([])
    for fine in (compiled([add], GuardMiddleware(guard)), compiled(guard_tools(guard, [add]))):
        assert guard_subagents(guard, [fine], general_purpose=False) == [fine]
    for bad in (compiled([add]), compiled([add], GuardMiddleware(other)), compiled([])):
        with pytest.raises(ValueError, match="`worker` was compiled before"):
            guard_subagents(guard, [bad])


def test_a_sub_agent_that_runs_elsewhere_is_refused(load: LoadGuard) -> None:
    remote = {"name": "remote", "description": "Elsewhere.", "graph_id": "g1"}
    with pytest.raises(ValueError, match="`remote` runs elsewhere"):
        guard_subagents(load(ADD), [remote])
