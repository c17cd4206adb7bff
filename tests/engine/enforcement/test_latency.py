"""Refusals tell nothing by their words or by their time."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from ringfence.dsl.plan import Responses
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.pacing import end_ns
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import DeniedError, PendingError, RingfenceError
from ringfence.testing import FakeClock
from tests.guards import ALICE, call, make_guard

MS = 1_000_000

POLICY = """
language 1
policy shop
capability send is external
capability spare is read
approver lead { group "leads" answer within 15 minutes otherwise deny }
agent main { holds send stop after 500 minutes }
responses {
  unknown says "no"
  deny says "no"
  failure says "no"
  latency at least 40 ms in steps of 20 ms
}
tool free { needs send takes what: text allow always rate 1000 per hour }
tool shut { needs send takes what: text }
tool needy { needs spare takes what: text allow always }
tool picky { needs send takes what: text allow when what == "x" rate 1000 per hour }
tool banned { needs send takes what: text allow always deny when what != "x" rate 1000 per hour }
tool mine { needs send takes what: text allow when what == principal.tier rate 1000 per hour }
tool rare { needs send takes what: text allow always rate 0 per hour }
tool signed { needs send takes what: text allow always ask lead rate 1000 per hour }
tool rows { needs send takes what: text allow always result at most 3 rows rate 1000 per hour }
tool slow { needs send takes what: text allow always stop after 20 ms rate 1000 per hour }
principal has tier: text
"""


@pytest.mark.parametrize(
    ("took_ms", "told_ms"), [(0, 40), (39, 40), (40, 40), (41, 60), (60, 60), (61, 80), (1000, 1000)]
)
def test_a_refusal_is_told_at_the_floor_and_then_on_a_step(took_ms: int, told_ms: int) -> None:
    responses = Responses(floor_ns=40 * MS, step_ns=20 * MS)
    assert end_ns(responses, 7 * MS, (7 + took_ms) * MS) == (7 + told_ms) * MS


def test_without_steps_only_the_floor_is_kept() -> None:
    assert end_ns(Responses(floor_ns=40 * MS), 0, 41 * MS) == 41 * MS
    assert end_ns(Responses(step_ns=20 * MS), 0, 41 * MS) == 60 * MS


class Clock(FakeClock):
    """Every look at the wall clock takes a millisecond, so that no two ways take alike long."""

    def now_ns(self) -> int:
        self.advance(0.001)
        return super().now_ns()


def raises(_: Any) -> Any:
    raise RuntimeError("the row 17 of payments is locked")


def takes_its_time(clock: FakeClock) -> Callable[[Any], Any]:
    def body(_: Any) -> Any:
        clock.advance(0.045)
        raise OSError("disk")

    return body


def refusals(clock: FakeClock) -> dict[str, tuple[str, Any, Callable[[Any], Any], int]]:
    """Return for each reason: tool, argument, body, and the latency step on which it ends, in ms."""
    fine: Callable[[Any], Any] = lambda _: "fine"  # noqa: E731 - a table of bodies
    return {
        "unknown": ("nothing", "x", fine, 40),
        "not held": ("needy", "x", fine, 40),
        "closed": ("shut", "x", fine, 40),
        "not allowed": ("picky", "y", fine, 40),
        "denied": ("banned", "y", fine, 40),
        "principal not said": ("mine", "x", fine, 40),
        "arguments": ("free", 7, fine, 40),
        "rate": ("rare", "x", fine, 40),
        "result": ("rows", "x", fine, 40),
        "raised": ("free", "x", raises, 40),
        "raised late": ("free", "x", takes_its_time(clock), 60),
    }


def test_refusals_for_different_reasons_are_alike_in_word_and_time() -> None:
    clock = Clock()
    guard = make_guard(POLICY, clock=clock)
    run = guard.begin_run(principal=ALICE)
    told = set()
    for reason, (tool, what, body, step_ms) in refusals(clock).items():
        before_ns = clock.monotonic_ns()
        with pytest.raises(Exception) as caught:
            guard.execute(run, call(tool, what=what), body)
        assert clock.monotonic_ns() - before_ns == step_ms * MS, reason
        if isinstance(caught.value, DeniedError):
            told.add(caught.value.model_text)
    assert told == {"no"}
    guard.close()


async def test_they_are_when_awaited_too() -> None:
    clock = Clock()
    guard = make_guard(POLICY, clock=clock)
    run = await guard.abegin_run(principal=ALICE)
    for reason, (tool, what, body, step_ms) in refusals(clock).items():
        before_ns = clock.monotonic_ns()
        with pytest.raises(Exception):  # noqa: B017 - whatever it is: its time is what counts
            await guard.aexecute(run, call(tool, what=what), body)
        assert clock.monotonic_ns() - before_ns == step_ms * MS, reason
    await guard.aclose()


def on_a_step(clock: FakeClock, before_ns: int) -> bool:
    took_ns = clock.monotonic_ns() - before_ns
    return took_ns >= 40 * MS and took_ns % (20 * MS) == 0


def refused_by_people(guard: Guard, run: Run, clock: FakeClock) -> None:
    with pytest.raises(PendingError) as caught:
        guard.execute(run, call("signed", "c1", what="x"), lambda _: 1, wait=False)
    guard.deny(caught.value.tickets[0], by="dana")


def expired(guard: Guard, run: Run, clock: FakeClock) -> None:
    with pytest.raises(PendingError):
        guard.execute(run, call("signed", "c1", what="x"), lambda _: 1, wait=False)
    clock.advance(16 * 60)


def halted(guard: Guard, run: Run, clock: FakeClock) -> None:
    run.halt("killed", by="olga", detail=None)


def ended(guard: Guard, run: Run, clock: FakeClock) -> None:
    guard.end_run(run)


@pytest.mark.parametrize("before", [refused_by_people, expired, halted, ended])
def test_what_people_and_operators_refuse_ends_on_a_step_too(before: Callable[..., None]) -> None:
    clock = Clock()
    guard = make_guard(POLICY, clock=clock)
    run = guard.begin_run(principal=ALICE)
    before(guard, run, clock)
    before_ns = clock.monotonic_ns()
    with pytest.raises(RingfenceError) as caught:
        guard.execute(run, call("signed", "c1", what="x"), lambda _: 1, wait=False)
    assert on_a_step(clock, before_ns)
    assert getattr(caught.value, "model_text", None) == "no"
    guard.close()


def test_a_body_past_its_time_ends_on_a_step() -> None:
    clock = FakeClock()
    guard = make_guard(POLICY, clock=clock)
    run = guard.begin_run(principal=ALICE)
    never = asyncio.Event()

    async def main() -> int:
        before_ns = clock.monotonic_ns()
        with pytest.raises(RingfenceError) as caught:
            await guard.aexecute(run, call("slow", what="x"), lambda _: never.wait())
        assert getattr(caught.value, "model_text", None) == "no"
        return clock.monotonic_ns() - before_ns

    assert asyncio.run(main()) == 40 * MS
    guard.close()


def test_a_denial_that_is_only_decided_takes_as_long() -> None:
    clock = FakeClock()
    guard = make_guard(POLICY, clock=clock)
    run = guard.begin_run(principal=ALICE)
    before_ns = clock.monotonic_ns()
    assert not guard.authorize(run, call("shut", what="x")).allowed
    assert clock.monotonic_ns() - before_ns == 40 * MS
    guard.close()


def test_what_is_allowed_and_what_waits_for_people_takes_as_long_as_it_takes() -> None:
    clock = FakeClock()
    guard = make_guard(POLICY, clock=clock)
    run = guard.begin_run(principal=ALICE)
    before_ns = clock.monotonic_ns()
    assert guard.execute(run, call("free", what="x"), lambda _: "ran") == "ran"
    with pytest.raises(PendingError):
        guard.execute(run, call("signed", what="x"), lambda _: 1, wait=False)
    assert clock.monotonic_ns() == before_ns

    class Paused(Exception):
        """A framework leaves the body."""

    def pauses(_: Any) -> Any:
        raise Paused

    with pytest.raises(Paused):
        guard.execute(run, call("free", what="x"), pauses, passthrough=(Paused,))
    assert clock.monotonic_ns() == before_ns
    guard.close()
