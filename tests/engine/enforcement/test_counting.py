"""What is charged when: attempts at once and for good, calls at their dispatch, successes by their end."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from ringfence.engine.decision.events import CallDecided, CallFailed
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import DeniedError, EngineError, PendingError, RingfenceError
from ringfence.engine.seams.registry import Registry
from ringfence.plugins.memory import MemoryStore
from tests.guards import ALICE, call, events_of, make_guard

POLICY = """
language 1
policy shop
capability send is external
approver lead { group "leads" answer within 15 minutes otherwise deny }
tool probe {
  needs send
  takes what: text
  allow when what == "x"
  rate 3 per hour for each user counting attempts
  rate 100 per hour
}
tool pay {
  needs send
  takes what: text
  allow always
  stop after 1 hour
  rate 2 per hour counting successes
  rate 100 per day
}
tool once_a_run {
  needs send
  takes what: text
  allow always
  stop after 20 ms
  result at most 3 rows
  rate 1 per run counting successes
}
tool once { needs send takes what: text allow always rate 1 per hour counting successes }
tool signed { needs send takes what: text allow always ask lead rate 1 per hour counting successes }
tool write {
  needs send
  takes to: list of email
  touches to as recipient
  allow always
  blast radius 2 recipient per run, 3 recipient per day
}
isolate box { memory 64 MB time 1 second }
tool code { needs send takes code: text runs code in box allow always rate 1 per hour }
"""


@pytest.fixture(params=["at once", "the long way"])
def guard(request: pytest.FixtureRequest) -> Iterator[Guard]:
    made = make_guard(POLICY, opened=None if request.param == "at once" else far_store)
    yield made
    made.close()


class Far:
    """A ledger's coroutines alone, as one of another process has them."""

    def __init__(self, inner: Any) -> None:
        self.reserve, self.dispatched = inner.reserve, inner.dispatched
        self.refund, self.settle = inner.refund, inner.settle


def far_store() -> MemoryStore:
    store = MemoryStore()
    store.ledger = Far(store.ledger)  # type: ignore[assignment]
    return store


@pytest.fixture
def run(guard: Guard) -> Run:
    return guard.begin_run(principal=ALICE)


def denied_by(guard: Guard, run: Run, tool: str, **arguments: Any) -> str:
    with pytest.raises(DeniedError) as caught:
        guard.execute(run, call(tool, **arguments), lambda _: "ran")
    assert caught.value.reason is not None
    return caught.value.reason.name


def fails(_: Any) -> Any:
    raise OSError("the bank is closed")


def test_attempts_are_charged_when_denied_and_never_given_back(guard: Guard, run: Run) -> None:
    assert denied_by(guard, run, "probe", what="y") == "probe.allow"
    assert guard.execute(run, call("probe", what="x"), lambda _: "ran") == "ran"
    with pytest.raises(OSError):
        guard.execute(run, call("probe", what="x"), fails)
    assert denied_by(guard, run, "probe", what="x") == "probe.rate"
    assert guard.runs.get(run.id).replay().divergence is None


def test_attempts_of_an_unknown_tool_charge_nothing(guard: Guard, run: Run) -> None:
    for _ in range(5):
        with pytest.raises(DeniedError):
            guard.execute(run, call("nothing", what="x"), lambda _: 1)
    assert guard.execute(run, call("probe", what="x"), lambda _: "ran") == "ran"


def test_a_failed_body_gives_the_success_back_and_a_good_one_keeps_it(guard: Guard, run: Run) -> None:
    for _ in range(3):
        with pytest.raises(OSError):
            guard.execute(run, call("pay", what="x"), fails)
    for _ in range(2):
        assert guard.execute(run, call("pay", what="x"), lambda _: "paid") == "paid"
    assert denied_by(guard, run, "pay", what="x") == "pay.rate"
    assert guard.runs.get(run.id).replay().divergence is None


def test_successes_without_another_budget_are_reserved_as_well(guard: Guard, run: Run) -> None:
    with pytest.raises(OSError):
        guard.execute(run, call("once", what="x"), fails)
    guard.execute(run, call("once", what="x"), lambda _: "ran")
    assert denied_by(guard, run, "once", what="x") == "once.rate"


def test_a_success_in_flight_is_taken_by_nobody_else(guard: Guard, run: Run) -> None:
    def body(_: Any) -> str:
        assert denied_by(guard, run, "once", what="inner") == "once.rate"
        return "ran"

    assert guard.execute(run, call("once", what="x"), body) == "ran"


async def test_an_abandoned_body_keeps_its_success_since_nobody_knows_its_fate() -> None:
    guard = make_guard(POLICY.replace("stop after 1 hour", "stop after 20 ms").replace("rate 2", "rate 1"))
    run = await guard.abegin_run(principal=ALICE)
    release = asyncio.Event()

    async def stubborn(_: Any) -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    with pytest.raises(RingfenceError):
        await guard.aexecute(run, call("pay", what="x"), stubborn)
    with pytest.raises(DeniedError) as caught:
        await guard.aexecute(run, call("pay", what="x"), lambda _: 1)
    assert caught.value.reason is not None and caught.value.reason.name == "pay.rate"
    release.set()
    await guard.aclose()


async def stubborn(_: Any) -> None:
    """Never end, whatever comes."""
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if asyncio.current_task().cancelling() > 1:  # type: ignore[union-attr]
                raise


async def too_late(_: Any) -> list[str]:
    """Have the effect all the same."""
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    return ["sent"]


@pytest.mark.parametrize("body", [stubborn, too_late, lambda _: "no list"])
async def test_what_may_have_had_its_effect_keeps_the_success_in_the_run_and_around_it(body: Any) -> None:
    guard = make_guard(POLICY)
    around = await guard.abegin_run(principal=ALICE)
    run = await guard.abegin_run(principal=ALICE, parent=around)
    with pytest.raises(RingfenceError):
        await guard.aexecute(run, call("once_a_run", what="x"), body)
    for one in (run, around):
        with pytest.raises(DeniedError) as caught:
            await guard.aexecute(one, call("once_a_run", what="x"), lambda _: [])
        assert caught.value.reason is not None and caught.value.reason.name == "once_a_run.rate"
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await guard.aclose()


def test_a_refused_question_gives_the_success_back(guard: Guard, run: Run) -> None:
    with pytest.raises(PendingError) as caught:
        guard.execute(run, call("signed", "c1", what="x"), lambda _: 1, wait=False)
    assert denied_by(guard, run, "signed", what="other") == "signed.rate"
    guard.deny(caught.value.tickets[0], by="dana")
    with pytest.raises(DeniedError):
        guard.execute(run, call("signed", "c1", what="x"), lambda _: 1, wait=False)
    with pytest.raises(PendingError):
        guard.execute(run, call("signed", "c2", what="x"), lambda _: 1, wait=False)


def test_an_approved_call_holds_its_success_until_its_end(guard: Guard, run: Run) -> None:
    with pytest.raises(PendingError) as caught:
        guard.execute(run, call("signed", "c1", what="x"), lambda _: 1, wait=False)
    guard.approve(caught.value.tickets[0], by="dana")
    with pytest.raises(OSError):
        guard.execute(run, call("signed", "c1", what="x"), fails, wait=False)
    with pytest.raises(PendingError) as again:
        guard.execute(run, call("signed", "c2", what="x"), lambda _: 1, wait=False)
    guard.approve(again.value.tickets[0], by="dana")
    assert guard.execute(run, call("signed", "c2", what="x"), lambda _: "ran", wait=False) == "ran"
    assert denied_by(guard, run, "signed", what="x") == "signed.rate"


@pytest.fixture
def no_isolates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Registry, "isolates", lambda _: None)


def test_an_isolated_tool_never_runs_on_the_host_and_is_charged_nothing(
    no_isolates: None, guard: Guard, run: Run
) -> None:
    ran: list[Any] = []
    for _ in range(2):
        with pytest.raises(EngineError, match="runs in an isolate: nothing that runs isolates"):
            guard.execute(run, call("code", code="1 + 1"), ran.append)
    assert ran == []
    failed = [event for event in events_of(guard, run) if isinstance(event, CallFailed)]
    assert [(one.outcome, one.error) for one in failed] == [
        ("refused", "nothing that runs isolates is installed")
    ] * 2
    decided = [event for event in events_of(guard, run) if isinstance(event, CallDecided)]
    assert [one.verdict for one in decided] == ["allow", "allow"]
    assert "CallStarted" not in {event.kind for event in events_of(guard, run)}


def test_a_blast_radius_counts_different_resources_in_the_run_and_beyond_it(guard: Guard, run: Run) -> None:
    ann, bob, cid, dan = (f"{name}@acme.example" for name in ("ann", "bob", "cid", "dan"))
    for _ in range(3):
        assert guard.execute(run, call("write", to=[ann, bob]), lambda _: "sent") == "sent"
    assert denied_by(guard, run, "write", to=[cid]) == "write.blast"
    other = guard.begin_run(principal=ALICE)
    assert guard.execute(other, call("write", to=[ann, cid]), lambda _: "sent") == "sent"
    assert denied_by(guard, guard.begin_run(principal=ALICE), "write", to=[dan]) == "write.blast"
    for one in (run, other):
        assert guard.runs.get(one.id).replay().divergence is None
