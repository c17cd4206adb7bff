"""What `@guarded` adds to a plain function and to a coroutine function: allowed calls, taking turns."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

from bench.harness import Row, compared, compared_async
from ringfence import Guard, Principal
from ringfence.adapters.callables import guarded

_POLICY = """language 1
policy bench
capability work is read
agent main { holds work }
tool look_up {
  needs work
  takes table: text, limit: integer
  allow when table in ["users", "orders"]
  require row_cap: limit >= 1 and limit <= 1000
  rate 1000000 per hour for each workspace
}
"""
_BOUNDED = _POLICY.replace("{ holds work }", "{ holds work  stop after 1 hours }")
_ALICE = Principal(user="alice", workspace="w1")
_ROUNDS = 5


def look_up(table: str, limit: int) -> str:
    """Look rows up."""
    return f"{limit} rows of {table}"


async def look_up_later(table: str, limit: int) -> str:
    """Look rows up."""
    return f"{limit} rows of {table}"


def rows() -> Iterator[Row]:
    """Measure both; a bound on time puts a plain function on a thread, where it can be abandoned."""
    limits = [1 + i % 900 for i in range(1_000)]
    yield from _said("coroutine function, bounded in time", *asyncio.run(_later(limits)))
    yield from _said("plain function", *_now(_POLICY, limits))
    yield from _said("plain function, bounded in time", *_now(_BOUNDED, limits))


def _said(name: str, bare_ns: float, guarded_ns: float) -> Iterator[Row]:
    yield Row(f"{name}, bare, p50", bare_ns / 1000, "us")
    yield Row(f"what @guarded adds to a {name}, p50", (guarded_ns - bare_ns) / 1000, "us")


async def _later(limits: Sequence[int]) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        guard = _guard(folder, _BOUNDED)
        made = guarded(guard, name="look_up")(look_up_later)

        def calling(function: Callable[..., Awaitable[str]]) -> Callable[[int], Awaitable[object]]:
            return lambda limit: function("users", limit)

        bare, wrapped = [], []
        for _ in range(_ROUNDS):  # a run each, so that none grows without end
            async with guard.run(principal=_ALICE):
                one, other = await compared_async([calling(look_up_later), calling(made)], limits, rounds=1)
            bare.append(one.p50_ns)
            wrapped.append(other.p50_ns)
        await guard.aclose()
    return median(bare), median(wrapped)


def _now(policy: str, limits: Sequence[int]) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        guard = _guard(folder, policy)
        made = guarded(guard)(look_up)
        bare, wrapped = [], []
        for _ in range(_ROUNDS):
            with guard.run(principal=_ALICE):
                one, other = compared(
                    [lambda limit: look_up("users", limit), lambda limit: made("users", limit)],
                    limits,
                    rounds=1,
                )
            bare.append(one.p50_ns)
            wrapped.append(other.p50_ns)
        guard.close()
    return median(bare), median(wrapped)


def _guard(folder: str, policy: str) -> Guard:
    file = Path(folder) / "bench.fence"
    file.write_text(policy, "utf-8")
    return Guard.load(file, store="memory:")
