"""A child that forks off a process in the middle of its runs uses the same guard, and leaves them alone."""

import os
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


def in_a_child(work: Callable[[], object]) -> None:
    """Do `work` in a forked child; what it raises fails the test."""
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
