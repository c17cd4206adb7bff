"""What `@guarded` adds to a plain function and to a coroutine function: allowed calls, taking turns."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from statistics import median

from bench.harness import Row, compared, compared_async
from bench.looking_up import ALICE, POLICY, guard_in, look_up, look_up_now
from ringfence.adapters.callables import guarded

_UNBOUNDED = POLICY.replace("  stop after 1 hours", "")
_ROUNDS = 5


def rows() -> Iterator[Row]:
    """Measure both; a bound on time puts a plain function on a thread, where it can be abandoned."""
    limits = [1 + i % 900 for i in range(1_000)]
    yield from _said("coroutine function, bounded in time", *asyncio.run(_later(limits)))
    yield from _said("plain function", *_now(_UNBOUNDED, limits))
    yield from _said("plain function, bounded in time", *_now(POLICY, limits))


def _said(name: str, bare_ns: float, guarded_ns: float) -> Iterator[Row]:
    yield Row(f"{name}, bare, p50", bare_ns / 1000, "us")
    yield Row(f"what @guarded adds to a {name}, p50", (guarded_ns - bare_ns) / 1000, "us")


async def _later(limits: Sequence[int]) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        guard = guard_in(folder)
        made = guarded(guard, name="look_up")(look_up)

        def calling(function: Callable[..., Awaitable[str]]) -> Callable[[int], Awaitable[object]]:
            return lambda limit: function("users", limit)

        bare, wrapped = [], []
        for _ in range(_ROUNDS):  # a run each, so that none grows without end
            async with guard.run(principal=ALICE):
                one, other = await compared_async([calling(look_up), calling(made)], limits, rounds=1)
            bare.append(one.p50_ns)
            wrapped.append(other.p50_ns)
        await guard.aclose()
    return median(bare), median(wrapped)


def _now(policy: str, limits: Sequence[int]) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        guard = guard_in(folder, policy)
        made = guarded(guard, name="look_up")(look_up_now)
        bare, wrapped = [], []
        for _ in range(_ROUNDS):
            with guard.run(principal=ALICE):
                one, other = compared(
                    [lambda limit: look_up_now("users", limit), lambda limit: made("users", limit)],
                    limits,
                    rounds=1,
                )
            bare.append(one.p50_ns)
            wrapped.append(other.p50_ns)
        guard.close()
    return median(bare), median(wrapped)
