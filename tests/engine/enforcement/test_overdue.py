"""Whoever waits for a store's own thread waits no longer than the guard is patient."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from ringfence.engine.enforcement.overdue import Overdue
from ringfence.engine.seams.errors import RingfenceError
from ringfence.engine.seams.loop import EngineLoop
from tests.guards import ALICE, call, kinds_of, make_guard

WITHIN_S = 30


@pytest.fixture
def loop() -> Iterator[EngineLoop]:
    made = EngineLoop()
    yield made
    made.close()


def test_what_is_not_answered_fails_and_what_is_answered_or_has_time_does_not(loop: EngineLoop) -> None:
    overdue = Overdue(loop)
    answered = Future[str]()
    answered.set_result("here")
    overdue.bounded(answered, within_s=0)
    patient = overdue.bounded(Future[str](), within_s=10 * WITHIN_S)
    with pytest.raises(TimeoutError):
        overdue.bounded(Future[str](), within_s=0).result(WITHIN_S)
    assert answered.result() == "here" and not patient.done()


def test_it_looks_only_while_somebody_waits(loop: EngineLoop) -> None:
    overdue = Overdue(loop)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            overdue.bounded(Future[str](), within_s=0).result(WITHIN_S)
        for _ in range(1_000):
            if not overdue._looks:
                break
            loop.submit(_nothing()).result(WITHIN_S)
        assert not overdue._looks and not overdue._waiting


def test_an_interrupt_of_whoever_waits_first_leaves_the_others_their_time(
    loop: EngineLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    overdue = Overdue(loop)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(loop, "call_soon", interrupted)
        overdue.bounded(Future[str](), within_s=0)
    with pytest.raises(TimeoutError, match="no answer in time"):
        overdue.bounded(Future[str](), within_s=0).result(WITHIN_S)


async def _nothing() -> None:
    pass


def test_a_call_is_denied_while_the_stores_thread_hangs_and_keeps_nothing(tmp_path: Path) -> None:
    guard = make_guard(store=f"sqlite:///{tmp_path}/x.db")
    run = guard.begin_run(principal=ALICE, agent="main")
    store, gate = guard.opening._store, threading.Event()
    door = store._door  # type: ignore[union-attr]
    try:
        door._writer.put(lambda db: gate.wait(WITHIN_S))
        patience_s, guard.opening.patience_s = guard.opening.patience_s, 0.01
        ran: list[str] = []
        with pytest.raises(RingfenceError):
            guard.execute(run, call("mail", "c1", to="a@b.example"), lambda _: ran.append("mail"))
        assert not ran
    finally:
        gate.set()
    guard.opening.patience_s = patience_s
    guard.opening.ready.journal.flush().result(WITHIN_S)
    assert "CallStarted" not in kinds_of(guard, run)
    counts = door.hand_over(lambda db: db.execute("SELECT count(*) FROM unit").fetchone()[0])
    assert counts.result(WITHIN_S) == 0, "what was given up before it had begun was not done, or given back"
    guard.close()
