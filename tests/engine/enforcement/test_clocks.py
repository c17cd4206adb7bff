"""Guards go on from their store's time: a host's clock that was set back lets nothing stand still."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ringfence._assembly import SystemClock
from ringfence.engine.decision.events import ApprovalAnswered
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import DeniedError, PendingError, RunHaltedError
from ringfence.plugins.memory import MemoryStore
from ringfence.plugins.sqlite import SqliteStore
from ringfence.testing import FakeClock
from tests.guards import ALICE, call, events_of, make_guard

HOUR_S = 3600
NS = 1_000_000_000


class HostClock(FakeClock):
    """A host's clock in a test's hands, which a store may set forward."""

    def anchor(self, now_ns: int) -> None:
        with self._lock:
            self._now_ns = max(self._now_ns, now_ns)


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[FakeClock], Guard]:
    """Make guards over one file, each with a clock of its own."""
    return lambda clock: make_guard(store=f"sqlite:///{tmp_path}/ringfence.db", clock=clock)


def an_hour_back(clock: FakeClock) -> HostClock:
    return HostClock(clock.now_ns() - HOUR_S * NS)


def mails(guard: Guard, run: Run, most: int) -> int:
    """Return how many of these mails are allowed."""
    return sum(guard.authorize(run, call("mail", to="a@b.example")).allowed for _ in range(most))


def test_the_deadline_of_a_suspended_run_comes_though_the_clock_was_set_back(
    opened: Callable[[FakeClock], Guard],
) -> None:
    clock = HostClock()
    first = opened(clock)
    run = first.begin_run(principal=ALICE, agent="main")
    first.suspend(run)
    first.close()
    later = an_hour_back(clock)
    guard = opened(later)
    run = guard.resume_run(run.id)
    later.advance(4 * 60)
    assert guard.execute(run, call("look", what="x"), lambda _: "ran") == "ran"
    later.advance(2 * 60)
    with pytest.raises(RunHaltedError):
        guard.execute(run, call("look", what="x"), lambda _: "ran")
    guard.close()


def test_a_question_expires_in_time_though_the_clock_was_set_back(
    opened: Callable[[FakeClock], Guard],
) -> None:
    clock = HostClock()
    first = opened(clock)
    run = first.begin_run(principal=ALICE, agent="main")
    with pytest.raises(PendingError) as pending:
        first.execute(run, call("pay", "c1", amount=5), lambda _: 1, wait=False)
    first.suspend(run)
    first.close()
    later = an_hour_back(clock)
    guard = opened(later)
    guard.open()
    later.advance(16 * 60)
    with pytest.raises(DeniedError, match=r"its time is over|expired"):
        guard.approve(pending.value.tickets[0], by="dana")
    run = guard.resume_run(run.id)
    with pytest.raises(DeniedError):
        guard.execute(run, call("pay", "c1", amount=5), lambda _: 1, wait=False)
    said = [event.verdict for event in events_of(guard, run) if isinstance(event, ApprovalAnswered)]
    assert "expire" in said
    guard.close()


def test_no_window_holds_more_than_its_limit_when_the_clock_was_set_back(
    opened: Callable[[FakeClock], Guard],
) -> None:
    clock = HostClock()
    first = opened(clock)
    with first.run(principal=ALICE, agent="main") as run:
        assert mails(first, run, 4) == 4
        for _ in range(4):
            first.execute(run, call("mail", to="a@b.example"), lambda _: 1)
    first.close()
    later = an_hour_back(clock)
    guard = opened(later)
    taken = 0
    for minutes in (0, 58):
        later.advance(minutes * 60)
        with guard.run(principal=ALICE, agent="main") as run:
            for _ in range(20):
                try:
                    guard.execute(run, call("mail", to="a@b.example"), lambda _: 1)
                except DeniedError:
                    continue
                taken += 1
    assert taken == 6, "four of the hour's ten stood in it already"
    later.advance(3 * 60)
    with guard.run(principal=ALICE, agent="main") as run:
        assert guard.execute(run, call("mail", to="a@b.example"), lambda _: "ran") == "ran"
    guard.close()


def test_a_clock_is_set_forward_and_never_back(opened: Callable[[FakeClock], Guard]) -> None:
    clock = SystemClock()
    now_ns = clock.now_ns()
    clock.anchor(now_ns - HOUR_S * NS)
    assert clock.now_ns() - now_ns < 60 * NS
    clock.anchor(now_ns + HOUR_S * NS)
    assert 0 <= clock.now_ns() - now_ns - HOUR_S * NS < 60 * NS
    clock.anchor(now_ns)
    assert clock.now_ns() - now_ns >= HOUR_S * NS


def test_a_guard_goes_by_the_time_of_a_store_that_has_one() -> None:
    class Server(MemoryStore):
        async def now_ns(self) -> int | None:
            return 2_000_000_000 * NS

    clock = HostClock()
    guard = make_guard(opened=Server, clock=clock)
    run = guard.begin_run(principal=ALICE, agent="main")
    assert run.state.started_ns == 2_000_000_000 * NS
    guard.close()


def test_a_store_without_a_time_leaves_the_hosts() -> None:
    clock = HostClock()
    guard = make_guard(clock=clock)
    run = guard.begin_run(principal=ALICE, agent="main")
    assert run.state.started_ns == clock.now_ns()
    guard.close()


@pytest.mark.parametrize(
    ("ahead_s", "followed"), [(HOUR_S, True), (23 * HOUR_S, True), (25 * HOUR_S, False), (-HOUR_S, True)]
)
def test_a_file_says_its_largest_time_unless_that_is_more_than_a_day_ahead(
    tmp_path: Path, ahead_s: int, followed: bool
) -> None:
    clock = HostClock(time.time_ns() + ahead_s * NS)
    guard = make_guard(store=f"sqlite:///{tmp_path}/ringfence.db", clock=clock)
    with guard.run(principal=ALICE, agent="main") as run:
        guard.execute(run, call("mail", to="a@b.example"), lambda _: 1)
    guard.close()
    assert (time_of(tmp_path) == clock.now_ns()) is followed


def test_an_empty_file_and_an_edited_one_have_no_time(tmp_path: Path) -> None:
    assert time_of(tmp_path) is None
    with closing(sqlite3.connect(tmp_path / "ringfence.db")) as db:
        db.execute("UPDATE clock SET latest_ns = 'tomorrow'")
        db.commit()
    assert time_of(tmp_path) is None


def time_of(folder: Path) -> int | None:
    async def ask() -> int | None:
        store = SqliteStore(f"sqlite:///{folder}/ringfence.db")
        await store.open()
        try:
            return await store.now_ns()
        finally:
            await store.close()

    return asyncio.run(ask())
