"""The laws of the language on random plans with history, labels, provenance, functions and budgets."""

import pytest

from ringfence.dsl.plan import Verdict
from tests.fuzz import A_CASE, cases

CASES = 20_000
PARTS = 4


@pytest.mark.parametrize("part", range(PARTS))
def test_no_verdict_becomes_more_permissive_and_no_order_of_clauses_changes_one(part: int) -> None:
    sessions = -(-CASES // (A_CASE * PARTS))
    seen: dict[tuple[Verdict, Verdict], int] = {}
    for seed in range(part * sessions, (part + 1) * sessions):
        for pair, times in cases(seed).items():
            seen[pair] = seen.get(pair, 0) + times
    assert sum(seen.values()) > CASES // PARTS
    # The property is about something: verdicts of every kind, fallen and unchanged.
    allow, ask, deny = Verdict.ALLOW, Verdict.ASK, Verdict.DENY
    for expected in ((allow, allow), (allow, deny), (ask, ask), (deny, deny)):
        assert seen[expected] > 20, seen
    assert sum(seen.get(pair, 0) for pair in ((allow, ask), (ask, deny))) > 20, seen
