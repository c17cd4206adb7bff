"""What no isolate can work with: far too large, no JSON, no function, or a worker that somebody kills."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Sequence

import pytest

from ringfence.engine.seams.isolates import InnerAnswer, InnerCall
from ringfence.plugins.isolate.executor import IsolatePool
from tests.plugins.isolate.real import full_pool, works
from tests.plugins.isolate.scripts import body
from tests.plugins.isolate.workers import MB, SECOND, children, echoes, gone, never, none

pytest.importorskip("py_mini_racer", reason="the extra `isolate` is not installed")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="workers are processes of POSIX systems")

HUGE = 100_000_000
"""Bytes."""


@pytest.fixture
async def executor() -> AsyncIterator[IsolatePool]:
    async with full_pool() as made:
        yield made


@pytest.mark.parametrize("where", ["source", "arguments"])
async def test_100_mb_on_the_way_in_are_refused_before_a_worker_has_them(
    executor: IsolatePool, where: str
) -> None:
    huge = "x" * HUGE
    job = body(f"/* {huge} */ a => 1") if where == "source" else body("a => 1", {"a": huge})
    outcome = await executor.run(job, none)
    assert outcome.failure == "executor"
    assert "source and arguments cannot be sent to a worker" in (outcome.message or "")
    assert "xxx" not in (outcome.message or "")
    await works(executor)


async def test_100_mb_as_a_result_are_too_much_output(executor: IsolatePool) -> None:
    outcome = await executor.run(body(f"a => 'x'.repeat({HUGE})"), none)
    assert outcome.failure in ("output", "memory"), outcome
    await works(executor)


async def test_100_mb_as_arguments_of_a_call_reach_nobody(executor: IsolatePool) -> None:
    outcome = await executor.run(body(f"async a => await tools.add({{ s: 'x'.repeat({HUGE}) }})"), none)
    assert outcome.failure in ("calls", "memory"), outcome
    await works(executor)


async def test_100_mb_as_the_answer_to_a_call_end_the_run(executor: IsolatePool) -> None:
    async def enormous(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
        return [InnerAnswer(call.id, json.dumps("x" * HUGE)) for call in calls]

    outcome = await executor.run(body("async a => (await tools.add({ x: 1 })).length"), enormous)
    assert outcome.failure == "calls", outcome
    await works(executor)


@pytest.mark.parametrize("answer", ["{nonsense", "NaN", "", "[" * 100_000 + "]" * 100_000, '{"a":1,"a":2}'])
async def test_an_answer_that_is_not_json_is_an_error_to_the_code(executor: IsolatePool, answer: str) -> None:
    async def odd(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
        return [InnerAnswer(call.id, answer) for call in calls]

    source = "async a => { try { await tools.add({ x: 1 }); return 'taken' } catch (e) { return e.message } }"
    outcome = await executor.run(body(source), odd)
    assert "the result cannot be handed over" in (outcome.result or ""), outcome
    await works(executor)


@pytest.mark.parametrize(
    "arguments", ["1n", "() => 1", "Symbol('s')", "(() => { let z = []; z.push(z); return z })()"]
)
async def test_arguments_of_a_call_that_are_not_json_reach_nobody(
    executor: IsolatePool, arguments: str
) -> None:
    outcome = await executor.run(body(f"async a => await tools.add({arguments})"), none)
    assert outcome.failure == "exception", outcome
    await works(executor)


@pytest.mark.parametrize(
    "result", ["1n", "() => 1", "Symbol('s')", "(() => { let z = []; z.push(z); return z })()"]
)
async def test_a_result_that_is_not_json_is_none(executor: IsolatePool, result: str) -> None:
    outcome = await executor.run(body(f"a => {result}"), none)
    assert (outcome.result, outcome.failure) == (None, "not JSON"), outcome
    await works(executor)


@pytest.mark.parametrize(
    ("source", "failure"),
    [
        ("a => {", "syntax"),
        ("", "syntax"),
        ("42", "no function"),
        ("({ run: a => 1 })", "no function"),
        ("'a => 1'", "no function"),
        ("a => new Promise(() => {})", "stalled"),
        ("async a => { await new Promise(() => {}) }", "stalled"),
        ("a => ({ then() {} })", "stalled"),
    ],
)
async def test_what_is_no_function_or_never_settles_is_told_at_once(
    executor: IsolatePool, source: str, failure: str
) -> None:
    outcome = await executor.run(body(source, time_ns=60 * SECOND), none)
    assert (outcome.result, outcome.failure) == (None, failure), outcome
    await works(executor)


async def test_a_busy_worker_that_is_killed_from_outside_is_told(executor: IsolatePool) -> None:
    answered = asyncio.Event()

    async def answers(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
        answered.set()
        return await echoes(calls)

    source = "async a => { await tools.add({ x: 1 }); for (;;); }"
    run = asyncio.create_task(executor.run(body(source), answers))
    await answered.wait()
    for worker in children():
        os.kill(worker, signal.SIGKILL)
        await gone(worker)
    outcome = await run
    assert outcome.failure == "killed", outcome
    await works(executor)


async def test_the_deadline_runs_while_a_call_is_answered_and_cancels_it(executor: IsolatePool) -> None:
    cancelled = asyncio.Event()

    async def slow(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
        try:
            return await never(calls)
        finally:
            cancelled.set()

    source = "async a => await tools.add({ x: 1 })"
    outcome = await executor.run(body(source, time_ns=SECOND // 2), slow)
    assert outcome.failure == "time", outcome
    assert cancelled.is_set()
    await works(executor)


async def test_without_its_deadline_the_same_call_is_waited_for(executor: IsolatePool) -> None:
    asked = asyncio.Event()

    async def slow(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
        asked.set()
        return await never(calls)

    run = asyncio.create_task(
        executor.run(body("async a => await tools.add({ x: 1 })", time_ns=600 * SECOND), slow)
    )
    await asked.wait()
    done, _ = await asyncio.wait({run}, timeout=1)
    assert not done
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    await works(executor)


async def test_the_host_answers_deep_json_itself_and_is_none_the_worse(executor: IsolatePool) -> None:
    source = "a => '[' .repeat(1e5) + ']'.repeat(1e5)"
    outcome = await executor.run(body(source, output_bytes=MB), echoes)
    assert outcome.failure is None and json.loads(outcome.result or "") == "[" * 100_000 + "]" * 100_000
    await works(executor)
