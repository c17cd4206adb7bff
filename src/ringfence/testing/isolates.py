"""What whatever runs isolates must do: subclass `IsolateExecutorContract` and say how to make yours."""

import asyncio
import json
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest

from ringfence.engine.seams.isolates import (
    InnerAnswer,
    InnerCall,
    IsolateExecutor,
    IsolateJob,
    IsolateLimits,
    IsolateOutcome,
    Lockdown,
)

SECOND_NS = 1_000_000_000
_WITHIN_S = 60
"""How long anything may take here; it is no measure of speed."""

LIMITS = IsolateLimits(
    memory_bytes=64 << 20, cpu_ns=20 * SECOND_NS, time_ns=20 * SECOND_NS, output_bytes=10_000
)


def isolate_job(
    source: str,
    arguments: object = None,
    *,
    kind: Literal["body", "code"] = "body",
    tools: tuple[str, ...] = ("add",),
    limits: IsolateLimits = LIMITS,
    lockdown: Lockdown = "process",
    seed: str = "0" * 32,
    owner: str = "a session",
) -> IsolateJob:
    """Return a job as the guard gives it; the same arguments give the same job."""
    return IsolateJob(
        source=source,
        kind=kind,
        name="body.js" if kind == "body" else "code",
        arguments=json.dumps({} if arguments is None else arguments),
        tools=tools,
        limits=limits,
        lockdown=lockdown,
        now_ms=1_700_000_000_000,
        tick_ms=None,
        seed=seed,
        owner=owner,
    )


class IsolateExecutorContract(ABC):
    """Tests that pytest runs for each subclass whose name begins with `Test`.

    Bring `make` and `at_work`; they run on a machine where yours can run at all.  Needs pytest-asyncio in
    `auto` mode.
    """

    @abstractmethod
    def make(self) -> IsolateExecutor:
        """Return what runs isolates, with no worker started."""

    @abstractmethod
    def at_work(self, executor: IsolateExecutor) -> Collection[object]:
        """Return what tells the workers apart that run a job at this moment, like their process ids.

        A worker is all that an intruder would see who has escaped V8: of two jobs in one, the second is the
        first one's prey.
        """

    # ---- what it can enforce -----------------------------------------------------------------------

    async def test_it_says_what_this_machine_can_enforce(self) -> None:
        async with self._made() as executor:
            fitness = await executor.fitness()
            assert fitness.problem is None and fitness.v8, "run this where it can run"
            names = [layer.name for layer in fitness.layers]
            assert "process" in names and fitness.lacks("process") == (), "a process of its own is the least"
            assert len(names) == len(set(names)) and all(names)
            assert all(layer.evidence for layer in fitness.layers), "say what was seen, or what is missing"
            assert await executor.fitness() == fitness

    async def test_full_lock_down_is_every_wall_or_a_refusal(self) -> None:
        async with self._made() as executor:
            fitness = await executor.fitness()
            outcome = await self._run(executor, isolate_job("a => 1", lockdown="full"))
            if fitness.lacks("full"):
                assert (outcome.result, outcome.failure) == (None, "lockdown"), outcome
            else:
                standing = {layer.name for layer in fitness.layers if layer.holds}
                assert outcome.result == "1", outcome
                assert standing <= {*outcome.layers}, "the walls that were promised stood"
                assert outcome.v8 == fitness.v8

    async def test_what_is_made_ready_is_nobodys_and_prewarming_waits_for_nothing(self) -> None:
        async with self._made() as executor:
            executor.prewarm("process", LIMITS.memory_bytes)
            assert not self.at_work(executor)
            await self._works(executor)

    # ---- what the code is given, and gives -----------------------------------------------------------

    async def test_a_body_is_a_function_of_the_arguments(self) -> None:
        async with self._made() as executor:
            job = isolate_job("({ b, a }) => [a, b, { é: a }]", {"a": "\u2028</script>", "b": None})
            outcome = await self._run(executor, job)
            assert json.loads(outcome.result or "") == ["\u2028</script>", None, {"é": "\u2028</script>"}]
            assert outcome.failure is None

    async def test_code_is_the_body_of_an_async_function(self) -> None:
        async with self._made() as executor:
            job = isolate_job("return await Promise.resolve([1, 'x'])", kind="code")
            assert json.loads((await self._run(executor, job)).result or "") == [1, "x"]

    async def test_each_call_of_the_code_is_asked_and_answered_in_its_order(self) -> None:
        asked: list[list[tuple[int, str, Any]]] = []

        async def answer(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
            asked.append([(one.id, one.tool, json.loads(one.arguments)) for one in calls])
            return [InnerAnswer(one.id, str(one.id * 10)) for one in calls][::-1]

        source = """async a => {
            const first = await tools.add({ x: 1 });
            const [second, third] = await Promise.all([tools.add({ x: 2 }), tools.add({ x: 3 })]);
            return [first, second, third];
        }"""
        async with self._made() as executor:
            outcome = await self._run(executor, isolate_job(source), answer)
            assert json.loads(outcome.result or "") == [10, 20, 30]
            assert asked == [[(1, "add", {"x": 1})], [(2, "add", {"x": 2}), (3, "add", {"x": 3})]]

    async def test_a_refusal_rejects_the_promise_with_its_text_and_nothing_more(self) -> None:
        async def refuse(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
            return [InnerAnswer(one.id, None, "not authorized") for one in calls]

        source = "async a => { try { await tools.add({}) } catch (e) { return [e.message, {...e}] } }"
        async with self._made() as executor:
            outcome = await self._run(executor, isolate_job(source), refuse)
            assert json.loads(outcome.result or "") == ["not authorized", {}]

    async def test_a_tool_that_is_not_offered_is_asked_for_so_that_the_guard_refuses_it(self) -> None:
        asked: list[str] = []

        async def refuse(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
            asked.extend(one.tool for one in calls)
            return [InnerAnswer(one.id, None, "no such tool") for one in calls]

        source = "async a => { try { await tools.wipe({}) } catch (e) { return e.message } }"
        async with self._made() as executor:
            outcome = await self._run(executor, isolate_job(source), refuse)
            assert (outcome.result, asked) == ('"no such tool"', ["wipe"])

    async def test_the_same_job_gives_the_same_bytes_and_another_seed_other_chance(self) -> None:
        source = "a => [Math.random(), Math.random(), Date.now(), new Date().toISOString()]"
        async with self._made() as executor:
            first, again, other = [
                await self._run(executor, isolate_job(source, seed=seed))
                for seed in ("0" * 32, "0" * 32, "f" * 32)
            ]
            assert first.result is not None and first.result == again.result and first.v8 == again.v8
            said, differs = json.loads(first.result), json.loads(other.result or "")
            assert said[2:] == [1_700_000_000_000, "2023-11-14T22:13:20.000Z"] == differs[2:]
            assert said[0] != said[1] and said[:2] != differs[:2]

    # ---- what it cannot do ---------------------------------------------------------------------------

    async def test_nothing_is_left_for_the_next_run(self) -> None:
        leaves = "a => { globalThis.left = 1; Object.prototype.left = 2; JSON.parse = () => 3; return 1 }"
        async with self._made() as executor:
            for kind in ("body", "code"):
                source = leaves if kind == "body" else f"return ({leaves})()"
                assert (await self._run(executor, isolate_job(source, kind=kind))).result == "1"
                found = "a => [typeof left, {}.left === undefined, JSON.parse('4')]"
                assert json.loads((await self._run(executor, isolate_job(found))).result or "") == [
                    "undefined",
                    True,
                    4,
                ]

    async def test_there_is_no_host_in_reach(self) -> None:
        names = [
            "fetch",
            "process",
            "require",
            "module",
            "Deno",
            "Bun",
            "XMLHttpRequest",
            "WebSocket",
            "Worker",
        ]
        source = f"a => [{', '.join(f'typeof {name}' for name in names)}]"
        async with self._made() as executor:
            outcome = await self._run(executor, isolate_job(source))
            assert json.loads(outcome.result or "") == ["undefined"] * len(names)
            outcome = await self._run(executor, isolate_job("a => import('fs')"))
            assert outcome.result is None

    @pytest.mark.parametrize(
        ("source", "failures"),
        [
            ("a => {", {"syntax"}),
            ("a => 1); while (1); (1", {"syntax"}),
            ("42", {"no function"}),
            ("a => { throw new Error('x') }", {"exception"}),
            ("a => { const f = () => f() + 1; return f() }", {"exception"}),
            ("a => new Promise(() => {})", {"stalled"}),
            ("a => { const o = {}; o.o = o; return o }", {"not JSON", "exception"}),
            ("a => 10n", {"not JSON", "exception"}),
            ("a => 'x'.repeat(20_000)", {"output"}),
            ("a => { for (;;); }", {"time", "cpu"}),
            ("async a => { for (;;) await 0 }", {"time", "cpu"}),
            ("a => /^(a+)+$/.test('a'.repeat(50) + 'b')", {"time", "cpu"}),
            ("a => { const z = []; for (;;) z.push({ x: [1, 2] }) }", {"memory", "exception"}),
            (
                "a => { const z = []; for (;;) z.push(new Uint8Array(1 << 20).fill(1)) }",
                {"memory", "exception"},
            ),
        ],
    )
    async def test_what_fails_says_how_and_the_next_run_works(self, source: str, failures: set[str]) -> None:
        short = IsolateLimits(LIMITS.memory_bytes, LIMITS.cpu_ns, SECOND_NS, LIMITS.output_bytes)
        async with self._made() as executor:
            limits = short if failures == {"time", "cpu"} else LIMITS
            outcome = await self._run(executor, isolate_job(source, limits=limits))
            assert outcome.result is None and outcome.failure in failures, outcome
            said = outcome.message or ""
            for secret in (os.getcwd(), sys.prefix, __file__, "Traceback", str(os.getpid())):
                assert secret not in said, "nothing of the host is said"
            await self._works(executor)

    async def test_processor_time_has_a_limit_of_its_own(self) -> None:
        limits = IsolateLimits(LIMITS.memory_bytes, SECOND_NS // 5, LIMITS.time_ns, LIMITS.output_bytes)
        async with self._made() as executor:
            outcome = await self._run(executor, isolate_job("a => { for (;;); }", limits=limits))
            assert (outcome.result, outcome.failure) == (None, "cpu"), outcome

    async def test_an_exception_says_where_in_the_given_source(self) -> None:
        async with self._made() as executor:
            for job in (
                isolate_job("a => {\n  let x;\n  throw new TypeError('no')\n}"),
                isolate_job("let x;\n\n  throw new TypeError('no')", kind="code"),
            ):
                outcome = await self._run(executor, job)
                assert (outcome.failure, outcome.line) == ("exception", 3), outcome
                assert outcome.column in (3, 9) and "no" in (outcome.message or "")

    # ---- whose worker it is --------------------------------------------------------------------------

    async def test_no_worker_runs_jobs_of_two_owners(self) -> None:
        owners = ["a", "b", "", "ab", "a\0"]
        seen: dict[object, set[str]] = {}
        async with self._made() as executor:

            async def one(owner: str) -> None:
                here: list[object] = []

                async def look(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
                    here.extend(self.at_work(executor))
                    return await _add(calls)

                outcome = await self._run(executor, isolate_job("a => tools.add({})", owner=owner), look)
                assert outcome.failure is None, outcome
                (worker,) = here
                seen.setdefault(worker, set()).add(owner)

            for nth in range(15):  # one at a time, so that what is at work is the job's own
                await one(owners[nth % 5] if nth % 3 else "a")
            assert not self.at_work(executor)
        assert all(len(whose) == 1 for whose in seen.values()), seen

    async def test_many_runs_at_once_each_get_their_own_answers(self) -> None:
        async with self._made() as executor:
            jobs = [
                isolate_job("async a => [a.n, await tools.add(a)]", {"n": n}, owner=f"s{n % 3}")
                for n in range(9)
            ]
            outcomes = await asyncio.gather(*(self._run(executor, job) for job in jobs))
            assert [json.loads(one.result or "null") for one in outcomes] == [[n, n] for n in range(9)]

    # ---- whatever happens ----------------------------------------------------------------------------

    async def test_cancelled_the_worker_is_killed_and_its_calls_are_given_up(self) -> None:
        called, given_up = asyncio.Event(), asyncio.Event()

        async def never(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
            called.set()
            try:
                await asyncio.Event().wait()
            finally:
                given_up.set()
            raise AssertionError("nobody sets it")

        async with self._made() as executor:
            run = asyncio.create_task(executor.run(isolate_job("a => tools.add({})"), never))
            await asyncio.wait_for(called.wait(), _WITHIN_S)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(run, _WITHIN_S)
            await asyncio.wait_for(given_up.wait(), _WITHIN_S)
            assert not self.at_work(executor)
            await self._works(executor)

    async def test_its_time_includes_its_calls(self) -> None:
        async def never(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
            await asyncio.Event().wait()
            raise AssertionError("nobody sets it")

        limits = IsolateLimits(LIMITS.memory_bytes, LIMITS.cpu_ns, SECOND_NS // 2, LIMITS.output_bytes)
        async with self._made() as executor:
            outcome = await self._run(executor, isolate_job("a => tools.add({})", limits=limits), never)
            assert (outcome.result, outcome.failure) == (None, "time")
            await self._works(executor)

    @pytest.mark.parametrize("trouble", ["raises", "too few", "not JSON", "deep"])
    async def test_answers_that_are_none_are_no_result(self, trouble: str) -> None:
        async def answer(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
            if trouble == "raises":
                raise OSError("the host's own trouble, at /srv/secret")
            result = {"too few": "", "not JSON": "{", "deep": "[" * 100_000 + "]" * 100_000}[trouble]
            return [] if trouble == "too few" else [InnerAnswer(one.id, result) for one in calls]

        async with self._made() as executor:
            outcome = await self._run(executor, isolate_job("a => tools.add({})"), answer)
            assert outcome.result is None and "/srv/secret" not in (outcome.message or "")
            await self._works(executor)

    @pytest.mark.parametrize("source", ["", "\0", "\ud800", "/*", "a => 1 // " + "x" * (20 << 20)])
    async def test_whatever_the_source_is_there_is_an_outcome(self, source: str) -> None:
        async with self._made() as executor:
            outcome = await self._run(executor, isolate_job(source))
            assert (outcome.result is None) != (outcome.failure is None), outcome
            await self._works(executor)

    async def test_closed_it_runs_nothing_and_fails_with_an_outcome(self) -> None:
        executor = self.make()
        await self._works(executor)
        await executor.close()
        await executor.close()
        executor.prewarm("process", LIMITS.memory_bytes)
        outcome = await self._run(executor, isolate_job("a => 1"))
        assert outcome.result is None and outcome.failure is not None
        assert (await executor.fitness()).problem is not None
        assert not self.at_work(executor)

    async def test_close_ends_what_runs(self) -> None:
        called = asyncio.Event()

        async def never(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
            called.set()
            await asyncio.Event().wait()
            raise AssertionError("nobody sets it")

        executor = self.make()
        run = asyncio.create_task(executor.run(isolate_job("a => tools.add({})"), never))
        await asyncio.wait_for(called.wait(), _WITHIN_S)
        await asyncio.wait_for(executor.close(), _WITHIN_S)
        outcome = await asyncio.wait_for(run, _WITHIN_S)
        assert outcome.result is None and outcome.failure is not None
        assert not self.at_work(executor)

    # ---- how -------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _made(self) -> AsyncIterator[IsolateExecutor]:
        executor = self.make()
        try:
            yield executor
        finally:
            await asyncio.wait_for(executor.close(), _WITHIN_S)

    async def _run(self, executor: IsolateExecutor, job: IsolateJob, answer: Any = None) -> IsolateOutcome:
        return await asyncio.wait_for(executor.run(job, answer or _add), _WITHIN_S)

    async def _works(self, executor: IsolateExecutor) -> None:
        outcome = await self._run(executor, isolate_job("async a => [a.x, await tools.add(a)]", {"x": 2}))
        assert outcome.result is not None and json.loads(outcome.result)[0] == 2, outcome


async def _add(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
    """Answer each call with its `n`, or 0."""
    return [InnerAnswer(one.id, json.dumps(json.loads(one.arguments).get("n", 0))) for one in calls]
