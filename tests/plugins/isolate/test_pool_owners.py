"""Whose a worker is: its first owner's for good, and what makes room for another's."""

import asyncio
import os
from collections.abc import Sequence

import pytest

from ringfence.engine.seams.isolates import InnerAnswer, InnerCall
from tests.plugins.isolate.workers import (
    MB,
    alive,
    closing,
    echoes,
    gone,
    job,
    none,
    pid_of,
    pool,
    until_there_are,
)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="workers are processes of POSIX systems")


async def test_a_worker_that_has_run_a_job_of_one_owner_never_runs_one_of_another() -> None:
    """Or an intruder in it would see that.  An empty owner is one, and a part of another's name is none."""
    owners = ["a", "b", "", "a\0", "None", "ab", "A"]
    async with closing(pool(workers=3, spare=1)) as executor:
        seen: dict[int, set[str]] = {}
        for nth in range(40):
            owner = owners[nth * 5 % 7] if nth % 3 else "a"
            seen.setdefault(await pid_of(executor, owner=owner), set()).add(owner)
        at_once = [owners[nth % 7] for nth in range(40)]
        for owner, pid in zip(
            at_once, await asyncio.gather(*(pid_of(executor, owner=owner) for owner in at_once)), strict=True
        ):
            seen.setdefault(pid, set()).add(owner)
        assert all(len(whose) == 1 for whose in seen.values()), seen
        assert {owner for whose in seen.values() for owner in whose} == set(owners)


async def test_an_owner_keeps_its_worker_while_others_have_room_beside_it() -> None:
    async with closing(pool(workers=2)) as executor:
        first, second = await pid_of(executor, owner="a"), await pid_of(executor, owner="b")
        assert first != second
        assert [await pid_of(executor, owner=owner) for owner in "abab"] == [first, second, first, second]


async def test_the_worker_that_was_longest_unused_makes_way_for_another_owner() -> None:
    async with closing(pool(workers=2)) as executor:
        first, second = await pid_of(executor, owner="a"), await pid_of(executor, owner="b")
        assert await pid_of(executor, owner="a") == first
        third = await pid_of(executor, owner="c")
        await gone(second)
        assert alive(first)
        assert await pid_of(executor, owner="a") == first
        assert await pid_of(executor, owner="c") == third


async def test_another_owner_is_given_the_spare_and_waits_for_no_start() -> None:
    async with closing(pool(workers=1, spare=1)) as executor:
        executor.prewarm("process", 64 * MB)
        [spare] = await until_there_are(1)
        assert await pid_of(executor, owner="a") == spare
        [other] = set(await until_there_are(2)) - {spare}
        assert await pid_of(executor, owner="b") == other
        await gone(spare)  # one worker is somebody's at most, and one more is ready
        assert other in await until_there_are(2)


async def test_a_worker_that_its_owner_no_longer_uses_is_ended() -> None:
    async with closing(pool(idle_s=0.05)) as executor:
        await gone(await pid_of(executor, owner="a"))
        first, second = await pid_of(executor, owner="a"), await pid_of(executor, owner="b")
        await gone(first)
        await gone(second)
        assert (await executor.run(job("echo"), none)).failure is None


async def test_the_owner_is_never_told_to_the_worker() -> None:
    async with closing(pool()) as executor:
        outcome = await executor.run(job("job", owner="whose-it-is"), none)
        assert "whose-it-is" not in (outcome.result or "")


@pytest.mark.parametrize(
    ("workers", "asked", "served"),
    [
        (1, "aaaa", "aaaa"),
        (1, "abcd", "abcd"),
        (1, "aaaaaaab", "abaaaaaa"),
        (1, "aaaabbcb", "abcababa"),
    ],
)
async def test_an_owner_who_asks_for_much_at_once_keeps_no_other_waiting(
    workers: int, asked: str, served: str
) -> None:
    """Who has fewer workers comes first, then who came first."""
    async with closing(pool(workers=workers, wait_s=20)) as executor:
        order: list[str] = []

        async def one(owner: str) -> None:
            await pid_of(executor, owner=owner)
            order.append(owner)

        async with asyncio.TaskGroup() as group:
            for owner in asked:
                group.create_task(one(owner))
        assert "".join(order) == served


async def test_another_owner_is_next_while_one_has_all_the_workers() -> None:
    async with closing(pool(workers=2, wait_s=20)) as executor:
        held, free, served = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def holding(calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
            if len(executor.at_work) == 2:
                held.set()
            await (served if free.is_set() else free).wait()
            return await echoes(calls)

        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(executor.run(job("batch", 1, owner="a"), holding))
            await held.wait()
            other = group.create_task(pid_of(executor, owner="b"))
            await asyncio.sleep(0)  # it waits behind six others
            free.set()
            await other
            served.set()
