"""Runs that die with their process, and what those that come after find and mend."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ringfence.engine.decision.calls import Charge, Principal
from ringfence.engine.decision.events import RunEnded, RunHalted, RunStarted
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import DeniedError, EngineError, PendingError, RunHaltedError
from ringfence.engine.seams.ports import KillOrder, Reservation, Ticket
from ringfence.testing import FakeClock
from tests.guards import ALICE, POLICY, call, events_of, make_guard

HOUR_S = 3600
MANY = POLICY.replace("rate 10 per hour", "rate 2 per hour")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def made(tmp_path: Path, clock: FakeClock) -> Iterator[Callable[[], Guard]]:
    guards: list[Guard] = []

    def make() -> Guard:
        guards.append(make_guard(MANY, store=f"sqlite:///{tmp_path}/ringfence.db", clock=clock))
        return guards[-1]

    yield make
    for guard in guards:
        guard.close()


def dies(work: Callable[[], object]) -> None:
    """Do `work` in a process that is killed right after it."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)


def left_behind(make: Callable[[], Guard], *, session: str | None = None) -> None:
    """Leave a run behind that holds one mail of two, asked and never sent."""
    guard = make()
    run = guard.begin_run(principal=ALICE, agent="main", session=session)
    guard.authorize(run, call("mail", "m", to="a@b.example"))
    with pytest.raises(PendingError):
        guard.execute(run, call("pay", "p", amount=5), lambda _: None, wait=False)
    guard.opening.ready.journal.flush().result()


def mail(guard: Guard, run: Run, id: str) -> Any:
    return guard.execute(run, call("mail", id, to="a@b.example"), lambda _: "sent")


def test_a_run_is_in_the_log_when_it_has_begun(made: Callable[[], Guard]) -> None:
    run = made().begin_run(principal=ALICE, agent="main")
    assert made().runs.get(run.id).started.agent == "main"


def test_a_run_that_cannot_be_made_durable_does_not_begin(made: Callable[[], Guard]) -> None:
    guard = made()
    guard.begin_run(principal=ALICE, agent="main", session="first")

    async def fails(_: Any) -> None:
        raise OSError("the disk is full")

    setattr(guard.opening.ready.log, "append", fails)  # noqa: B010 - not so to a type checker
    with pytest.raises(EngineError):
        guard.begin_run(principal=ALICE, agent="main", session="s")
    made().begin_run(principal=ALICE, agent="main", session="s")
    with pytest.raises(EngineError):
        guard.close()


def test_runs_of_the_dead_are_ended_at_the_next_beginning(
    made: Callable[[], Guard], clock: FakeClock
) -> None:
    dies(lambda: left_behind(made))
    guard = made()
    (row,) = guard.runs.list()
    run = guard.begin_run(principal=ALICE, agent="main")
    record = guard.runs.get(row.run)
    assert [event.event for event in record.events[-2:]] == [
        RunHalted("unclean end", None, "the process that ran it is gone"),
        RunEnded("halted", "the process that ran it is gone"),
    ]
    assert record.replay(guard.plan).divergence is None
    assert guard.opening.submit(guard.opening.ready.tickets.pending()).result() == []
    mail(guard, run, "one")
    with pytest.raises(DeniedError):
        mail(guard, run, "two")  # the dead one's mail may have left: it counts for its hour
    clock.advance(HOUR_S)
    run = guard.begin_run(principal=ALICE, agent="main")
    mail(guard, run, "three")
    mail(guard, run, "four")


def test_a_question_of_the_dead_is_taken_back_though_somebody_answers_it_without_effect_meanwhile(
    made: Callable[[], Guard], monkeypatch: pytest.MonkeyPatch
) -> None:
    dies(lambda: left_behind(made))
    guard = made()
    assert len(guard.runs.list()) == 1
    tickets = guard.opening.ready.tickets
    store, came = tickets.swap, ["mallory", "eve"]

    async def swap_late(old: Ticket, new: Ticket) -> bool:
        if came:
            now = await tickets.get(old.id)
            assert now is not None
            answer = (came.pop(), "ignored", "not one of them")
            assert await store(now, replace(now, answers=(*now.answers, answer)))
        return await store(old, new)

    monkeypatch.setattr(tickets, "swap", swap_late)
    guard.begin_run(principal=ALICE, agent="main")
    assert not came
    assert guard.opening.submit(tickets.pending()).result() == []


def test_a_resume_of_a_dead_run_settles_what_it_held(made: Callable[[], Guard], clock: FakeClock) -> None:
    dies(lambda: left_behind(made))
    guard = made()
    (row,) = guard.runs.list()
    with pytest.raises(RunHaltedError, match="unclean end"):
        guard.resume_run(row.run)
    clock.advance(HOUR_S)
    run = guard.begin_run(principal=ALICE, agent="main")
    mail(guard, run, "one")
    mail(guard, run, "two")


def test_a_run_that_died_between_its_halt_and_its_end_is_settled_too(
    made: Callable[[], Guard], clock: FakeClock
) -> None:
    def halted() -> None:
        guard = made()
        run = guard.begin_run(principal=ALICE, agent="main")
        guard.opening.submit(
            guard.opening.ready.ledger.reserve(
                Reservation(f"{run.id}/k", (Charge("mail.rate", "", 2, 2, HOUR_S * 10**9),)),
                now_ns=clock.now_ns(),
            )
        ).result()
        run.append(RunHalted("killed", None, None))
        guard.opening.ready.journal.flush().result()

    dies(halted)
    guard = made()
    (row,) = guard.runs.list()
    guard.begin_run(principal=ALICE, agent="main")
    assert guard.runs.get(row.run).events[-1].event == RunEnded("halted", "the process that ran it is gone")
    clock.advance(HOUR_S)
    reserved = guard.opening.ready.ledger.reserve(
        Reservation("run-x/k", (Charge("mail.rate", "", 2, 2, HOUR_S * 10**9),)), now_ns=clock.now_ns()
    )
    assert guard.opening.submit(reserved).result() == ()


def test_a_sweep_leaves_the_runs_of_the_living_and_the_suspended_alone(made: Callable[[], Guard]) -> None:
    here, there = made(), made()
    living = here.begin_run(principal=ALICE, agent="main")
    waiting = here.begin_run(principal=ALICE, agent="main")
    here.suspend(waiting)
    there.begin_run(principal=ALICE, agent="main")
    assert [row.status for row in there.runs.list()] == ["running", "suspended", "running"]
    here.execute(living, call("look", what="x"), lambda _: "fine")


def test_two_sweeps_at_once_end_a_run_once(made: Callable[[], Guard]) -> None:
    def five() -> None:
        for _ in range(5):
            left_behind(made)

    dies(five)
    guards = [made() for _ in range(4)]
    threads = [
        threading.Thread(target=lambda guard=guard: guard.begin_run(principal=ALICE, agent="main"))
        for guard in guards
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    dead = [row for row in guards[0].runs.list() if row.status == "halted"]
    assert len(dead) == 5
    for row in dead:
        kinds = [stamped.event.kind for stamped in guards[0].runs.get(row.run).events]
        assert (kinds.count("RunHalted"), kinds.count("RunEnded")) == (1, 1)
    assert sum(row.status == "running" for row in guards[0].runs.list()) == 4


def test_a_run_that_is_in_no_log_is_refused_and_begins_nothing(made: Callable[[], Guard]) -> None:
    guard = made()
    with pytest.raises(EngineError, match="no run `run-lost` in the log") as caught:
        guard.resume_run("run-lost")
    assert "begin a new run" in caught.value.diagnostics()
    assert guard.runs.list() == []


def test_a_run_that_ends_does_not_take_the_session_from_the_next(made: Callable[[], Guard]) -> None:
    here, there = made(), made()
    first = here.begin_run(principal=ALICE, agent="main", session="s")
    here.begin_run(principal=ALICE, agent="main", session="s")
    here.end_run(first)
    with pytest.raises(EngineError, match="another living process"):
        there.begin_run(principal=ALICE, agent="main", session="s")


def test_a_session_is_not_lost_by_a_run_that_ends_while_the_next_begins(made: Callable[[], Guard]) -> None:
    here, there = made(), made()
    first = here.begin_run(principal=ALICE, agent="main", session="s")
    steps = here._begin(principal=ALICE, agent="main", session="s")
    while here._lifecycle._sessions._held["s"].runs < 2:
        waited = next(steps)
    waited.result()
    here.end_run(first)
    with pytest.raises(EngineError, match="another living process"):
        there.begin_run(principal=ALICE, agent="main", session="s")
    steps.close()
    leases = here.opening.ready.leases
    here.opening.submit(leases.release("none", here._lifecycle._sessions.holder)).result()  # after the other
    there.begin_run(principal=ALICE, agent="main", session="s")


def test_a_forked_child_does_not_pass_for_its_parent(made: Callable[[], Guard], tmp_path: Path) -> None:
    guard = made()
    run = guard.begin_run(principal=ALICE, agent="main", session="s")

    def in_the_child() -> None:
        said = []
        for work in (
            lambda: guard.execute(run, call("look", what="x"), lambda _: "ran"),
            lambda: guard.begin_run(principal=ALICE, agent="main", session="s"),
            lambda: guard.execute(run, call("look", what="x"), lambda _: "ran"),
        ):
            try:
                said.append(str(work()))
            except EngineError as error:
                said.append("refused: " + str(error))
        (tmp_path / "said").write_text("\n".join(said))

    dies(in_the_child)
    said = (tmp_path / "said").read_text().splitlines()
    assert [line.split(":")[0] for line in said] == ["refused"] * 3
    assert "another living process" in said[1]
    with pytest.raises(EngineError, match="another living process"):
        made().begin_run(principal=ALICE, agent="main", session="s")
    assert guard.execute(run, call("look", what="x"), lambda _: "ran") == "ran"


def test_an_order_that_the_log_cannot_take_stops_every_run_all_the_same(made: Callable[[], Guard]) -> None:
    guard = made()
    runs = [guard.begin_run(principal=ALICE, agent="main") for _ in range(3)]
    record = guard.opening.ready.journal.record

    def full(*_: Any, **__: Any) -> Any:
        raise EngineError("no room")

    guard.opening.ready.journal.record = full  # type: ignore[method-assign]
    with pytest.raises(EngineError):
        guard.kill(agent="main", by="olga")
    guard.opening.ready.journal.record = record  # type: ignore[method-assign]
    for run in runs:
        with pytest.raises(RunHaltedError):
            guard.execute(run, call("look", what="x"), lambda _: "ran")
        assert "CallStarted" not in [event.kind for event in events_of(guard, run)]


def test_an_order_for_a_run_is_obeyed_whatever_the_clock_of_who_gave_it(made: Callable[[], Guard]) -> None:
    guard = made()
    run = guard.begin_run(principal=ALICE, agent="main")
    guard._lifecycle.kills.obey(KillOrder(1, run.id, None, "olga", run.state.started_ns - 10**9))
    with pytest.raises(RunHaltedError, match="killed"):
        guard.check_live(run)


def test_nothing_begins_inside_of_a_run_that_is_over(made: Callable[[], Guard]) -> None:
    guard = made()
    run = guard.begin_run(principal=ALICE, agent="main")
    guard.kill(run.id)
    with pytest.raises(RunHaltedError):
        guard.begin_run(principal=ALICE, agent="reader", parent=run)


# ---- who it is for ---------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [{"user": 7}, {"workspace": ["w1"]}, {"user": ""}])
def test_a_user_and_a_workspace_are_texts(made: Callable[[], Guard], said: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match="is a text"):
        made().begin_run(principal=Principal(**said), agent="main")


def test_a_principal_is_the_same_after_a_restart(made: Callable[[], Guard]) -> None:
    here, there = made(), made()
    alice = Principal(user="alice", teams=("a", "b"), since={1, 2})
    run = here.begin_run(principal=alice, agent="main")
    here.suspend(run)
    assert there.resume_run(run.id, principal=alice).principal.values["teams"] == ["a", "b"]
    there.suspend(there.resume_run(run.id))
    with pytest.raises(DeniedError):
        there.resume_run(run.id, principal=Principal(user="alice"))


@pytest.mark.parametrize("over", [True, False])
def test_nothing_begins_inside_of_a_run_that_does_not_go_on_here(
    made: Callable[[], Guard], over: bool
) -> None:
    guard = made()
    around = "run-of-nobody"
    if over:
        run = guard.begin_run(principal=ALICE, agent="main")
        guard.end_run(run)
        around = run.id
    with pytest.raises(EngineError, match="does not go on here"):
        guard.begin_run(principal=ALICE, agent="reader", parent=around)


def test_a_run_that_begins_in_the_session_of_a_dead_one_ends_that_first(made: Callable[[], Guard]) -> None:
    guard = made()
    guard.open()
    dies(lambda: left_behind(made, session="s"))
    run = guard.begin_run(principal=ALICE, agent="main", session="s")
    (dead,) = [row for row in guard.runs.list(limit=None) if row.run != run.id]
    assert dead.status == "halted"
    events = [one.event for one in guard.runs.get(dead.run).events]
    assert [one.kind for one in events[-2:]] == ["RunHalted", "RunEnded"]
    started = events_of(guard, run)[0]
    assert isinstance(started, RunStarted) and started.session_head == dead.head.hex()
