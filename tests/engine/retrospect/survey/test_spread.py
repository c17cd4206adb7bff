"""Durations: exact by the nearest rank, and in bounded memory with a known error."""

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.engine.retrospect.survey import spread
from ringfence.engine.retrospect.survey.spread import Durations

NUMBERS = st.lists(st.integers(0, 2**53), min_size=1, max_size=60)


def rank(numbers: list[int], share: float) -> int:
    return sorted(numbers)[ceil(len(numbers) * share) - 1]


def of(numbers: list[int]) -> Durations:
    durations = Durations()
    for number in numbers:
        durations.add(number)
    return durations


@given(NUMBERS)
def test_few_durations_are_told_exactly(numbers: list[int]) -> None:
    found = of(numbers).spread
    assert found is not None and found.exact
    assert (found.count, found.longest_ns) == (len(numbers), max(numbers))
    assert (found.median_ns, found.p95_ns) == (rank(numbers, 0.5), rank(numbers, 0.95))


@given(NUMBERS)
def test_of_many_the_error_is_at_most_a_64th_and_the_longest_is_exact(numbers: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spread, "EXACT", 5)
        found = of(numbers).spread
        assert found == of(numbers[::-1]).spread
    assert found is not None and found.exact == (len(numbers) <= 5)
    assert found.longest_ns == max(numbers)
    for said, exact in ((found.median_ns, rank(numbers, 0.5)), (found.p95_ns, rank(numbers, 0.95))):
        assert exact <= said <= exact + exact // 64


def test_of_none_nothing_is_known() -> None:
    assert Durations().spread is None


def test_many_durations_take_no_more_memory_than_there_are_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread, "EXACT", 10)
    durations = of([number * 1_000 for number in range(20_000)])
    assert durations._each is None
    assert len(durations._classes) < 1_000
