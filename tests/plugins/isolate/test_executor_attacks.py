"""A worker that lies, floods, hangs or dies: an outcome that says so, and the next run works."""

import asyncio
import json
import os
import signal
import threading
from collections.abc import Sequence

import pytest

from ringfence.engine.seams.isolates import InnerAnswer, InnerCall, IsolateFailure
from ringfence.plugins.isolate import frames
from tests.plugins.isolate.workers import (
    MB,
    SECOND,
    children,
    children_of,
    closing,
    echoes,
    gone,
    job,
    never,
    none,
    pool,
)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="workers are processes of POSIX systems")

LIES = {
    "flood": "of 16777215 bytes|more than|not JSON|string",
    "long length": "4294967295 bytes",
    "no length": "0 bytes",
    "not utf-8": "not JSON",
    "not json": "",
    "twice a name": "a name twice",
    "deep frame": "too many values",
    "deep result": "larger than",
    "deep arguments": "malformed",
    "deeper frame": "nested deeper",
    "large result": "larger than it was allowed",
    "result no text": "no answer",
    "result no json": "",
    "deeper result": "nested deeper",
    "result half": "not Unicode|no text",
    "result extra": "no answer",
    "two at once": "no answer",
    "unknown frame": "no answer",
    "ready again": "no answer",
    "no calls": "no calls",
    "id 2": "another id",
    "id 0": "another id",
    "id true": "another id",
    "id text": "no call",
    "id twice": "another id",
    "id repeated": "another id",
    "call of numbers": "no call",
    "call extra": "no call",
    "arguments no text": "no call",
    "tool half": "malformed",
    "tool long": "malformed",
    "close": "closed its end",
    "short": "ended by itself",
    "exit": "ended by itself",
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_worker_that_lies_is_killed_and_the_next_run_works(lie: str) -> None:
    async with closing(pool()) as executor:
        before = await executor.run(job("pid"), none)
        outcome = await executor.run(job(lie), echoes)
        assert (outcome.result, outcome.failure) == (None, "killed"), outcome
        assert outcome.message is not None
        assert any(words in outcome.message for words in LIES[lie].split("|")), outcome
        await gone(int(before.result or 0))
        after = await executor.run(job("echo", {"still": "here"}), none)
        assert after.result == '{"still": "here"}'


DEATHS: dict[signal.Signals, tuple[IsolateFailure, str]] = {
    signal.SIGKILL: ("killed", "from outside"),
    signal.SIGTRAP: ("memory", "memory 64 MB"),
    signal.SIGABRT: ("memory", "memory 64 MB"),
    signal.SIGXCPU: ("cpu", "cpu 20000 ms"),
    signal.SIGSYS: ("killed", "seccomp"),
    signal.SIGSEGV: ("killed", "signal 11"),
    signal.SIGTERM: ("killed", "signal 15"),
}


@pytest.mark.parametrize("number", DEATHS)
async def test_how_a_worker_died_is_told(number: signal.Signals) -> None:
    failure, words = DEATHS[number]
    async with closing(pool()) as executor:
        outcome = await executor.run(job("die", int(number)), none)
        assert outcome.failure == failure
        assert words in (outcome.message or "")
        assert (await executor.run(job("echo"), none)).failure is None


@pytest.mark.parametrize("source", ["hang", "trickle", "call and hang", "call, then hang", "spin"])
async def test_the_deadline_ends_what_does_not_end(source: str) -> None:
    async with closing(pool()) as executor:
        outcome = await executor.run(job(source, time_ns=SECOND // 5), echoes)
        assert outcome.failure in ("time", "killed"), outcome
        if outcome.failure == "time":
            assert outcome.message == "it took longer than `time 200 ms`, calls included"
        else:
            assert source == "trickle"  # its second header is a lie, and may come first
        assert (await executor.run(job("echo"), none)).failure is None


async def test_the_deadline_runs_while_inner_calls_are_answered() -> None:
    cancelled = asyncio.Event()

    async def slow(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
        try:
            return await never(calls)
        finally:
            cancelled.set()

    async with closing(pool()) as executor:
        outcome = await executor.run(job("batch", 1, time_ns=SECOND // 5), slow)
        assert outcome.failure == "time"
        assert cancelled.is_set()
        assert (await executor.run(job("echo"), none)).failure is None


async def test_processor_time_is_bounded() -> None:
    async with closing(pool()) as executor:
        outcome = await executor.run(job("spin", cpu_ns=SECOND // 10), none)
        assert (outcome.failure, outcome.message) == (
            "cpu",
            "it used more processor time than `cpu 100 ms`",
        )


async def test_a_result_that_used_too_much_processor_time_is_none() -> None:
    async with closing(pool()) as executor:
        outcome = await executor.run(job("spin a little", cpu_ns=SECOND // 10), none)
        assert (outcome.result, outcome.failure) == (None, "cpu")
        assert (await executor.run(job("spin a little", cpu_ns=2 * SECOND), none)).result == "1"


async def test_memory_is_bounded_from_outside() -> None:
    async with closing(pool()) as executor:
        outcome = await executor.run(job("eat", memory_bytes=32 * MB), none)
        assert (outcome.failure, outcome.message) == ("memory", "it used more memory than `memory 32 MB`")
        assert (await executor.run(job("echo"), none)).failure is None


@pytest.mark.parametrize("source", ["too many", "endless"])
async def test_more_than_a_thousand_calls_are_too_many(source: str) -> None:
    asked = 0

    async def counted(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
        nonlocal asked
        asked += len(calls)
        return await echoes(calls)

    async with closing(pool()) as executor:
        outcome = await executor.run(job(source), counted)
        assert (outcome.failure, outcome.message) == ("calls", "more than 1000 calls")
        assert asked == (0 if source == "too many" else 1000)


@pytest.mark.parametrize("brackets", [10, 200_000])
async def test_what_is_large_is_not_looked_through_on_the_engines_loop(
    brackets: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that has been taken over could hold up all runs of the host with sixteen megabytes a frame."""
    here, seen = threading.get_ident(), []
    real = frames.bounded

    def bounded(body: bytes, *, depth: int, tokens: int) -> None:
        seen.append((len(body), threading.get_ident() == here))
        real(body, depth=depth, tokens=tokens)

    monkeypatch.setattr(frames, "bounded", bounded)
    async with closing(pool()) as executor:
        assert (await executor.run(job("large batch", brackets), zeros)).result == "4"
    assert any(size > brackets for size, _ in seen)
    assert not [size for size, on_the_loop in seen if on_the_loop and size > 1 << 18]


async def zeros(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
    return [InnerAnswer(call.id, "0") for call in calls]


async def test_a_worker_that_does_not_wait_for_its_answers_is_killed() -> None:
    executor = pool()

    async def late(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
        assert executor._pool is not None
        (worker,) = executor._pool._busy
        async with asyncio.timeout(20):
            while worker.child.silent():
                await asyncio.sleep(0.005)
        return await echoes(calls)

    async with closing(executor):
        outcome = await executor.run(job("too soon"), late)
        assert (outcome.failure, outcome.result) == ("killed", None)
        assert "out of turn" in (outcome.message or "")


async def test_what_a_worker_adds_to_its_result_does_not_reach_the_next_run() -> None:
    async with closing(pool(workers=1)) as executor:
        assert (await executor.run(job("after done"), none)).result == "1"
        assert (await executor.run(job("echo", 5), none)).result == "5"


async def test_a_worker_killed_in_the_middle_of_a_call_ends_the_run_at_once() -> None:
    async with closing(pool()) as executor:
        outcome = await executor.run(job("call and die"), never)
        assert outcome.failure == "killed"
        assert (await executor.run(job("echo"), none)).failure is None


async def test_what_a_worker_started_itself_dies_with_it() -> None:
    async with closing(pool()) as executor:
        outcome = await executor.run(job("child"), none)
        assert outcome.failure is None
        [worker] = children()
        [grandchild] = children_of(worker)
    await gone(grandchild)


async def test_a_worker_gets_its_own_socket_and_nothing_else() -> None:
    os.environ["RINGFENCE_SECRET_OF_A_TEST"] = "secret"
    try:
        held = os.open(__file__, os.O_RDONLY)
        os.set_inheritable(held, True)
        async with closing(pool()) as executor:
            outcome = await executor.run(job("environment"), none)
        os.close(held)
    finally:
        del os.environ["RINGFENCE_SECRET_OF_A_TEST"]
    assert outcome.result is not None
    environment, folder, open_ones = json.loads(outcome.result)
    assert environment.keys() <= {"LC_CTYPE"}
    assert folder == "/"
    assert len(open_ones) == 5  # three that are null, the socket, and the listing itself


@pytest.mark.parametrize(
    "said",
    [
        {"failure": "killed", "message": "x", "line": None, "column": None},
        {"failure": "time", "message": "x", "line": None, "column": None},
        {"failure": "bored", "message": "x", "line": None, "column": None},
        {"failure": "exception", "message": 1, "line": None, "column": None},
        {"failure": "exception", "message": "x", "line": 0, "column": None},
        {"failure": "exception", "message": "x", "line": True, "column": None},
        {"failure": "exception", "message": "x", "line": 1},
        {"failure": "exception", "message": "x", "line": 1, "column": 1, "path": "/"},
    ],
)
async def test_a_failure_in_no_known_form_is_a_lie(said: dict[str, object]) -> None:
    async with closing(pool()) as executor:
        assert (await executor.run(job("fail", said), none)).failure == "killed"


async def test_a_failure_is_told_with_its_place_and_cut() -> None:
    said = {"failure": "exception", "message": "x" * 5000, "line": 3, "column": 7}
    async with closing(pool()) as executor:
        outcome = await executor.run(job("fail", said), none)
    assert (outcome.failure, outcome.line, outcome.column) == ("exception", 3, 7)
    assert outcome.message == "x" * 2000
    assert (outcome.v8, outcome.layers) == ("14.0", ("process", "seccomp"))


async def test_answers_that_do_not_fit_the_calls_are_our_own_fault() -> None:
    async def wrong(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
        return [InnerAnswer(7, "1")]

    async def broken(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
        raise RuntimeError("/home/secret")

    async def enormous(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
        return [InnerAnswer(1, '"' + "x" * (17 << 20) + '"')]

    async with closing(pool()) as executor:
        assert (await executor.run(job("batch", 1), wrong)).failure == "executor"
        outcome = await executor.run(job("batch", 1), broken)
        assert outcome.failure == "executor"
        assert "secret" not in (outcome.message or "")
        assert (await executor.run(job("batch", 1), enormous)).failure == "calls"
        assert (await executor.run(job("x" * (17 << 20)), none)).failure == "executor"
        assert (await executor.run(job("echo"), none)).failure is None
