"""Bodies in flight: within their bound, cancelled where Python can, abandoned where it cannot."""

import asyncio
import threading
from contextvars import ContextVar
from functools import partial

import pytest

from ringfence.engine.enforcement import bodies
from ringfence.engine.enforcement.bodies import AsyncFlight, SyncFlight, run_inline

WORD: ContextVar[str] = ContextVar("word")


async def test_a_coroutine_returns_or_raises_as_it_would_alone() -> None:
    async def good() -> int:
        await asyncio.sleep(0)
        return 7

    async def bad() -> None:
        raise LookupError("gone")

    assert (await AsyncFlight().fly(good, 60)).value == 7
    landed = await AsyncFlight().fly(bad, None)
    assert landed.how == "raised" and isinstance(landed.error, LookupError)


async def test_a_coroutine_past_its_bound_is_cancelled() -> None:
    felt: list[str] = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            felt.append("cancelled")
            raise

    landed = await AsyncFlight().fly(forever, 0.01)
    assert (landed.how, landed.gone, felt) == ("timeout", True, ["cancelled"])


async def test_a_coroutine_that_swallows_its_cancellation_is_abandoned() -> None:
    enough = asyncio.Event()

    async def stubborn() -> str:
        while not enough.is_set():
            try:
                await enough.wait()
            except asyncio.CancelledError:
                continue
        return "too late"

    landed = await AsyncFlight().fly(stubborn, 0.01)
    assert (landed.how, landed.gone, landed.value) == ("timeout", False, None)
    enough.set()
    await asyncio.sleep(0)


async def test_what_a_coroutine_does_before_it_waits_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, late_s = asyncio.get_running_loop(), [0.0]
    now_s = loop.time
    monkeypatch.setattr(loop, "time", lambda: now_s() + late_s[0])

    async def works_and_waits() -> None:
        late_s[0] = 100.0
        await asyncio.Event().wait()

    landed = await AsyncFlight().fly(works_and_waits, 99)
    assert (landed.how, landed.gone) == ("timeout", True)


async def test_a_coroutine_that_waits_for_nothing_has_its_own_task_and_context() -> None:
    seen: list[object] = []

    async def body() -> str:
        WORD.set("theirs")
        seen.append(asyncio.current_task())
        return "done"

    WORD.set("mine")
    landed = await AsyncFlight().fly(body, 60)
    assert (landed.how, landed.value, WORD.get()) == ("returned", "done", "mine")
    assert seen[0] is not None and seen[0] is not asyncio.current_task()


async def test_a_halt_during_the_first_step_stops_a_coroutine() -> None:
    flight, felt = AsyncFlight(), list[bool]()

    async def body() -> None:
        flight.halt()
        felt.append(flight.over)
        await asyncio.Event().wait()

    landed = await flight.fly(body, None)
    assert (landed.how, landed.gone, felt, flight.over) == ("halted", True, [False], True)


async def test_halting_stops_a_coroutine_from_another_thread() -> None:
    flight, started = AsyncFlight(), asyncio.Event()

    async def forever() -> None:
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(flight.fly(forever, None))
    await started.wait()
    await asyncio.to_thread(flight.halt)
    landed = await task
    assert (landed.how, landed.gone) == ("halted", True)


async def test_a_cancelled_caller_takes_the_body_along() -> None:
    started, felt = asyncio.Event(), asyncio.Event()

    async def forever() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            felt.set()

    task = asyncio.create_task(AsyncFlight().fly(forever, None))
    await started.wait()
    task.cancel()
    landed = await task
    assert landed.how == "cancelled" and isinstance(landed.error, asyncio.CancelledError)
    assert landed.gone and felt.is_set()


def test_a_function_runs_in_the_callers_context() -> None:
    WORD.set("mine")
    assert SyncFlight().fly(WORD.get, 60).value == "mine"
    landed = SyncFlight().fly(lambda: 1 // 0, 60)
    assert landed.how == "raised" and isinstance(landed.error, ZeroDivisionError)


def test_a_function_past_its_bound_is_abandoned() -> None:
    never = threading.Event()
    landed = SyncFlight().fly(never.wait, 0.01)
    assert (landed.how, landed.gone, landed.value) == ("timeout", False, None)
    never.set()


def test_halting_leaves_a_function_behind() -> None:
    flight, started, never = SyncFlight(), threading.Event(), threading.Event()

    def forever() -> None:
        started.set()
        never.wait()

    def halt() -> None:
        started.wait()
        flight.halt()

    threading.Thread(target=halt).start()
    landed = flight.fly(forever, None)
    assert (landed.how, landed.gone) == ("halted", False)
    never.set()


def test_many_short_bodies_share_few_threads() -> None:
    for number in range(50):
        assert SyncFlight().fly(partial(int, number), 60).value == number
    assert sum(thread.name == "ringfence-body" for thread in threading.enumerate()) < 20


def test_a_coroutine_function_is_no_body_for_a_synchronous_call() -> None:
    async def wrong() -> None: ...

    landed = run_inline(wrong)
    assert landed.how == "raised" and isinstance(landed.error, TypeError)


def test_an_interrupt_while_waiting_leaves_the_function_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    flight = SyncFlight()

    class Interrupted:
        def acquire(self, timeout: float) -> bool:
            raise KeyboardInterrupt

        def release(self) -> None: ...

    flight._woken = Interrupted()  # type: ignore[assignment]
    landed = flight.fly(never.wait, 60)
    assert (landed.how, landed.gone) == ("cancelled", False)
    assert isinstance(landed.error, KeyboardInterrupt)
    never.set()


def test_a_function_that_gets_no_thread_is_waited_for_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(bodies, "start_in_worker", exhausted)
    flight = SyncFlight()
    ran: list[int] = []
    with pytest.raises(RuntimeError, match="new thread"):
        flight.fly(lambda: ran.append(1), 60)
    flight.halt()
    assert (ran, flight.over, flight.wait(60)) == ([], True, True)


async def test_a_coroutine_that_waits_for_nothing_costs_one_turn_and_no_timer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop, turns, timers = asyncio.get_running_loop(), list[int](), list[float]()

    def turn() -> None:
        turns.append(len(turns))
        loop.call_soon(turn)

    async def body() -> str:
        return "done"

    monkeypatch.setattr(loop, "call_at", lambda when, *_: timers.append(when))
    loop.call_soon(turn)
    landed = await AsyncFlight().fly(body, 60)
    assert (landed.value, timers) == ("done", []) and len(turns) <= 1


async def test_a_caller_who_is_cancelled_during_the_first_step_takes_the_body_along() -> None:
    felt: list[str] = []

    async def forever() -> None:
        caller.cancel()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            felt.append("cancelled")
            raise

    caller = asyncio.create_task(AsyncFlight().fly(forever, 60))
    landed = await caller
    assert (landed.how, landed.gone, felt) == ("cancelled", True, ["cancelled"])
    assert isinstance(landed.error, asyncio.CancelledError)


async def test_a_body_whose_task_is_cancelled_before_it_has_begun_has_raised_that() -> None:
    def cancel_all_but(own: "asyncio.Task[object]") -> None:
        for task in asyncio.all_tasks() - {own}:
            task.cancel()

    me = asyncio.current_task()
    assert me is not None
    flight, begun = AsyncFlight(), list[bool]()

    async def body() -> None:
        begun.append(True)

    asyncio.get_running_loop().call_soon(cancel_all_but, me)
    landed = await flight.fly(body, 60)
    if not begun:  # before Python 3.12
        assert landed.how == "raised" and isinstance(landed.error, asyncio.CancelledError)
    else:
        assert landed.how == "returned"
