"""Large logs: one run among a million events, and what reads all of a log, by CPU-second.

The logs are built here, in a temporary folder; that takes as long as all the rest.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from bench.commanded import Taken, taken
from bench.harness import Row
from bench.many import build, policy_file
from ringfence import Guard
from ringfence.engine.retrospect.replay import replay

CORES = os.cpu_count() or 1
_CALLS_OF_200 = 50
"""So many calls make a run of about 200 events."""


def rows(
    *,
    events: int = 1_000_000,
    many_runs: int = 10_000,
    replays: int = 31,
    command: Callable[..., Taken] = taken,
) -> Iterator[Row]:
    """Measure a log of a million events, and one of 10,000 runs."""
    with tempfile.TemporaryDirectory() as folder:
        few = Path(folder) / "few.db"
        yield from _built(few, runs=many_runs, calls=4)
        yield from _read_whole(few, command)
        yield from _backtested(few, many_runs, command)
        few.unlink()
        yield from _among(Path(folder), events, replays, command)


def _built(file: Path, *, runs: int, calls: int) -> Iterator[Row]:
    start, cpu = time.perf_counter(), time.process_time()
    asyncio.run(build(file, runs=runs, calls=calls))
    cpu_s = time.process_time() - cpu
    print(f"(a log of {_events(file):,} events was built in {time.perf_counter() - start:.0f} s)", flush=True)
    yield Row("events appended to a log in batches, per CPU-second", _events(file) / cpu_s, "1/s")


def _events(file: Path) -> int:
    async def count() -> int:
        from ringfence.plugins.sqlite import SqliteStore

        store = SqliteStore(f"sqlite:///{file}", create=False)
        await store.open()
        assert store.events is not None
        head = await store.events.head()
        await store.close()
        return head.position if head is not None else 0

    return asyncio.run(count())


def _checked(found: Taken, what: str) -> Taken:
    if found.code != 0:
        raise RuntimeError(f"`ringfence {what}` ended with {found.code}")
    return found


def _read_whole(file: Path, command: Callable[..., Taken]) -> Iterator[Row]:
    """Read the whole log in every way."""
    events = _events(file)
    for what in ("verify", "export", "stats"):
        found = _checked(command(what, "--store", str(file)), what)
        yield Row(f"{what} of 100,000 events (CPU)", found.cpu_s * 100_000 / events, "s")
        if what == "verify" and found.peak_bytes is not None:
            yield Row(f"verify's memory at its peak, {events:,} events", found.peak_bytes / 2**20, "MiB")


def _backtested(file: Path, runs: int, command: Callable[..., Taken]) -> Iterator[Row]:
    policy = policy_file(file.parent)
    words = ("backtest", "--policy", str(policy), "--store", str(file), "--processes")
    alone = _checked(command(*words, "1"), "backtest")
    together = _checked(command(*words, str(CORES)), "backtest")
    yield Row(f"backtest of {runs:,} runs, one process: runs per CPU-second", runs / alone.cpu_s, "1/s")
    yield Row(f"the same in {CORES} processes: runs per CPU-second", runs / together.cpu_s, "1/s")
    yield Row(f"one process against {CORES} (wall)", alone.wall_s / together.wall_s, "x")


def _among(folder: Path, events: int, replays: int, command: Callable[..., Taken]) -> Iterator[Row]:
    """Read and replay single runs of about 200 events among very many, and verify all of them."""
    file = folder / "many.db"
    yield from _built(file, runs=events // (4 * _CALLS_OF_200 + 2), calls=_CALLS_OF_200)
    guard = Guard.load(policy_file(folder), store=f"sqlite:///{file}")
    names = [row.run for row in guard.runs.list()]
    read, again, both = [], [], []
    for name in names[:: max(1, len(names) // replays)]:
        start = time.perf_counter_ns()
        record = guard.runs.get(name)
        middle = time.perf_counter_ns()
        if replay(record, guard.plan).divergence is not None:
            raise RuntimeError("the run does not replay")
        end = time.perf_counter_ns()
        read.append((middle - start) / 1e6)
        again.append((end - middle) / 1e6)
        both.append((end - start) / 1e6)
    guard.close()
    count, total = len(record.events), _events(file)
    yield Row(f"a run of {count} events among {total:,}: read from SQLite, p50", median(read), "ms")
    yield Row(f"a run of {count} events: decided again, p50", median(again), "ms")
    yield Row("both: read and replayed, p50", median(both), "ms", 2.0)
    found = _checked(command("replay", name, "--store", str(file)), "replay")
    yield Row("`ringfence replay` of such a run, its start included (CPU)", found.cpu_s * 1000, "ms")
    whole = _checked(command("verify", "--store", str(file)), "verify")
    yield Row(f"verify of {total:,} events (wall)", whole.wall_s, "s")
    if whole.peak_bytes is None:
        print("memory: left out: this system does not tell", file=sys.stderr)
    else:
        yield Row(f"verify's memory at its peak, {total:,} events", whole.peak_bytes / 2**20, "MiB")
