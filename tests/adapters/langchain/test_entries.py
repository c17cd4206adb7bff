"""Every kind of tool in every way to run an agent: under a policy that allows it, as without a guard."""

import asyncio
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.store.memory import InMemoryStore

from ringfence import Guard
from ringfence.adapters.langchain import guard_tools
from tests.adapters.langchain.agents import ALICE, HELLO, Invoke, both, kinds, replies, run_async
from tests.adapters.langchain.conftest import LoadGuard
from tests.adapters.langchain.entries import AWAITED, ENTRIES, TOOLS, Make, said
from tests.adapters.langchain.model import asks, call, model, says
from tests.adapters.langchain.versions import needs

EVERY = TOOLS | AWAITED
OPEN = "\n".join(f"tool {name} {{ needs work  allow always }}" for name in (*EVERY, "task"))
DENY = "\n".join(f"tool {name} {{ needs work }}" for name in EVERY)

pytestmark = pytest.mark.filterwarnings("ignore:create_react_agent has been moved")
entries = pytest.mark.parametrize("make", list(ENTRIES.values()), ids=list(ENTRIES))
of_each_kind = pytest.mark.parametrize("kind", list(TOOLS))


def played(make: Make, invoke: Invoke, guard: Guard | None, *names: str) -> Any:
    """Play a turn that calls each of these tools, and the model's last word."""
    turn = asks(*(call(name, f"c{at}", x=at + 1) for at, name in enumerate(names)))
    tools = [EVERY[name] for name in names]
    app = make(guard, tools, model(turn, says()), store=InMemoryStore())
    return said(invoke(app, HELLO, context=ALICE)["messages"])


@entries
@of_each_kind
@both
def test_an_allowed_tool_gives_what_it_gives_without_a_guard(
    load: LoadGuard, make: Make, kind: str, invoke: Invoke
) -> None:
    bare = played(make, invoke, None, kind)
    assert len(bare) > 2, "the tool has answered"
    assert played(make, invoke, load(OPEN), kind) == bare


@entries
def test_a_coroutine_tool_gives_what_it_gives_without_a_guard(load: LoadGuard, make: Make) -> None:
    bare = played(make, run_async, None, "awaited")
    assert played(make, run_async, load(OPEN), "awaited") == bare


@entries
@both
def test_all_kinds_at_once_give_what_they_give_without_a_guard(
    load: LoadGuard, make: Make, invoke: Invoke
) -> None:
    names = [name for name in TOOLS if name != "direct"]
    bare = played(make, invoke, None, *names)
    assert played(make, invoke, load(OPEN), *names) == bare


@entries
@both
def test_a_denied_tool_gives_the_refusal_alone(load: LoadGuard, make: Make, invoke: Invoke) -> None:
    turn = asks(*(call(name, f"c{at}", x=1) for at, name in enumerate(TOOLS)))
    app = make(load(DENY), list(TOOLS.values()), model(turn, says()), store=InMemoryStore())
    told = invoke(app, HELLO, context=ALICE)["messages"][2 : 2 + len(TOOLS)]
    assert said(told) == [
        ("tool", name, "not authorized", "error", None, f"c{at}") for at, name in enumerate(TOOLS)
    ]


# ---- streams ---------------------------------------------------------------------------------------

TURNS = [asks(call("plain", "c0", x=1), call("with_artifact", "c1", x=2)), says("that was all")]
MODES = ["values", "updates", "messages"]
OWN = ("model", "agent", "tools")
"""Nodes that do something in an unguarded agent, too."""


def streamed(app: Any) -> Any:
    return list(app.stream(HELLO, stream_mode=MODES, context=ALICE))


def astreamed(app: Any) -> Any:
    async def parts() -> list[Any]:
        return [one async for one in app.astream(HELLO, stream_mode=MODES, context=ALICE)]

    return asyncio.run(parts())


def _shown(parts: Any) -> dict[str, Any]:
    """Return what a consumer of a stream sees, whatever nodes we add; calls of a turn come in any order."""
    seen: dict[str, list[Any]] = {mode: [] for mode in MODES}
    for mode, part in parts:
        if mode == "values":
            seen[mode] = said(part["messages"])
        elif mode == "messages":
            seen[mode].append((part[1]["langgraph_node"], *said([part[0]])))
        else:
            for node, update in part.items():
                if node in OWN and update:
                    seen[mode].append((node, *said(update["messages"])))
    return {"values": seen["values"], **{mode: sorted(seen[mode], key=repr) for mode in MODES[1:]}}


@entries
@pytest.mark.parametrize("stream", [streamed, astreamed])
def test_a_stream_shows_what_it_shows_without_a_guard(load: LoadGuard, make: Make, stream: Any) -> None:
    tools = [TOOLS["plain"], TOOLS["with_artifact"]]
    bare = _shown(stream(make(None, tools, model(*TURNS))))
    assert all(bare.values())
    assert _shown(stream(make(load(OPEN), tools, model(*TURNS)))) == bare


def _events_of(app: Any) -> list[tuple[str, str]]:
    async def parts() -> list[Any]:
        return [one async for one in app.astream_events(HELLO, version="v2", context=ALICE)]

    kinds = ("on_tool_start", "on_tool_end", "on_chat_model_start", "on_chat_model_end")
    return sorted((one["event"], one["name"]) for one in asyncio.run(parts()) if one["event"] in kinds)


@entries
def test_events_show_models_and_tools_as_without_a_guard(load: LoadGuard, make: Make) -> None:
    tools = [TOOLS["plain"], TOOLS["with_artifact"]]
    bare = _events_of(make(None, tools, model(*TURNS)))
    assert [one for one in bare if one[0] == "on_tool_end"] == [
        ("on_tool_end", "plain"),
        ("on_tool_end", "with_artifact"),
    ]
    guarded = make(load(OPEN), tools, model(*TURNS))
    assert _events_of(guarded) == bare


# ---- parallel calls, and the record ------------------------------------------------------------------


@entries
@both
def test_twenty_calls_of_one_turn_share_a_rate(load: LoadGuard, make: Make, invoke: Invoke) -> None:
    guard = load(OPEN.replace("tool plain { needs work", "tool plain { needs work  rate 7 per run"))
    turn = asks(*(call("plain", f"c{at}", x=at) for at in range(20)))
    app = make(guard, [TOOLS["plain"]], model(turn, says()))
    told = replies(invoke(app, HELLO, context=ALICE))
    assert (len(told), told.count("not authorized")) == (20, 13)


# ---- what is offered -------------------------------------------------------------------------------


@entries
@both
def test_only_what_the_policy_opens_is_offered(load: LoadGuard, make: Make, invoke: Invoke) -> None:
    guard = load("""capability ruin is destructive
agent main { holds work }
tool plain { needs work  takes x: integer  allow always }
tool sums { needs ruin  allow always }""")
    asked = model(asks(call("plain", x=1)), says())
    tools = [TOOLS["plain"], TOOLS["sums"], TOOLS["structured"]]
    invoke(make(guard, tools, asked), HELLO, context=ALICE)
    assert asked.offered == [["plain"], ["plain"]]


@both
def test_tools_given_to_a_react_agent_beside_the_guard_are_offered_and_the_host_is_told(
    load: LoadGuard, invoke: Invoke, capsys: Any
) -> None:
    guard = load("tool plain { needs work  takes x: integer  allow always }")
    asked = model(asks(call("sums", "c1", x=1), call("plain", "c2", x=1)), says())
    app = ENTRIES["create_react_agent"](None, [*guard_tools(guard, [TOOLS["plain"]]), TOOLS["sums"]], asked)
    with guard.run(principal=ALICE):
        result = invoke(app, HELLO)
    assert isinstance(result["messages"][-1], AIMessage)
    assert capsys.readouterr().err.count("`sums` ran unguarded inside a guarded run") == 1


# ---- the newest protocol of streams ------------------------------------------------------------------

SMALL = "tool plain { needs work  takes x: integer  allow when x < 5 }"
TRIED = [asks(call("plain", "c1", x=1), call("plain", "c2", x=9)), says()]


@needs("langgraph", "1.2")
@pytest.mark.filterwarnings("ignore:The v3 streaming protocol on Pregel is experimental")
@entries
def test_the_third_version_of_events_is_guarded_and_recorded(load: LoadGuard, make: Make) -> None:
    guard = load(SMALL)

    async def asynchronously() -> Any:
        app = make(guard, [TOOLS["plain"]], model(*TRIED))
        stream = await app.astream_events(HELLO, version="v3", context=ALICE)
        async for _ in stream:
            pass
        return await stream.output()

    def synchronously() -> Any:
        app = make(guard, [TOOLS["plain"]], model(*TRIED))
        return app.stream_events(HELLO, version="v3", context=ALICE).output

    for play in (lambda: asyncio.run(asynchronously()), synchronously):
        assert replies(play()) == ["got 1", "not authorized"]
        recorded = kinds(guard)
        assert [recorded.count(kind) for kind in ("ModelAsked", "ModelAnswered", "CallDecided")] == [2, 2, 2]
        assert recorded[-1] == "RunEnded"
