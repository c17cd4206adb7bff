"""Whatever fails, hangs or is cancelled: nothing runs that would not have run, and nobody waits forever."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pytest

from ringfence.engine.decision.events import CallDecided
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import EngineError, PendingError, RingfenceError
from ringfence.plugin import ApprovalBackend, AuditSink, Event, hookimpl
from ringfence.plugins.memory import MemoryStore
from tests.guards import ALICE, call, events_of, make_guard

Fault = Callable[..., Any]


async def raises(*_: Any, **__: Any) -> Any:
    raise OSError("the disk is full")


async def hangs(*_: Any, **__: Any) -> Any:
    await asyncio.Event().wait()


async def is_cancelled(*_: Any, **__: Any) -> Any:
    raise asyncio.CancelledError


FAULTS: Mapping[str, Fault] = {"raises": raises, "hangs": hangs, "is cancelled": is_cancelled}

METHODS = {
    "events": ["append", "run", "runs", "read"],
    "ledger": ["reserve", "dispatched", "refund"],
    "tickets": ["open", "get", "of_call", "those", "swap"],
    "leases": ["lease", "release", "keep_alive", "gone", "holds"],
    "kill_switch": ["order", "orders", "latest", "keep_alive", "gone", "obeyed", "attendants", "news"],
}
BLOCKS = {
    ("ledger", "reserve"): {"mail", "pay"},
    ("ledger", "dispatched"): {"mail", "pay"},
    ("tickets", "open"): {"pay"},
    ("tickets", "get"): {"pay"},
    ("tickets", "of_call"): {"pay"},
    ("tickets", "swap"): {"pay"},
    ("leases", "lease"): {"mail", "pay", "look"},
    ("leases", "keep_alive"): {"mail", "pay", "look"},
    ("kill_switch", "keep_alive"): {"mail", "pay", "look"},
    ("kill_switch", "latest"): {"mail", "pay", "look"},
    ("events", "append"): {"pay"},
}
"""What must not run while this method fails."""


class Outer:
    """A memory store's part whose inline methods are out of sight, so that all calls go the long way."""

    def __init__(self, inner: Any) -> None:
        for name in (*METHODS["ledger"], "settle"):
            setattr(self, name, getattr(inner, name))


class Faulty(MemoryStore):
    """A store of which one method can be made to fail."""

    def __init__(self) -> None:
        super().__init__()
        self.durable = True
        self.ledger = Outer(self.ledger)  # type: ignore[assignment]

    def break_(self, part: str, method: str, fault: Fault) -> None:
        setattr(getattr(self, part), method, fault)


@pytest.fixture
def store() -> Faulty:
    return Faulty()


@pytest.fixture
def guard(store: Faulty) -> Iterator[Guard]:
    made = make_guard(opened=lambda: store)
    made.opening.patience_s = 0.05
    yield made
    with contextlib.suppress(RingfenceError):  # what could not be written is said at the end, too
        made.close()


def everything(guard: Guard) -> list[str]:
    """Try one call of each sort; return the tools whose bodies ran.  Only our own errors come out."""
    ran: list[str] = []

    def attempt(run: Run, tool: str, **arguments: Any) -> Sequence[str]:
        try:
            guard.execute(run, call(tool, "c1", **arguments), lambda _: ran.append(tool), wait=False)
        except PendingError as pending:
            return pending.tickets
        except RingfenceError:
            pass
        return ()

    try:
        run = guard.begin_run(principal=ALICE, agent="main", session="s")
        attempt(run, "mail", to="a@b.example")
        attempt(run, "look", what="x")
        attempt(run, "look", what="secret")
        for ticket in attempt(run, "pay", amount=5):
            attempt(run, "pay", amount=5)
            guard.approve(ticket, by="dana")
        attempt(run, "pay", amount=5)
        attempt(run, "pay", amount=500)
        with contextlib.suppress(EngineError):
            guard.kill(run.id, within_s=0.05)
        attempt(run, "look", what="late")
        guard.end_run(run)
    except RingfenceError:
        pass
    return ran


def test_without_a_fault_the_three_allowed_ones_run(guard: Guard) -> None:
    assert everything(guard) == ["mail", "look", "pay"]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    ("part", "method"), [(part, method) for part, methods in METHODS.items() for method in methods]
)
def test_a_failing_store_allows_nothing_more(
    guard: Guard, store: Faulty, part: str, method: str, fault: str
) -> None:
    store.break_(part, method, FAULTS[fault])
    ran = everything(guard)
    assert set(ran) <= {"mail", "look", "pay"} and len(ran) == len(set(ran))
    assert not set(ran) & BLOCKS.get((part, method), set())


@pytest.mark.parametrize("fault", FAULTS)
def test_a_ledger_that_cannot_answer_is_a_recorded_denial(guard: Guard, store: Faulty, fault: str) -> None:
    run = guard.begin_run(principal=ALICE, agent="main")
    store.break_("ledger", "reserve", FAULTS[fault])
    with pytest.raises(EngineError) as caught:
        guard.execute(run, call("mail", to="a@b.example"), lambda _: 1)
    assert caught.value.help is not None
    decided = events_of(guard, run)[-1]
    assert isinstance(decided, CallDecided)
    assert decided.verdict == "deny" and decided.facts["failed"] is not None
    assert guard.runs.get(run.id).replay().divergence is None


def test_a_store_that_cannot_be_opened_says_so_and_nothing_runs(store: Faulty) -> None:
    store.open = raises  # type: ignore[method-assign]
    guard = make_guard(opened=lambda: store)
    for _ in range(2):
        with pytest.raises(EngineError, match="cannot be opened: the disk is full") as caught:
            guard.begin_run(principal=ALICE, agent="main")
        assert "doctor" in caught.value.diagnostics()
    guard.close()


def test_a_folder_that_does_not_exist_is_a_clear_error() -> None:
    guard = make_guard(store="sqlite:////nowhere/at/all/ringfence.db")
    with pytest.raises(EngineError, match="cannot be opened") as caught:
        guard.begin_run(principal=ALICE, agent="main")
    assert caught.value.help
    guard.close()


async def test_a_cancelled_reservation_is_given_back(store: Faulty) -> None:
    held: list[str] = []
    asked, answer = asyncio.Event(), asyncio.Event()
    here = asyncio.get_running_loop()

    async def slow(reservation: Any, *, now_ns: int) -> tuple[()]:
        held.append(reservation.id)
        here.call_soon_threadsafe(asked.set)
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(answer.wait(), here))
        return ()

    given_back = asyncio.Event()

    async def refund(reservation_id: str) -> None:
        assert held == [reservation_id]
        here.call_soon_threadsafe(given_back.set)

    store.break_("ledger", "reserve", slow)
    store.break_("ledger", "refund", refund)
    guard = make_guard(opened=lambda: store)
    run = await guard.abegin_run(principal=ALICE, agent="main")
    task = asyncio.create_task(guard.aexecute(run, call("mail", to="a@b.example"), lambda _: 1))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    answer.set()
    await given_back.wait()
    assert await guard.aexecute(run, call("look", what="x"), lambda _: "next") == "next"
    await guard.aclose()


# ---- plugins -------------------------------------------------------------------------------------


class FailingSink(AuditSink):
    name = "failing"
    fault: ClassVar[Fault]

    async def write(self, events: Sequence[Event]) -> None:
        await type(self).fault()


class FailingBackend(ApprovalBackend):
    name = "failing"
    fault: ClassVar[Fault]

    async def ask(self, question: Any, answers: Any) -> None:
        await type(self).fault()

    async def withdraw(self, ticket: str, because: str) -> None:
        await type(self).fault()


class Plugin:
    @hookimpl
    def ringfence_audit_sinks(self) -> Sequence[type[AuditSink]]:
        return [FailingSink]

    @hookimpl
    def ringfence_approval_backends(self) -> Sequence[type[ApprovalBackend]]:
        return [FailingBackend]


@pytest.mark.parametrize("fault", ["raises", "hangs"])
def test_a_required_sink_that_fails_stops_every_call(fault: str) -> None:
    FailingSink.fault = staticmethod(FAULTS[fault])
    guard = make_guard(plugins=[Plugin()], sinks={"failing": {"timeout_s": 0.05}})
    assert set(everything(guard)) <= {"mail", "look"}
    run_failed = False
    try:
        guard.begin_run(principal=ALICE, agent="main")
    except EngineError:
        run_failed = True
    assert run_failed
    with pytest.raises(EngineError):
        guard.close()


@pytest.mark.parametrize("fault", ["raises", "hangs"])
def test_a_question_that_cannot_be_delivered_is_a_denial(fault: str) -> None:
    FailingBackend.fault = staticmethod(FAULTS[fault])
    guard = make_guard(plugins=[Plugin()], approvals={"default": "failing"}, limits={"backend_s": 0.05})
    assert everything(guard) == ["mail", "look"]
    guard.close()
