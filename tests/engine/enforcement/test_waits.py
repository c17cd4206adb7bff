"""Who waits in place notices an answer, whatever the store's news are like."""

import asyncio
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.waits import LOOK_AT_LEAST_EVERY_S
from ringfence.engine.seams.errors import DeniedError, EngineError, StoreAwayError
from ringfence.engine.seams.ports import Ticket
from ringfence.testing import FakeClock
from tests.guards import ALICE, call, make_guard

PAY = call("pay", "c1", amount=5)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def two(tmp_path: Path, clock: FakeClock) -> Iterator[tuple[Guard, Guard]]:
    guards = [make_guard(store=f"sqlite:///{tmp_path}/ringfence.db", clock=clock) for _ in range(2)]
    yield guards[0], guards[1]
    for guard in guards:
        guard.close()


async def pending(guard: Guard) -> list[Ticket]:
    work = guard.opening.ready.tickets.pending()
    return await asyncio.wrap_future(guard.opening.submit(work))


async def asked(guard: Guard, amount: int = 5) -> str:
    """Return the ticket of the payment of that amount once somebody waits for it."""
    while True:
        if guard._asking._waits._waiting:
            about = [one.id for one in await pending(guard) if one.arguments["amount"] == amount]
            if about:
                return about[0]
        await asyncio.sleep(0)


async def never(*, seconds: float) -> None:
    await asyncio.sleep(3600)


async def silent(*, seconds: float) -> None:
    await asyncio.sleep(seconds)


async def raises(*, seconds: float) -> None:
    raise OSError("no news today")


async def gives_up(*, seconds: float) -> None:
    raise asyncio.CancelledError


async def endless(*, seconds: float) -> None:
    return


@pytest.mark.parametrize("news", [never, silent, raises, gives_up, endless])
async def test_an_answer_from_elsewhere_is_noticed_without_news(two: tuple[Guard, Guard], news: Any) -> None:
    here, there = two
    run = await here.abegin_run(principal=ALICE, agent="main")
    here.opening.ready.tickets.news = news  # type: ignore[method-assign]
    task = asyncio.create_task(here.aexecute(run, PAY, dict))
    await there.aapprove(await asked(here), by="dana")
    assert await asyncio.wait_for(task, 30 * LOOK_AT_LEAST_EVERY_S) == {"amount": 5}


async def test_an_expiry_is_noticed_though_nothing_changes_in_the_store(
    two: tuple[Guard, Guard], clock: FakeClock
) -> None:
    here, _ = two
    run = await here.abegin_run(principal=ALICE, agent="main")
    task = asyncio.create_task(here.aexecute(run, PAY, dict))
    await asked(here)
    clock.advance(15 * 60)
    with pytest.raises(DeniedError, match="nobody answered"):
        await asyncio.wait_for(task, 30 * LOOK_AT_LEAST_EVERY_S)


async def test_a_store_that_does_not_say_what_was_answered_ends_the_wait(two: tuple[Guard, Guard]) -> None:
    here, _ = two
    run = await here.abegin_run(principal=ALICE, agent="main")
    task = asyncio.create_task(here.aexecute(run, PAY, dict))
    await asked(here)

    async def fails(ids: Collection[str]) -> list[Ticket]:
        raise OSError("the disk is gone")

    here.opening.ready.tickets.those = fails  # type: ignore[method-assign]
    with pytest.raises(Exception, match="the disk is gone"):
        await asyncio.wait_for(task, 30 * LOOK_AT_LEAST_EVERY_S)


@pytest.mark.parametrize("said", [None, 7, [None], ["T-1"]])
async def test_nonsense_for_an_answer_ends_the_wait_and_not_the_look(
    two: tuple[Guard, Guard], said: Any
) -> None:
    here, there = two
    run = await here.abegin_run(principal=ALICE, agent="main")
    tickets = here.opening.ready.tickets
    answers = tickets.those

    async def those(ids: Collection[str]) -> Any:
        return said

    tickets.those = those  # type: ignore[method-assign]
    with pytest.raises(EngineError):
        await asyncio.wait_for(here.aexecute(run, PAY, dict), 30 * LOOK_AT_LEAST_EVERY_S)
    tickets.those = answers  # type: ignore[method-assign]
    task = asyncio.create_task(here.aexecute(run, call("pay", "c2", amount=6), dict))
    await there.aapprove(await asked(here, 6), by="dana")
    assert await asyncio.wait_for(task, 30 * LOOK_AT_LEAST_EVERY_S) == {"amount": 6}


async def test_an_expiry_is_noticed_while_the_store_is_away(
    two: tuple[Guard, Guard], clock: FakeClock
) -> None:
    here, _ = two
    run = await here.abegin_run(principal=ALICE, agent="main")
    tickets, looks = here.opening.ready.tickets, 0

    async def away(*_: object) -> Any:
        nonlocal looks
        looks += 1
        raise StoreAwayError("the line is dead")

    tickets.those = away  # type: ignore[assignment]
    task = asyncio.create_task(here.aexecute(run, PAY, dict))
    await asked(here)
    tickets.swap = away  # type: ignore[assignment]
    while not looks:
        await asyncio.sleep(0)
    clock.advance(15 * 60)
    with pytest.raises(EngineError, match="the line is dead"):
        await asyncio.wait_for(task, 30 * LOOK_AT_LEAST_EVERY_S)


async def test_a_store_that_gives_up_its_own_work_fails_one_call_and_nobody_waits_for_ever(
    two: tuple[Guard, Guard],
) -> None:
    here, there = two
    run = await here.abegin_run(principal=ALICE, agent="main")
    tickets = here.opening.ready.tickets
    answers, broken = tickets.those, True

    async def those(ids: Collection[str]) -> list[Ticket]:
        if broken:
            raise asyncio.CancelledError
        return await answers(ids)

    tickets.those = those  # type: ignore[method-assign]
    with pytest.raises(EngineError):
        await asyncio.wait_for(here.aexecute(run, PAY, dict), 30 * LOOK_AT_LEAST_EVERY_S)
    broken = False
    task = asyncio.create_task(here.aexecute(run, call("pay", "c2", amount=6), dict))
    await there.aapprove(await asked(here, 6), by="dana")
    assert await asyncio.wait_for(task, 30 * LOOK_AT_LEAST_EVERY_S) == {"amount": 6}
