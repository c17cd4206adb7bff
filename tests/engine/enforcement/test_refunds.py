"""What is given back stands before what is reserved after it."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from ringfence.engine.enforcement.refunds import Refunds
from ringfence.engine.seams.errors import StoreAwayError
from ringfence.engine.seams.loop import EngineLoop

WITHIN_S = 30


class Listed:
    """A ledger that says what it was asked, in order."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.away = False

    async def refund(self, reservation: str) -> None:
        self.asked.append(f"refund {reservation}")
        if self.away:
            raise StoreAwayError("the line is dead")

    async def reserve(self, reservation: str) -> None:
        self.asked.append(f"reserve {reservation}")


class Direct(Listed):
    """One that takes work from any thread, and answers at once."""

    def refund_soon(self, reservation: str) -> "Future[None]":
        return self._done(f"refund {reservation}")

    def reserve_soon(self, reservation: str, *, now_ns: int) -> "Future[None]":
        return self._done(f"reserve {reservation}")

    def dispatched_soon(self, reservation: str, *, now_ns: int) -> "Future[None]":
        return self._done(f"dispatched {reservation}")

    async def refund(self, reservation: str) -> None:
        self.refund_soon(reservation).result()

    def _done(self, what: str) -> "Future[None]":
        done = Future[None]()
        self.asked.append(what)
        if self.away:
            if len(self.asked) % 2:
                raise StoreAwayError("the line is dead")
            done.set_exception(StoreAwayError("the line is dead"))
        else:
            done.set_result(None)
        return done


@pytest.fixture
def loop() -> Iterator[EngineLoop]:
    made = EngineLoop()
    yield made
    made.close()


def test_the_ledger_is_asked_in_the_order_in_which_it_was_told(loop: EngineLoop) -> None:
    ledger, refunds = Listed(), Refunds(loop)
    told: list[str] = []
    last: Any = None

    async def tell() -> None:
        nonlocal last
        for number in range(20):  # all of it comes in one round of the loop, or the first would have a start
            refunds.give_back(ledger, f"r{number}", within_s=WITHIN_S)  # type: ignore[arg-type]
            last = loop.submit(ledger.reserve(f"r{number}"))
            told.extend([f"refund r{number}", f"reserve r{number}"])

    loop.submit(tell()).result(WITHIN_S)
    last.result(WITHIN_S)
    assert ledger.asked == told


def test_nothing_is_given_back_that_is_not_wanted_back_any_more(loop: EngineLoop) -> None:
    ledger, refunds = Listed(), Refunds(loop)

    async def tell() -> None:
        refunds.give_back(ledger, "r1", within_s=WITHIN_S)  # type: ignore[arg-type]
        refunds.forget("r1")

    loop.submit(tell()).result(WITHIN_S)
    loop.submit(asyncio.sleep(0.01)).result(WITHIN_S)
    assert ledger.asked == []


@pytest.mark.parametrize("kind", [Listed, Direct])
def test_what_the_ledger_did_not_answer_is_asked_again(loop: EngineLoop, kind: type[Listed]) -> None:
    ledger, refunds = kind(), Refunds(loop)
    ledger.away = True
    refunds.give_back(ledger, "r1", within_s=WITHIN_S)  # type: ignore[arg-type]

    async def again() -> None:
        while len(ledger.asked) < 4:
            await asyncio.sleep(0.005)
        ledger.away = False
        while refunds._open:
            await asyncio.sleep(0.005)

    loop.submit(asyncio.wait_for(again(), WITHIN_S)).result()
    assert set(ledger.asked) == {"refund r1"}


def test_what_is_asked_again_stands_before_what_is_reserved_anew_from_another_thread(
    loop: EngineLoop,
) -> None:
    ledger, refunds = Direct(), Refunds(loop)
    ledger.away = True

    def made_again() -> None:  # after the second attempt was begun, and before the loop's next turn
        ledger.away = False
        refunds.forget("r1")
        ledger.reserve_soon("r1", now_ns=0)

    async def tell() -> None:
        refunds.give_back(ledger, "r1", within_s=WITHIN_S)  # type: ignore[arg-type]
        asyncio.get_running_loop().call_soon(made_again)

    loop.submit(tell()).result(WITHIN_S)
    loop.submit(asyncio.sleep(0.01)).result(WITHIN_S)
    assert ledger.asked == ["refund r1", "refund r1", "reserve r1"]


def test_what_hangs_is_not_handed_over_twice(loop: EngineLoop) -> None:
    ledger, refunds, handed = Direct(), Refunds(loop), list[Future[None]]()

    def hangs(reservation: str) -> "Future[None]":
        handed.append(Future())
        if len(handed) == 1:
            handed[0].set_exception(StoreAwayError("the line is dead"))
        return handed[-1]

    ledger.refund_soon = hangs  # type: ignore[method-assign]
    refunds.give_back(ledger, "r1", within_s=0.001)  # type: ignore[arg-type]

    async def again() -> None:
        while len(handed) < 4:
            await asyncio.sleep(0.005)
        refunds.forget("r1")

    loop.submit(asyncio.wait_for(again(), WITHIN_S)).result()
    assert sum(not one.done() for one in handed) <= 1
