"""What a call reserves in the ledger: for how long, once however often it is asked, and nothing in vain."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ringfence.engine.decision.calls import Refusal
from ringfence.engine.decision.events import CallDecided, CallFailed, CallStarted
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.retrospect.record import RunRecord
from ringfence.engine.seams.errors import DeniedError, PendingError
from ringfence.engine.seams.ports import Reservation
from ringfence.plugins.memory import MemoryStore
from ringfence.testing import FakeClock
from tests.guards import ALICE, call, events_of, make_guard

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR

POLICY = """
language 1
policy shop
capability send is external
approver lead { group "leads" answer within 15 minutes otherwise ask owner }
approver owner { group "owners" answer within 2 hours otherwise deny }
approver whenever { group "owners" }
agent main { holds send }
tool mail { needs send takes to: text allow always rate 2 per hour }
tool both { needs send takes to: text allow always rate 2 per minute rate 2 per day }
tool pay { needs send takes amount: integer allow when amount <= 100 ask lead rate 2 per hour }
tool signed { needs send takes amount: integer allow always ask lead ask owner rate 2 per hour }
tool patient { needs send takes amount: integer allow always ask whenever rate 2 per hour }
tool tries {
  needs send takes amount: integer allow always
  rate 9 per hour for each user counting attempts
  rate 5 per hour for each user counting successes
}
tool won { needs send takes amount: integer allow always ask lead rate 2 per hour counting successes }
tool narrow { needs send takes to: text allow always rate 1 per run rate 1 per hour }
"""


class Far:
    """A ledger's coroutines alone, which remembers what it was asked to reserve."""

    def __init__(self, inner: Any, asked: list[Reservation]) -> None:
        self._inner = inner
        self._asked = asked
        self.dispatched, self.refund, self.settle = inner.dispatched, inner.refund, inner.settle

    async def reserve(self, reservation: Reservation, *, now_ns: int) -> tuple[Refusal, ...]:
        self._asked.append(reservation)
        refusals: tuple[Refusal, ...] = await self._inner.reserve(reservation, now_ns=now_ns)
        return refusals


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def asked() -> list[Reservation]:
    return []


@pytest.fixture(params=["at once", "the long way", "sqlite"])
def guard(
    request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock, asked: list[Reservation]
) -> Iterator[Guard]:
    def far() -> MemoryStore:
        store = MemoryStore()
        store.ledger = Far(store.ledger, asked)  # type: ignore[assignment]
        return store

    made = {
        "at once": lambda: make_guard(POLICY, clock=clock),
        "the long way": lambda: make_guard(POLICY, clock=clock, opened=far),
        "sqlite": lambda: make_guard(POLICY, clock=clock, store=f"sqlite:///{tmp_path}/ringfence.db"),
    }[request.param]()
    yield made
    made.close()


@pytest.fixture
def run(guard: Guard) -> Run:
    return guard.begin_run(principal=ALICE, agent="main")


def ran(_: Mapping[str, Any]) -> str:
    return "ran"


def never(_: Mapping[str, Any]) -> Any:
    raise AssertionError("the body ran")


def denied_by(guard: Guard, run: Run, tool: str, id: str, **arguments: Any) -> str:
    with pytest.raises(DeniedError) as caught:
        guard.execute(run, call(tool, id, **arguments), never)
    assert caught.value.reason is not None
    return caught.value.reason.name


def pending(guard: Guard, run: Run, tool: str, id: str, amount: int) -> str:
    with pytest.raises(PendingError) as caught:
        guard.execute(run, call(tool, id, amount=amount), never, wait=False)
    return caught.value.tickets[0]


# ---- leases --------------------------------------------------------------------------------------


def leases(asked: list[Reservation]) -> list[int | None]:
    """Return the leases asked for since the last time, in seconds."""
    taken = [None if one.lease_ns is None else one.lease_ns // 10**9 for one in asked]
    asked.clear()
    return taken


@pytest.mark.parametrize("guard", ["the long way"], indirect=True)
def test_a_reservation_is_leased_for_as_long_as_the_call_may_take_to_its_dispatch(
    guard: Guard, run: Run, asked: list[Reservation]
) -> None:
    guard.execute(run, call("mail", to="x"), ran)
    assert leases(asked) == [MINUTE]
    guard.execute(run, call("tries", amount=1), ran)
    assert leases(asked) == [MINUTE, MINUTE]
    lead = 15 * MINUTE + 2 * HOUR
    pay = pending(guard, run, "pay", "1", 1)
    assert leases(asked) == [lead + MINUTE]
    pending(guard, run, "signed", "1", 1)
    assert leases(asked) == [lead + MINUTE], "they are asked at once"
    pending(guard, run, "patient", "1", 1)
    assert leases(asked) == [None], "the approver may answer whenever it likes"
    guard.approve(pay, by="dana", edited={"amount": 2})
    assert guard.execute(run, call("pay", "1", amount=1), ran) == "ran"
    assert leases(asked) == [MINUTE], "the edited call is approved already"


def test_what_a_dead_process_holds_is_kept_and_leaves_in_time(
    guard: Guard, run: Run, clock: FakeClock
) -> None:
    assert guard.authorize(run, call("mail", "1", to="x")).allowed
    pending(guard, run, "pay", "1", 1)
    # Whoever had decided these says no more about them.
    other = guard.begin_run(principal=ALICE, agent="main")
    assert guard.execute(other, call("mail", "2", to="x"), ran) == "ran"
    assert denied_by(guard, other, "mail", "3", to="x") == "mail.rate"
    clock.advance(HOUR)
    assert guard.execute(other, call("mail", "4", to="x"), ran) == "ran"
    assert denied_by(guard, other, "mail", "5", to="x") == "mail.rate"
    clock.advance(MINUTE)
    assert guard.execute(other, call("mail", "6", to="x"), ran) == "ran"
    assert denied_by(guard, other, "mail", "7", to="x") == "mail.rate"


def test_a_call_whose_reservation_has_left_its_window_is_not_dispatched(
    guard: Guard, run: Run, clock: FakeClock
) -> None:
    late = call("mail", "1", to="x")
    assert guard.authorize(run, late).allowed
    clock.advance(HOUR + MINUTE)
    with pytest.raises(DeniedError, match="held for too long") as caught:
        guard.execute(run, late, never)
    assert caught.value.model_text == "not authorized" and caught.value.help is not None
    started, failed = events_of(guard, run)[-2:]
    assert isinstance(started, CallStarted) and isinstance(failed, CallFailed)
    assert failed.outcome == "refused" and "held for too long" in failed.error
    record = guard.runs.get(run.id)
    assert isinstance(record, RunRecord) and record.replay().divergence is None
    assert guard.execute(run, late, ran) == "ran", "made again, it is another call"
    assert guard.execute(run, call("mail", "2", to="x"), ran) == "ran", "the refused one charged nothing"
    assert denied_by(guard, run, "mail", "3", to="x") == "mail.rate"


def test_a_call_that_comes_after_its_lease_and_still_counts_is_stamped_anew(
    guard: Guard, run: Run, clock: FakeClock
) -> None:
    assert guard.authorize(run, call("mail", "1", to="x")).allowed
    clock.advance(HOUR)
    assert guard.execute(run, call("mail", "1", to="x"), ran) == "ran"
    clock.advance(HOUR - 1)
    assert guard.execute(run, call("mail", "2", to="x"), ran) == "ran"
    assert denied_by(guard, run, "mail", "3", to="x") == "mail.rate"


def test_a_call_is_not_dispatched_that_has_left_only_the_narrower_of_its_windows(
    guard: Guard, run: Run, clock: FakeClock
) -> None:
    assert guard.authorize(run, call("both", "1", to="x")).allowed
    clock.advance(2 * MINUTE)
    with pytest.raises(DeniedError, match="held for too long"):
        guard.execute(run, call("both", "1", to="x"), never)


@pytest.mark.parametrize("tool", ["pay", "signed"])
def test_approved_long_after_its_reservation_left_a_call_is_reserved_anew(
    guard: Guard, run: Run, clock: FakeClock, tool: str
) -> None:
    """An answer in time may be looked at late; it is charged when it runs."""
    with pytest.raises(PendingError) as caught:
        guard.execute(run, call(tool, "1", amount=1), never, wait=False)
    for ticket, person in zip(caught.value.tickets, ("dana", "olga"), strict=False):
        guard.approve(ticket, by=person)
    clock.advance(DAY)
    assert guard.execute(run, call(tool, "1", amount=1), ran) == "ran"
    pending(guard, run, tool, "2", 1)
    assert denied_by(guard, run, tool, "3", amount=1) == f"{tool}.rate"


@pytest.mark.parametrize("tool", ["pay", "signed"])
def test_approved_too_late_a_call_finds_its_place_taken(
    guard: Guard, run: Run, clock: FakeClock, tool: str
) -> None:
    with pytest.raises(PendingError) as caught:
        guard.execute(run, call(tool, "1", amount=1), never, wait=False)
    for ticket, person in zip(caught.value.tickets, ("dana", "olga"), strict=False):
        guard.approve(ticket, by=person)
    clock.advance(DAY)
    for number in (2, 3):
        pending(guard, run, tool, str(number), 1)
    with pytest.raises(DeniedError) as refused:
        guard.execute(run, call(tool, "1", amount=1), never)
    assert refused.value.reason is not None and refused.value.reason.name == f"{tool}.rate"


# ---- once ----------------------------------------------------------------------------------------


def test_a_repeated_authorize_charges_once(guard: Guard, run: Run) -> None:
    for _ in range(5):
        assert guard.authorize(run, call("mail", "1", to="x")).allowed
    assert guard.execute(run, call("mail", "1", to="x"), ran) == "ran"
    assert guard.execute(run, call("mail", "2", to="x"), ran) == "ran"
    assert denied_by(guard, run, "mail", "3", to="x") == "mail.rate"


def test_a_call_that_is_asked_about_again_and_again_charges_once(guard: Guard, run: Run) -> None:
    tickets = {pending(guard, run, "pay", "1", 1) for _ in range(3)}
    assert len(tickets) == 1
    pending(guard, run, "pay", "2", 1)
    assert denied_by(guard, run, "pay", "3", amount=1) == "pay.rate"
    guard.approve(tickets.pop(), by="dana")
    assert guard.execute(run, call("pay", "1", amount=1), ran) == "ran"
    assert denied_by(guard, run, "pay", "4", amount=1) == "pay.rate"


@pytest.fixture
def another(tmp_path: Path, clock: FakeClock) -> Iterator[Callable[[], Guard]]:
    """Guards that share one file, as those of several processes do."""
    made: list[Guard] = []

    def make() -> Guard:
        made.append(make_guard(POLICY, clock=clock, store=f"sqlite:///{tmp_path}/ringfence.db"))
        return made[-1]

    yield make
    for guard in made:
        guard.close()


def test_a_resumed_run_charges_nothing_twice(another: Callable[[], Guard]) -> None:
    here = another()
    run = here.begin_run(principal=ALICE, agent="main")
    assert here.execute(run, call("mail", "1", to="x"), ran) == "ran"
    ticket = pending(here, run, "pay", "1", 1)
    here.suspend(run)
    there = another()
    there.approve(ticket, by="dana")
    for guard in (there, another()):
        again = guard.resume_run(run.id, principal=ALICE)
        body = ran if guard is there else never
        assert guard.execute(again, call("mail", "1", to="x"), never) == "ran"
        assert guard.execute(again, call("pay", "1", amount=1), body) == "ran"
        if guard is there:
            pending(guard, again, "pay", "2", 1)
            guard.suspend(again)
    assert guard.execute(again, call("mail", "2", to="x"), ran) == "ran"
    assert denied_by(guard, again, "mail", "3", to="x") == "mail.rate"
    assert denied_by(guard, again, "pay", "3", amount=1) == "pay.rate"


def test_a_run_that_goes_on_from_a_saved_state_is_charged_anew(another: Callable[[], Guard]) -> None:
    guard = another()
    first = guard.begin_run(principal=ALICE, agent="main", session="s", external_id="t:1")
    same = call("mail", "1", to="x")
    assert guard.execute(first, same, ran) == "ran"
    guard.end_run(first)
    fork = guard.begin_run(principal=ALICE, agent="main", session="s", external_id="t:1", resume_of=first.id)
    assert guard.execute(fork, same, ran) == "ran"
    other = guard.begin_run(principal=ALICE, agent="main", session="s", resume_of=first.id)
    assert denied_by(guard, other, "mail", "1", to="x") == "mail.rate"


@pytest.mark.parametrize("tool", ["pay", "won"])
@pytest.mark.parametrize("hours", [0, 3, 24])
def test_a_run_that_is_resumed_however_late_holds_its_approved_call_once(
    another: Callable[[], Guard], clock: FakeClock, tool: str, hours: int
) -> None:
    """Held, lapsed and still counting, or gone: it runs, and takes one place."""
    here = another()
    run = here.begin_run(principal=ALICE, agent="main")
    ticket = pending(here, run, tool, "1", 1)
    here.suspend(run)
    here.approve(ticket, by="dana")
    clock.advance(hours * HOUR)
    there = another()
    again = there.resume_run(run.id, principal=ALICE)
    assert there.execute(again, call(tool, "1", amount=1), ran) == "ran"
    pending(there, again, tool, "2", 1)
    assert denied_by(there, again, tool, "3", amount=1) == f"{tool}.rate"
    record = there.runs.get(run.id)
    assert isinstance(record, RunRecord) and record.replay().divergence is None


# ---- in vain -------------------------------------------------------------------------------------


def test_what_the_ledger_refuses_takes_nothing_from_the_run(guard: Guard, run: Run, clock: FakeClock) -> None:
    other = guard.begin_run(principal=ALICE, agent="main")
    assert guard.execute(other, call("narrow", to="x"), ran) == "ran"
    for number in range(3):
        assert denied_by(guard, run, "narrow", str(number), to="x") == "narrow.rate"
    clock.advance(HOUR)
    assert guard.execute(run, call("narrow", "4", to="x"), ran) == "ran"
    clock.advance(HOUR)
    assert denied_by(guard, run, "narrow", "5", to="x") == "narrow.rate"
    decided = [event for event in events_of(guard, run) if isinstance(event, CallDecided)]
    assert [event.verdict for event in decided] == ["deny"] * 3 + ["allow", "deny"]


def test_what_the_run_refuses_takes_nothing_from_the_ledger(guard: Guard, run: Run, clock: FakeClock) -> None:
    assert guard.execute(run, call("narrow", "1", to="x"), ran) == "ran"
    clock.advance(HOUR)
    assert denied_by(guard, run, "narrow", "2", to="x") == "narrow.rate"
    other = guard.begin_run(principal=ALICE, agent="main")
    assert guard.execute(other, call("narrow", "1", to="x"), ran) == "ran"
