"""Calendars see the time of day in their own zone, and are undecided where the clocks show an hour twice."""

import pytest

from ringfence.dsl.compile.calendars import wall_ns
from ringfence.dsl.compile.closures import condition
from ringfence.dsl.plan import Json, Scope, Truth
from tests.dsl.middle.test_history import clause_of

OFFICE = {"days": [0, 1, 2, 3, 4], "from": "08:00", "to": "18:00", "zone": "Europe/London"}


def during(hours: Json, at: str | None) -> Truth:
    return condition(["during", hours])(Scope({}, {}, wall_ns=None if at is None else wall_ns(at)))


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-11-23 10:00 Europe/London", True),
        ("2026-11-23 08:00 Europe/London", True),
        ("2026-11-23 07:59 Europe/London", False),
        ("2026-11-23 17:59 Europe/London", True),
        ("2026-11-23 18:00 Europe/London", False),
        ("2026-11-22 10:00 Europe/London", False),
        ("2026-11-28 10:00 Europe/London", False),
        ("2026-07-01 07:30 UTC", True),
        ("2026-12-01 07:30 UTC", False),
        ("2026-11-23 02:30 America/Los_Angeles", True),
        ("2026-10-25 01:30 Europe/London", None),
        ("2026-03-29 01:30 Europe/London", None),
        (None, None),
    ],
)
def test_office_hours(at: str | None, expected: Truth) -> None:
    assert during(OFFICE, at) is expected


def test_the_repeated_hour_is_undecided_at_every_instant_of_it() -> None:
    before = wall_ns("2026-10-25 00:59 Europe/London")
    assert before is not None
    night = {**OFFICE, "days": [6], "from": "00:00", "to": "06:00"}
    decide = condition(["during", night])
    minute = 60_000_000_000
    truths = [decide(Scope({}, {}, wall_ns=before + step * minute)) for step in range(123)]
    assert truths == [True] + [None] * 120 + [True] * 2


def test_the_end_of_a_day_may_be_midnight() -> None:
    evening = {**OFFICE, "to": "24:00"}
    assert during(evening, "2026-11-23 23:59 Europe/London") is True
    assert during(evening, "2026-11-24 00:00 Europe/London") is False


@pytest.mark.parametrize("wall", [10**30, -(10**30), "noon"])
def test_a_time_beyond_all_calendars_is_undecided(wall: Json) -> None:
    assert condition(["during", OFFICE])(Scope({}, {}, wall_ns=wall)) is None


def test_days_may_go_round_the_end_of_the_week() -> None:
    core = clause_of("during nights").core
    assert core == ["during", {"days": [0, 5, 6], "from": "00:00", "to": "06:00", "zone": "Europe/London"}]
    assert clause_of("during office").core == ["during", OFFICE]


@pytest.mark.parametrize(
    "text",
    ["", "2026-11-23", "2026-11-23 10:00", "2026-11-23 25:00 UTC", "2026-11-23 10:00 Mars/Base", "x y UTC"],
)
def test_what_is_no_time_of_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"zone|value|data|match"):
        wall_ns(text)
