"""The engine's own loop: answers any thread, survives a fork, and leaves nobody waiting when it closes."""

import asyncio
import os
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest

from ringfence.engine.seams.loop import EngineLoop

WAIT_S = 30


@pytest.fixture
def loop() -> Iterator[EngineLoop]:
    made = EngineLoop()
    yield made
    made.close()


async def where() -> threading.Thread:
    return threading.current_thread()


def test_threads_without_a_loop_and_tasks_with_one_get_their_answers_from_one_thread(
    loop: EngineLoop,
) -> None:
    with ThreadPoolExecutor(4) as pool:
        threads = set(pool.map(lambda _: loop.submit(where()).result(WAIT_S), range(20)))

    async def task() -> threading.Thread:
        return await asyncio.wrap_future(loop.submit(where()))

    threads.add(asyncio.run(task()))
    assert len(threads) == 1


def test_it_knows_when_it_is_asked_from_its_own_thread(loop: EngineLoop) -> None:
    async def ask() -> bool:
        return loop.inside()

    assert not loop.inside()
    assert loop.submit(ask()).result(WAIT_S)


def test_closing_cancels_what_is_in_flight_and_may_be_repeated(loop: EngineLoop) -> None:
    begun = threading.Event()

    async def forever() -> None:
        begun.set()
        await asyncio.Event().wait()

    waiting = loop.submit(forever())
    assert begun.wait(WAIT_S)
    loop.close()
    with pytest.raises(CancelledError):
        waiting.result(WAIT_S)
    loop.close()


def test_it_starts_again_when_it_is_used_after_closing(loop: EngineLoop) -> None:
    first = loop.submit(where()).result(WAIT_S)
    loop.close()
    assert loop.submit(where()).result(WAIT_S) is not first


def test_an_error_arrives_where_the_answer_would(loop: EngineLoop) -> None:
    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        loop.submit(fail()).result(WAIT_S)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_a_loop_of_its_own(loop: EngineLoop) -> None:
    loop.submit(where()).result(WAIT_S)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            loop.submit(where()).result(WAIT_S)
            code = 7
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
