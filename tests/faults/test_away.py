"""A store goes away and comes back: calls are denied and say why, nothing counts twice, work goes on."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ringfence.dsl.plan import Verdict
from ringfence.engine.decision.events import CallDecided, CallFailed, CallFinished
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.retrospect.walk import verify_log
from ringfence.engine.seams.errors import (
    DeniedError,
    EngineError,
    PendingError,
    RingfenceError,
    RunHaltedError,
    StoreAwayError,
)
from ringfence.plugins.memory import MemoryStore
from tests.guards import ALICE, call, events_of, kinds_of, make_guard

WAIT_S = 30
PATIENCE_S = 0.5
PARTS = {
    "events": ["append", "run", "runs", "read"],
    "ledger": ["reserve", "dispatched", "refund", "settle"],
    "tickets": ["open", "get", "of_call", "swap"],
    "leases": ["lease", "release"],
    "kill_switch": ["order", "orders"],
}
MANNERS = ("does not answer", "answers too late", "is frozen")


class Part:
    """One part of a memory store, of which some methods are away; its inline methods are out of sight."""

    def __init__(self, inner: Any, gone: set[str], manner: Callable[[], str]) -> None:
        self.inner = inner
        for name in (name for name in dir(inner) if not name.startswith("_") and not name.endswith("_now")):
            setattr(self, name, self._method(name, gone, manner))

    def _method(self, name: str, gone: set[str], manner: Callable[[], str]) -> Any:
        inner = getattr(self.inner, name)

        async def asked(*args: Any, **named: Any) -> Any:
            if name not in gone:
                return await inner(*args, **named)
            how = manner()
            if how == "is frozen":
                while name in gone:
                    await asyncio.sleep(0.005)
                return await inner(*args, **named)
            if how == "answers too late":  # it is done, and nobody hears of it
                await inner(*args, **named)
            raise StoreAwayError("the server does not answer", help="start the server")

        return asked


class Server(MemoryStore):
    """A store whose server can go away, all of it or one method of one part."""

    def __init__(self) -> None:
        super().__init__()
        self.durable = True
        self.manner = "does not answer"
        self.gone: dict[str, set[str]] = {part: set() for part in PARTS}
        self.plain = {part: getattr(self, part) for part in PARTS}
        for part in PARTS:
            setattr(self, part, Part(self.plain[part], self.gone[part], lambda: self.manner))

    def go(self, manner: str, part: str | None = None, method: str | None = None) -> None:
        self.manner = manner
        for name in PARTS if part is None else [part]:
            self.gone[name].update(dir(self.plain[name]) if method is None else [method])

    def come_back(self) -> None:
        for gone in self.gone.values():
            gone.clear()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def guard(server: Server) -> Iterator[Guard]:
    made = make_guard(opened=lambda: server)
    made.opening.patience_s = PATIENCE_S
    yield made
    server.come_back()
    made.close()


def until(true: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do."""
    end = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.005)


def attempt(guard: Guard, run: Run, tool: str, **arguments: Any) -> tuple[bool, RingfenceError | None]:
    """Make one call; return whether its body ran, and the error."""
    ran: list[bool] = []
    try:
        guard.execute(run, call(tool, **arguments), lambda _: ran.append(True), wait=False)
    except RingfenceError as error:
        return bool(ran), error
    return bool(ran), None


def day(guard: Guard) -> tuple[list[str], list[RingfenceError]]:
    """Do some of everything; return the tools whose bodies ran, and the errors."""
    ran: list[str] = []
    errors: list[RingfenceError] = []

    def do(work: Callable[[], Any]) -> Any:
        try:
            return work()
        except PendingError as pending:
            return pending
        except RingfenceError as error:
            errors.append(error)

    def make(run: Run, tool: str, **arguments: Any) -> Any:
        return do(
            lambda: guard.execute(run, call(tool, "c1", **arguments), lambda _: ran.append(tool), wait=False)
        )

    run = do(lambda: guard.begin_run(principal=ALICE, agent="main", session="s"))
    if run is None:
        return ran, errors
    make(run, "mail", to="a@b.example")
    make(run, "look", what="x")
    asked = make(run, "pay", amount=5)
    if isinstance(asked, PendingError):
        do(lambda: guard.approve(asked.tickets[0], by="dana"))
        make(run, "pay", amount=5)
    do(lambda: guard.kill("run-of-nobody", within_s=PATIENCE_S))
    do(lambda: guard.end_run(run))
    return ran, errors


def test_without_a_fault_all_of_it_runs(guard: Guard) -> None:
    assert day(guard) == (["mail", "look", "pay"], [])


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize(
    ("part", "method"), [(part, method) for part, names in PARTS.items() for method in names]
)
def test_a_store_that_goes_away_and_comes_back(
    guard: Guard, server: Server, part: str, method: str, manner: str
) -> None:
    day(guard)
    server.go(manner, part, method)
    ran, errors = day(guard)
    assert len(ran) == len(set(ran)) and set(ran) <= {"mail", "look", "pay"}
    for error in errors:
        assert isinstance(error, EngineError | DeniedError), error
        assert "away" in str(error) or "answer" in str(error) or "approved" in str(error), error
        assert error.help or isinstance(error, DeniedError)
    server.come_back()
    until(lambda: guard.opening.ready.journal.failure is None)
    assert day(guard) == (["mail", "look", "pay"], []), "work goes on"
    whole(guard, server)


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("method", ["reserve", "dispatched", "refund"])
def test_what_a_ledger_that_was_away_has_charged_is_never_more_than_once(
    guard: Guard, server: Server, method: str, manner: str
) -> None:
    run = guard.begin_run(principal=ALICE, agent="main")
    server.go(manner, "ledger", method)
    ran = sum(attempt(guard, run, "mail", to="a@b.example")[0] for _ in range(3))
    server.come_back()
    until(lambda: not guard.opening.refunds._open)
    for _ in range(12):
        ran += attempt(guard, run, "mail", to="a@b.example")[0]
    # Each dispatch whose record was not answered is kept, because nobody knows whether it was made.
    assert ran == (7 if method == "dispatched" else 10)
    guard.end_run(run)
    whole(guard, server)


@pytest.mark.parametrize("manner", MANNERS)
def test_while_the_whole_store_is_away_each_call_is_a_recorded_denial(
    guard: Guard, server: Server, manner: str
) -> None:
    run = guard.begin_run(principal=ALICE, agent="main")
    server.go(manner)
    attempt(guard, run, "look", what="x")  # it may run: nobody had noticed yet
    until(lambda: guard.opening.ready.journal.away is not None)
    for tool, arguments in (
        ("look", {"what": "y"}),
        ("mail", {"to": "a@b.example"}),
        ("pay", {"amount": 5}),
    ):
        refused, error = attempt(guard, run, tool, **arguments)
        assert not refused and isinstance(error, StoreAwayError)
        assert "away since" in str(error) and error.help
    with pytest.raises(StoreAwayError):
        guard.begin_run(principal=ALICE, agent="main")
    server.come_back()
    until(lambda: guard.opening.ready.journal.away is None)
    assert attempt(guard, run, "look", what="z") == (True, None)
    guard.end_run(run)
    decided = [event for event in events_of(guard, run) if isinstance(event, CallDecided)]
    denied = [event for event in decided if event.verdict == "deny"]
    assert len(denied) == 3
    assert {event.facts["failed"] for event in denied} == {"the audit log's store is away"}
    whole(guard, server)


def test_a_dispatch_is_refused_while_the_log_is_away_even_where_audit_is_standard(
    guard: Guard, server: Server
) -> None:
    run = guard.begin_run(principal=ALICE, agent="main")
    made = call("look", "c1", what="x")
    assert guard.authorize(run, made).verdict is Verdict.ALLOW
    server.go("does not answer", "events")
    guard.opening.ready.journal.flush()
    until(lambda: guard.opening.ready.journal.away is not None)
    ran: list[int] = []
    with pytest.raises(StoreAwayError, match="away since"):
        guard.execute(run, made, lambda _: ran.append(1))
    assert not ran
    server.come_back()
    until(lambda: guard.opening.ready.journal.away is None)
    refused = [event for event in events_of(guard, run) if isinstance(event, CallFailed)]
    assert [event.outcome for event in refused] == ["interrupted"] and "away since" in refused[0].error
    assert attempt(guard, run, "look", what="x") == (True, None)
    guard.end_run(run)
    whole(guard, server)


def test_an_approval_is_not_used_up_by_a_dispatch_that_the_log_refuses(guard: Guard, server: Server) -> None:
    run = guard.begin_run(principal=ALICE, agent="main")
    made = call("pay", "c1", amount=5)
    with pytest.raises(PendingError) as pending:
        guard.execute(run, made, lambda _: 1, wait=False)
    guard.approve(pending.value.tickets[0], by="dana")
    server.go("does not answer", "events", "append")
    with pytest.raises(StoreAwayError):
        guard.execute(run, made, lambda _: 1, wait=False)
    ticket = guard._loop.submit(server.plain["tickets"].get(pending.value.tickets[0])).result(WAIT_S)
    assert ticket.status != "used"


def test_what_is_in_flight_says_how_it_ended_and_hands_its_result_on(guard: Guard, server: Server) -> None:
    run = guard.begin_run(principal=ALICE, agent="main")

    def body(_: Any) -> str:
        server.go("does not answer")
        return "done"

    assert guard.execute(run, call("look", what="x"), body) == "done"
    until(lambda: guard.opening.ready.journal.away is not None)
    server.come_back()
    guard.end_run(run)
    assert any(isinstance(event, CallFinished) for event in events_of(guard, run))
    whole(guard, server)


@pytest.mark.parametrize("manner", MANNERS)
def test_a_run_that_is_put_away_while_the_log_is_away_is_no_dead_one(server: Server, manner: str) -> None:
    guard, other = (make_guard(opened=lambda: server) for _ in range(2))
    guard.opening.patience_s = other.opening.patience_s = PATIENCE_S
    run = guard.begin_run(principal=ALICE, agent="main", session="s")
    with pytest.raises(PendingError) as pending:
        guard.execute(run, call("pay", "c1", amount=5), lambda _: 1, wait=False)
    server.go(manner, "events", "append")
    with pytest.raises(StoreAwayError):
        guard.suspend(run)
    other.open()
    assert status(guard, server, run.id) in ("running", "suspended")
    server.come_back()
    until(lambda: resumes(other, run.id))
    other.approve(pending.value.tickets[0], by="dana")
    again = other.resume_run(run.id)
    assert other.execute(again, call("pay", "c1", amount=5), lambda _: "paid") == "paid"
    other.end_run(again)
    whole(other, server)
    guard.close()
    other.close()


@pytest.mark.parametrize("manner", MANNERS)
def test_a_run_that_could_not_go_on_stays_put_away(server: Server, manner: str) -> None:
    guard = make_guard(opened=lambda: server)
    guard.opening.patience_s = PATIENCE_S
    run = guard.begin_run(principal=ALICE, agent="main", session="s")
    guard.suspend(run)
    server.go(manner, "events", "append")
    for _ in range(2):
        with pytest.raises(StoreAwayError):
            guard.resume_run(run.id)
    server.come_back()
    until(lambda: guard.opening.ready.journal.away is None)
    other = make_guard(opened=lambda: server)
    other.open()
    until(lambda: status(guard, server, run.id) == "suspended")
    until(lambda: resumes(other, run.id))
    whole(other, server)
    guard.close()
    other.close()


def test_who_waits_for_people_goes_on_waiting_while_the_store_is_away(guard: Guard, server: Server) -> None:
    run = guard.begin_run(principal=ALICE, agent="main")
    paid: list[object] = []

    def pay() -> None:
        paid.append(guard.execute(run, call("pay", amount=5), lambda _: "paid"))

    waiting = threading.Thread(target=pay)
    waiting.start()
    until(lambda: bool(run.state.open_tickets) and bool(run.waiting))
    looked = Looked(server)
    server.go("does not answer", "tickets", "those")
    until(lambda: looked.times > 2)
    server.come_back()
    guard.approve(next(iter(run.state.open_tickets)), by="dana")
    waiting.join(WAIT_S)
    assert paid == ["paid"]
    guard.end_run(run)
    whole(guard, server)


class Looked:
    """Counts how often the tickets that are waited for were asked for."""

    def __init__(self, server: Server) -> None:
        self.times = 0
        part: Any = server.tickets
        those = part.those

        async def counted(*args: Any) -> Any:
            self.times += 1
            return await those(*args)

        part.those = counted


def status(guard: Guard, server: Server, run: str) -> str:
    """Return what the list of runs says of one."""
    row = guard._loop.submit(server.plain["events"].run(run)).result(WAIT_S)
    assert row is not None
    return str(row.status)


def resumes(guard: Guard, run: str) -> bool:
    """Try to go on with a run, and put it away again."""
    try:
        guard.suspend(guard.resume_run(run))
    except RunHaltedError:
        raise
    except EngineError:
        return False
    return True


def test_closing_while_the_store_is_away_ends_and_says_what_is_lost(server: Server) -> None:
    guard = make_guard(opened=lambda: server)
    guard.opening.patience_s = PATIENCE_S
    runs = [guard.begin_run(principal=ALICE, agent="main") for _ in range(20)]
    server.go("is frozen")
    closed: list[BaseException | None] = []

    def close() -> None:
        try:
            guard.close()
        except RingfenceError as error:
            closed.append(error)

    closing = threading.Thread(target=close)
    closing.start()
    closing.join(WAIT_S)
    assert not closing.is_alive()
    (error,) = closed
    assert isinstance(error, StoreAwayError)
    assert "20 events could not be written before the guard was closed" in str(error)
    assert sum(f"`{run.id}` (1)" in str(error) for run in runs) == 5 and "and 15 more" in str(error)


def test_what_was_queued_while_the_store_was_away_is_written_in_order_and_once(
    guard: Guard, server: Server
) -> None:
    run = guard.begin_run(principal=ALICE, agent="main")
    server.go("answers too late", "events", "append")
    for _ in range(5):
        attempt(guard, run, "look", what="x")
    server.come_back()
    guard.end_run(run)
    kinds = kinds_of(guard, run)
    assert kinds[0] == "RunStarted" and kinds[-1] == "RunEnded"
    assert kinds.count("CallRequested") == kinds.count("CallDecided") == 5
    whole(guard, server)


def whole(guard: Guard, server: Server) -> None:
    """Refuse a log that does not verify or replay."""
    with contextlib.suppress(RingfenceError):
        guard.opening.ready.journal.flush().result(WAIT_S)
    log = server.plain["events"]
    rows = guard._loop.submit(log.runs()).result(WAIT_S)
    entries = [entry for row in rows for entry in guard._loop.submit(log.read(row.run)).result(WAIT_S)]
    links = guard._loop.submit(log.links()).result(WAIT_S)
    assert verify_log(links, entries).intact
    for row in rows:
        assert guard.runs.get(row.run).replay().divergence is None
