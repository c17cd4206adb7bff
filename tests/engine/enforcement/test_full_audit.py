"""Under `audit full` no body starts before its decision is committed; `standard` waits for nothing."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from ringfence.engine.decision.events import CallDecided
from ringfence.engine.enforcement.current import current_call
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import EngineError, PendingError, RunHaltedError
from ringfence.engine.seams.isolates import IsolateJob
from ringfence.engine.seams.ports import Entry
from ringfence.plugins.memory import MemoryStore
from ringfence.plugins.memory.log import MemoryLog
from ringfence.testing import FakeClock
from tests.guards import ALICE, call, events_of, make_guard
from tests.isolates import Executors, FakeExecutor, Tools

WAIT_S = 30
POLICY = """
language 1
policy shop
capability read_data is read
capability send is external
approver lead { group "leads" answer within 15 minutes otherwise deny }
agent main { holds read_data, send }
isolate box { time 60 seconds may call inner, wire }
tool wire { needs send takes amount: integer allow always audit full }
tool wide { needs send takes amount: integer allow always rate 100 per hour audit full }
tool pay { needs send takes amount: integer allow always ask lead audit full }
tool js { takes code: text allow always runs code in box }
tool inner { needs read_data takes what: text allow always }
tool look { needs read_data takes what: text allow always }
"""


class HeldLog(MemoryLog):
    """A log whose commits of allows the test holds; it knows which have been committed, and has said so.

    What was said before an allow may be in a batch of its own: were that held, the allow would never come.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.asked: set[tuple[str, str]] = set()
        """Run and call of each allow that it was given."""
        self.returned: set[tuple[str, str]] = set()
        """The same, once their commit has returned."""
        self.fails: Exception | None = None

    async def append(self, batch: Sequence[Entry]) -> None:
        allows = {
            (entry.run, body["call"])
            for entry in batch
            if entry.kind == CallDecided.kind
            and (body := json.loads(entry.body or b"{}")).get("verdict") == "allow"
        }
        self.asked |= allows
        if allows:
            await asyncio.to_thread(self.gate.wait)
        if self.fails is not None:
            raise self.fails
        await super().append(batch)
        self.returned |= allows


class Shop:
    """A guard on such a log, and what its bodies saw when they started."""

    def __init__(self) -> None:
        self.log = HeldLog()
        self.store = MemoryStore()
        self.store.events = self.log

        async def calls_wire(_: IsolateJob, tools: Tools) -> object:
            return await tools("wire", amount=1)

        executor = Executors(FakeExecutor({"wire": calls_wire}))
        self.guard = make_guard(POLICY, clock=FakeClock(), opened=lambda: self.store, plugins=[executor])
        self.guard.opening.patience_s = 4 * WAIT_S  # commits are held for as long as the test takes
        self.seen: list[tuple[str, bool]] = []
        """Tool, and whether the commit of its decision had returned when the body started."""

    def body(self, _: Any) -> str:
        inside = current_call()
        assert inside is not None
        run, key = inside
        self.seen.append((run.state.calls[key].request.tool, (run.id, key) in self.log.returned))
        return "done"

    def begin(self) -> Run:
        return self.guard.begin_run(principal=ALICE, agent="main")


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    made.log.gate.set()
    made.guard.close()


def plainly(shop: Shop, run: Run) -> None:
    shop.guard.execute(run, call("wire", "c", amount=1), shop.body)


def awaited(shop: Shop, run: Run) -> None:
    async def body(arguments: Any) -> str:
        return shop.body(arguments)

    asyncio.run(shop.guard.aexecute(run, call("wire", "c", amount=1), body))


def decided_before(shop: Shop, run: Run) -> None:
    shop.guard.authorize(run, call("wire", "c", amount=1))
    shop.guard.execute(run, call("wire", "c", amount=1), shop.body)


def with_a_budget(shop: Shop, run: Run) -> None:
    shop.guard.execute(run, call("wide", "c", amount=1), shop.body)


def from_an_isolate(shop: Shop, run: Run) -> None:
    shop.guard.execute(run, call("js", "c", code="wire"), shop.body, inner={"wire": shop.body})


def held_while(shop: Shop, work: Callable[[], None], tool: str) -> None:
    """Do the work while commits are held: its body must not start; let them go: it starts, and knows why."""
    beside = shop.begin()
    shop.guard.opening.ready.journal.flush().result(WAIT_S)
    before = set(shop.log.asked)
    shop.log.gate.clear()
    working = threading.Thread(target=work)
    working.start()
    end = time.monotonic() + WAIT_S
    while not shop.log.asked - before and working.is_alive():
        assert time.monotonic() < end, "its decision is not written"
        time.sleep(0.002)
    # The control: meanwhile a call whose audit is `standard` comes to its end.
    assert shop.guard.execute(beside, call("look", "l", what="x"), shop.body) == "done"
    assert ("look", False) in shop.seen
    assert tool not in [name for name, _ in shop.seen], "it started, and its decision is not on the disk"
    assert working.is_alive()
    shop.log.gate.set()
    working.join(WAIT_S)
    assert (tool, True) in shop.seen and (tool, False) not in shop.seen


@pytest.mark.parametrize("way", [plainly, awaited, decided_before, with_a_budget, from_an_isolate])
def test_a_body_under_full_starts_after_the_commit_of_its_decision_has_returned(
    shop: Shop, way: Callable[[Shop, Run], None]
) -> None:
    run = shop.begin()
    held_while(shop, lambda: way(shop, run), "wide" if way is with_a_budget else "wire")


def asked_of_people(guard: Guard, run: Run) -> str:
    with pytest.raises(PendingError) as pending:
        guard.execute(run, call("pay", "c", amount=1), lambda _: None, wait=False)
    return pending.value.tickets[0]


@pytest.mark.parametrize("edited", [None, {"amount": 2}])
@pytest.mark.parametrize("resumed", [False, True], ids=["here", "after a resume"])
def test_what_people_approve_starts_after_the_second_decision_is_durable(
    shop: Shop, resumed: bool, edited: dict[str, int] | None
) -> None:
    run = shop.begin()
    ticket = asked_of_people(shop.guard, run)
    if resumed:
        shop.guard.suspend(run)
    shop.guard.approve(ticket, by="dana", edited=edited)
    again = shop.guard.resume_run(run.id) if resumed else run
    held_while(shop, lambda: shop.guard.execute(again, call("pay", "c", amount=1), shop.body), "pay")


def test_a_commit_that_fails_starts_nothing(shop: Shop) -> None:
    run = shop.begin()
    shop.guard.opening.ready.journal.flush().result(WAIT_S)
    shop.log.fails = OSError("the disk is gone")
    for way in (plainly, awaited, with_a_budget):
        with pytest.raises(EngineError):
            way(shop, run)
    assert shop.seen == []
    with pytest.raises(EngineError, match="could not be written before the guard was closed"):
        shop.guard.close()


def test_bodies_of_many_calls_at_once_start_after_their_own_decisions(shop: Shop) -> None:
    async def made() -> None:
        run = await shop.guard.abegin_run(principal=ALICE, agent="main")

        async def body(arguments: Any) -> str:
            return shop.body(arguments)

        calls = [call("wire" if n % 3 else "look", f"c{n}", **_of(n)) for n in range(60)]
        await asyncio.gather(*(shop.guard.aexecute(run, one, body) for one in calls))
        await shop.guard.aend_run(run)
        record = await shop.guard.runs.aget(run.id)
        assert sum(stamped.event.kind == "CallFinished" for stamped in record.events) == 60

    asyncio.run(made())
    assert len(shop.seen) == 60
    assert all(durable for tool, durable in shop.seen if tool == "wire")


def _of(number: int) -> dict[str, Any]:
    return {"amount": number} if number % 3 else {"what": str(number)}


def test_the_record_of_a_run_that_was_held_is_whole(shop: Shop) -> None:
    run = shop.begin()
    held_while(shop, lambda: plainly(shop, run), "wire")
    kinds = [event.kind for event in events_of(shop.guard, run)]
    assert kinds[-3:] == ["CallDecided", "CallStarted", "CallFinished"]


def test_a_call_whose_allow_was_given_back_by_whoever_ends_the_run_does_not_start(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, goes_on, errors = shop.begin(), Future[None](), list[BaseException]()

    def waits(_: Run) -> Iterator[Future[None]]:
        yield goes_on

    monkeypatch.setattr(shop.guard._asking, "observe_all", waits)

    def calls() -> None:
        try:
            plainly(shop, run)
        except RunHaltedError as error:
            errors.append(error)

    shop.log.gate.clear()
    calling, ending = threading.Thread(target=calls), threading.Thread(target=shop.guard.end_run, args=(run,))
    calling.start()
    while not shop.log.asked:
        pass
    ending.start()
    while "BudgetRefunded" not in [queued.stamped.event.kind for queued in [*run.journal._queue]]:
        pass
    shop.log.gate.set()
    calling.join(WAIT_S)
    goes_on.set_result(None)
    ending.join(WAIT_S)
    assert errors and not shop.seen
    assert "CallStarted" not in [event.kind for event in events_of(shop.guard, run)]
    assert shop.guard.runs.get(run.id).replay().divergence is None
