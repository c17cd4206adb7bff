"""A guard that cannot say that it lives starts nothing, and gives up what another process has taken."""

import asyncio
import math
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from ringfence.engine.decision.events import CallDecided, CallFailed, RunHalted
from ringfence.engine.enforcement import dispatch, door
from ringfence.engine.enforcement.bodies import AsyncFlight
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.errors import (
    DeniedError,
    EngineError,
    RunHaltedError,
    StoreAwayError,
    TakenOverError,
)
from ringfence.plugins.memory import MemoryStore
from ringfence.plugins.memory.kill_switch import MemoryKillSwitch
from ringfence.plugins.memory.leases import MemoryLeases
from ringfence.testing import FakeClock
from tests.guards import ALICE, POLICY, call, events_of, kinds_of, make_guard

VALID_S = 15.0
WITHIN_S = 60


class Away:
    """Stands before a part of a store and lets nothing through while it is away."""

    def __init__(self, part: Any, validity_s: float) -> None:
        self._part = part
        self.validity_s = validity_s
        self.away: set[str] = set()
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        async def ask(*args: Any, **kwargs: Any) -> Any:
            self.asked.append(name)
            if name in self.away or "all" in self.away:
                raise StoreAwayError("the line is dead")
            answer = await getattr(self._part, name)(*args, **kwargs)
            return self.validity_s if name == "keep_alive" else answer

        return ask


class Shaky(MemoryStore):
    """A memory store whose attendance runs out, as it does where no kernel can vouch for a process."""

    def __init__(self, validity_s: float = VALID_S) -> None:
        super().__init__()
        self.held = self.leases
        self.orders = self.kill_switch
        self.leases = Away(MemoryLeases(), validity_s)  # type: ignore[assignment]
        self.kill_switch = Away(MemoryKillSwitch(), validity_s)  # type: ignore[assignment]

    def part(self, name: str) -> Away:
        return getattr(self, name)  # type: ignore[no-any-return]

    def take(self, *sessions: str) -> None:
        """Let another process have these sessions."""
        for session in sessions:
            self.part("leases")._part._holders[session] = "elsewhere/1-x"


class Time:
    """The real clock, in a test's hands."""

    def __init__(self) -> None:
        self.ns = 1_000_000_000

    def pass_(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)


@pytest.fixture
def store() -> Shaky:
    return Shaky()


@pytest.fixture
def real() -> Time:
    return Time()


@pytest.fixture
def guard(store: Shaky, real: Time) -> Iterator[Guard]:
    made = make_guard(opened=lambda: store)
    made._lifecycle.presence._holder.now_ns = lambda: real.ns
    yield made
    store.part("leases").away = store.part("kill_switch").away = set()
    made.close()


def never(_: Mapping[str, Any]) -> Any:
    raise AssertionError("this body must not run")


def ran(_: Mapping[str, Any]) -> str:
    return "ran"


def eventually(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.002)


@pytest.mark.parametrize(
    ("part", "method"), [("leases", "keep_alive"), ("kill_switch", "keep_alive"), ("kill_switch", "orders")]
)
def test_while_the_attendance_has_lapsed_every_call_is_a_recorded_denial_and_then_they_go_on(
    guard: Guard, store: Shaky, real: Time, part: str, method: str
) -> None:
    run = guard.begin_run(principal=ALICE, agent="main", session="s")
    store.part(part).away = {method}
    real.pass_(12)
    assert guard.execute(run, call("look", what="x"), ran) == "ran", "it stands until it has lapsed"
    real.pass_(4)
    for _ in range(2):
        with pytest.raises(EngineError, match="lives: the line is dead"):
            guard.execute(run, call("look", what="x"), never)
        decided = events_of(guard, run)[-1]
        assert isinstance(decided, CallDecided) and decided.verdict == "deny"
        assert decided.facts["failed"].startswith("presence: ")
    with pytest.raises(EngineError):
        guard.bound(run, lambda: 1)
    with pytest.raises(EngineError):
        guard.begin_run(principal=ALICE, agent="main")
    store.part(part).away = set()
    real.pass_(1)
    assert guard.execute(run, call("look", what="x"), ran) == "ran"
    assert guard.runs.get(run.id).replay().divergence is None


FEW = POLICY.replace("at most 50 denials", "at most 2 denials")


@pytest.mark.parametrize("whose", ["the run's", "the run's around"])
def test_denials_that_an_absence_alone_caused_do_not_count_against_the_run(
    store: Shaky, real: Time, whose: str
) -> None:
    guard = make_guard(FEW, opened=lambda: store)
    guard._lifecycle.presence._holder.now_ns = lambda: real.ns
    around = guard.begin_run(principal=ALICE, agent="main")
    run = around if whose == "the run's" else guard.begin_run(principal=ALICE, agent="main", parent=around)
    store.part("leases").away = {"all"}
    real.pass_(16)
    for _ in range(6):
        with pytest.raises(EngineError, match="lives"):
            guard.execute(run, call("look", what="x"), never)
    with pytest.raises(EngineError, match="lives"):
        guard.execute(run, call("look", what="secret"), never)
    assert around.state.denials == 1, "what a rule denies too counts as ever"
    store.part("leases").away = set()
    real.pass_(1)
    assert guard.execute(run, call("look", what="x"), ran) == "ran"
    with pytest.raises(DeniedError):
        guard.execute(run, call("look", what="secret"), never)
    with pytest.raises(RunHaltedError):
        guard.execute(run, call("look", what="secret"), never)
    assert around.state.halted is not None and around.state.halted.name == "main.denials"
    for one in (run, around):
        assert guard.runs.get(one.id).replay().divergence is None
    guard.close()


def test_what_was_allowed_before_it_lapsed_does_not_start_after(
    guard: Guard, store: Shaky, real: Time
) -> None:
    run = guard.begin_run(principal=ALICE, agent="main")
    mail = call("mail", "m1", to="a@b.example")
    assert guard.authorize(run, mail).allowed
    store.part("leases").away = {"all"}
    real.pass_(16)
    with pytest.raises(EngineError, match="lives"):
        guard.execute(run, mail, never)
    assert kinds_of(guard, run)[-2:] == ["BudgetRefunded", "CallFailed"]


@pytest.mark.parametrize("earlier", [0, 1])  # the second call of a tool may go the quick way
@pytest.mark.parametrize("how", ["async", "in a thread", "in place"])
def test_a_process_that_stood_still_between_the_dispatch_and_the_body_starts_nothing(
    guard: Guard, real: Time, monkeypatch: pytest.MonkeyPatch, how: str, earlier: int
) -> None:
    run = guard.begin_run(principal=ALICE, agent="main")
    for _ in range(earlier):
        guard.execute(run, call("look", what="x"), lambda _: "seen")
    begun = dispatch.depart

    def then_stands_still(*args: Any, **bounds: Any) -> Any:
        started = yield from begun(*args, **bounds)
        real.pass_(16)
        return started

    monkeypatch.setattr(dispatch, "depart", then_stands_still)
    if how == "in place":
        monkeypatch.setattr(door, "in_thread", lambda *_: None)
    with pytest.raises(EngineError, match="lives"):
        if how == "async":
            asyncio.run(guard.aexecute(run, call("look", what="x"), never))
        else:
            guard.execute(run, call("look", what="x"), never)
    assert not run.flights
    failed = events_of(guard, run)[-1]
    assert isinstance(failed, CallFailed) and (failed.outcome, failed.error) == (
        "cancelled",
        dispatch.TOO_LATE,
    )
    assert guard.runs.get(run.id).replay().divergence is None


def test_validity_counts_from_before_the_request(guard: Guard, store: Shaky, real: Time) -> None:
    part = store.part("leases")
    answer = part._part.keep_alive

    async def slow(holder: str) -> float:
        real.pass_(20)  # the answer takes longer than what it grants
        return float(await answer(holder))

    part._part.keep_alive = slow
    with pytest.raises(EngineError, match="lives"):
        guard.begin_run(principal=ALICE, agent="main")


def test_an_order_that_came_while_it_was_silent_is_obeyed_before_anything_goes_on(
    guard: Guard, store: Shaky, real: Time
) -> None:
    run = guard.begin_run(principal=ALICE, agent="main")
    switch = store.part("kill_switch")
    switch.away = {"orders", "news"}
    order = asyncio.run(switch._part.order(run=None, agent="main", by="olga", at_ns=0))
    real.pass_(16)
    with pytest.raises(EngineError):
        guard.execute(run, call("look", what="x"), never)
    switch.away = set()
    real.pass_(1)
    with pytest.raises(RunHaltedError, match="killed"):
        guard.execute(run, call("look", what="x"), never)
    eventually(lambda: [one.obeyed for one in asyncio.run(switch._part.attendants())] == [order.id])


# ---- taken over ------------------------------------------------------------------------------------


def test_a_run_whose_session_was_taken_over_is_over_here_and_records_nothing_more(
    guard: Guard, store: Shaky, real: Time
) -> None:
    taken = guard.begin_run(principal=ALICE, agent="main", session="s")
    kept = guard.begin_run(principal=ALICE, agent="main", session="t")
    begun, errors = threading.Event(), []

    async def fly() -> None:
        async def body(_: Mapping[str, Any]) -> None:
            begun.set()
            await asyncio.Event().wait()

        try:
            await guard.aexecute(taken, call("look", what="x"), body)
        except EngineError as error:
            errors.append(error)

    def ask() -> None:
        try:
            guard.execute(taken, call("pay", amount=5), never)
        except EngineError as error:
            errors.append(error)

    threads = [threading.Thread(target=lambda: asyncio.run(fly())), threading.Thread(target=ask)]
    for thread in threads:
        thread.start()
    begun.wait()
    eventually(lambda: bool(taken.waiting))
    guard.opening.ready.journal.flush().result()
    before = len(guard.runs.get(taken.id).events)

    store.take("s")
    real.pass_(16)
    assert guard.execute(kept, call("look", what="x"), ran) == "ran", "what is held still goes on"
    for thread in threads:
        thread.join()
    assert [type(error) for error in errors] == [TakenOverError, TakenOverError]
    with pytest.raises(TakenOverError):
        guard.check_live(taken)
    with pytest.raises(TakenOverError):
        guard.execute(taken, call("look", what="x"), never)
    guard.end_run(taken)
    with pytest.raises(TakenOverError):
        guard.suspend(taken)
    assert len(guard.runs.get(taken.id).events) == before
    assert "s" not in guard._lifecycle._memories._sessions
    with pytest.raises(EngineError, match="another living process holds the session `s`: elsewhere/1-x"):
        guard.begin_run(principal=ALICE, agent="main", session="s")
    assert store.part("leases")._part._holders["s"] == "elsewhere/1-x", "nothing of it was given back here"
    guard.end_run(kept)


@pytest.mark.parametrize("session", ["s", "u"])
def test_of_a_tree_nothing_goes_on_where_one_of_it_was_taken_over(
    guard: Guard, store: Shaky, real: Time, session: str
) -> None:
    parent = guard.begin_run(principal=ALICE, agent="main", session="s")
    child = guard.begin_run(principal=ALICE, agent="reader", parent=parent, session="s")
    other = guard.begin_run(principal=ALICE, agent="reader", parent=parent, session="u")
    store.take(session)
    real.pass_(16)
    with pytest.raises((TakenOverError, RunHaltedError)):
        guard.execute(other, call("look", what="x"), never)
    for run in (parent, child, other):
        with pytest.raises(TakenOverError if run.session == session else RunHaltedError):
            guard.check_live(run)
        guard.end_run(run)
    rest = events_of(guard, other if session == "s" else parent)
    halted = [one for one in rest if isinstance(one, RunHalted)]
    assert [one.reason for one in halted] == ["taken over"]


def test_a_session_that_was_lost_while_a_run_began_in_it_begins_none(
    guard: Guard, store: Shaky, real: Time
) -> None:
    other = guard.begin_run(principal=ALICE, agent="main", session="t")
    steps = guard._begin(principal=ALICE, agent="main", session="s")
    waited = next(steps)
    while "s" not in store.part("leases")._part._holders:
        waited = steps.send(waited.result())
    store.take("s")
    real.pass_(16)
    assert guard.execute(other, call("look", what="x"), ran) == "ran"
    with pytest.raises(TakenOverError):
        while True:
            waited = steps.send(waited.result())
    assert "s" not in guard._lifecycle._sessions._held


# ---- coming and going ------------------------------------------------------------------------------


def test_the_holder_is_a_name_that_a_person_finds(guard: Guard) -> None:
    holder = guard._lifecycle._sessions.holder
    assert re.fullmatch(rf"[\w.-]+/{os.getpid()}-[0-9a-f]{{12}}", holder)


def test_it_attends_from_its_first_live_run_to_its_last(store: Shaky, real: Time) -> None:
    guard = make_guard(opened=lambda: store)
    guard._lifecycle.presence.linger_s = 0.0

    def holders() -> list[str]:
        return [one.holder for one in asyncio.run(store.part("kill_switch")._part.attendants())]

    run = guard.begin_run(principal=ALICE, agent="main")
    other = guard.begin_run(principal=ALICE, agent="main")
    assert holders() == [guard._lifecycle._sessions.holder]
    guard.end_run(run)
    assert guard.execute(other, call("look", what="x"), ran) == "ran"
    assert len(holders()) == 1
    guard.suspend(other)
    eventually(lambda: holders() == [] and "gone" in store.part("leases").asked)
    again = guard.resume_run(other.id)
    assert guard.execute(again, call("look", what="x"), ran) == "ran"
    assert len(holders()) == 1
    guard.close()
    assert holders() == []


def test_it_says_so_again_in_time_without_being_asked() -> None:
    store = Shaky(validity_s=0.2)
    guard = make_guard(opened=lambda: store)
    run = guard.begin_run(principal=ALICE, agent="main")
    eventually(lambda: store.part("leases").asked.count("keep_alive") >= 5)
    assert guard.execute(run, call("look", what="x"), ran) == "ran"
    guard.end_run(run)
    guard.close()


def test_a_store_that_vouches_for_processes_never_lapses_but_orders_are_read_all_the_same(
    store: Shaky, real: Time
) -> None:
    store.part("leases").validity_s = store.part("kill_switch").validity_s = math.inf
    guard = make_guard(opened=lambda: store)
    guard._lifecycle.presence._holder.now_ns = lambda: real.ns

    async def model() -> str:
        return "ran"

    run = guard.begin_run(principal=ALICE, agent="main")
    for once in (
        lambda: guard.execute(run, call("look", what="x"), ran),
        lambda: guard.bound(run, lambda: "ran"),
        lambda: asyncio.run(guard.abound(run, model)),
    ):
        real.pass_(3600)
        assert once() == "ran", "it had slept, and looks at once"
    real.pass_(3600)
    guard.check_live(run)
    store.part("kill_switch").away = {"orders"}
    real.pass_(16)
    with pytest.raises(EngineError, match="orders to stop could not be read for 15 s"):
        guard.execute(run, call("look", what="x"), never)
    store.part("kill_switch").away = set()
    guard.close()


@pytest.mark.parametrize("happens", ["the deadline passes", "an operator kills it"])
async def test_a_body_that_was_dispatched_does_not_begin_once_its_run_is_over(
    monkeypatch: pytest.MonkeyPatch, happens: str
) -> None:
    clock, ran = FakeClock(), list[int]()
    guard = make_guard(clock=clock)
    run = await guard.abegin_run(principal=ALICE, agent="main")
    settle = AsyncFlight._settle

    async def late(flight: AsyncFlight, work: Any) -> Any:
        if happens == "the deadline passes":
            clock.advance(301)
        else:
            run.halt("killed", by="olga", detail=None)
        return await settle(flight, work)

    async def body(_: Any) -> None:
        ran.append(1)

    monkeypatch.setattr(AsyncFlight, "_settle", late)
    with pytest.raises(RunHaltedError):
        await guard.aexecute(run, call("free", "c1"), body)
    assert ran == []
    await guard.aclose()
