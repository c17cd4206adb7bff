"""Work is as much among a thousand open questions, or live runs, as among ten: counted, without a clock."""

import asyncio
import gc
import threading
from collections.abc import Collection, Coroutine
from concurrent.futures import Future
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ringfence.engine.enforcement import waits as module
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.waits import LOOKED_AT_A_SECOND, LOOKED_AT_ONCE, Followed, Waits
from ringfence.engine.seams.errors import DeniedError, PendingError
from ringfence.engine.seams.ports import Ticket
from ringfence.testing.stores import ticket
from tests.guards import ALICE, POLICY, call, make_guard
from tests.test_work import counted

FEW, MANY = 10, 1_000


class Store:
    """Tickets, and how often they were asked for."""

    def __init__(self) -> None:
        self.stored: dict[str, Ticket] = {}
        self.asked: list[int] = []
        self.broken: frozenset[str] = frozenset()

    async def those(self, ids: Collection[str]) -> list[Ticket]:
        self.asked.append(len(ids))
        if self.broken & set(ids):
            raise OSError("that row cannot be read")
        return [self.stored[one] for one in ids if one in self.stored]

    async def swap(self, old: Ticket, new: Ticket) -> bool:
        swapped = self.stored[old.id] == old
        if swapped:
            self.stored[old.id] = new
        return swapped

    async def news(self, *, seconds: float) -> None:
        """Nobody else writes; the look is over."""


class Desk:
    """So many calls wait; a look happens when a test says so."""

    def __init__(self, waiting: int) -> None:
        self.store = Store()
        self.looks: list[Coroutine[Any, Any, None]] = []
        loop = SimpleNamespace(submit=self._submit)
        ready, clock = SimpleNamespace(tickets=self.store), SimpleNamespace(now_ns=lambda: 0)
        self.waits = Waits(SimpleNamespace(loop=loop, ready=ready, clock=clock, patience_s=60))  # type: ignore[arg-type]
        self.calls = [self._waits_for(f"T-{number}") for number in range(waiting)]

    def _submit(self, look: Coroutine[Any, Any, None]) -> "Future[None]":
        self.looks.append(look)
        return Future()

    def _waits_for(self, name: str) -> tuple[Followed, Ticket, "Future[None]"]:
        asked = self.store.stored[name] = ticket(name, run=f"run-{name}")
        state = SimpleNamespace(halted=None)
        run: Any = SimpleNamespace(lock=threading.RLock(), waiting={}, state=state, ended=False)
        followed = self.waits.follow(asked.run, asked.call, [])
        self.waits.opened(followed, asked)
        return followed, asked, self.waits.enter(run, followed, [asked])

    async def look(self, monkeypatch: pytest.MonkeyPatch) -> float:
        """Look once; return the pause after it."""
        pauses = []

        class OverError(Exception):
            """The look is over."""

        async def sleep(seconds: float) -> None:
            pauses.append(seconds)
            raise OverError

        monkeypatch.setattr(module, "asyncio", SimpleNamespace(sleep=sleep))
        with pytest.raises(OverError):
            await self.looks[0]
        return pauses[0]


def answered(asked: Ticket, **about: Any) -> Ticket:
    return replace(asked, status="approved", answers=(("dana", "approve", None),), **about)


def work_of_an_answer(waiting: int) -> int:
    desk = Desk(waiting)
    _, asked, news = desk.calls[-1]
    given = answered(asked)
    with counted() as found:
        desk.waits.changed(given)
    assert news.done() and not desk.calls[0][2].done()
    for look in desk.looks:
        look.close()
    return found.calls


def test_an_answer_finds_whoever_waits_for_it_among_many() -> None:
    assert work_of_an_answer(MANY) == work_of_an_answer(FEW)


async def test_a_look_leaves_what_this_process_has_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk(2)
    followed, asked, news = desk.calls[0]
    assert not await desk.waits.swap(replace(asked, quorum=2), answered(asked)) and not news.done()
    assert await desk.waits.swap(asked, answered(asked)) and news.done()
    await desk.look(monkeypatch)
    assert followed.tickets == [answered(asked)], "nothing is read again"


@pytest.mark.parametrize("waiting", [FEW, MANY])
async def test_one_look_reads_all_that_is_waited_for(waiting: int, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(waiting)
    assert len(desk.looks) == 1, "one look at a time, for all of them"
    _, asked, news = desk.calls[waiting // 2]
    desk.store.stored[asked.id] = answered(asked)  # by another process
    await desk.look(monkeypatch)
    assert len(desk.store.asked) == -(-waiting // LOOKED_AT_ONCE) and sum(desk.store.asked) == waiting
    assert [one for _, _, one in desk.calls if one.done()] == [news]
    assert desk.calls[waiting // 2][0].tickets is None, "they are read again"


async def test_so_many_are_looked_at_in_a_second_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = await Desk(FEW).look(monkeypatch), await Desk(MANY // 2).look(monkeypatch)
    assert few == module.LOOK_AT_MOST_EVERY_S
    assert many == MANY / 2 / LOOKED_AT_A_SECOND > few


async def test_a_ticket_that_cannot_be_read_ends_the_wait_for_it_and_for_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk(3)
    desk.store.broken = frozenset({"T-1"})
    await desk.look(monkeypatch)
    assert [news.done() for _, _, news in desk.calls] == [False, True, False]
    assert isinstance(desk.calls[1][2].exception(), Exception)


def test_what_an_answer_leaves_is_taken_over_but_for_what_its_giver_may_have_changed() -> None:
    desk = Desk(1)
    followed, asked, _ = desk.calls[0]
    given = answered(asked, arguments={"to": "somebody else"})
    desk.waits.changed(given)
    assert followed.tickets == [answered(asked)]
    for look in desk.looks:
        look.close()


@pytest.mark.parametrize(
    "about",
    [
        {"edited": {"a": 1}},
        {"answers": ()},
        {"answers": (("dana", "approve", None), ("erin", "approve", None))},
        {"id": "T-OTHER"},
    ],
    ids=["edited", "no answer", "overtaken", "another ticket"],
)
def test_what_cannot_be_taken_over_is_read_again(about: dict[str, Any]) -> None:
    desk = Desk(1)
    followed, asked, news = desk.calls[0]
    desk.waits.changed(replace(answered(asked), **about))
    assert followed.tickets is None and news.done()
    for look in desk.looks:
        look.close()


def test_what_changed_while_it_was_read_is_taken_in() -> None:
    desk = Desk(1)
    followed, asked, _ = desk.calls[0]
    for found in (asked, answered(asked)):  # as it was before the answer, or after it
        followed.tickets = None
        desk.waits.asks(followed)
        desk.waits.changed(answered(asked))
        assert followed.tickets is None
        assert desk.waits.read(followed, [found]) == followed.tickets == [answered(asked)]
    withdrawn = replace(answered(asked), status="withdrawn")
    desk.waits.asks(followed)
    desk.waits.changed(answered(asked))
    desk.waits.changed(withdrawn)
    assert desk.waits.read(followed, [asked]) == [asked] and followed.tickets is None
    desk.waits.asks(followed)
    assert desk.waits.read(followed, [withdrawn]) == [withdrawn]
    for look in desk.looks:
        look.close()


def test_answers_without_end_leave_nothing_behind_but_the_ticket() -> None:
    desk = Desk(1)
    followed, asked, _ = desk.calls[0]
    for number in range(10):
        asked = replace(asked, answers=(*asked.answers, (f"p{number}", "ignored", None)))
        desk.waits.changed(asked)
    assert followed.tickets == [asked] and followed.changes is None
    for look in desk.looks:
        look.close()


def test_what_changed_between_the_look_and_the_wait_is_told_at_once() -> None:
    desk = Desk(1)
    followed, asked, _ = desk.calls[0]
    run: Any = SimpleNamespace(
        lock=threading.RLock(), waiting={}, state=SimpleNamespace(halted=None), ended=False
    )
    desk.waits.go_on(run, followed)
    desk.waits.changed(answered(asked))  # nobody is there to be told of it
    assert desk.waits.enter(run, followed, [asked]).done()
    desk.waits.go_on(run, followed)
    assert not desk.waits.enter(run, followed, [answered(asked)]).done()
    for look in desk.looks:
        look.close()


async def reads_of_an_asked_call(guard: Guard, run: Any, number: int) -> list[str]:
    """What the ticket store is asked for by a call that a person approves while it waits."""
    tickets, asked = guard.opening.ready.tickets, []
    for name in ("get", "those", "of_call", "pending", "open", "swap"):
        method = getattr(type(tickets), name)

        async def told(*given: Any, name: str = name, method: Any = method) -> Any:
            asked.append(name)
            return await method(tickets, *given)

        setattr(tickets, name, told)
    paid = call("pay", f"c{number}", amount=5)
    with pytest.raises(PendingError) as pending:
        await guard.aexecute(run, paid, dict, wait=False)
    task = asyncio.create_task(guard.aexecute(run, paid, dict))
    while not guard._asking._waits._waiting:
        await asyncio.sleep(0)
    await guard.aapprove(pending.value.tickets[0], by="dana")
    assert await task == {"amount": 5}
    return asked


@pytest.mark.parametrize("store", ["memory:", "sqlite"])
async def test_a_store_is_not_asked_for_what_was_just_written_to_it(store: str, tmp_path: Path) -> None:
    guard = make_guard(POLICY, store=store if store == "memory:" else f"sqlite:///{tmp_path}/r.db")
    run = await guard.abegin_run(principal=ALICE, agent="main")
    asked = await reads_of_an_asked_call(guard, run, 0)
    # Opened, read when the call comes back, read by who answers; answered, used up.
    looked = ("those", "pending")  # now and then, whoever asks
    assert sorted(one for one in asked if one not in looked) == ["get", "of_call", "open", "swap", "swap"]
    await guard.aclose()


async def test_a_call_that_is_refused_while_it_waits_is_denied(tmp_path: Path) -> None:
    guard = make_guard(POLICY, store=f"sqlite:///{tmp_path}/r.db")
    run = await guard.abegin_run(principal=ALICE, agent="main")
    paid = call("pay", "c1", amount=5)
    with pytest.raises(PendingError) as pending:
        await guard.aexecute(run, paid, dict, wait=False)
    answer = asyncio.create_task(guard.adeny(pending.value.tickets[0], by="dana"))
    with pytest.raises(DeniedError, match="a person said no"):
        await guard.aexecute(run, paid, dict)
    await answer
    await guard.aclose()


class Floor:
    """A guard with so many live runs."""

    def __init__(self, live: int) -> None:
        self.guard = make_guard(POLICY, approvals={"default": []})
        self.runs = [self.guard.begin_run(principal=ALICE, agent="main") for _ in range(live)]
        self.numbers = count()

    def begins_and_ends(self) -> None:
        self.guard.end_run(self.guard.begin_run(principal=ALICE, agent="main"))

    def calls(self) -> None:
        made = call("free", f"c{next(self.numbers)}")
        assert self.guard.execute(self.runs[len(self.runs) // 2], made, lambda _: "ran") == "ran"

    def asks(self) -> None:
        paid = call("pay", f"p{next(self.numbers)}", amount=5)
        run = self.runs[next(self.numbers) % 5]
        with pytest.raises(PendingError) as pending:
            self.guard.execute(run, paid, dict, wait=False)
        self.guard.approve(pending.value.tickets[0], by="dana")
        assert self.guard.execute(run, paid, dict) == {"amount": 5}

    def least(self, work: str) -> int:
        """Python functions that the caller's thread calls; of several times the least."""
        found = []
        for _ in range(6):
            self.guard.opening.ready.journal.flush().result(60)
            with counted() as one:
                getattr(self, work)()
            found.append(one.calls)
        return min(found)


def test_runs_and_calls_are_as_much_work_beside_many_live_runs() -> None:
    found = []
    for live in (FEW, MANY):
        floor = Floor(live)
        found.append({work: floor.least(work) for work in ("begins_and_ends", "calls", "asks")})
        floor.guard.close()
    few, many = found
    assert all(many[work] <= few[work] + 12 for work in few), (few, many)


def test_a_run_that_is_over_leaves_no_reference_cycles(tmp_path: Path) -> None:
    guard = make_guard(POLICY, store=f"sqlite:///{tmp_path}/r.db")
    guard.end_run(guard.begin_run(principal=ALICE, agent="main"))
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(3):
            guard.end_run(guard.begin_run(principal=ALICE, agent="main"))
        guard.opening.ready.journal.flush().result(30)
        gc.collect()
        found = [one for one in gc.garbage if isinstance(one, Future)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        guard.close()
    assert not found, "what it held is free at once, and waits for no collector"
