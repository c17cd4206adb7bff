"""The laws of the language on random sessions, under plans made by hand and policies written as text."""

from collections.abc import Callable
from random import Random

import pytest

from ringfence.dsl.plan import Verdict
from tests import fuzz, laws
from tests.laws import Counts
from tests.texts import Author, compiled

CASES = 10_000
"""Of law 3, under each kind of policy."""
PARTS = 4


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize(("cases", "a_session"), [(fuzz.cases, fuzz.A_CASE), (laws.cases, laws.A_SESSION)])
def test_no_verdict_becomes_more_permissive_and_no_order_changes_one(
    cases: Callable[[int], Counts], a_session: int, part: int
) -> None:
    sessions = -(-CASES // (a_session * PARTS))
    seen: Counts = {}
    for seed in range(part * sessions, (part + 1) * sessions):
        for pair, times in cases(seed).items():
            seen[pair] = seen.get(pair, 0) + times
    assert sum(seen.values()) > CASES // PARTS
    # The property is about something: verdicts of every kind, fallen and unchanged.
    allow, ask, deny = Verdict.ALLOW, Verdict.ASK, Verdict.DENY
    for expected in ((allow, allow), (allow, deny), (ask, ask), (deny, deny)):
        assert seen[expected] > 20, seen
    assert sum(seen.get(pair, 0) for pair in ((allow, ask), (ask, deny))) > 20, seen


def test_most_random_policies_load() -> None:
    loaded = [compiled(Author(Random(seed)).written())[0] for seed in range(40)]
    assert sum(plan is not None for plan in loaded) > 20
