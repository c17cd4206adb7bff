"""Whoever waits for what never comes is told so in time, and nobody who was answered is left in the books."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future

import pytest

from ringfence.engine.enforcement.patience import Patience
from ringfence.engine.seams.loop import EngineLoop

WITHIN_S = 30
LONG_S = 1_000
SHORT_S = 0.02


@pytest.fixture
def loop() -> Iterator[EngineLoop]:
    made = EngineLoop()
    yield made
    made.close()


@pytest.fixture
def patience(loop: EngineLoop) -> Patience:
    return Patience(loop)


def test_what_comes_in_time_is_handed_on(patience: Patience) -> None:
    early, late, failed = (Future[str]() for _ in range(3))
    early.set_result("early")
    waits = [patience.within(LONG_S, one) for one in (early, late, failed)]
    assert waits[0].result(WITHIN_S) == "early"
    threading.Thread(target=late.set_result, args=("late",)).start()
    assert waits[1].result(WITHIN_S) == "late"
    failed.set_exception(OSError("the disk is full"))
    with pytest.raises(OSError, match="the disk is full"):
        waits[2].result(WITHIN_S)


def test_what_was_given_up_is_no_answer(patience: Patience) -> None:
    given_up: Future[str] = Future()
    wait = patience.within(LONG_S, given_up)
    given_up.cancel()
    with pytest.raises(CancelledError):
        wait.result(WITHIN_S)


@pytest.mark.parametrize("before", [(), (LONG_S,), (SHORT_S, LONG_S)], ids=["alone", "last", "again"])
def test_what_does_not_come_in_time_has_failed_and_may_come_later(
    patience: Patience, before: tuple[float, ...]
) -> None:
    for seconds in before:
        patience.within(seconds, Future[str]())
    never: Future[str] = Future()
    wait = patience.within(SHORT_S, never)
    with pytest.raises(TimeoutError):
        wait.result(WITHIN_S)
    assert not never.done(), "giving up the wait leaves the work behind it alone"
    never.set_result("too late")
    with pytest.raises(TimeoutError):
        wait.result(WITHIN_S)


def test_each_of_several_is_told_when_its_own_time_is_up(patience: Patience) -> None:
    began_s = time.monotonic()
    waits = [patience.within(number * SHORT_S, Future[str]()) for number in (3, 1, 2)]
    for number, wait in zip((3, 1, 2), waits, strict=True):
        with pytest.raises(TimeoutError):
            wait.result(WITHIN_S)
        assert time.monotonic() - began_s >= number * SHORT_S


def test_those_that_were_answered_are_forgotten(patience: Patience) -> None:
    for _ in range(100):
        come: Future[int] = Future()
        wait = patience.within(LONG_S, come)
        come.set_result(1)
        assert wait.result(WITHIN_S) == 1
    assert len(patience._waits) == 1


def test_all_are_looked_after_by_one_watcher(patience: Patience, loop: EngineLoop) -> None:
    submitted: list[object] = []
    submit = loop.submit
    loop.submit = lambda work: submitted.append(work) or submit(work)  # type: ignore[method-assign, func-returns-value]
    for _ in range(100):
        patience.within(LONG_S, Future[int]())
    assert len(submitted) == 1


def test_whoever_waits_when_the_loop_is_closed_is_told(patience: Patience, loop: EngineLoop) -> None:
    waits = [patience.within(seconds, Future[str]()) for seconds in (LONG_S, SHORT_S * 100, LONG_S)]
    loop.close()
    for wait in waits:
        with pytest.raises(CancelledError):
            wait.result(WITHIN_S)
