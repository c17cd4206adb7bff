"""Decisions in whole sessions against the naive model: history, labels, provenance, orders, budgets."""

from collections.abc import Callable
from random import Random

import pytest

from ringfence.dsl.plan import Verdict
from tests.naive import naive
from tests.sessions import Maker, Session
from tests.texts import Author, TextSession

STEPS = 40


def by_hand(seed: int) -> Session:
    random = Random(seed)
    return Session(random, Maker(random).plan())


def from_text(seed: int) -> Session:
    random, plan = Random(seed), None
    while plan is None:
        plan = Author(random).written().load().plan
    return TextSession(random, plan)


def compared(session: Session) -> dict[str, int]:
    """Run one session; every decision is the model's."""
    seen: dict[str, int] = {}
    for _ in range(STEPS):
        key = session.step()
        if key is None:
            continue
        decision, facts, full = session.asked(key)
        call = session.calls[key]
        verdict, names, halt, label = naive(
            session.plan,
            session.events,
            key,
            call.tool,
            call.arguments,
            approved=frozenset(facts.approved_by),
            full=full,
            now_ns=session.now_ns,
            session=[*session.earlier, *session.events],
            answers=session.answers,
        )
        assert int(decision.verdict) == verdict, (call, decision.reasons, names)
        assert {reason.name for reason in decision.reasons} == names
        assert (decision.halt.name if decision.halt else None) == halt
        assert decision.label == label
        seen[str(decision.verdict)] = seen.get(str(decision.verdict), 0) + 1
        session.decide(key)
    return seen


SESSIONS: dict[Callable[[int], Session], int] = {by_hand: 400, from_text: 200}


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("begun", [by_hand, from_text])
def test_decisions_in_a_session_are_those_of_the_naive_model(
    begun: Callable[[int], Session], part: int
) -> None:
    seen = dict.fromkeys(("unknown", "deny", "ask", "allow"), 0)
    sessions = SESSIONS[begun] // 4
    for seed in range(1_000 + part * sessions, 1_000 + (part + 1) * sessions):
        try:
            found = compared(begun(seed))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        for verdict, times in found.items():
            seen[verdict] += times
    assert all(times > 3 for verdict, times in seen.items() if verdict != "unknown"), seen
    assert seen[str(Verdict.ALLOW)] > 50
