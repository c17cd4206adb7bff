"""The turnstile: first in, first out, and no turn is ever lost."""

import asyncio
import threading
from concurrent.futures import Future

import pytest

from ringfence.engine.enforcement.drive import Steps, run_async, run_sync
from ringfence.engine.enforcement.turnstile import Turnstile
from ringfence.engine.seams.loop import EngineLoop

LOOP = EngineLoop()


def visit(turnstile: Turnstile, seen: list[int], number: int) -> Steps[None]:
    yield from turnstile.turn()
    try:
        seen.append(number)
    finally:
        turnstile.leave()


async def test_tasks_pass_in_the_order_of_their_arrival() -> None:
    turnstile, seen = Turnstile(), list[int]()
    assert turnstile.enter() is None
    tasks = [asyncio.create_task(run_async(visit(turnstile, seen, n))) for n in range(20)]
    await asyncio.sleep(0)
    turnstile.leave()
    await asyncio.gather(*tasks)
    assert seen == list(range(20))


def test_threads_pass_one_at_a_time() -> None:
    turnstile, inside, most = Turnstile(), [0], [0]

    def pass_often() -> None:
        for _ in range(200):
            run_sync(turnstile.turn(), LOOP)
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            inside[0] -= 1
            turnstile.leave()

    threads = [threading.Thread(target=pass_often) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 1
    assert turnstile.enter() is None


async def test_a_cancelled_waiter_leaves_the_queue_to_the_others() -> None:
    turnstile, seen = Turnstile(), list[int]()
    assert turnstile.enter() is None
    tasks = [asyncio.create_task(run_async(visit(turnstile, seen, n))) for n in range(3)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    tasks[2].cancel()
    await asyncio.sleep(0)
    turnstile.leave()
    await tasks[1]
    assert seen == [1]
    assert turnstile.enter() is None


async def test_a_waiter_cancelled_as_its_turn_arrives_passes_it_on() -> None:
    turnstile, seen = Turnstile(), list[int]()
    assert turnstile.enter() is None
    first = asyncio.create_task(run_async(visit(turnstile, seen, 1)))
    second = asyncio.create_task(run_async(visit(turnstile, seen, 2)))
    await asyncio.sleep(0)
    turnstile.leave()  # the turn is on its way to the first ...
    first.cancel()  # ... which gives up before it can take it
    await second
    assert first.cancelled() or first.cancelling()
    assert seen == [2]


def test_an_interrupted_thread_does_not_keep_the_turn() -> None:
    turnstile = Turnstile()
    assert turnstile.enter() is None
    steps = turnstile.turn()
    place = next(steps)
    turnstile.leave()
    assert place.done()
    with pytest.raises(KeyboardInterrupt):
        steps.throw(KeyboardInterrupt())
    assert turnstile.enter() is None


async def test_threads_and_tasks_stand_in_one_queue() -> None:
    turnstile, seen = Turnstile(), list[int]()
    assert turnstile.enter() is None
    task = asyncio.create_task(run_async(visit(turnstile, seen, 1)))
    await asyncio.sleep(0)
    done: Future[None] = Future()

    def from_a_thread() -> None:
        run_sync(visit(turnstile, seen, 2), LOOP)
        done.set_result(None)

    threading.Thread(target=from_a_thread, daemon=True).start()
    while len(turnstile._waiting or ()) < 2:
        await asyncio.sleep(0)
    turnstile.leave()
    await asyncio.wrap_future(done)
    await task
    assert seen == [1, 2]
