"""The two drivers: one logic, with and without an event loop."""

import asyncio
from concurrent.futures import Future

import pytest

from ringfence.engine.enforcement.drive import Steps, run_async, run_sync
from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.loop import EngineLoop

LOOP = EngineLoop()


def done(value: int) -> "Future[int]":
    future: Future[int] = Future()
    future.set_result(value)
    return future


def failed() -> "Future[int]":
    future: Future[int] = Future()
    future.set_exception(OSError("the disk is full"))
    return future


def add() -> Steps[int]:
    one: int = yield done(1)
    two: int = yield done(2)
    return one + two


def mend() -> Steps[int]:
    try:
        yield failed()
    except OSError:
        mended: int = yield done(5)
        return mended
    return 0


async def test_both_drivers_send_results_in_and_hand_the_end_out() -> None:
    assert run_sync(add(), LOOP) == 3
    assert await run_async(add()) == 3


async def test_what_fails_behind_a_future_is_raised_in_the_steps() -> None:
    assert run_sync(mend(), LOOP) == 5
    assert await run_async(mend()) == 5


async def test_a_cancelled_caller_is_felt_in_the_steps_and_spares_the_work_behind_the_future() -> None:
    never: Future[int] = Future()
    felt: list[BaseException] = []

    def wait() -> Steps[int]:
        try:
            value: int = yield never
            return value
        except BaseException as error:
            felt.append(error)
            raise

    task = asyncio.create_task(run_async(wait()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert isinstance(felt[0], asyncio.CancelledError)
    assert not never.cancelled()


def test_waiting_on_the_engines_own_thread_is_refused_with_help() -> None:
    never: Future[int] = Future()

    def wait() -> Steps[int]:
        value: int = yield never
        return value

    async def on_the_loop() -> int:
        return run_sync(wait(), LOOP)

    with pytest.raises(EngineError) as caught:
        LOOP.submit(on_the_loop()).result()
    assert caught.value.help is not None


async def test_steps_that_wait_for_nothing_need_no_loop() -> None:
    def at_once() -> Steps[str]:
        return "done"
        yield done(0)

    assert run_sync(at_once(), LOOP) == "done"
    assert await run_async(at_once()) == "done"
