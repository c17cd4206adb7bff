"""People are asked about a call before the framework makes it; the call that is made later is that one."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.decision.events import BudgetRefunded, CallDecided, CallRequested, CallStarted
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import DeniedError, PendingError
from ringfence.testing import FakeClock
from tests.guards import ALICE, POLICY, call, events_of, kinds_of, make_guard

QUIET = POLICY.replace("ask lead rate 50 per hour audit full", "ask lead audit minimal")
LEVELS = """
language 1
policy labels
capability work is read
levels public < secret
approver lead { group "leads" answer within 15 minutes otherwise deny }
tool read { needs work allow always result is secret }
tool send { needs work takes amount: integer deny when amount carries secret allow always result is public }
tool pay {
  needs work takes amount: integer
  deny when amount carries secret allow always ask lead result is public
}
"""


@pytest.fixture
def guard() -> Iterator[Guard]:
    made = make_guard(clock=FakeClock())
    yield made
    made.close()


@pytest.fixture
def run(guard: Guard) -> Run:
    return guard.begin_run(principal=ALICE, agent="main")


def pay(task: str, amount: int = 5, tool: str = "pay") -> ToolCall:
    """Return a call as a framework makes it, in a task of its own."""
    return ToolCall(tool, {"amount": amount}, call_id=task[-2:], task=task)


def echo(arguments: Mapping[str, Any]) -> Any:
    return dict(arguments)


def never(_: Mapping[str, Any]) -> Any:
    raise AssertionError("the body ran")


def asked(guard: Guard, run: Run, one: ToolCall) -> str:
    with pytest.raises(PendingError) as caught:
        guard.ask(run, one)
    (ticket,) = caught.value.tickets
    return ticket


def replays(guard: Guard, run: Run) -> bool:
    return bool(guard.runs.get(run.id).replay().identical)


def put_away(guard: Guard, run: Run) -> Run:
    guard.suspend(run)
    return guard.resume_run(run.id)


def keys(
    guard: Guard, run: Run, kind: type[CallRequested | CallStarted | BudgetRefunded] = CallRequested
) -> list[str]:
    return [event.call for event in events_of(guard, run) if isinstance(event, kind)]


def test_a_look_is_not_recorded_and_reserves_nothing(guard: Guard, run: Run) -> None:
    before = kinds_of(guard, run)
    assert guard.would_ask(run, pay("model/c1"))
    assert not guard.would_ask(run, pay("model/c1", 500)), "the policy denies it"
    assert not guard.would_ask(run, call("look", "c1", what="x")), "the policy allows it"
    assert not guard.would_ask(run, call("nothing"))
    assert kinds_of(guard, run) == before


@pytest.mark.parametrize("away", [False, True])
def test_the_call_that_is_made_goes_on_where_it_was_asked_about(guard: Guard, run: Run, away: bool) -> None:
    ticket = asked(guard, run, pay("model/c1"))
    run = put_away(guard, run) if away else run
    assert asked(guard, run, pay("model/c1")) == ticket, "it is one question, however often it is asked"
    guard.approve(ticket, by="dana")
    assert str(guard.ask(run, pay("model/c1")).verdict) == "ask", "it is decided when it is made"
    run = put_away(guard, run) if away else run
    assert guard.execute(run, pay("tools/c1"), echo, wait=False) == {"amount": 5}
    assert len(set(keys(guard, run))) == 1
    assert len(keys(guard, run, CallStarted)) == 1
    assert asked(guard, run, pay("other/c1")) != ticket, "an approval is used once"
    assert replays(guard, run)


async def test_the_same_for_tasks(guard: Guard, run: Run) -> None:
    with pytest.raises(PendingError) as caught:
        await guard.aask(run, pay("model/c1"))
    await guard.aapprove(caught.value.tickets[0], by="dana")
    await guard.aask(run, pay("model/c1"))
    assert await guard.aexecute(run, pay("tools/c1"), echo, wait=False) == {"amount": 5}


def test_two_equal_calls_are_two_questions_and_each_is_adopted_once(guard: Guard, run: Run) -> None:
    tickets = [asked(guard, run, pay(f"model/{id}")) for id in ("c1", "c2")]
    assert len(set(tickets)) == 2
    for ticket in tickets:
        guard.approve(ticket, by="dana")
    for id in ("c2", "c1"):
        guard.execute(run, pay(f"tools/{id}"), echo, wait=False)
    with pytest.raises(PendingError):
        guard.execute(run, pay("tools/c3"), never, wait=False)
    assert len(set(keys(guard, run, CallStarted))) == 2
    assert replays(guard, run)


def test_a_call_that_was_made_goes_on_as_what_it_was_asked_as_after_every_resume(
    guard: Guard, run: Run
) -> None:
    ticket = asked(guard, run, pay("model/c1"))
    with pytest.raises(PendingError):
        guard.execute(run, pay("tools/c1"), never, wait=False)
    run = put_away(guard, run)
    guard.approve(ticket, by="dana")
    assert guard.execute(run, pay("tools/c1"), echo, wait=False) == {"amount": 5}
    run = put_away(guard, run)
    assert guard.execute(run, pay("tools/c1"), never, wait=False) == {"amount": 5}, "as it is in the record"
    assert asked(guard, run, pay("model/c1")) != ticket, "made again, it is another call"
    assert len(keys(guard, run, CallStarted)) == 1
    assert replays(guard, run)


def test_other_arguments_another_tool_and_another_run_are_another_call(guard: Guard, run: Run) -> None:
    ticket = asked(guard, run, pay("model/c1"))
    guard.approve(ticket, by="dana")
    other = guard.begin_run(principal=ALICE, agent="main")
    for where, one in ((run, pay("t/c1", 6)), (run, pay("t/c1", tool="two")), (other, pay("t/c1"))):
        with pytest.raises(PendingError) as caught:
            guard.execute(where, one, never, wait=False)
        assert ticket not in caught.value.tickets
    unlike = pay("t/c1")._replace(schema_names=frozenset({"amount"}))
    with pytest.raises(PendingError) as caught:
        guard.execute(run, unlike, never, wait=False)
    assert ticket not in caught.value.tickets


def test_what_was_refused_stays_refused_and_is_never_adopted(guard: Guard, run: Run) -> None:
    guard.deny(asked(guard, run, pay("model/c1")), by="dana")
    for _ in range(2):
        with pytest.raises(DeniedError):
            guard.ask(run, pay("model/c1"))
        run = put_away(guard, run)
    with pytest.raises(PendingError):
        guard.execute(run, pay("tools/c9"), never, wait=False)
    assert len(keys(guard, run, BudgetRefunded)) == 1
    assert replays(guard, run)


def test_what_was_withdrawn_is_never_adopted(guard: Guard, run: Run) -> None:
    asked(guard, run, pay("model/c1", tool="two"))
    guard.withdraw(run, keys(guard, run)[0], because="no")
    run = put_away(guard, run)
    with pytest.raises(DeniedError):
        guard.ask(run, pay("model/c1", tool="two"))
    with pytest.raises(PendingError):
        guard.execute(run, pay("tools/c9", tool="two"), never, wait=False)


def test_a_denial_is_counted_once_however_often_it_is_asked_for(guard: Guard, run: Run) -> None:
    for _ in range(3):
        with pytest.raises(DeniedError):
            guard.ask(run, pay("model/c1", 500))
        run = put_away(guard, run)
    assert run.state.denials == 1
    assert replays(guard, run)


@pytest.mark.parametrize("away", [False, True])
def test_an_edit_reaches_the_call_that_is_made(guard: Guard, run: Run, away: bool) -> None:
    guard.approve(asked(guard, run, pay("model/c1")), by="dana", edited={"amount": 7})
    assert dict(guard.ask(run, pay("model/c1")).arguments) == {"amount": 7}
    run = put_away(guard, run) if away else run
    assert guard.execute(run, pay("tools/c1"), echo, wait=False) == {"amount": 7}
    assert replays(guard, run)


def test_each_budget_is_charged_once(guard: Guard, run: Run) -> None:
    for number in range(50):
        ticket = asked(guard, run, pay(f"model{number}/c1"))
        run = put_away(guard, run)
        guard.approve(ticket, by="dana")
        guard.execute(run, pay(f"tools{number}/c1"), echo, wait=False)
    with pytest.raises(DeniedError):
        guard.ask(run, pay("more/c1"))


def test_under_audit_minimal_it_is_adopted_after_a_resume_by_what_its_ticket_shows() -> None:
    guard = make_guard(QUIET, clock=FakeClock())
    run = guard.begin_run(principal=ALICE, agent="main")
    ticket = asked(guard, run, pay("model/c1"))
    run = put_away(guard, run)
    assert asked(guard, run, pay("model/c1")) == ticket
    guard.approve(ticket, by="dana")
    guard.ask(run, pay("model/c1"))
    assert guard.execute(run, pay("tools/c1"), echo, wait=False) == {"amount": 5}
    guard.approve(asked(guard, run, pay("model/c2", 6)), by="dana")
    run = put_away(guard, run)
    for other in (pay("tools/c2", 7), pay("tools/c3", 6)):
        with pytest.raises(PendingError):
            guard.execute(run, other, never, wait=False)
    assert guard.execute(run, pay("tools/c2", 6), echo, wait=False) == {"amount": 6}
    with pytest.raises(PendingError):
        guard.execute(run, pay("more/c2", 6), never, wait=False)
    assert replays(guard, run)
    assert '"amount"' not in str([e for e in events_of(guard, run) if isinstance(e, CallDecided)])
    guard.close()


# ---- an allow that was decided before ------------------------------------------------------------


def test_an_allow_that_was_decided_before_a_label_rose_is_decided_again() -> None:
    guard = make_guard(LEVELS, clock=FakeClock())
    run = guard.begin_run(principal=ALICE, agent="main")
    early, late = (ToolCall("send", {"amount": n}, call_id=f"c{n}") for n in (1, 2))
    assert guard.authorize(run, early).allowed and guard.authorize(run, late).allowed
    assert guard.execute(run, early, echo) == {"amount": 1}
    guard.execute(run, call("read", "c3"), lambda _: "a secret")
    with pytest.raises(DeniedError):
        guard.execute(run, late, never)
    assert replays(guard, run)
    guard.close()


def test_an_approval_from_before_a_label_rose_is_decided_again() -> None:
    guard = make_guard(LEVELS, clock=FakeClock())
    run = guard.begin_run(principal=ALICE, agent="main")
    guard.approve(asked(guard, run, pay("model/c1")), by="dana")
    guard.ask(run, pay("model/c1"))
    guard.execute(run, call("read", "c3"), lambda _: "a secret")
    with pytest.raises(DeniedError):
        guard.execute(run, pay("tools/c1"), never)
    assert replays(guard, run)
    guard.close()


def test_another_process_adopts_from_the_folded_record(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/guard.db"
    first = make_guard(store=url)
    run = first.begin_run(principal=ALICE, agent="main")
    ticket = asked(first, run, pay("model/c1"))
    first.suspend(run)
    first.close()
    second = make_guard(store=url)
    second.approve(ticket, by="dana")
    again = second.resume_run(run.id)
    assert second.execute(again, pay("tools/c1"), echo, wait=False) == {"amount": 5}
    assert replays(second, again)
    second.close()


def test_a_run_that_goes_on_where_the_policy_lies_elsewhere_replays(tmp_path: Path) -> None:
    url, run_id, ticket = f"sqlite:///{tmp_path}/guard.db", "", ""
    for release in ("first", "second"):
        file = tmp_path / release / "shop.fence"
        file.parent.mkdir()
        file.write_text(POLICY, encoding="utf-8")
        guard = make_guard(file, store=url)
        if release == "first":
            run = guard.begin_run(principal=ALICE, agent="main")
            run_id, ticket = run.id, asked(guard, run, pay("model/c1"))
            guard.suspend(run)
        else:
            guard.approve(ticket, by="dana", edited={"amount": 6})
            run = guard.resume_run(run_id)
            assert guard.execute(run, pay("tools/c1"), echo, wait=False) == {"amount": 6}
            assert guard.runs.get(run_id).replay().divergence is None
        guard.close()
