"""Threads for work that blocks: one is always free for the next job, and nobody waits for one that hangs."""

import asyncio
import concurrent.futures.thread as pools
import gc
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest

from ringfence.engine.seams.loop import EngineLoop
from ringfence.engine.seams.threads import AT_MOST, Threads

WAIT_S = 30


@pytest.fixture
def threads() -> Iterator[Threads]:
    made = Threads()
    yield made
    made.shutdown()


def test_an_answer_and_an_error_arrive_from_a_daemon(threads: Threads) -> None:
    def fail() -> None:
        raise SystemExit(3)

    assert threads.submit(threading.current_thread).result(WAIT_S).daemon
    assert threads.submit(int, "ff", base=16).result(WAIT_S) == 255
    with pytest.raises(SystemExit):
        threads.submit(fail).result(WAIT_S)
    assert list(threads.map(abs, [-1, 2])) == [1, 2]


def test_jobs_that_wait_for_one_another_come_to_their_end(threads: Threads) -> None:
    together = threading.Barrier(AT_MOST)
    assert len([job.result(WAIT_S) for job in [threads.submit(together.wait) for _ in range(AT_MOST)]])


def test_a_thread_is_free_where_none_can_be_started_any_more(
    threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang = threading.Event()
    hanging = threads.submit(hang.wait)

    def never(self: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", never)
    jobs = [threads.submit(str, number) for number in range(3)]
    assert [job.result(WAIT_S) for job in jobs] == ["0", "1", "2"]
    hang.set()
    assert hanging.result(WAIT_S)


@pytest.mark.parametrize("cancel", [False, True])
def test_what_was_taken_is_done_after_the_end_unless_it_is_cancelled(
    cancel: bool,
) -> None:
    threads, begun, hang = Threads(1), threading.Event(), threading.Event()

    def stay() -> bool:
        begun.set()
        return hang.wait(WAIT_S)

    first, second = threads.submit(stay), threads.submit(str, 2)
    assert begun.wait(WAIT_S)
    threads.shutdown(wait=False, cancel_futures=cancel)
    with pytest.raises(RuntimeError, match="shut down"):
        threads.submit(str, 3)
    hang.set()
    threads.shutdown()
    assert first.result(WAIT_S) and second.cancelled() is cancel
    assert cancel or second.result(WAIT_S) == "2"


def test_threads_that_are_forgotten_end() -> None:
    threads = Threads(1)
    thread = threads.submit(threading.current_thread).result(WAIT_S)
    del threads
    gc.collect()
    thread.join(WAIT_S)
    assert not thread.is_alive()


def test_they_take_work_when_those_of_the_standard_library_take_none(
    threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "_shutdown", True)
    with pytest.raises(RuntimeError):
        ThreadPoolExecutor(1).submit(str, 1)
    assert threads.submit(str, 1).result(WAIT_S) == "1"


def test_the_engine_gives_what_blocks_to_its_own_threads_and_closes_without_one_that_hangs() -> None:
    loop, hang = EngineLoop(), threading.Event()

    async def name() -> str:
        return (await asyncio.to_thread(threading.current_thread)).name

    async def stay() -> None:
        await asyncio.to_thread(hang.wait)

    assert loop.submit(name()).result(WAIT_S) == "ringfence-blocking"
    staying = loop.submit(stay())
    assert loop.submit(name()).result(WAIT_S) == "ringfence-blocking"
    loop.close()
    with pytest.raises(CancelledError):
        staying.result(WAIT_S)
    hang.set()


def test_closing_waits_no_longer_than_it_is_told_for_a_plugin_that_blocks_the_loop() -> None:
    loop, hang, begun = EngineLoop(), threading.Event(), threading.Event()

    async def block() -> None:
        begun.set()
        hang.wait()

    blocked = loop.submit(block())
    assert begun.wait(WAIT_S)
    loop.close(within_s=0.0)
    assert not blocked.done()
    hang.set()
    blocked.result(WAIT_S)
