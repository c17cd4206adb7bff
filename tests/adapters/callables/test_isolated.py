"""The policy's tools that run in isolates, for plain Python: no function is their body."""

import asyncio
import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ringfence.adapters.callables import IsolatedTool, guarded, isolated
from ringfence.engine.decision.events import CallFailed, CallRequested
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.errors import DeniedError, EngineError, PendingError, ToolFailedError
from tests.guards import ALICE, make_guard
from tests.isolated_tools import POLICY, executor, guard_of

ROWS = [{"total": 2}, {"total": 3}]


def rows(table: str) -> Any:
    """Give rows of the host."""
    return ROWS


async def arows(table: str) -> Any:
    await asyncio.sleep(0)
    return ROWS


@pytest.fixture
def guard() -> Iterator[Guard]:
    made = guard_of(executor())
    yield made
    made.close()


def run_sync(guard: Guard, tool: IsolatedTool, **arguments: Any) -> Any:
    with guard.run(principal=ALICE):
        return tool(**arguments)


def run_async(guard: Guard, tool: IsolatedTool, **arguments: Any) -> Any:
    async def main() -> Any:
        async with guard.run(principal=ALICE):
            return await tool.acall(**arguments)

    return asyncio.run(main())


both = pytest.mark.parametrize("call", [run_sync, run_async])
Call = Callable[..., Any]


@both
def test_a_script_of_the_policy_runs_without_a_function(guard: Guard, call: Call) -> None:
    tool = isolated(guard, "quote")
    assert call(guard, tool, items=["a", "b"]) == 2
    assert (tool.name, tool.description) == ("quote", "Compute quote.")
    assert tool.schema["required"] == ["items"]


@both
@pytest.mark.parametrize("function", [rows, lambda table: ROWS], ids=["function", "lambda"])
def test_code_calls_a_function(guard: Guard, call: Call, function: Any) -> None:
    assert call(guard, isolated(guard, "run_js", inner={"db/query": function}), code="total") == 5


def test_a_coroutine_function_is_awaited_and_refused_where_nothing_can_await_it(guard: Guard) -> None:
    tool = isolated(guard, "run_js", inner={"db/query": arows})
    assert run_async(guard, tool, code="total") == 5
    with pytest.raises(TypeError, match="may call `db/query`, a coroutine function: use `acall`"):
        run_sync(guard, tool, code="total")


@both
def test_a_guarded_function_is_decided_once(guard: Guard, call: Call) -> None:
    tool = isolated(guard, "run_js", inner={"db/query": guarded(guard, name="db/query")(rows)})
    assert call(guard, tool, code="total") == 5
    asked = [one.tool for one in _events(guard) if isinstance(one, CallRequested)]
    assert asked == ["run_js", "db/query"]


def test_what_hides_a_guard_is_refused(guard: Guard) -> None:
    of_ours = guarded(guard, name="db/query")(rows)

    @functools.wraps(of_ours)
    def around(table: str) -> Any:
        return of_ours(table)

    with pytest.raises(ValueError, match="`rows` is wrapped around a guarded function"):
        isolated(guard, "run_js", inner={"db/query": around})
    other = make_guard()
    with pytest.raises(ValueError, match="`rows` is guarded by another guard"):
        isolated(guard, "run_js", inner={"db/query": guarded(other)(rows)})
    other.close()


@both
def test_a_default_of_the_function_is_decided_with_the_call(guard: Guard, call: Call) -> None:
    asked: list[int] = []

    def query(table: str, limit: int = 1000) -> Any:
        asked.append(limit)
        return ROWS

    tool = isolated(guard, "run_js", inner={"db/query": query})
    assert "    limit?: number | null; // an integer, 1000 if it is missing\n" in tool.description
    assert call(guard, tool, code="limits") == [ROWS, *["told: not authorized"] * 3]
    assert asked == [10]
    with guard.run(principal=ALICE), pytest.raises(DeniedError):  # as a call of the function itself
        guarded(guard, name="db/query")(query)("orders")


@both
def test_a_default_of_none_is_what_is_missing(guard: Guard, call: Call) -> None:
    def query(table: str, limit: int | None = None) -> Any:
        return ROWS

    tool = isolated(guard, "run_js", inner={"db/query": query})
    assert "    limit?: number | null; // an integer" in tool.description
    assert call(guard, tool, code="limits") == [ROWS, "told: not authorized", ROWS, ROWS]


@both
def test_wrong_arguments_are_denied_and_a_mistake_in_the_code_is_placed(guard: Guard, call: Call) -> None:
    tool = isolated(guard, "run_js", inner={"db/query": rows})
    with pytest.raises(DeniedError):
        call(guard, tool, code="total", more=1)
    with pytest.raises(DeniedError):
        call(guard, tool)
    with pytest.raises(ToolFailedError, match=r"line 3, column 7 of `code`") as caught:
        call(guard, tool, code="nonsense(")
    assert caught.value.model_text == "the tool failed"


def test_a_call_outside_of_any_run_is_refused(guard: Guard) -> None:
    with pytest.raises(EngineError, match="outside of any run"):
        isolated(guard, "quote")(items=[])


@pytest.mark.parametrize(
    ("name", "inner", "told"),
    [
        ("quotes", {}, "the policy `desk` has no tool `quotes`; did you mean `quote`?"),
        ("plain", {}, "`plain` does not run in an isolate: guard its function instead"),
        (
            "run_js",
            {},
            "the code of `run_js` may call `db/query`, and no body is given for it: name it in `inner`",
        ),
        ("run_js", {"query": rows}, "the policy binds `query` as `db/query`: give the tool of that name"),
        ("run_js", {"plain": rows}, "the code of `run_js` may not call `plain`: take it out of `inner`"),
        ("run_js", {"nope": rows}, "take it out of `inner`; the policy `desk` has no tool of this name"),
        ("run_js", {"quote": rows}, "`quote` runs in an isolate itself: it has no body to give"),
        ("run_js", {"run_js": rows}, "`run_js` runs in an isolate itself: it has no body to give"),
        ("outer", {}, "the code of `outer` may call `db/query`, and no body is given for it"),
    ],
)
def test_a_mistake_is_told_when_the_tool_is_made(guard: Guard, name: str, inner: Any, told: str) -> None:
    with pytest.raises(ValueError) as caught:
        isolated(guard, name, inner=inner)
    assert told in str(caught.value)


def test_code_that_people_must_see_first_waits_for_them_or_says_so() -> None:
    guard = guard_of(executor(), POLICY.replace("runs code in box", "runs code in box  ask lead"))
    tool = isolated(guard, "run_js", inner={"db/query": rows}, wait=False)
    with guard.run(principal=ALICE):
        with pytest.raises(PendingError) as pending:
            tool(code="total")
        guard.approve(pending.value.tickets[0], by="dana")
        assert tool(code="total") == 5
    guard.close()


@pytest.mark.parametrize("nothing", [None, "rows", 3])
def test_what_is_no_function_is_refused(guard: Guard, nothing: Any) -> None:
    with pytest.raises(TypeError, match="is no function"):
        isolated(guard, "run_js", inner={"db/query": nothing})


@both
def test_code_in_code_reaches_the_function(guard: Guard, call: Call) -> None:
    assert call(guard, isolated(guard, "outer", inner={"db/query": rows}), code="nest") == 5


def test_a_function_on_a_thread_that_nobody_can_stop_is_recorded_as_such(guard: Guard) -> None:
    begun, release = threading.Event(), threading.Event()

    def stays(table: str) -> Any:
        begun.set()
        release.wait(30)
        return ROWS

    tool = isolated(guard, "run_js", inner={"db/query": stays})

    async def main() -> None:
        async with guard.run(principal=ALICE):
            calling = asyncio.create_task(tool.acall(code="total"))
            await asyncio.to_thread(begun.wait, 30)
            calling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await calling

    asyncio.run(main())
    release.set()
    failed = [one for one in _events(guard) if isinstance(one, CallFailed)]
    assert [one.outcome for one in failed] == ["abandoned", "abandoned"]


def _events(guard: Guard) -> Any:
    return [stamped.event for stamped in guard.runs.latest().events]
