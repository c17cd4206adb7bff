"""Who gets a worker, how many there are, and which are never used."""

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence

import pytest

from ringfence.engine.seams.isolates import InnerAnswer, InnerCall, IsolateOutcome
from ringfence.plugins.isolate import process
from ringfence.plugins.isolate.executor import IsolatePool
from ringfence.plugins.isolate.installed import Installed
from ringfence.plugins.isolate.settings import IsolateSettings
from tests.plugins.isolate.workers import (
    MB,
    SECOND,
    children,
    closing,
    echoes,
    fake,
    gone,
    job,
    never,
    none,
    pid_of,
    pool,
    until_there_are,
)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="workers are processes of POSIX systems")


async def test_a_job_arrives_as_it_was_given() -> None:
    async with closing(pool()) as executor:
        outcome = await executor.run(job("job", {"é": "\ud83d\ude00"}), none)
    assert outcome.failure is None
    assert json.loads(outcome.result or "") == {
        "source": "",
        "kind": "body",
        "name": "body.js",
        "arguments": json.dumps({"é": "\ud83d\ude00"}),
        "tools": ["add"],
        "output_bytes": 100_000,
        "memory_bytes": 64 * MB,
        "now_ms": 1_700_000_000_000,
        "tick_ms": None,
        "seed": "0" * 32,
    }
    assert (outcome.v8, outcome.layers) == ("14.0", ("process", "seccomp"))


async def test_inner_calls_are_answered_one_by_one_or_together() -> None:
    batches: list[int] = []

    async def counted(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
        batches.append(len(calls))
        answers = list(await echoes(calls))
        return answers[::-1]

    async with closing(pool()) as executor:
        assert (await executor.run(job("sum", 5), counted)).result == "15"
        assert json.loads((await executor.run(job("batch", 1000), counted)).result or "") == ["0"] * 1000
    assert batches == [1, 1, 1, 1, 1, 1000]


async def test_a_result_that_cannot_be_handed_over_is_an_error_to_the_code() -> None:
    async def odd(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
        return [InnerAnswer(1, "[" * 300 + "]" * 300), InnerAnswer(2, "NaN"), InnerAnswer(3, None, "denied")]

    async with closing(pool()) as executor:
        deep, not_json, denied = json.loads((await executor.run(job("batch", 3), odd)).result or "")
    assert deep == "the result cannot be handed over: nested deeper than 200"
    assert not_json == "the result cannot be handed over: `NaN` is not JSON"
    assert denied == "denied"


async def test_a_worker_does_many_jobs_and_is_replaced_after_so_many() -> None:
    async with closing(pool(jobs_per_worker=3)) as executor:
        pids = [await pid_of(executor) for _ in range(7)]
        assert len(set(pids)) == 3
        assert pids == sorted(pids, key=pids.index)
        assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 1]


async def test_a_good_end_keeps_the_worker_and_a_bad_one_does_not() -> None:
    async with closing(pool()) as executor:
        first = await pid_of(executor)
        said = {"failure": "exception", "message": "x", "line": None, "column": None}
        await executor.run(job("fail", said), none)
        assert await pid_of(executor) == first
        await executor.run(job("fail", {**said, "failure": "output"}), none)
        second = await pid_of(executor)
        assert second != first
        await executor.run(job("after done"), none)
        assert await pid_of(executor) != second


async def test_there_are_never_more_workers_than_allowed_and_everybody_gets_one() -> None:
    most = 0

    async def watched(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
        nonlocal most
        most = max(most, len(children()))
        return await echoes(calls)

    async with closing(pool(workers=2)) as executor:
        outcomes = await asyncio.gather(*(executor.run(job("batch", 1), watched) for _ in range(20)))
        assert {outcome.result for outcome in outcomes} == {'["0"]'}
        assert len(await until_there_are(2)) == 2
    assert most <= 2


async def test_first_come_first_served_whatever_kind_is_wanted() -> None:
    order: list[int] = []

    async def one(executor: IsolatePool, nth: int, memory: int) -> None:
        await pid_of(executor, memory)
        order.append(nth)

    async with closing(pool(workers=1)) as executor, asyncio.TaskGroup() as group:
        for nth in range(9):
            group.create_task(one(executor, nth, (64, 64, 200)[nth % 3] * MB))
    assert order == list(range(9))


async def test_a_worker_of_another_kind_makes_way() -> None:
    async with closing(pool(workers=1)) as executor:
        small = await pid_of(executor)
        large = await pid_of(executor, 200 * MB)
        assert large != small
        await gone(small)
        assert await pid_of(executor, 129 * MB) == large


async def test_who_waits_too_long_is_told() -> None:
    async with closing(pool(workers=1, wait_s=0.2)) as executor:
        # the start of a worker may take longer than that
        async with asyncio.timeout(20):
            while (await executor.run(job("echo"), none)).failure is not None:
                pass
        first = asyncio.create_task(executor.run(job("hang", time_ns=2 * SECOND), none))
        while not executor.at_work:
            await asyncio.sleep(0)
        outcome = await executor.run(job("echo"), none)
        assert (outcome.failure, outcome.message) == ("executor", "no worker became free within 0.2 s")
        assert (await first).failure == "time"


async def test_a_run_inside_a_run_does_not_wait_for_the_one_around_it() -> None:
    async with closing(pool(workers=1, wait_s=10)) as executor:

        def inside(depth: int) -> object:
            async def answer(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
                if depth == 0:
                    return await echoes(calls)
                inner = await executor.run(job("sum", 1), inside(depth - 1))  # type: ignore[arg-type]
                return [InnerAnswer(calls[0].id, inner.result, inner.failure)]

            return answer

        outcomes = await asyncio.gather(
            *(executor.run(job("sum", 1), inside(3)) for _ in range(3))  # type: ignore[arg-type]
        )
        assert [outcome.result for outcome in outcomes] == ["1", "1", "1"], outcomes


async def test_cancelled_a_run_kills_its_worker_and_its_calls() -> None:
    called, cancelled = asyncio.Event(), asyncio.Event()

    async def waiting(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
        called.set()
        try:
            return await never(calls)
        finally:
            cancelled.set()

    async with closing(pool()) as executor:
        run = asyncio.create_task(executor.run(job("batch", 1), waiting))
        await called.wait()
        [worker] = children()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert cancelled.is_set()
        await gone(worker)
        assert (await executor.run(job("echo"), none)).failure is None


async def test_cancelled_while_waiting_nothing_is_lost() -> None:
    async with closing(pool(workers=1)) as executor:
        runs = [asyncio.create_task(executor.run(job("pid"), none)) for _ in range(20)]
        for nth, run in enumerate(runs):
            await asyncio.sleep(0)
            if nth % 2:
                run.cancel()
        outcomes = await asyncio.gather(*runs, return_exceptions=True)
        assert sum(isinstance(outcome, IsolateOutcome) for outcome in outcomes) == 10
        assert all(outcome.failure is None for outcome in outcomes if isinstance(outcome, IsolateOutcome))
        assert (await executor.run(job("echo"), none)).failure is None


async def test_an_idle_worker_that_was_killed_is_replaced_unseen() -> None:
    async with closing(pool()) as executor:
        first = await pid_of(executor)
        os.kill(first, signal.SIGKILL)
        await gone(first)
        assert await pid_of(executor) != first


async def test_a_worker_is_ready_before_it_is_wanted_and_replaced_in_the_background() -> None:
    async with closing(pool(spare=1)) as executor:
        executor.prewarm("process", 64 * MB)
        [ready] = await until_there_are(1)
        assert await pid_of(executor) == ready
        await until_there_are(2)
        outcome = await executor.run(job("die", 9), none)
        assert outcome.failure == "killed"
        await until_there_are(1)


@pytest.mark.parametrize(
    ("manners", "words"),
    [
        ("dead", "ended (exit status 3) before it was ready"),
        ("mute", "not ready within 0.3 s"),
        ("noise", "no report: not an object"),
        ("another pid", "not what a report holds"),
        ("nonsense", "not what a report holds"),
    ],
)
async def test_a_worker_that_does_not_start_well_is_never_used(manners: str, words: str) -> None:
    async with closing(pool(manners, start_s=0.3 if manners == "mute" else 20)) as executor:
        outcome = await executor.run(job("echo"), none)
        assert outcome.failure == "executor"
        assert words in (outcome.message or "")
        fitness = await executor.fitness()
        assert fitness.v8 is None
        assert fitness.problem is not None


async def test_a_worker_that_speaks_before_it_is_asked_is_never_used() -> None:
    async with closing(pool("talkative", wait_s=1)) as executor:
        outcome = await executor.run(job("echo"), none)
        assert outcome.result is None


async def test_a_machine_that_cannot_start_processes_says_so_at_once_and_goes_on_trying() -> None:
    broken = True

    def program(kind: object, descriptor: int) -> Sequence[str]:
        python = "/nonexistent/python" if broken else sys.executable
        return fake("good", python)(kind, descriptor)  # type: ignore[arg-type]

    executor = IsolatePool(IsolateSettings(workers=2, spare=1), program=program)
    async with closing(executor):
        outcomes = await asyncio.gather(*(executor.run(job("echo"), none) for _ in range(5)))
        outcomes.append(await executor.run(job("echo"), none))
        message = "no worker process could be started: No such file or directory"
        assert {(outcome.failure, outcome.message) for outcome in outcomes} == {("executor", message)}
        broken = False
        await until_there_are(1)
        async with asyncio.timeout(20):
            while (await executor.run(job("echo"), none)).failure is not None:
                await asyncio.sleep(0.05)


async def test_full_lockdown_is_refused_without_every_wall() -> None:
    for manners, words in [("no seccomp", "seccomp (seen or not)"), ("silent on walls", "seccomp")]:
        async with closing(pool(manners)) as executor:
            outcome = await executor.run(job("echo", lockdown="full"), none)
            assert outcome.failure == "lockdown"
            assert outcome.message == f"this machine lacks what `lockdown full` needs: {words}"
            assert (await executor.run(job("echo", lockdown="process"), none)).failure is None
            fitness = await executor.fitness()
            assert fitness.lacks("full") == ("seccomp",)
            assert fitness.lacks("process") == ()
    async with closing(pool()) as executor:
        assert (await executor.run(job("echo", lockdown="full"), none)).failure is None
        assert (await executor.fitness()).lacks("full") == ()


async def test_a_worker_that_is_not_alone_in_its_process_is_never_used() -> None:
    async with closing(pool("no process")) as executor:
        for lockdown in ("process", "full"):
            outcome = await executor.run(job("echo", lockdown=lockdown), none)
            assert outcome.failure == "lockdown"
            assert outcome.message == f"this machine lacks what `lockdown {lockdown}` needs: process (alone)"
        assert (await executor.fitness()).lacks("process") == ("process",)


async def test_a_wall_that_is_reported_both_ways_is_missing() -> None:
    async with closing(pool("both ways")) as executor:
        assert (await executor.run(job("echo", lockdown="full"), none)).failure == "lockdown"
        assert (await executor.fitness()).lacks("full") == ("seccomp",)


async def test_a_problem_of_the_installation_is_told_before_anything_is_started() -> None:
    executor = IsolatePool(look=lambda: Installed(None, "no V8 is installed"))
    async with closing(executor):
        assert (await executor.fitness()).problem == "no V8 is installed"
        outcome = await executor.run(job("echo"), none)
        assert (outcome.failure, outcome.message) == ("executor", "no V8 is installed")
        executor.prewarm("full", MB)
        assert children() == []


async def test_the_loop_goes_on_while_workers_start_and_large_frames_come() -> None:
    """The start is on a thread of its own; it is never the loop's."""
    seen: list[str] = []
    real = process._spawned

    def spawned(command: process.Command) -> process.Child:
        seen.append(threading.current_thread().name)
        return real(command)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "_spawned", spawned)
        async with closing(pool()) as executor:
            await pid_of(executor)
    assert len(seen) == 1
    assert seen[0].startswith("ringfence-isolates")


async def test_a_machine_is_asked_for_its_walls_without_a_job_and_the_worker_stays_nobodys() -> None:
    async with closing(pool()) as executor:
        fitness = await asyncio.gather(executor.fitness(), executor.fitness())
        assert [one.problem for one in fitness] == [None, None]
        [asked] = children()
        assert await executor.fitness() == fitness[0]
        assert children() == [asked]
        assert await pid_of(executor, owner="a", memory_bytes=MB) == asked


async def test_the_workers_at_work_are_told() -> None:
    async with closing(pool()) as executor:
        assert executor.at_work == ()
        seen: list[tuple[int, ...]] = []

        async def looking(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
            seen.append(executor.at_work)
            return await echoes(calls)

        await executor.run(job("batch", 1), looking)
        assert seen == [tuple(children())]
        assert executor.at_work == ()
