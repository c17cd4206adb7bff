"""Fifty parallel calls against a limit of ten run exactly ten."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.errors import DeniedError, RunHaltedError
from tests.guards import ALICE, POLICY, call, kinds_of, make_guard


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], Guard]]:
    made: list[Guard] = []

    def make(policy: str = POLICY) -> Guard:
        store = "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/ringfence.db"
        made.append(make_guard(policy, store=store))
        return made[-1]

    yield make
    for guard in made:
        guard.close()


BLAST = """language 1
policy crm
tool touch {{
  takes account: text
  touches account as account
  allow always
  blast radius 10 account per {period}
}}
"""


@pytest.mark.parametrize("period", ["run", "day"])
def test_fifty_threads_touch_ten_different_resources_as_often_as_they_like(
    make: Callable[[str], Guard], period: str
) -> None:
    guard, touched = make(BLAST.format(period=period)), list[str]()
    together = threading.Barrier(50)
    run = guard.begin_run(principal=ALICE, agent="main")

    def touch(number: int) -> None:
        together.wait()
        with contextlib.suppress(DeniedError):
            asked = call("touch", f"c{number}", account=f"a{number % 25}")
            guard.execute(run, asked, lambda arguments: touched.append(arguments["account"]))

    threads = [threading.Thread(target=touch, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(touched), len(set(touched))) == (20, 10)
    assert guard.runs.get(run.id).replay().divergence is None


LIMITS = {
    "a budget of the policy": POLICY,
    "a budget of the run": POLICY.replace("rate 10 per hour", "rate 10 per run"),
}


@pytest.mark.parametrize("limit", LIMITS)
async def test_fifty_tasks(make: Callable[[str], Guard], limit: str) -> None:
    guard, sent = make(LIMITS[limit]), list[str]()
    run = await guard.abegin_run(principal=ALICE, agent="main")

    async def body(arguments: Mapping[str, Any]) -> None:
        await asyncio.sleep(0)
        sent.append(arguments["to"])

    ends = await asyncio.gather(
        *(guard.aexecute(run, call("mail", f"c{n}", to="a@b.example"), body) for n in range(50)),
        return_exceptions=True,
    )
    assert len(sent) == ends.count(None) == 10
    assert all(isinstance(end, DeniedError | RunHaltedError) for end in ends if end is not None)
    assert kinds_of(guard, run).count("CallFinished") == 10
    assert guard.runs.get(run.id).replay().divergence is None


@pytest.mark.parametrize("limit", LIMITS)
def test_fifty_threads(make: Callable[[str], Guard], limit: str) -> None:
    guard, sent, together = make(LIMITS[limit]), list[Any](), threading.Barrier(50)
    run = guard.begin_run(principal=ALICE, agent="main")

    def send(number: int) -> None:
        together.wait()
        with contextlib.suppress(DeniedError, RunHaltedError):
            guard.execute(run, call("mail", f"c{number}", to="a@b.example"), sent.append)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sent) == 10
    assert guard.runs.get(run.id).replay().divergence is None


async def test_cancelling_some_of_the_waiting_loses_neither_turn_nor_budget(
    make: Callable[[str], Guard],
) -> None:
    guard, sent = make(POLICY), list[int]()
    run = await guard.abegin_run(principal=ALICE, agent="main")

    def body(_: Mapping[str, Any]) -> None:
        sent.append(1)

    tasks = [
        asyncio.create_task(guard.aexecute(run, call("mail", f"c{n}", to="a@b.example"), body))
        for n in range(10)
    ]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.wrap_future(guard.opening.ready.journal.flush())
    before = len(sent)
    for n in range(20):
        try:
            await guard.aexecute(run, call("mail", f"d{n}", to="a@b.example"), body)
        except DeniedError:
            break
    assert before >= 5 and len(sent) == 10


async def test_a_cap_on_calls_is_never_passed_and_its_halt_stops_the_rest(
    make: Callable[[str], Guard],
) -> None:
    guard, sent = make(POLICY.replace("at most 100 calls", "at most 10 calls")), list[int]()
    run = await guard.abegin_run(principal=ALICE, agent="main")

    async def body(_: Mapping[str, Any]) -> None:
        sent.append(1)

    ends = await asyncio.gather(
        *(guard.aexecute(run, call("look", f"c{n}", what="x"), body) for n in range(50)),
        return_exceptions=True,
    )
    assert 1 <= len(sent) <= 10
    assert kinds_of(guard, run).count("RunHalted") == 1
    assert all(isinstance(end, RunHaltedError) for end in ends if end is not None)
