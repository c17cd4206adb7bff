"""A word that is given inside of a framework answers one question, of somebody whom the host has verified."""

import pytest

from ringfence.engine.binding.questions import answer, questions_of
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import DeniedError, PendingError
from tests.guards import ALICE, call, make_guard


def waiting(guard: Guard) -> tuple[Run, PendingError]:
    run = guard.begin_run(principal=ALICE, agent="main", session="s")
    with pytest.raises(PendingError) as raised:
        guard.execute(run, call("both", amount=5), dict, wait=False)
    return run, raised.value


def still_open(guard: Guard, run: Run) -> list[str]:
    return [one.approver for one in run.state.open_tickets.values() if one.answer is None]


def test_the_questions_of_a_call_say_whom_they_ask_and_what_would_be_executed() -> None:
    guard = make_guard()
    run, pending = waiting(guard)
    asked = questions_of(run, "both", "c1", pending)
    assert [(one.approver, one.tool, one.arguments, one.call_id) for one in asked] == [
        ("lead", "both", {"amount": 5}, "c1"),
        ("owner", "both", {"amount": 5}, "c1"),
    ]
    assert tuple(one.ticket for one in asked) == pending.tickets
    guard.close()


@pytest.mark.parametrize("by", [None, "", True, 1, ["dana"]])
def test_whoever_is_no_name_answers_nothing(by: object) -> None:
    guard = make_guard()
    run, pending = waiting(guard)
    assert not answer(guard, pending.tickets, by)
    assert still_open(guard, run) == ["lead", "owner"]
    guard.close()


def test_one_word_answers_the_first_question_that_takes_it_and_no_other() -> None:
    guard = make_guard(groups={"leads": ["dana"], "owners": ["dana", "olga"]})
    run, pending = waiting(guard)
    assert not answer(guard, pending.tickets, "mallory")
    assert answer(guard, pending.tickets, "dana")
    with pytest.raises(PendingError) as again:
        guard.execute(run, call("both", amount=5), dict, wait=False)
    assert again.value.tickets == pending.tickets[1:]
    guard.close()


def test_a_no_is_a_no() -> None:
    guard = make_guard()
    run, pending = waiting(guard)
    assert answer(guard, pending.tickets, "olga", approves=False, because="not today")
    with pytest.raises(DeniedError):
        guard.execute(run, call("both", amount=5), dict, wait=False)
    guard.close()
