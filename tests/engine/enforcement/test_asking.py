"""Calls that wait for people: asked durably, answered once, by the right ones, in time."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ringfence._assembly import assemble
from ringfence.dsl.load import load_text
from ringfence.engine.decision.calls import Principal
from ringfence.engine.decision.events import ApprovalAnswered, CallDecided, PromptGiven, body_of
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.enforcement.tickets import question_of
from ringfence.engine.seams.errors import DeniedError, EngineError, PendingError, RunHaltedError
from ringfence.engine.seams.ports import Ticket
from ringfence.engine.seams.settings import Settings
from ringfence.testing import FakeClock
from tests.guards import ALICE, GROUPS, POLICY, call, events_of, kinds_of, make_guard

PAY = call("pay", "c1", amount=5)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def guard(clock: FakeClock) -> Iterator[Guard]:
    made = make_guard(clock=clock)
    yield made
    made.close()


@pytest.fixture
def run(guard: Guard) -> Run:
    return guard.begin_run(principal=ALICE, agent="main")


def echo(arguments: Mapping[str, Any]) -> Any:
    return dict(arguments)


def never(_: Mapping[str, Any]) -> Any:
    raise AssertionError("the body ran")


def pending(guard: Guard, run: Run, tool: str = "pay", id: str = "c1", amount: int = 5) -> tuple[str, ...]:
    with pytest.raises(PendingError) as caught:
        guard.execute(run, call(tool, id, amount=amount), never, wait=False)
    return caught.value.tickets


def ticket(guard: Guard, id: str) -> Ticket:
    found = guard.opening.submit(guard.opening.ready.tickets.get(id)).result()
    assert found is not None
    return found


def answers(guard: Guard, run: Run) -> list[tuple[str, str | None]]:
    return [(e.verdict, e.by) for e in events_of(guard, run) if isinstance(e, ApprovalAnswered)]


# ---- approve and deny ----------------------------------------------------------------------------


def test_a_call_that_asks_runs_once_approved_and_its_ticket_is_used_up(guard: Guard, run: Run) -> None:
    (id,) = pending(guard, run)
    assert pending(guard, run) == (id,)
    guard.approve(id, by="dana", because="fine")
    assert guard.execute(run, PAY, echo, wait=False) == {"amount": 5}
    assert ticket(guard, id).status == "used"
    assert kinds_of(guard, run)[1:] == [
        "CallRequested",
        "CallDecided",
        "ApprovalAsked",
        "ApprovalAnswered",
        "CallDecided",
        "CallStarted",
        "CallFinished",
    ]
    assert guard.runs.get(run.id).replay().divergence is None


def test_an_approval_is_for_one_execution(guard: Guard, run: Run) -> None:
    (id,) = pending(guard, run)
    guard.approve(id, by="dana")
    guard.execute(run, PAY, echo, wait=False)
    assert pending(guard, run) != (id,)


def test_an_approval_is_for_exactly_these_arguments(guard: Guard, run: Run) -> None:
    (id,) = pending(guard, run)
    guard.approve(id, by="dana")
    assert pending(guard, run, amount=6) != (id,)


def test_a_rejected_call_is_denied_and_refunded(guard: Guard, run: Run) -> None:
    (id,) = pending(guard, run)
    guard.deny(id, by="dana", because="too much")
    with pytest.raises(DeniedError) as caught:
        guard.execute(run, PAY, never, wait=False)
    assert caught.value.model_text == "not authorized"
    assert answers(guard, run) == [("reject", "dana")]


async def test_a_call_waits_in_place_and_is_woken_by_the_answer(guard: Guard) -> None:
    run = await guard.abegin_run(principal=ALICE, agent="main")
    task = asyncio.create_task(guard.aexecute(run, PAY, echo))
    id = await opened(guard)
    await guard.aapprove(id, by="dana")
    assert await task == {"amount": 5}


async def opened(guard: Guard, count: int = 1) -> str:
    while len(found := await asyncio.wrap_future(guard.opening.submit(pending_now(guard)))) < count:
        pass
    return found[-1].id


async def pending_now(guard: Guard) -> list[Ticket]:
    return await guard.opening.ready.tickets.pending()


def test_a_run_is_not_put_away_while_a_question_is_on_its_way_to_the_store(guard: Guard, run: Run) -> None:
    tickets, refused = guard.opening.ready.tickets, []
    store = tickets.open

    async def open_late(ticket: Ticket) -> None:
        def suspend() -> None:
            with pytest.raises(EngineError, match="are in flight") as caught:
                guard.suspend(run)
            refused.append(caught.value)

        await asyncio.to_thread(suspend)
        await store(ticket)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tickets, "open", open_late)
        (id,) = pending(guard, run)
    assert len(refused) == 1
    guard.suspend(run)
    guard.approve(id, by="dana")
    assert guard.execute(guard.resume_run(run.id), PAY, echo, wait=False) == {"amount": 5}


def test_a_thread_waits_in_place_too(guard: Guard, run: Run) -> None:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(guard.execute(run, PAY, echo)))
    thread.start()
    while not (found := guard.opening.submit(pending_now(guard)).result()):
        pass
    guard.approve(found[0].id, by="dana")
    thread.join()
    assert results == [{"amount": 5}]


def test_two_approvers_must_both_approve(guard: Guard, run: Run) -> None:
    first, second = pending(guard, run, "both")
    guard.approve(first, by="dana")
    assert pending(guard, run, "both") == (second,)
    guard.approve(second, by="olga")
    assert guard.execute(run, call("both", "c1", amount=5), echo, wait=False) == {"amount": 5}


def test_each_approver_reads_why_it_is_asked_itself() -> None:
    policy = """
    language 1
    policy desk
    capability act is write
    approver lead { group "leads"  answer within 5 minutes otherwise deny }
    approver privacy { group "privacy"  answer within 5 minutes otherwise deny }
    tool pay { needs act  takes amount: integer  allow always  ask lead because "money leaves" }
    rule seen: ask privacy before pay because "somebody must see it"
    rule silent: ask lead before pay when amount > 3
    """
    guard = make_guard(policy, groups={"leads": ["dana"], "privacy": ["olga"]})
    asked = pending(guard, guard.begin_run(principal=ALICE))
    why = {(ticket(guard, id).approver, ticket(guard, id).because) for id in asked}
    assert why == {("lead", "money leaves"), ("privacy", "somebody must see it")}
    guard.close()


def test_a_refusal_of_one_withdraws_the_question_to_the_other(guard: Guard, run: Run) -> None:
    first, second = pending(guard, run, "both")
    guard.deny(first, by="dana")
    with pytest.raises(DeniedError):
        guard.execute(run, call("both", "c1", amount=5), never, wait=False)
    with pytest.raises(DeniedError, match="no effect"):
        while True:
            guard.approve(second, by="olga")


def test_a_quorum_needs_different_people(guard: Guard, run: Run) -> None:
    (id,) = pending(guard, run, "two")
    guard.approve(id, by="dana")
    with pytest.raises(DeniedError, match="a person answers once"):
        guard.approve(id, by="dana")
    assert pending(guard, run, "two") == (id,)
    guard.approve(id, by="erik")
    assert guard.execute(run, call("two", "c1", amount=5), echo, wait=False) == {"amount": 5}
    assert answers(guard, run) == [("approve", "dana"), ("ignored", "dana"), ("approve", "erik")]
    assert guard.runs.get(run.id).replay().divergence is None


# ---- answers without effect ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by", "why"), [("mallory", "not in the group"), ("alice", "the requester"), ("olga", "not in the group")]
)
def test_the_wrong_person_changes_nothing_and_is_recorded(guard: Guard, run: Run, by: str, why: str) -> None:
    (id,) = pending(guard, run)
    for answer in (guard.approve, guard.deny):
        with pytest.raises(DeniedError, match=why):
            answer(id, by=by)
    assert pending(guard, run) == (id,)
    guard.approve(id, by="dana")
    assert guard.execute(run, PAY, echo, wait=False) == {"amount": 5}
    assert answers(guard, run) == [("ignored", by), ("ignored", by), ("approve", "dana")]


def test_nobody_and_no_ticket_are_refused(guard: Guard, run: Run) -> None:
    (id,) = pending(guard, run)
    with pytest.raises(DeniedError, match="name of a person"):
        guard.approve(id, by="")
    with pytest.raises(DeniedError, match="no ticket"):
        guard.approve("T-00000000", by="dana")


def test_a_second_and_a_late_answer_change_nothing(guard: Guard, run: Run, clock: FakeClock) -> None:
    (id,) = pending(guard, run)
    guard.approve(id, by="dana")
    with pytest.raises(DeniedError, match="approved already"):
        guard.deny(id, by="erik")
    assert guard.execute(run, PAY, echo, wait=False) == {"amount": 5}
    (late,) = pending(guard, run)
    clock.advance(15 * 60)
    with pytest.raises(DeniedError, match="its time is over"):
        guard.approve(late, by="dana")
    with pytest.raises(DeniedError, match="nobody answered"):
        guard.execute(run, PAY, never, wait=False)
    assert answers(guard, run)[-2:] == [("ignored", "dana"), ("expire", None)]
    assert "BudgetRefunded" in kinds_of(guard, run)


def test_ignored_answers_cannot_fill_the_store(guard: Guard, run: Run) -> None:
    (id,) = pending(guard, run)
    for _ in range(50):
        with pytest.raises(DeniedError):
            guard.approve(id, by="mallory")
    assert len(ticket(guard, id).answers) <= 20


SPELLINGS = ["Dana", "dana ", "d\u200bana", "\uff44ana", "d\u0430na", "d\u00e1na"]


@pytest.mark.parametrize("other", SPELLINGS)
def test_two_spellings_of_a_name_are_not_two_people(clock: FakeClock, other: str) -> None:
    guard = make_guard(clock=clock, groups={**GROUPS, "leads": ["dana", other, "erik"]})
    run = guard.begin_run(principal=ALICE, agent="main")
    (id,) = pending(guard, run, "two")
    guard.approve(id, by="dana")
    with pytest.raises(DeniedError, match="a person answers once"):
        guard.approve(id, by=other)
    assert pending(guard, run, "two") == (id,)
    guard.approve(id, by="erik")
    assert guard.execute(run, call("two", "c1", amount=5), echo, wait=False) == {"amount": 5}
    guard.close()


@pytest.mark.parametrize("requester", [*SPELLINGS, "DANA", "\u202edana"])
def test_the_requester_may_not_answer_under_another_spelling(clock: FakeClock, requester: str) -> None:
    guard = make_guard(clock=clock)
    run = guard.begin_run(principal=Principal(user=requester), agent="main")
    (id,) = pending(guard, run)
    with pytest.raises(DeniedError, match="the requester"):
        guard.approve(id, by="dana")
    guard.approve(id, by="erik")
    guard.close()


def test_a_name_and_a_reason_are_not_without_end(guard: Guard, run: Run) -> None:
    (id,) = pending(guard, run)
    for said in ({"by": "x" * 201}, {"by": "dana", "because": "x" * 4_001}):
        with pytest.raises(DeniedError, match="at most"):
            guard.approve(id, **said)  # type: ignore[arg-type]
    assert ticket(guard, id).answers == ()


@pytest.mark.parametrize(("by", "because"), [("dana", "\ud800"), ("dana\udc80", None)])
def test_half_a_character_stands_in_no_answer(guard: Guard, run: Run, by: str, because: str | None) -> None:
    (id,) = pending(guard, run)
    with pytest.raises(DeniedError, match="are text"):
        guard.approve(id, by=by, because=because)
    assert guard.approve(id, by="dana").answers == (("dana", "approve", None),)


def test_answers_after_the_call_are_in_the_record_of_the_run_when_it_ends(guard: Guard, run: Run) -> None:
    (id,) = pending(guard, run)
    guard.approve(id, by="dana")
    guard.execute(run, PAY, echo, wait=False)
    for by, why in (("erik", "used already"), ("mallory", "used already")):
        with pytest.raises(DeniedError, match=why):
            guard.deny(id, by=by)
    guard.end_run(run)
    assert answers(guard, run) == [("approve", "dana"), ("ignored", "erik"), ("ignored", "mallory")]
    assert [who for who, _, _ in ticket(guard, id).answers] == ["dana", "erik", "mallory"]
    assert guard.runs.get(run.id).replay().divergence is None


@pytest.mark.parametrize(
    ("meanwhile", "status", "ran"),
    [
        ([("mallory", "ignored", "not one of them")], "approved", True),
        ([("dana", "ignored", "twice"), ("mallory", "ignored", "not one of them")], "approved", True),
        ([("erik", "approve", None)], "approved", False),
        ([("erik", "reject", None)], "approved", False),
        ([("mallory", "ignored", "not one of them")], "used", False),
        ([("mallory", "ignored", "not one of them")], "withdrawn", False),
        ([], "used", False),
    ],
)
def test_an_answer_without_effect_does_not_undo_an_approval_that_is_about_to_be_used(
    guard: Guard, run: Run, meanwhile: list[tuple[str, str, str | None]], status: Any, ran: bool
) -> None:
    (id,) = pending(guard, run)
    guard.approve(id, by="dana")
    tickets = guard.opening.ready.tickets
    store = tickets.swap
    left: list[tuple[str, str, str | None] | None] = [*meanwhile] or [None]

    async def swap_late(old: Ticket, new: Ticket) -> bool:
        if new.status == "used" and left:
            came, now = left.pop(0), await tickets.get(id)
            assert now is not None
            answers = now.answers if came is None else (*now.answers, came)
            assert await store(now, replace(now, status=status, answers=answers))
        return await store(old, new)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tickets, "swap", swap_late)
        if ran:
            assert guard.execute(run, PAY, echo, wait=False) == {"amount": 5}
        else:
            with pytest.raises(DeniedError):
                guard.execute(run, PAY, never, wait=False)
    assert not left
    assert ticket(guard, id).status == ("used" if ran else status)
    guard.end_run(run)
    assert answers(guard, run) == [("approve", "dana"), *[(said, who) for who, said, _ in meanwhile]]
    assert guard.runs.get(run.id).replay().divergence is None


def test_answers_about_a_run_that_is_over_have_no_effect(guard: Guard, run: Run) -> None:
    (id,) = pending(guard, run)
    guard.deny(id, by="dana")
    guard.end_run(run)
    swap(guard, id, status="open")
    with pytest.raises(DeniedError, match="its run is over"):
        guard.approve(id, by="erik")
    assert ticket(guard, id).status == "open"


# ---- what an approval is bound to ----------------------------------------------------------------


def swap(guard: Guard, id: str, **changed: Any) -> None:
    old = ticket(guard, id)
    work = guard.opening.ready.tickets.swap(old, replace(old, **changed))
    assert guard.opening.submit(work).result()


@pytest.mark.parametrize(
    "changed",
    [
        {"digest": "sha256:" + "0" * 64},
        {"policy_digest": "sha256:" + "0" * 64},
        {"approver": "owner"},
        {"run": "run-of-another"},
        {"call": "another.0"},
    ],
)
def test_an_approval_of_something_else_approves_nothing(
    guard: Guard, run: Run, changed: dict[str, Any]
) -> None:
    (id,) = pending(guard, run)
    guard.approve(id, by="dana")
    swap(guard, id, **changed)
    (other,) = pending(guard, run)
    assert other != id
    guard.deny(other, by="dana")
    with pytest.raises(DeniedError):
        guard.execute(run, PAY, never, wait=False)


def test_an_approval_of_one_tool_is_none_of_another_with_equal_arguments(guard: Guard, run: Run) -> None:
    (id,) = pending(guard, run, "pay", "c1")
    guard.approve(id, by="dana")
    others = pending(guard, run, "both", "c1")
    assert id not in others


def test_an_approval_in_one_run_is_none_in_another(guard: Guard, run: Run) -> None:
    (id,) = pending(guard, run)
    guard.approve(id, by="dana")
    other = guard.begin_run(principal=ALICE, agent="main")
    assert pending(guard, other) != (id,)


def test_an_approval_under_one_policy_is_none_under_another(tmp_path: Path, clock: FakeClock) -> None:
    url = f"sqlite:///{tmp_path}/ringfence.db"
    before = make_guard(store=url, clock=clock)
    run = before.begin_run(principal=ALICE, agent="main", session="s")
    (id,) = pending(before, run)
    before.approve(id, by="dana")
    before.close()
    after = make_guard(POLICY.replace("rate 50 per hour", "rate 49 per hour"), store=url, clock=clock)
    run = after.begin_run(principal=ALICE, agent="main", session="s")
    assert pending(after, run) != (id,)
    after.close()


# ---- time, edits, halts --------------------------------------------------------------------------


def test_a_question_nobody_answers_is_passed_on_where_the_policy_says_so(
    guard: Guard, run: Run, clock: FakeClock
) -> None:
    (first,) = pending(guard, run, "passed")
    clock.advance(15 * 60)
    (second,) = pending(guard, run, "passed")
    assert (ticket(guard, first).status, ticket(guard, second).approver) == ("expired", "owner")
    guard.approve(second, by="olga")
    assert guard.execute(run, call("passed", "c1", amount=5), echo, wait=False) == {"amount": 5}
    assert guard.runs.get(run.id).replay().divergence is None


def test_the_runs_clock_stands_still_while_only_people_are_waited_for(
    guard: Guard, run: Run, clock: FakeClock
) -> None:
    (id,) = pending(guard, run)
    clock.advance(14 * 60)
    guard.check_live(run)
    guard.approve(id, by="dana")
    assert guard.execute(run, PAY, echo, wait=False) == {"amount": 5}


def test_edited_arguments_are_decided_from_the_start(guard: Guard, run: Run) -> None:
    (id,) = pending(guard, run)
    guard.approve(id, by="dana", edited={"amount": 7})
    assert guard.execute(run, PAY, echo, wait=False) == {"amount": 7}
    (id,) = pending(guard, run)
    guard.approve(id, by="dana", edited={"amount": 700})
    with pytest.raises(DeniedError) as caught:
        guard.execute(run, PAY, never, wait=False)
    assert caught.value.rule == "pay.allow"
    assert guard.runs.get(run.id).replay().divergence is None


def test_of_several_approvals_only_the_editors_survives_an_edit(guard: Guard, run: Run) -> None:
    first, second = pending(guard, run, "both")
    guard.approve(second, by="olga")
    guard.approve(first, by="dana", edited={"amount": 6})
    (again,) = pending(guard, run, "both")
    assert (ticket(guard, again).approver, ticket(guard, again).arguments) == ("owner", {"amount": 6})
    guard.approve(again, by="olga")
    assert guard.execute(run, call("both", "c1", amount=5), echo, wait=False) == {"amount": 6}


def test_one_of_several_people_cannot_edit(guard: Guard, run: Run) -> None:
    (id,) = pending(guard, run, "two")
    with pytest.raises(DeniedError, match="must see the same"):
        guard.approve(id, by="dana", edited={"amount": 6})


def test_edits_that_are_no_json_are_refused(guard: Guard, run: Run) -> None:
    (id,) = pending(guard, run)
    with pytest.raises(EngineError, match="JSON"):
        guard.approve(id, by="dana", edited={"amount": float("nan")})


async def test_a_halt_ends_the_wait_and_frees_what_was_held(guard: Guard) -> None:
    run = await guard.abegin_run(principal=ALICE, agent="main")
    task = asyncio.create_task(guard.aexecute(run, PAY, never))
    id = await opened(guard)
    await guard.akill(run.id)
    with pytest.raises(RunHaltedError):
        await task
    assert answers(guard, run)[-1] == ("withdraw", None)
    with pytest.raises(DeniedError, match="no effect"):
        while True:
            await guard.aapprove(id, by="dana")


async def test_a_cancelled_wait_withdraws_its_question_and_refunds(guard: Guard) -> None:
    run = await guard.abegin_run(principal=ALICE, agent="main")
    task = asyncio.create_task(guard.aexecute(run, PAY, never))
    await opened(guard)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert kinds_of(guard, run)[-2:] == ["ApprovalAnswered", "BudgetRefunded"]


def test_a_new_word_of_the_user_withdraws_open_questions(guard: Guard, run: Run) -> None:
    (id,) = pending(guard, run)
    guard.record(run, PromptGiven("user", "never mind"))
    assert pending(guard, run) != (id,)
    assert answers(guard, run) == [("withdraw", None)]


def test_what_was_approved_while_the_run_was_put_away_is_withdrawn_when_the_user_goes_on_without_it(
    two: Callable[..., Guard],
) -> None:
    scarce = POLICY.replace("ask lead rate 50 per hour", "ask lead rate 1 per hour")
    here = two(scarce)
    run = here.begin_run(principal=ALICE, agent="main", session="s")
    (id,) = pending(here, run)
    here.suspend(run)
    here.approve(id, by="dana")
    there = two(scarce)
    again = there.resume_run(run.id)
    there.record(again, PromptGiven("user", "never mind"))
    assert kinds_of(there, again)[-3:] == ["ApprovalAnswered", "BudgetRefunded", "PromptGiven"]
    while ticket(there, id).status == "approved":
        pass
    assert ticket(there, id).status == "withdrawn"
    (other,) = pending(there, again, id="c2", amount=6)  # there is room for another
    assert other != id
    with pytest.raises(DeniedError, match="withdrawn already"):
        there.approve(id, by="erik")
    assert there.runs.get(run.id).replay().divergence is None


def test_a_question_that_is_taken_back_by_name_gives_back_what_its_call_held(
    two: Callable[..., Guard],
) -> None:
    here = two()
    run = here.begin_run(principal=ALICE, agent="main", session="s")
    (id,) = pending(here, run)
    here.suspend(run)
    there = two()
    again = there.resume_run(run.id)
    there.withdraw(again, ticket(there, id).call, because="the caller gave up")
    assert kinds_of(there, again)[-2:] == ["ApprovalAnswered", "BudgetRefunded"]


def test_the_end_of_a_run_withdraws_open_questions(guard: Guard, run: Run) -> None:
    pending(guard, run)
    guard.end_run(run)
    assert kinds_of(guard, run)[-3:] == ["ApprovalAnswered", "BudgetRefunded", "RunEnded"]


def test_approval_requests_are_capped() -> None:
    guard = make_guard(POLICY.replace("at most 50 denials", "at most 2 approval requests"))
    run = guard.begin_run(principal=ALICE, agent="main")
    pending(guard, run, id="1")
    pending(guard, run, id="2")
    with pytest.raises(RunHaltedError) as caught:
        guard.execute(run, call("pay", "3", amount=5), never, wait=False)
    assert caught.value.rule == "main.requests"
    guard.close()


# ---- from another process, and after a restart ---------------------------------------------------


@pytest.fixture
def two(tmp_path: Path, clock: FakeClock) -> Iterator[Callable[..., Guard]]:
    made: list[Guard] = []

    def another(policy: str = POLICY) -> Guard:
        made.append(make_guard(policy, store=f"sqlite:///{tmp_path}/ringfence.db", clock=clock))
        return made[-1]

    yield another
    for guard in made:
        guard.close()


async def test_an_answer_from_elsewhere_wakes_who_waits_here(two: Callable[..., Guard]) -> None:
    here, there = two(), two()
    run = await here.abegin_run(principal=ALICE, agent="main")
    task = asyncio.create_task(here.aexecute(run, PAY, echo))
    id = await opened(here)
    await there.aapprove(id, by="dana")
    assert await task == {"amount": 5}


def test_a_suspended_run_goes_on_elsewhere_with_its_ticket(two: Callable[..., Guard]) -> None:
    here = two()
    run = here.begin_run(principal=ALICE, agent="main", session="t1")
    assert here.execute(run, call("look", "c0", what="x"), lambda _: "seen") == "seen"
    (id,) = pending(here, run)
    here.suspend(run)
    with pytest.raises(EngineError, match="suspended"):
        here.execute(run, call("look", what="y"), never)
    there = two()
    there.approve(id, by="dana")
    with pytest.raises(DeniedError, match="another principal"):
        there.resume_run(run.id, principal=type(ALICE)(user="mallory"))
    again = there.resume_run(run.id, principal=ALICE)
    assert there.execute(again, call("look", "c0", what="x"), never) == "seen"
    assert there.execute(again, PAY, echo, wait=False) == {"amount": 5}
    assert there.execute(again, call("look", "c0", what="x"), lambda _: "anew") == "anew"
    record = there.runs.get(run.id)
    assert record.replay().divergence is None
    assert sum(isinstance(s.event, CallDecided) for s in record.events) == 4
    assert there.runs.latest(session="t1").run == run.id


def test_a_rejection_stays_a_rejection_after_a_resume(two: Callable[..., Guard]) -> None:
    here = two()
    run = here.begin_run(principal=ALICE, agent="main")
    (id,) = pending(here, run)
    here.suspend(run)
    here.deny(id, by="dana")
    for _ in range(2):
        run = here.resume_run(run.id)
        with pytest.raises(DeniedError):
            here.execute(run, PAY, never, wait=False)
        here.suspend(run)


def test_one_process_at_a_time_holds_a_session(two: Callable[..., Guard]) -> None:
    here, there = two(), two()
    run = here.begin_run(principal=ALICE, agent="main", session="t1")
    here.opening.ready.journal.flush().result()
    with pytest.raises(EngineError, match="another living process"):
        there.begin_run(principal=ALICE, agent="main", session="t1")
    with pytest.raises(EngineError, match="another living process"):
        there.resume_run(run.id)
    here.end_run(run)
    there.begin_run(principal=ALICE, agent="main", session="t1")


def test_runs_that_are_over_or_unknown_do_not_go_on(two: Callable[..., Guard]) -> None:
    here = two()
    run = here.begin_run(principal=ALICE, agent="main")
    assert here.resume_run(run.id) is run
    here.end_run(run)
    with pytest.raises(RunHaltedError):
        here.resume_run(run.id)
    with pytest.raises(EngineError, match="no run"):
        here.resume_run("run-0")


def test_a_run_started_under_another_policy_keeps_its_own(
    two: Callable[..., Guard], tmp_path: Path, clock: FakeClock
) -> None:
    here = two()
    run = here.begin_run(principal=ALICE, agent="main")
    here.suspend(run)
    other = make_guard(
        POLICY.replace('"secret"', '"x"'), store=f"sqlite:///{tmp_path}/ringfence.db", clock=clock
    )
    again = other.resume_run(run.id)
    assert other.execute(again, call("look", what="x"), echo) == {"what": "x"}
    with pytest.raises(DeniedError):
        other.execute(again, call("look", what="secret"), never)
    other.close()


async def test_an_order_to_stop_reaches_runs_of_other_processes(two: Callable[..., Guard]) -> None:
    here, there = two(), two()
    run = await here.abegin_run(principal=ALICE, agent="main")
    begun = asyncio.Event()

    async def body(_: Mapping[str, Any]) -> None:
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(here.aexecute(run, call("look", what="x"), body))
    await begun.wait()
    await there.akill(agent="main", by="olga")
    with pytest.raises(RunHaltedError):
        await task


def test_a_run_killed_while_it_was_put_away_does_not_go_on(two: Callable[..., Guard]) -> None:
    here = two()
    run = here.begin_run(principal=ALICE, agent="main")
    pending(here, run)
    here.suspend(run)
    two().kill(run.id, by="olga")
    again = here.resume_run(run.id)
    with pytest.raises(RunHaltedError):
        here.execute(again, call("look", what="x"), never)


# ---- questions that nobody may answer --------------------------------------------------------------


def test_an_approver_without_a_group_refuses_and_says_what_to_write() -> None:
    plan = load_text(POLICY).plan  # such a text is E105; a plan that comes some other way is held, too
    assert plan is not None
    nobody = {name: replace(one, group=None) for name, one in plan.approvers.items()}
    guard = assemble(replace(plan, approvers=nobody), Settings.of({"store": "memory:"}))
    run = guard.begin_run(principal=ALICE, agent="main")
    with pytest.raises(DeniedError, match='write `group "NAME"`'):
        guard.execute(run, call("both", amount=5), never, wait=False)
    withdrawn = [str(e.because) for e in events_of(guard, run) if isinstance(e, ApprovalAnswered)]
    assert any("names no group" in because for because in withdrawn)
    assert guard.opening.submit(pending_now(guard)).result() == []
    assert guard.runs.get(run.id).replay().divergence is None
    guard.close()


def test_nobody_answers_a_ticket_without_a_group(guard: Guard, run: Run) -> None:
    (id,) = pending(guard, run, "passed")
    old = ticket(guard, id)
    tickets = guard.opening.ready.tickets
    assert guard.opening.submit(tickets.swap(old, replace(old, group=None))).result()
    with pytest.raises(DeniedError, match="names no group"):
        guard.approve(id, by="dana")


@pytest.mark.parametrize("principal", [None, Principal(workspace="w1")])
def test_never_the_requester_needs_a_requester(guard: Guard, principal: Principal | None) -> None:
    run = guard.begin_run(principal=principal, agent="main")
    with pytest.raises(DeniedError, match=r"never the requester.*Principal"):
        guard.execute(run, PAY, never, wait=False)
    assert [e.kind for e in events_of(guard, run)][-3:] == [
        "ApprovalAsked",
        "ApprovalAnswered",
        "BudgetRefunded",
    ]
    assert guard.opening.submit(pending_now(guard)).result() == []


def test_an_answer_without_effect_leaves_the_question_and_the_clock_alone(
    guard: Guard, run: Run, clock: FakeClock
) -> None:
    (id,) = pending(guard, run)
    clock.advance(200)
    with pytest.raises(DeniedError):
        guard.approve(id, by="mallory")
    assert pending(guard, run) == (id,)
    clock.advance(200)  # the run may take five minutes, and waits for most of these
    assert ("ignored", "mallory") in answers(guard, run)
    assert id in run.state.open_tickets
    guard.approve(id, by="dana")
    assert guard.execute(run, PAY, echo, wait=False) == {"amount": 5}


def test_an_edited_call_that_is_put_away_is_not_asked_twice_and_leaves_nothing_taken(
    clock: FakeClock,
) -> None:
    guard = make_guard(
        POLICY.replace("ask lead ask owner audit full", "ask lead ask owner rate 1 per hour audit full"),
        clock=clock,
    )
    run = guard.begin_run(principal=ALICE, agent="main")
    lead = pending(guard, run, "both")[0]
    guard.approve(lead, by="dana", edited={"amount": 6})
    (owner,) = pending(guard, run, "both")
    guard.suspend(run)
    run = guard.resume_run(run.id)
    assert pending(guard, run, "both") == (owner,)
    guard.suspend(run)
    guard.approve(owner, by="olga")
    run = guard.resume_run(run.id)
    assert guard.execute(run, call("both", "c1", amount=5), echo, wait=False) == {"amount": 6}
    with pytest.raises(DeniedError):
        guard.execute(run, call("both", "c2", amount=5), never, wait=False)
    assert guard.runs.get(run.id).replay().divergence is None
    guard.close()


def test_an_edited_call_that_is_put_away_and_dropped_leaves_nothing_taken(clock: FakeClock) -> None:
    guard = make_guard(
        POLICY.replace("ask lead ask owner audit full", "ask lead ask owner rate 1 per hour audit full"),
        clock=clock,
    )
    run = guard.begin_run(principal=ALICE, agent="main")
    guard.approve(pending(guard, run, "both")[0], by="dana", edited={"amount": 6})
    pending(guard, run, "both")
    guard.suspend(run)
    guard.end_run(guard.resume_run(run.id))
    run = guard.begin_run(principal=ALICE, agent="main")
    assert len(pending(guard, run, "both")) == 2
    guard.close()


def test_an_edit_is_taken_once_even_if_it_changes_nothing_or_is_taken_back(guard: Guard, run: Run) -> None:
    (id,) = pending(guard, run)
    guard.approve(id, by="dana", edited={"amount": 5})
    assert guard.execute(run, PAY, echo, wait=False) == {"amount": 5}
    guard.approve(pending(guard, run, "both")[0], by="dana", edited={"amount": 6})
    guard.approve(pending(guard, run, "both")[0], by="olga", edited={"amount": 5})
    (lead,) = pending(guard, run, "both")
    guard.approve(lead, by="erik")
    assert guard.execute(run, call("both", "c1", amount=5), echo, wait=False) == {"amount": 5}


@pytest.mark.parametrize("put_away", [False, True])
def test_a_call_that_is_edited_more_than_once_is_decided_again_as_it_was(
    guard: Guard, run: Run, put_away: bool
) -> None:
    lead, owner = pending(guard, run, "both")
    guard.approve(lead, by="dana", edited={"amount": 6})
    guard.approve(owner, by="olga", edited={"amount": 7})  # at once: the first one is taken
    (owner,) = pending(guard, run, "both")
    guard.approve(owner, by="olga", edited={"amount": 8})
    if put_away:  # the call comes with its first arguments, and each edit is taken once more
        guard.suspend(run)
        run = guard.resume_run(run.id)
    (lead,) = pending(guard, run, "both")
    guard.approve(lead, by="erik")
    assert guard.execute(run, call("both", "c1", amount=5), echo, wait=False) == {"amount": 8}
    decisions = [e for e in events_of(guard, run) if isinstance(e, CallDecided)]
    assert {"amount": 6} in [one.edited for one in decisions]
    assert decisions[0].edited is None and "edited" not in body_of(decisions[0])
    again = guard.runs.get(run.id).replay()
    assert again.identical and again.decisions == len(decisions), str(again.divergence)


SOURCES = """
language 1
policy shop
capability read_data is read
capability send is external
approver lead { group "leads" answer within 15 minutes otherwise deny }
tool contacts { needs read_data allow always rate 100 per run }
tool mail {
  needs send
  takes to: list of email, subject: text, body: text, urgent: boolean optional
  allow always
  ask lead
  rate 100 per run
}
"""


def sources_asked(guard: Guard, run: Run, **arguments: Any) -> Ticket:
    with pytest.raises(PendingError) as caught:
        guard.execute(run, call("mail", **arguments), lambda _: 1, wait=False)
    ticket = guard.opening.loop.submit(guard.opening.ready.tickets.get(caught.value.tickets[0])).result()
    assert ticket is not None
    return ticket


@pytest.mark.parametrize("store", ["memory:", "sqlite:///tickets.db"])
def test_a_ticket_says_where_each_argument_was_found(store: str, tmp_path: Path) -> None:
    if store != "memory:":
        store = f"sqlite:///{tmp_path}/tickets.db"
    guard = make_guard(SOURCES, store=store)
    run = guard.begin_run(principal=ALICE, prompt="Mail ann@acme.example the word urgent-7")
    guard.execute(run, call("contacts"), lambda _: [{"email": "bob@acme.example"}])
    ticket = sources_asked(
        guard, run, to=["ann@acme.example", "bob@acme.example"], subject="urgent-7", body="my own words"
    )
    assert ticket.sources == {
        "to": ("user", "contacts.email"),
        "subject": ("user",),
        "body": ("model",),
    }
    lines = question_of(ticket, run).lines()
    assert "    from: user, contacts.email" in lines
    assert lines[lines.index("    from: user, contacts.email") - 1].startswith("  to = ")
    guard.close()


def test_what_an_approver_wrote_is_said_to_be_the_approvers() -> None:
    other = 'approver other { group "owners" answer within 15 minutes otherwise deny }\n'
    policy = SOURCES.replace("ask lead\n", "ask lead\n  ask other when size(to) == 1\n")
    guard = make_guard(policy.replace("tool contacts", other + "tool contacts"))
    run = guard.begin_run(principal=ALICE, prompt="Mail ann@acme.example")
    arguments = {"to": ["ann@acme.example", "eve@x.example"], "subject": "hi", "body": "x"}
    first = sources_asked(guard, run, **arguments)
    guard.approve(first.id, by="dana", edited={**arguments, "to": ["ann@acme.example"]})
    second = sources_asked(guard, run, **arguments)
    assert second.approver == "other"
    assert second.sources["to"] == ("approver",) and second.sources["body"] == ("model",)
    guard.close()


def test_names_of_sources_are_escaped_and_bounded() -> None:
    guard = make_guard(SOURCES)
    run = guard.begin_run(principal=ALICE)
    rows = [{f"\x1b[2Jfield{n}" + "x" * 200: "ann@acme.example"} for n in range(20)]
    guard.execute(run, call("contacts"), lambda _: rows)
    ticket = sources_asked(guard, run, to=["ann@acme.example"], subject="hi", body="x")
    assert len(ticket.sources["to"]) <= 9 and all(len(name) <= 100 for name in ticket.sources["to"])
    assert "\x1b" not in question_of(ticket, run).text
    guard.close()
