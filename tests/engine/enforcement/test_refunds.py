"""What is given back stands before what is reserved after it."""

import asyncio
from collections.abc import Iterator
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


def test_what_the_ledger_did_not_answer_is_asked_again(loop: EngineLoop) -> None:
    ledger, refunds = Listed(), Refunds(loop)
    ledger.away = True
    refunds.give_back(ledger, "r1", within_s=WITHIN_S)  # type: ignore[arg-type]

    async def again() -> None:
        while len(ledger.asked) < 3:
            await asyncio.sleep(0.005)
        ledger.away = False
        while refunds._open:
            await asyncio.sleep(0.005)

    loop.submit(asyncio.wait_for(again(), WITHIN_S)).result()
    assert set(ledger.asked) == {"refund r1"}
