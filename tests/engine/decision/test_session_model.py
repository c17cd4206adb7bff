"""Decisions in whole sessions against the naive model: history, labels, provenance, orders, budgets."""

from random import Random

import pytest

from ringfence.dsl.plan import Verdict
from tests.naive import naive
from tests.sessions import Maker, Session

SESSIONS = 400
STEPS = 40


def compared(seed: int) -> dict[str, int]:
    """Run one session; every decision is the model's."""
    random = Random(seed)
    session = Session(random, Maker(random).plan())
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
        assert int(decision.verdict) == verdict
        assert {reason.name for reason in decision.reasons} == names
        assert (decision.halt.name if decision.halt else None) == halt
        assert decision.label == label
        seen[str(decision.verdict)] = seen.get(str(decision.verdict), 0) + 1
        session.decide(key)
    return seen


@pytest.mark.parametrize("part", range(4))
def test_decisions_in_a_session_are_those_of_the_naive_model(part: int) -> None:
    seen = dict.fromkeys(("deny", "ask", "allow"), 0)
    for seed in range(1_000 + part * SESSIONS // 4, 1_000 + (part + 1) * SESSIONS // 4):
        try:
            found = compared(seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        for verdict, times in found.items():
            seen[verdict] += times
    assert all(times > 25 for times in seen.values()), seen
    assert seen[str(Verdict.ALLOW)] > 200
