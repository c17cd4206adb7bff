"""Somebody goes on with a run while its question runs out and is answered, in three processes at once."""

import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ringfence.engine.decision.events import ApprovalAnswered
from ringfence.engine.enforcement.caretaker import Caretaker
from ringfence.engine.enforcement.drive import run_sync
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.errors import PendingError, RingfenceError
from ringfence.testing import FakeClock
from tests.guards import ALICE, call, events_of, make_guard
from tests.shared import SHARED, shared_settings

LATE_S = 15 * 60
ROUNDS = 12


@pytest.fixture(params=SHARED)
def guards(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[list[Guard], FakeClock]]:
    monkeypatch.setattr(Caretaker, "start", lambda _: None)
    settings, clock = shared_settings(request, tmp_path), FakeClock()
    made = [make_guard(clock=clock, **settings) for _ in range(3)]
    for guard in made:
        guard.open()
    yield made, clock
    for guard in made:
        guard.close()


def at_once(*work: Callable[[], object]) -> list[BaseException]:
    """Do all of it at the same time; return what was raised that is no answer of the guard."""
    surprises: list[BaseException] = []
    together = threading.Barrier(len(work))

    def do(one: Callable[[], object]) -> None:
        together.wait()
        try:
            one()
        except RingfenceError:
            pass
        except BaseException as error:
            surprises.append(error)

    threads = [threading.Thread(target=do, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "somebody waits for ever"
    return surprises


def once(guards: list[Guard], clock: FakeClock, first: int) -> None:
    goes_on, looks, answers = guards
    run = goes_on.begin_run(principal=ALICE, agent="main", session=f"s{secrets.token_hex(4)}")
    made = call("pay", "p", amount=5)
    with pytest.raises(PendingError) as caught:
        goes_on.execute(run, made, lambda _: None, wait=False)
    (id,) = caught.value.tickets
    goes_on.suspend(run)
    clock.advance(LATE_S - 1)
    ran: list[int] = []
    approved: list[bool] = []

    def resume() -> None:
        again = goes_on.resume_run(run.id)
        try:
            goes_on.execute(again, made, lambda _: ran.append(1), wait=False)
        finally:
            goes_on.suspend(again)

    def approve() -> None:
        answers.approve(id, by="dana")
        approved.append(True)

    def look() -> None:
        clock.advance(2)
        run_sync(looks._caretaker.round(), looks.opening.loop)

    order = [resume, approve, look]
    assert at_once(*order[first:], *order[:first]) == []
    for _ in range(2):
        run_sync(looks._caretaker.round(), looks.opening.loop)
        assert at_once(resume) == []
    assert len(ran) <= 1
    ticket = looks.opening.submit(looks.opening.ready.tickets.get(id)).result()
    assert ticket is not None
    if ran:
        assert approved and ticket.status == "used"
    else:
        assert ticket.status in ("expired", "approved", "withdrawn"), ticket.status
    said = [e.verdict for e in events_of(goes_on, run) if isinstance(e, ApprovalAnswered)]
    assert said.count("approve") <= 1 and said.count("expire") <= 1
    assert goes_on.runs.get(run.id).replay().divergence is None


def test_a_call_runs_at_most_once_and_only_if_it_was_approved(guards: tuple[list[Guard], FakeClock]) -> None:
    for number in range(ROUNDS):
        once(*guards, number % 3)
