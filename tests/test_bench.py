"""The bench measures what it says; how fast that is, no test asks."""

import pytest
from bench.decisions import decider
from bench.harness import Row
from bench.policies import calls_for, plan_of, policy_text, text_of_lines
from bench.whole import whole_text

from ringfence.dsl.load import load_text


def test_most_calls_of_the_workload_are_allowed_and_the_rest_is_refused_in_every_way() -> None:
    decide = decider(plan_of(8))
    verdicts = [str(decide(call).verdict) for call in calls_for(8, count=400).all]
    assert 300 < verdicts.count("allow") < 340
    assert set(verdicts) == {"allow", "deny", "unknown"}


def test_the_calls_that_are_said_to_be_allowed_all_are() -> None:
    decide = decider(plan_of(8))
    assert all(decide(call).allowed for call in calls_for(8, count=100).allowed)


@pytest.mark.parametrize("lines", [100, 500])
def test_a_policy_of_the_whole_language_of_so_many_lines_loads(lines: int) -> None:
    text = whole_text(lines)
    assert lines * 0.8 < text.count("\n") < lines * 1.2
    assert load_text(text).plan is not None


@pytest.mark.parametrize("lines", [100, 500])
def test_a_policy_of_so_many_lines_has_about_so_many(lines: int) -> None:
    assert lines <= text_of_lines(lines).count("\n") < lines * 1.2


def test_a_policy_without_rates_charges_nothing() -> None:
    assert "rate" not in policy_text(3, rate=False)


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (Row("a", 2.0, "us", 3.0), True),
        (Row("a", 4.0, "us", 3.0), False),
        (Row("a", 4.0, "1/s", 3.0, at_least=True), True),
        (Row("a", 4.0, "us"), None),
    ],
)
def test_a_row_says_whether_its_goal_is_met(row: Row, met: bool | None) -> None:
    assert row.met is met
