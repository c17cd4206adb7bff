"""JavaScript in an isolate: through the pool and through a whole guard, against `node` and QuickJS.

Ways of running one and the same script take turns, call by call, so that they meet the same load.  `warm` is
a call that finds its fresh isolate made, with the caller at work until then, as a busy host is.  All figures
are by the wall clock: most of the work is another process's.
"""

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from bench.harness import Row
from ringfence import Guard, Principal
from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.seams.isolates import InnerAnswer, InnerCall, IsolateJob, IsolateLimits, Lockdown
from ringfence.plugins.isolate.executor import IsolatePool
from ringfence.plugins.isolate.settings import IsolateSettings
from tests.plugins.isolate.workers import children

ROUNDS = 60
COLD = 7
TOGETHER = 100
SCRIPT = """({ items }) => {
  const prices = { lamp: 2900, desk: 18900, chair: 9900, shelf: 5900 };
  return { total: items.reduce((sum, item) => sum + prices[item], 0) };
}
"""
ARGUMENTS = json.dumps({"items": ["desk", "lamp", "lamp", "chair"]})
RESULT = '{"total":34600}'
_CODE = 'return (await tools.query({ table: "orders" })).length'
_PLAIN = "return 2"
_POLICY = """language 1
policy bench
capability work is code
agent main { holds work  stop after 10 hours }
isolate box { lockdown LOCKDOWN memory 64 MB cpu 20 seconds time 60 seconds may call query }
tool query { needs work  takes table: text  allow when table in ["orders", "users"] }
tool quote { needs work  takes items: list of text  runs "quote.js" in box  allow always }
tool run_js { needs work  takes code: text at most 32 KB  runs code in box  allow always }
"""
_SECOND_NS = 1_000_000_000
_LIMITS = IsolateLimits(64 << 20, 20 * _SECOND_NS, 60 * _SECOND_NS, 65_536)
_NODE = f"console.log(JSON.stringify(({SCRIPT})({ARGUMENTS})))"
_ALICE = Principal(user="alice", workspace="w1")


@dataclass(frozen=True, slots=True)
class Way:
    """One way of running a script."""

    name: str
    once: Callable[[], Awaitable[object]]
    gives: object
    warm: bool = True
    """It is called once all workers are at rest after a call that is not counted; else right after it."""


def rows() -> Iterator[Row]:
    """Measure what is installed here."""
    lacking = missing()
    if lacking is not None:
        print(f"isolates: left out: {lacking}", file=sys.stderr)
        return
    yield from asyncio.run(_measured())


def missing() -> str | None:
    """Return what stands in the way of measuring isolates, if anything."""
    if sys.platform != "linux":
        return "whether a worker is at rest is seen on Linux alone"
    return None if find_spec("py_mini_racer") else "the package mini-racer is not installed"


def job(
    source: str = SCRIPT, arguments: str | None = ARGUMENTS, *, lockdown: Lockdown = "process"
) -> IsolateJob:
    """Return what the pool is asked for; without arguments it is code as of a model."""
    return IsolateJob(
        source=source,
        kind="code" if arguments is None else "body",
        name="bench.js",
        arguments=arguments or "{}",
        tools=("query",),
        limits=_LIMITS,
        lockdown=lockdown,
        now_ms=1_795_000_000_000,
        tick_ms=None,
        seed="0" * 32,
        owner="bench",
    )


async def answered(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
    """Give each inner call two rows."""
    return [InnerAnswer(call.id, "[1,2]") for call in calls]


async def _measured() -> list[Row]:
    pool = IsolatePool(IsolateSettings(workers=2, spare=0, jobs_per_worker=10_000))
    fitness = await pool.fitness()
    lockdown: Lockdown = "process" if fitness.problem or fitness.lacks("full") else "full"
    if lockdown != "full":
        print(f"isolates: this machine lacks {', '.join(fitness.lacks('full'))}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        guard = _guard(Path(folder), lockdown)
        run = await guard.abegin_run(principal=_ALICE)
        bodies = {"query": lambda _: [1, 2]}

        def pooled(source: str, arguments: str | None) -> Callable[[], Awaitable[object]]:
            async def once() -> object:
                return (await pool.run(job(source, arguments, lockdown=lockdown), answered)).result

            return once

        def guarded(call: ToolCall) -> Callable[[], Awaitable[object]]:
            async def once() -> object:
                return await guard.aexecute(run, call, _never, inner=bodies)

            return once

        quote = ToolCall("quote", json.loads(ARGUMENTS))
        ways = [
            Way("warm", pooled(SCRIPT, ARGUMENTS), RESULT),
            Way("fresh", pooled(SCRIPT, ARGUMENTS), RESULT, warm=False),
            Way("code", pooled(_PLAIN, None), "2"),
            Way("inner", pooled(_CODE, None), "2"),
            Way("guarded warm", guarded(quote), json.loads(RESULT)),
            Way("guarded fresh", guarded(quote), json.loads(RESULT), warm=False),
            Way("guarded code", guarded(ToolCall("run_js", {"code": _PLAIN})), 2),
            Way("guarded inner", guarded(ToolCall("run_js", {"code": _CODE})), 2),
            *others(),
        ]
        taken = await turns(ways, rounds=ROUNDS)
        await guard.aend_run(run)
        await guard.aclose()
    together = await _per_second(pool, lockdown, at_once=4)
    await pool.close()
    one = IsolatePool(IsolateSettings(workers=1, spare=0, jobs_per_worker=10_000))
    alone = await _per_second(one, lockdown, at_once=2)
    await one.close()
    cold = [await _cold(lockdown) for _ in range(COLD)]
    return [*_rows(taken, lockdown), *_whole_rows(median(cold), alone, together)]


async def turns(ways: Sequence[Way], *, rounds: int) -> dict[str, float]:
    """Return the median of each way in milliseconds; they take turns, two calls each, of which one counts.

    Raises:
        RuntimeError: One gave something else than it should.
    """
    taken: dict[str, list[int]] = {way.name: [] for way in ways}
    for _ in range(rounds + 2):
        for way in ways:
            await way.once()
            if way.warm:
                at_rest()
            start = time.perf_counter_ns()
            given = await way.once()
            taken[way.name].append(time.perf_counter_ns() - start)
            if given != way.gives:
                raise RuntimeError(f"the workload is wrong: {way.name} gave {given!r}")
    return {name: median(times[2:]) / 1e6 for name, times in taken.items()}


def at_rest() -> None:
    """Return once all workers wait for their parent: their next isolates are made."""
    for worker in children():
        while not _waits(worker):
            pass


def _waits(process: int) -> bool:
    """Say whether all threads of a process sleep or stand still, or it has ended."""
    try:
        threads = list(Path(f"/proc/{process}/task").iterdir())
        states = [(one / "stat").read_text("ascii").rpartition(")")[2].split()[0] for one in threads]
        return all(state in "STZ" for state in states)
    except OSError:  # it has ended, or one of its threads
        return not Path(f"/proc/{process}").exists()


def others() -> Iterator[Way]:
    """Return the other ways of running JavaScript that are installed; say which are not."""
    node = shutil.which("node")
    if node is None:
        print("node: left out: it is not installed", file=sys.stderr)
    else:
        yield Way("node", _by_node(node), RESULT)
    if find_spec("quickjs") is None:
        print("QuickJS: left out: the package quickjs is not installed", file=sys.stderr)
    else:
        yield Way("QuickJS", _by_quickjs, RESULT)


def _by_node(node: str) -> Callable[[], Awaitable[object]]:
    async def once() -> object:
        command = [node, "-e", _NODE]
        # it may block: nothing else is to run meanwhile
        return subprocess.run(command, capture_output=True, check=True).stdout.decode().strip()  # noqa: ASYNC221

    return once


async def _by_quickjs() -> object:
    import quickjs

    return quickjs.Context().eval(f"JSON.stringify(({SCRIPT})({ARGUMENTS}))")


async def _cold(lockdown: Lockdown) -> float:
    pool = IsolatePool(IsolateSettings(workers=1, spare=0))
    start = time.perf_counter_ns()
    given = (await pool.run(job(lockdown=lockdown), answered)).result
    taken = (time.perf_counter_ns() - start) / 1e6
    await pool.close()
    if given != RESULT:
        raise RuntimeError(f"the workload is wrong: a cold worker gave {given!r}")
    return taken


async def _per_second(pool: IsolatePool, lockdown: Lockdown, *, at_once: int) -> float:
    """Count calls of so many callers, each of whom waits for its answer."""

    async def caller(calls: int) -> None:
        for _ in range(calls):
            await pool.run(job(lockdown=lockdown), answered)

    await asyncio.gather(*(caller(2) for _ in range(at_once)))
    start = time.perf_counter()
    await asyncio.gather(*(caller(TOGETHER) for _ in range(at_once)))
    return at_once * TOGETHER / (time.perf_counter() - start)


def _guard(folder: Path, lockdown: Lockdown) -> Guard:
    (folder / "quote.js").write_text(SCRIPT, "utf-8")
    policy = folder / "bench.fence"
    policy.write_text(_POLICY.replace("LOCKDOWN", lockdown), "utf-8")
    return Guard.load(policy, store="memory:")


def _never(_: object) -> object:
    raise RuntimeError("the workload is wrong: the host's function was called")


def _rows(taken: dict[str, float], lockdown: Lockdown) -> Iterator[Row]:
    yield Row(f"isolate ({lockdown}), warm call, p50", taken["warm"], "ms", 0.4)
    yield Row("isolate, a fresh one per call, back to back, p50", taken["fresh"], "ms", 4.0)
    yield Row("isolate, one inner call, over a warm call, p50", taken["inner"] - taken["code"], "ms")
    yield Row("guarded call in an isolate, warm, p50", taken["guarded warm"], "ms")
    yield Row("guarded call in an isolate, back to back, p50", taken["guarded fresh"], "ms")
    inner = taken["guarded inner"] - taken["guarded code"]
    yield Row("guarded: one inner call, over a warm call, p50", inner, "ms")
    for name, how in (("node", "one process per call"), ("QuickJS", "one context per call, in this process")):
        if name in taken:
            yield Row(f"{name}, {how}, p50", taken[name], "ms")
            yield Row(f"{name} against a warm isolate", taken[name] / taken["warm"], "x")
            yield Row(f"{name} against a fresh isolate", taken[name] / taken["fresh"], "x")


def _whole_rows(cold: float, alone: float, together: float) -> Iterator[Row]:
    yield Row("isolate, cold worker, p50", cold, "ms", 250.0)
    yield Row("isolates, one worker", alone, "1/s")
    yield Row("isolates, two workers", together, "1/s")
    yield Row("two workers against one", together / alone, "x")
