"""Runs that nobody lives: late questions are passed on or end their call, and dead runs are ended."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.decision.events import ApprovalAnswered, ApprovalAsked, BudgetRefunded, SubrunCounted
from ringfence.engine.enforcement import caretaker
from ringfence.engine.enforcement.caretaker import Caretaker
from ringfence.engine.enforcement.drive import run_sync
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import DeniedError, PendingError, RunHaltedError
from ringfence.engine.seams.hookspecs import Answers, Question
from ringfence.engine.seams.ports import Ticket
from ringfence.plugin import ApprovalBackend, hookimpl
from ringfence.testing import FakeClock
from tests import guards
from tests.guards import ALICE, call, events_of, kinds_of, make_guard
from tests.shared import SHARED, shared_settings

LATE_S = 15 * 60
POLICY = guards.POLICY.replace("ask patient audit", "ask patient rate 50 per hour audit").replace(
    "ask owner audit", "ask owner rate 50 per hour audit"
)
LONG = POLICY.replace("stop after 5 minutes at most 100 calls", "stop after 5 hours at most 100 calls")
ROOT = Path(__file__).parents[3]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


Made = Callable[..., Guard]


@pytest.fixture(params=SHARED)
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """What guards of several processes share."""
    return shared_settings(request, tmp_path)


@pytest.fixture
def made(settings: dict[str, Any], clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Made]:
    """Make guards on one store, whose caretakers look when the test says so."""
    yield from making(settings, clock, monkeypatch)


@pytest.fixture
def on_file(tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Made]:
    """The same on a file, where the kernel says at once that a process has died."""
    yield from making({"store": f"sqlite:///{tmp_path}/ringfence.db"}, clock, monkeypatch)


def making(settings: dict[str, Any], clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Made]:
    monkeypatch.setattr(Caretaker, "start", lambda _: None)
    opened: list[Guard] = []

    def another(policy: str = POLICY, **more: Any) -> Guard:
        opened.append(make_guard(policy, clock=clock, **settings, **more))
        return opened[-1]

    yield another
    for guard in opened:
        guard.close()


def never(_: Any) -> Any:
    raise AssertionError("the body ran")


def asks(guard: Guard, run: Run, tool: str = "pay", id: str = "c1") -> str:
    with pytest.raises(PendingError) as caught:
        guard.execute(run, call(tool, id, amount=5), never, wait=False)
    return caught.value.tickets[-1]


def suspended(guard: Guard, tool: str = "pay", **about: Any) -> tuple[Run, str]:
    run = guard.begin_run(principal=ALICE, agent="main", **about)
    ticket = asks(guard, run, tool)
    guard.suspend(run)
    return run, ticket


def look(guard: Guard) -> bool:
    """Let the caretaker do one round; say whether something is left."""
    return run_sync(guard._caretaker.round(), guard.opening.loop)


def opened(guard: Guard) -> Guard:
    """Open the guard, as its first use does."""
    guard.end_run(guard.begin_run(principal=ALICE, agent="main"))
    return guard


def ticket(guard: Guard, id: str) -> Ticket:
    found = guard.opening.submit(guard.opening.ready.tickets.get(id)).result()
    assert found is not None
    return found


def pending(guard: Guard) -> list[Ticket]:
    return guard.opening.submit(guard.opening.ready.tickets.pending()).result()


def status(guard: Guard, run: Run) -> str:
    row = guard.opening.submit(guard.opening.ready.log.run(run.id)).result()
    assert row is not None
    return row.status


# ---- late questions ------------------------------------------------------------------------------


def test_a_late_question_ends_its_call_though_nobody_resumes_the_run(made: Made, clock: FakeClock) -> None:
    here = made()
    run, id = suspended(here)
    here.close()
    clock.advance(LATE_S)
    there = opened(made())
    assert look(there) is False
    assert ticket(there, id).status == "expired"
    assert status(there, run) == "suspended"
    assert kinds_of(there, run)[-3:] == ["RunSuspended", "ApprovalAnswered", "BudgetRefunded"]
    assert events_of(there, run)[-1].because == "expired"  # type: ignore[union-attr]
    assert there.runs.get(run.id).replay().divergence is None
    with pytest.raises(DeniedError, match="no effect"):
        there.approve(id, by="dana")
    again = there.resume_run(run.id)
    with pytest.raises(DeniedError, match="nobody answered in time"):
        there.execute(again, call("pay", "c1", amount=5), never, wait=False)
    refunds = [e for e in events_of(there, run) if isinstance(e, BudgetRefunded)]
    assert len(refunds) == 1
    assert there.runs.get(run.id).replay().divergence is None


def test_what_a_late_call_had_reserved_is_free_again(made: Made, clock: FakeClock) -> None:
    here = made(POLICY.replace("rate 50 per hour audit full", "rate 1 per hour audit full"))
    run, _ = suspended(here)
    other = here.begin_run(principal=ALICE, agent="main")
    with pytest.raises(DeniedError):
        here.execute(other, call("pay", amount=5), never, wait=False)
    clock.advance(LATE_S)
    look(here)
    other = here.begin_run(principal=ALICE, agent="main")
    assert asks(here, other)
    assert status(here, run) == "suspended"


class Heard(ApprovalBackend):
    name = "heard"
    said: list[tuple[str, str]]

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        Heard.said = []

    async def ask(self, question: Question, answers: Answers) -> None:
        Heard.said.append((question.ticket, question.approver))

    async def withdraw(self, ticket: str, because: str) -> None:
        Heard.said.append((ticket, because))


class Backends:
    @hookimpl
    def ringfence_approval_backends(self) -> list[type[ApprovalBackend]]:
        return [Heard]


def test_a_late_question_is_passed_on_durably_and_runs_once_when_the_next_one_approves(
    made: Made, clock: FakeClock
) -> None:
    here = made()
    run, first = suspended(here, "passed")
    here.close()
    clock.advance(LATE_S)
    there = opened(made(plugins=[Backends()], backends={"heard": {}}, approvals={"owners": "heard"}))
    look(there)
    (second,) = pending(there)
    assert (second.approver, second.arguments, second.status) == ("owner", {"amount": 5}, "open")
    assert second.expires_ns == clock.now_ns() + LATE_S * 10**9
    assert ticket(there, first).status == "expired"
    assert Heard.said == [(second.id, "owner"), (first, "nobody answered in time")]
    assert look(there) is False
    assert pending(there) == [second]
    there.approve(second.id, by="olga")
    again = there.resume_run(run.id)
    ran: list[Any] = []
    there.execute(again, call("passed", "c1", amount=5), ran.append, wait=False)
    assert ran == [{"amount": 5}]
    assert there.runs.get(run.id).replay().divergence is None


def test_a_question_is_passed_on_until_the_chain_ends(made: Made, clock: FakeClock) -> None:
    guard = made()
    run, _ = suspended(guard, "passed")
    for _ in range(2):
        clock.advance(LATE_S)
        look(guard)
    assert pending(guard) == []
    asked = [e.approver for e in events_of(guard, run) if isinstance(e, ApprovalAsked)]
    assert asked == ["patient", "owner"]
    assert kinds_of(guard, run)[-1] == "BudgetRefunded"


def test_of_two_approvers_the_one_who_is_late_ends_the_call(made: Made, clock: FakeClock) -> None:
    guard = made()
    run = guard.begin_run(principal=ALICE, agent="main")
    with pytest.raises(PendingError) as caught:
        guard.execute(run, call("both", "c1", amount=5), never, wait=False)
    guard.suspend(run)
    guard.approve(caught.value.tickets[0], by="dana")
    clock.advance(LATE_S)
    look(guard)
    said = [(e.verdict, e.by) for e in events_of(guard, run) if isinstance(e, ApprovalAnswered)]
    assert said == [("approve", "dana"), ("expire", None)]
    with pytest.raises(DeniedError, match="nobody answered"):
        guard.execute(guard.resume_run(run.id), call("both", "c1", amount=5), never, wait=False)


def test_the_clock_of_a_run_is_the_same_whether_the_caretaker_came_or_not(
    made: Made, clock: FakeClock
) -> None:
    guard = made()
    runs = [suspended(guard, "pay")[0]]
    clock.advance(LATE_S + 60)
    look(guard)
    clock.advance(60)
    left_ns = guard.resume_run(runs[0].id).state.remaining_ns(clock.now_ns())
    assert left_ns == (5 * 60 - 120) * 10**9  # it stood still up to the expiry, and no longer


def test_the_clock_stands_still_while_the_next_one_is_asked(made: Made, clock: FakeClock) -> None:
    guard = made()
    run, _ = suspended(guard, "passed")
    clock.advance(LATE_S)
    look(guard)
    clock.advance(LATE_S - 1)
    assert guard.resume_run(run.id).state.remaining_ns(clock.now_ns()) == 5 * 60 * 10**9


def test_a_run_whose_time_is_up_is_over_and_nobody_else_is_asked(made: Made, clock: FakeClock) -> None:
    guard = made()
    run, _ = suspended(guard, "passed")
    clock.advance(LATE_S + 5 * 60)
    look(guard)
    assert pending(guard) == []
    assert status(guard, run) == "halted"
    assert kinds_of(guard, run)[-3:] == ["RunHalted", "BudgetRefunded", "RunEnded"]
    with pytest.raises(RunHaltedError):
        guard.resume_run(run.id)


def test_a_question_that_is_one_too_many_halts_the_run(made: Made, clock: FakeClock) -> None:
    guard = made(POLICY.replace("at most 50 denials", "at most 1 approval requests"))
    run, _ = suspended(guard, "passed")
    clock.advance(LATE_S)
    look(guard)
    assert pending(guard) == []
    halts = [e for e in events_of(guard, run) if e.kind == "RunHalted"]
    assert [e.reason for e in halts] == ["main.requests"]  # type: ignore[union-attr]
    assert kinds_of(guard, run)[-1] == "RunEnded"


def test_a_run_that_an_order_names_ends_and_is_not_asked_about(made: Made, clock: FakeClock) -> None:
    guard = made()
    run, _ = suspended(guard, "passed")
    guard.kill(run.id, by="olga")
    clock.advance(LATE_S)
    look(guard)
    assert (pending(guard), status(guard, run)) == ([], "halted")


def test_a_call_that_was_edited_meanwhile_is_neither_refused_nor_passed_on(
    made: Made, clock: FakeClock
) -> None:
    guard = made()
    run = guard.begin_run(principal=ALICE, agent="main")
    with pytest.raises(PendingError) as caught:
        guard.execute(run, call("both", "c1", amount=5), never, wait=False)
    guard.suspend(run)
    guard.approve(caught.value.tickets[0], by="dana", edited={"amount": 7})
    clock.advance(LATE_S)
    look(guard)
    assert "BudgetRefunded" not in kinds_of(guard, run)
    again = guard.resume_run(run.id)
    with pytest.raises(PendingError) as caught:
        guard.execute(again, call("both", "c1", amount=5), never, wait=False)
    (second,) = caught.value.tickets
    assert ticket(guard, second).arguments == {"amount": 7}
    guard.suspend(again)
    clock.advance(LATE_S)
    look(guard)
    assert kinds_of(guard, run)[-1] == "BudgetRefunded"
    assert guard.runs.get(run.id).replay().divergence is None


def test_a_call_that_was_asked_about_ahead_is_refused_for_good_too(made: Made, clock: FakeClock) -> None:
    guard = made()
    run = guard.begin_run(principal=ALICE, agent="main")
    ahead = ToolCall("pay", {"amount": 5}, call_id="m1", task="t1")
    with pytest.raises(PendingError):
        guard.ask(run, ahead)
    guard.suspend(run)
    clock.advance(LATE_S)
    assert look(guard) is False
    again = guard.resume_run(run.id)
    with pytest.raises(DeniedError):
        guard.ask(again, ahead)
    assert kinds_of(guard, run).count("BudgetRefunded") == 1
    assert kinds_of(guard, run).count("ApprovalAsked") == 1
    assert guard.runs.get(run.id).replay().divergence is None


# ---- whose business it is ------------------------------------------------------------------------


def test_a_run_that_is_lived_is_left_alone(made: Made, clock: FakeClock) -> None:
    here, there = made(), opened(made())
    run = here.begin_run(principal=ALICE, agent="main")
    id = asks(here, run)
    clock.advance(LATE_S)
    assert look(here) is True
    assert look(there) is True
    assert ticket(there, id).status == "open"


def test_a_suspended_run_in_a_session_that_another_one_holds_is_left_to_that_one(
    made: Made, clock: FakeClock
) -> None:
    here, there = made(), opened(made())
    _, id = suspended(here, session="s")
    here.begin_run(principal=ALICE, agent="main", session="s")
    clock.advance(LATE_S)
    assert look(there) is True
    assert ticket(there, id).status == "open"
    assert look(here) is False
    assert ticket(there, id).status == "expired"


def test_caretakers_of_several_guards_do_it_once(made: Made, clock: FakeClock) -> None:
    several = [opened(made()) for _ in range(4)]
    runs = [suspended(several[0], "passed")[0] for _ in range(5)]
    clock.advance(LATE_S)

    def until_done(guard: Guard) -> None:
        for _ in range(200):
            if not look(guard):
                return

    threads = [threading.Thread(target=until_done, args=(guard,)) for guard in several]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pending(several[0])) == len(runs)
    for run in runs:
        kinds = kinds_of(several[0], run)
        assert (kinds.count("ApprovalAsked"), kinds.count("ApprovalAnswered")) == (2, 1)
        assert several[1].runs.get(run.id).replay().divergence is None


def test_a_resume_waits_for_the_caretaker_and_the_caretaker_leaves_a_resumed_run_alone(
    made: Made, clock: FakeClock
) -> None:
    guard = made()
    run, _ = suspended(guard, "passed")
    clock.advance(LATE_S)
    steps = guard._caretaker.round()
    waited = next(steps)
    while run.id not in guard._lifecycle._in_hand:
        waited = steps.send(waited.result())
    resumed: list[Run] = []
    thread = threading.Thread(target=lambda: resumed.append(guard.resume_run(run.id)))
    thread.start()
    with pytest.raises(StopIteration):
        while True:
            assert not resumed
            waited = steps.send(waited.result())
    thread.join()
    assert kinds_of(guard, run)[-3:] == ["ApprovalAnswered", "ApprovalAsked", "RunResumed"]
    clock.advance(LATE_S)
    assert look(guard) is True


def test_the_questions_of_a_run_that_is_over_are_withdrawn(made: Made, clock: FakeClock) -> None:
    guard = made()
    run = guard.begin_run(principal=ALICE, agent="main")
    id = asks(guard, run)
    left_open = ticket(guard, id)
    guard.end_run(run)
    run_sync(swapped(guard, ticket(guard, id), left_open), guard.opening.loop)
    with pytest.raises(DeniedError, match="its run is over"):
        guard.approve(id, by="dana")
    clock.advance(LATE_S)
    assert look(guard) is False
    assert ticket(guard, id).status == "withdrawn"


def swapped(guard: Guard, old: Ticket, new: Ticket) -> Any:
    yield guard.opening.submit(guard.opening.ready.tickets.swap(old, new))


# ---- runs inside of runs -------------------------------------------------------------------------


def nested(guard: Guard) -> tuple[Run, Run]:
    around = guard.begin_run(principal=ALICE, agent="main")
    inside = guard.begin_run(principal=ALICE, agent="main", parent=around)
    asks(guard, inside, "passed")
    guard.suspend(inside)
    return around, inside


def test_what_a_suspended_sub_run_asks_is_counted_in_the_run_around_it(made: Made, clock: FakeClock) -> None:
    here, there = made(LONG), opened(made(LONG))
    around, inside = nested(here)
    here.suspend(around)
    clock.advance(LATE_S)
    assert look(there) is False
    assert [one.approver for one in pending(there)] == ["owner"]
    counted = [e for e in events_of(there, around) if isinstance(e, SubrunCounted) and e.counted == "asked"]
    assert [e.asks for e in counted] == [("patient",), ("owner",)]
    assert (status(there, around), status(there, inside)) == ("suspended", "suspended")
    for run in (around, inside):
        assert there.runs.get(run.id).replay().divergence is None


def test_the_run_around_may_be_lived_here(made: Made, clock: FakeClock) -> None:
    here, there = made(LONG), opened(made(LONG))
    around, _ = nested(here)
    clock.advance(LATE_S)
    assert look(there) is True
    assert look(here) is False
    assert around.state.requests == 2


def test_a_sub_run_ends_if_the_run_around_it_is_over(made: Made, clock: FakeClock) -> None:
    guard = made(LONG)
    around, inside = nested(guard)
    guard.end_run(around)
    clock.advance(LATE_S)
    assert look(guard) is False
    assert (pending(guard), status(guard, inside)) == ([], "failed")
    assert kinds_of(guard, inside)[-2:] == ["BudgetRefunded", "RunEnded"]


ENDLESS = LONG.replace(" answer within 15 minutes otherwise ask owner", "")
"""Nobody is late here: a question stays open until somebody answers it."""


def look_after_all(guard: Guard) -> None:
    """Let the caretaker look once after what will never go on."""
    run_sync(guard._caretaker.sweep(), guard.opening.loop)


def test_a_suspended_sub_run_whose_run_around_is_over_ends_though_nobody_is_late(made: Made) -> None:
    here, there = made(ENDLESS), opened(made(ENDLESS))
    around, inside = nested(here)
    look_after_all(here)
    look_after_all(there)
    assert len(pending(here)) == 1, "it may go on"
    here.end_run(around)
    look_after_all(there)
    assert (pending(there), status(there, inside)) == ([], "failed")
    assert kinds_of(there, inside)[-2:] == ["BudgetRefunded", "RunEnded"]
    assert there.runs.get(inside.id).replay().divergence is None


@pytest.mark.parametrize("aim", ["run", "agent", "all"])
def test_a_suspended_run_that_an_order_names_ends_though_nobody_is_late(made: Made, aim: str) -> None:
    guard = made(ENDLESS)
    run, _ = suspended(guard, "passed")
    if aim == "run":
        other, _ = suspended(guard, "passed")
    guard.kill(run.id if aim == "run" else None, agent="main" if aim == "agent" else None, by="olga")
    later, _ = suspended(guard, "passed")
    for _ in range(2):
        look_after_all(guard)
    assert status(guard, run) == "halted"
    assert {one.run for one in pending(guard)} == ({later.id} | ({other.id} if aim == "run" else set()))
    assert kinds_of(guard, run)[-4:] == ["RunHalted", "ApprovalAnswered", "BudgetRefunded", "RunEnded"]
    assert guard.runs.get(run.id).replay().divergence is None
    guard.resume_run(later.id)


# ---- failures ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "method"),
    [("tickets", "open"), ("tickets", "swap"), ("tickets", "get"), ("ledger", "refund"), ("log", "read")],
)
@pytest.mark.parametrize("tool", ["pay", "passed"])
def test_a_failure_leaves_the_question_closed_and_is_tried_again(
    made: Made, clock: FakeClock, tool: str, part: str, method: str
) -> None:
    guard = made()
    run, id = suspended(guard, tool)
    clock.advance(LATE_S)
    store = getattr(guard.opening.ready, part)
    works = getattr(store, method)

    async def fails(*_: Any, **__: Any) -> Any:
        raise OSError("the disk is full")

    setattr(store, method, fails)
    failed = look(guard)
    setattr(store, method, works)
    if failed:
        with pytest.raises(DeniedError, match="its time is over"):
            guard.approve(id, by="dana")
    assert look(guard) is False
    assert look(guard) is False
    said = [(e.verdict, e.ticket) for e in events_of(guard, run) if isinstance(e, ApprovalAnswered)]
    assert said.count(("expire", id)) == 1
    assert ticket(guard, id).status == "expired"
    assert [one.approver for one in pending(guard)] == (["owner"] if tool == "passed" else [])
    assert kinds_of(guard, run).count("BudgetRefunded") == (1 if tool == "pay" else 0)
    assert guard.runs.get(run.id).replay().divergence is None
    guard.resume_run(run.id)


def test_an_answer_by_a_clock_that_is_behind_does_not_undo_what_is_recorded(
    made: Made, clock: FakeClock, settings: dict[str, Any]
) -> None:
    guard = made()
    run, id = suspended(guard)
    behind = make_guard(clock=FakeClock(), **settings)
    clock.advance(LATE_S)
    refund = guard.opening.ready.ledger.refund

    async def answered_meanwhile(reservation_id: str) -> None:
        await refund(reservation_id)
        if ticket_of["open"]:
            ticket_of["open"] = False
            await behind.aapprove(id, by="dana")

    ticket_of = {"open": True}
    guard.opening.ready.ledger.refund = answered_meanwhile  # type: ignore[method-assign]
    assert look(guard) is False
    behind.close()
    assert ticket(guard, id).status == "expired"
    with pytest.raises(DeniedError, match="nobody answered"):
        guard.execute(guard.resume_run(run.id), call("pay", "c1", amount=5), never, wait=False)


# ---- by itself -----------------------------------------------------------------------------------


def soon(happens: Callable[[], bool]) -> None:
    """Wait, with a bound, until something happens."""
    waiting = threading.Event()
    for _ in range(600):
        if happens():
            return
        waiting.wait(0.05)
    raise AssertionError("it did not happen within 30 s")


def test_an_open_guard_looks_by_itself_when_a_question_is_past_its_time(tmp_path: Path) -> None:
    policy = POLICY.replace(
        "answer within 15 minutes otherwise deny", "answer within 1 second otherwise deny"
    )
    guard = make_guard(policy, store=f"sqlite:///{tmp_path}/ringfence.db")
    run, id = suspended(guard)
    soon(lambda: ticket(guard, id).status == "expired")
    soon(lambda: kinds_of(guard, run)[-1] == "BudgetRefunded")
    guard.close()


def test_a_caretaker_outlives_a_store_that_gives_up_its_own_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caretaker, "AGAIN_AFTER_S", 0.01)
    guard = make_guard(store=f"sqlite:///{tmp_path}/ringfence.db")
    guard.open()
    tickets, asked = guard.opening.ready.tickets, []
    answers = tickets.pending

    async def pending() -> list[Ticket]:
        asked.append(1)
        if len(asked) < 3:
            raise asyncio.CancelledError
        return await answers()

    tickets.pending = pending  # type: ignore[method-assign]
    run = guard.begin_run(principal=ALICE, agent="main")
    asks(guard, run)
    guard.suspend(run)
    soon(lambda: len(asked) >= 3)
    guard.close()


def test_a_caretaker_that_is_stopped_does_nothing_more(made: Made, clock: FakeClock) -> None:
    guard = made()
    _, id = suspended(guard)
    run_sync(guard._caretaker.stop(), guard.opening.loop)
    clock.advance(LATE_S)
    assert look(guard) is True
    assert ticket(guard, id).status == "open"


FORGOTTEN = """
import sys
from tests.guards import ALICE, call, make_guard
guard = make_guard(store=sys.argv[1])
run = guard.begin_run(principal=ALICE, agent="main")
try:
    guard.execute(run, call("pay", amount=5), print, wait=False)
except Exception as error:
    print(error.tickets[0])
guard.suspend(run)
"""


def test_it_keeps_no_process_alive(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORGOTTEN, f"sqlite:///{tmp_path}/ringfence.db"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), *sys.path]))},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout[:2]) == (0, "T-"), done.stderr


# ---- runs whose process died ---------------------------------------------------------------------


def dies(work: Callable[[], Any]) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(9)
    os.waitpid(pid, 0)


def sweep(guard: Guard) -> None:
    run_sync(guard._lifecycle.unclean.sweep_some(), guard.opening.loop)


def test_a_run_that_died_while_this_guard_was_open_is_ended(on_file: Made) -> None:
    guard = opened(on_file())
    mine = guard.begin_run(principal=ALICE, agent="main", session="s")
    other = on_file()
    dies(
        lambda: (other.begin_run(principal=ALICE, agent="main"), other.opening.ready.journal.flush().result())
    )
    (dead,) = [row for row in guard.runs.list() if row.status == "running" and row.run != mine.id]
    sweep(guard)
    assert [e.event.kind for e in guard.runs.get(dead.run).events][-2:] == ["RunHalted", "RunEnded"]
    assert guard.execute(mine, call("look", what="x"), lambda _: "ran") == "ran"


def test_a_dead_run_in_a_session_that_this_guard_has_taken_over_is_ended(on_file: Made) -> None:
    guard, other = opened(on_file()), on_file()

    def begins() -> None:
        other.begin_run(principal=ALICE, agent="main", session="s")

    dies(begins)
    mine = guard.begin_run(principal=ALICE, agent="main", session="s")
    sweep(guard)
    assert sorted(row.status for row in guard.runs.list(session="s")) == ["halted", "running"]
    assert guard.execute(mine, call("look", what="x"), lambda _: "ran") == "ran"


def test_a_sweep_that_cannot_come_to_all_goes_on_with_others(
    on_file: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ringfence.engine.enforcement.unclean.SESSIONS_AT_ONCE", 2)
    here, guard, other = on_file(), opened(on_file()), on_file()
    for _ in range(3):
        here.begin_run(principal=ALICE, agent="main")
    dies(lambda: other.begin_run(principal=ALICE, agent="main"))
    for _ in range(3):
        here.begin_run(principal=ALICE, agent="main")
    for _ in range(4):
        sweep(guard)
    assert sorted(row.status for row in guard.runs.list()) == ["done", "halted", *["running"] * 6]
