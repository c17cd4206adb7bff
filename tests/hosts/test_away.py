"""Real servers are killed, frozen and restarted under a guard that works.

Calls are denied and say why, no budget counts a call twice, no event is lost, and work goes on by itself.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ringfence.engine.decision.events import CallDecided, CallFinished
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.retrospect.walk import verify_log
from ringfence.engine.seams.errors import EngineError, RingfenceError, StoreAwayError
from tests.guards import ALICE, call, events_of, make_guard
from tests.services import Server, needed

WAIT_S = 60
PATIENCE_S = 2.0
"""Of the guard: less than a store takes to give up, so that a test is short."""
LIMIT = 10
"""Mails in an hour."""


@dataclass(frozen=True)
class Place:
    """A deployment, and the server of it that goes away."""

    server: Server
    settings: dict[str, str]
    keeps_log: bool

    def guard(self) -> Guard:
        made = make_guard(**self.settings)  # type: ignore[arg-type]
        made.opening.patience_s = PATIENCE_S
        return made


@pytest.fixture(params=["redis as the ledger", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    word = f"t{secrets.token_hex(6)}"
    if request.param == "postgres":
        needed("postgres")
        server: Server = request.getfixturevalue("postgres_server")
        made = Place(server, {"store": f"{server.url}?schema={word}"}, keeps_log=True)
    else:
        needed("redis")
        server = request.getfixturevalue("redis_server")
        ledger = f"{server.url}?prefix={word}"
        made = Place(
            server, {"store": f"sqlite:///{tmp_path}/ringfence.db", "ledger": ledger}, keeps_log=False
        )
    server.thaw()
    server.start()
    yield made
    server.thaw()
    server.start()


@pytest.fixture
def guard(place: Place) -> Iterator[Guard]:
    made = place.guard()
    yield made
    place.server.thaw()
    place.server.start()
    until(lambda: answers(made))
    made.close()


AWAY: dict[str, tuple[Callable[[Server], None], Callable[[Server], None]]] = {
    "killed": (lambda server: server.kill(), lambda server: server.start()),
    "frozen": (lambda server: server.freeze(), lambda server: server.thaw()),
}


def until(true: Callable[[], bool]) -> None:
    """Wait for what a server or another thread is about to do."""
    end = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.02)


def answers(guard: Guard) -> bool:
    """Say whether nothing keeps the guard from its work."""
    opened = guard.opening.ready
    try:
        guard._loop.submit(opened.kill_switch.latest()).result(WAIT_S)
    except RingfenceError:
        return False
    lives = guard._lifecycle.presence
    stands = not lives.lapsed or not guard._lifecycle._live
    return opened.journal.failure is None and not guard.opening.refunds._open and stands


def mail(guard: Guard, run: Run) -> tuple[bool, RingfenceError | None]:
    """Send one mail; return whether the body ran, and the error."""
    ran: list[bool] = []
    try:
        guard.execute(run, call("mail", to="a@b.example"), lambda _: ran.append(True))
    except RingfenceError as error:
        return bool(ran), error
    return bool(ran), None


def whole(guard: Guard) -> None:
    """Refuse a log that does not verify or replay."""
    opened = guard.opening.ready
    opened.journal.flush().result(WAIT_S)
    rows = guard.runs.list(limit=None)
    entries = [one for row in rows for one in guard._loop.submit(opened.log.read(row.run)).result(WAIT_S)]
    links = guard._loop.submit(opened.log.links()).result(WAIT_S)
    assert verify_log(links, entries).intact
    for row in rows:
        assert guard.runs.get(row.run).replay().divergence is None


@pytest.mark.parametrize("how", AWAY)
def test_a_server_that_goes_away_and_comes_back(place: Place, guard: Guard, how: str) -> None:
    go, come_back = AWAY[how]
    run = guard.begin_run(principal=ALICE, agent="main", session="s")
    ran = sum(mail(guard, run)[0] for _ in range(3))
    assert ran == 3
    go(place.server)
    for _ in range(2):
        sent, error = mail(guard, run)
        assert not sent and isinstance(error, StoreAwayError), error
        assert error.help and any(word in str(error) for word in ("away", "answer", "reached")), error
    come_back(place.server)
    until(lambda: answers(guard))
    errors = []
    for _ in range(2 * LIMIT):
        sent, error = mail(guard, run)
        ran += sent
        errors.append(error)
    assert errors[0] is None, "work goes on"
    # What was asked of a frozen server may be done when it thaws, after it was given back: that only refuses.
    assert LIMIT - (2 if how == "frozen" else 0) <= ran <= LIMIT
    guard.end_run(run)
    denied = [one for one in events_of(guard, run) if isinstance(one, CallDecided) and one.facts["failed"]]
    assert len(denied) == 2
    assert {one.verdict for one in denied} == {"deny"}
    assert all("away" in one.facts["failed"] for one in denied)
    whole(guard)


@pytest.mark.parametrize("how", AWAY)
def test_what_was_in_flight_ends_and_its_result_is_handed_on(place: Place, guard: Guard, how: str) -> None:
    go, come_back = AWAY[how]
    run = guard.begin_run(principal=ALICE, agent="main")

    def body(_: Any) -> str:
        go(place.server)
        return "sent"

    assert guard.execute(run, call("mail", to="a@b.example"), body) == "sent"
    come_back(place.server)
    until(lambda: answers(guard))
    guard.end_run(run)
    assert sum(isinstance(one, CallFinished) for one in events_of(guard, run)) == 1
    whole(guard)


def test_a_server_that_is_restarted_between_two_calls_forgets_no_charge(place: Place, guard: Guard) -> None:
    run = guard.begin_run(principal=ALICE, agent="main")
    ran = 0
    for _ in range(3):
        ran += sum(mail(guard, run)[0] for _ in range(2))
        place.server.stop()
        place.server.start()
        until(lambda: answers(guard))
    ran += sum(mail(guard, run)[0] for _ in range(2 * LIMIT))
    assert ran == LIMIT
    guard.end_run(run)
    whole(guard)


def test_many_runs_while_the_server_is_killed_again_and_again(place: Place, guard: Guard) -> None:
    guard.open()
    effects: list[bool] = []
    surprises: list[BaseException] = []
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            try:
                with guard.run(principal=ALICE, agent="main") as run:
                    guard.execute(run, call("mail", to="a@b.example"), lambda _: effects.append(True))
            except RingfenceError:
                continue
            except Exception as error:  # a caller of the guard meets its own errors alone
                surprises.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: bool(effects))
    for _ in range(3):
        place.server.kill()
        place.server.start()
        until(lambda: answers(guard))
    over.set()
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()
    until(lambda: answers(guard))
    assert not surprises
    assert len(effects) <= LIMIT
    whole(guard)


def test_nothing_begins_while_the_server_is_away(place: Place, guard: Guard) -> None:
    guard.open()
    place.server.kill()
    with pytest.raises(EngineError) as caught:
        guard.begin_run(principal=ALICE, agent="main")
    assert caught.value.help
    place.server.start()
    until(lambda: begins(guard))


def begins(guard: Guard) -> bool:
    try:
        guard.end_run(guard.begin_run(principal=ALICE, agent="main"))
    except EngineError:
        return False
    return True


def test_a_guard_that_cannot_open_says_why_and_opens_when_the_server_is_back(place: Place) -> None:
    place.server.kill()
    guard = place.guard()
    with pytest.raises(RingfenceError) as caught:
        guard.open()
    assert caught.value.help and "127.0.0.1" in str(caught.value)
    place.server.start()
    until(lambda: begins(guard))
    guard.close()


def test_closing_while_the_server_is_away_ends_and_says_what_is_lost(place: Place) -> None:
    guard = place.guard()
    run = guard.begin_run(principal=ALICE, agent="main")
    assert mail(guard, run) == (True, None)
    place.server.freeze()
    said: list[BaseException | None] = []

    def close() -> None:
        try:
            guard.close()
        except RingfenceError as error:
            said.append(error)

    closing = threading.Thread(target=close)
    closing.start()
    closing.join(WAIT_S)
    assert not closing.is_alive()
    if place.keeps_log:
        (error,) = said
        assert "events could not be written before the guard was closed" in str(error)
    place.server.thaw()
    later = place.guard()
    later.open()
    rows = {row.run: row.status for row in later.runs.list()}
    assert run.id in rows
    later.close()
