"""A child that forks off a process in the middle of its runs uses the same guard, and leaves them alone."""

import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.errors import EngineError, PendingError
from tests.guards import ALICE, call, kinds_of, make_guard


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Guard]:
    made = make_guard(store=f"sqlite:///{tmp_path}/ringfence.db")
    yield made
    made.close()


def in_a_child(work: Callable[[], object], meanwhile: Callable[[], object] = lambda: None) -> None:
    """Do `work` in a forked child, and something here; what the child raises fails the test."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    meanwhile()
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize("uses_it", [False, True])
def test_a_forked_child_that_closes_the_guard_leaves_the_parents_runs_as_they_were(
    guard: Guard, uses_it: bool
) -> None:
    run = guard.begin_run(principal=ALICE, agent="main", session="s")
    with pytest.raises(PendingError) as caught:
        guard.execute(run, call("pay", "p", amount=5), lambda _: "paid", wait=False)
    mail = call("mail", "m", to="a@b.example")
    assert guard.authorize(run, mail).allowed
    guard.opening.ready.journal.flush().result()
    before = kinds_of(guard, run)

    def child() -> None:
        if uses_it:
            with guard.run(principal=ALICE, agent="main") as own:
                assert guard.execute(own, call("look", what="x"), lambda _: "seen") == "seen"
            assert run.id not in {one.id for one in guard._lifecycle.live()}
        with pytest.raises(EngineError):
            guard.execute(run, mail, lambda _: "sent")
        guard.close()

    in_a_child(child)
    assert kinds_of(guard, run) == before
    guard.approve(caught.value.tickets[0], by="dana")
    assert guard.execute(run, call("pay", "p", amount=5), lambda _: "paid") == "paid"
    assert guard.execute(run, mail, lambda _: "sent") == "sent"
    guard.end_run(run)
    assert guard.runs.get(run.id).replay().divergence is None


def test_a_forked_child_of_a_process_that_waits_for_people_notices_who_answers_elsewhere(
    guard: Guard, tmp_path: Path
) -> None:
    run, pay = guard.begin_run(principal=ALICE, agent="main"), call("pay", "p", amount=5)
    waiting = threading.Thread(target=lambda: guard.execute(run, pay, lambda _: "paid"), daemon=True)
    waiting.start()
    while not guard._asking._waits._waiting:
        pass
    (first,) = guard.opening.submit(guard.opening.ready.tickets.pending()).result()

    def child() -> None:
        signal.alarm(30)  # else a failure would hang
        with guard.run(principal=ALICE, agent="main") as own:
            assert guard.execute(own, pay, lambda _: "paid") == "paid"

    def answer() -> None:
        second = first
        while second.id == first.id:
            asked = guard.opening.submit(guard.opening.ready.tickets.pending()).result()
            second = next((one for one in asked if one.id != first.id), first)
        guard.approve(second.id, by="dana")

    in_a_child(child, threading.Thread(target=answer, daemon=True).start)
    guard.approve(first.id, by="dana")
    waiting.join()
