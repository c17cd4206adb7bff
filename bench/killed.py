"""How long an order to stop takes: from giving it until the last body of another process has been stopped."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench.harness import Row
from bench.policies import policy_text
from ringfence import Guard

ROUNDS = 15
BODIES = 20
_CHILD = """
import asyncio, sys
from ringfence import Guard, Principal
from ringfence.engine.seams.errors import RingfenceError
from bench.policies import calls_for

async def main(policy, store, bodies):
    guard = Guard.load(policy, store=store)
    calls = calls_for(50, count=4 * bodies).allowed[:bodies]
    for _ in sys.stdin:
        run = await guard.abegin_run(principal=Principal(user="alice", workspace="w1"))
        flying = 0

        async def body(_):
            nonlocal flying
            flying += 1
            if flying == bodies:
                print(run.id, flush=True)
            await asyncio.Event().wait()

        await asyncio.gather(*(guard.aexecute(run, call, body) for call in calls), return_exceptions=True)
        await guard.aend_run(run)
    await guard.aclose()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def rows() -> Iterator[Row]:
    """Measure it in SQLite, by the wall clock: most of it is waiting."""
    taken = sorted(_taken())
    yield Row(f"kill of {BODIES} bodies in another process, acknowledged, p50", median(taken) * 1000, "ms")
    yield Row("the same, the slowest", taken[-1] * 1000, "ms")


def _taken() -> Iterator[float]:
    with tempfile.TemporaryDirectory() as folder:
        policy, store = Path(folder) / "bench.fence", f"sqlite:///{folder}/bench.db"
        policy.write_text(policy_text(50, rate=False), "utf-8")
        guard = Guard.load(policy, store=store)
        guard.runs.list()
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(policy), store, str(BODIES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdin is not None and child.stdout is not None
        try:
            for _ in range(ROUNDS):
                child.stdin.write("again\n")
                child.stdin.flush()
                run = child.stdout.readline().strip()
                start = time.perf_counter()
                killed = guard.kill(run, within_s=60)
                yield time.perf_counter() - start
                assert not killed.missing and not killed.in_flight and killed.obeyed
        finally:
            child.communicate()
            guard.close()
