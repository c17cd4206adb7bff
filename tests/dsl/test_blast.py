"""`blast` says the most that can happen; nobody can do more, and what nothing bounds is said to be so."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.__main__ import main
from ringfence.dsl.blast import Bound, Worst, blast
from ringfence.dsl.load import load_text
from ringfence.engine.decision.budgets import Window

HEAD = """\
language 1
policy p
capability send is external
approver boss { group "b"  never the requester  answer within 10 minutes otherwise deny }
"""


def _worst(text: str) -> Worst:
    plan = load_text(HEAD + text).plan
    assert plan is not None
    (row,) = blast(plan)
    return row


def test_nothing_written_is_unbounded() -> None:
    row = _worst("agent main { holds send }\ntool mail { needs send  allow always }")
    assert (str(row.per_run), str(row.per_day), row.signed) == ("unbounded", "unbounded", "nobody")


def test_a_rate_bounds_the_run_by_its_time_and_the_day_by_its_windows() -> None:
    row = _worst(
        "agent main { holds send  stop after 90 minutes }\n"
        "tool mail { needs send  allow always  rate 10 per hour for each workspace }"
    )
    assert row.per_run == Bound(20, "workspace") and row.per_day == Bound(240, "workspace")


def test_the_tightest_bound_counts() -> None:
    row = _worst(
        "agent main { holds send  stop after 5 minutes  at most 7 calls }\n"
        "tool mail { needs send  allow always  rate 10 per hour  rate 50 per day  rate 8 per run }"
    )
    assert row.per_run == Bound(7) and row.per_day == Bound(50)


def test_a_bound_for_each_value_of_a_parameter_is_no_bound_where_there_is_another() -> None:
    text = "tool mail { needs send  takes to: text  allow always  rate 3 per run for each to %s }"
    row = _worst(
        "agent main { holds send  at most 40 calls }\n"
        + text % "rate 2 per hour for each to  rate 90 per day"
    )
    assert row.per_run == Bound(40) and row.per_day == Bound(90)
    row = _worst("agent main { holds send }\n" + text % "rate 2 per hour for each to")
    assert row.per_run == Bound(3, "to") and row.per_day == Bound(48, "to")


def test_waiting_for_people_makes_a_run_longer() -> None:
    text = (
        "tool mail {{ needs send  allow always  ask boss  rate 1 per minute }}\n"
        "agent main {{ holds send  stop after 5 minutes {} }}"
    )
    asked = _worst(text.format(" at most 3 approval requests"))
    assert asked.per_run == Bound(5 + 3 * 10) and asked.signed == "always" and asked.by == ("boss",)
    assert _worst(text.format("")).per_run == Bound(None)


def test_a_rate_per_run_bounds_no_day() -> None:
    row = _worst("agent main { holds send }\ntool mail { needs send  allow always  rate 3 per run }")
    assert row.per_run == Bound(3) and row.per_day == Bound(None)


def test_a_tool_that_nobody_holds_can_do_nothing() -> None:
    row = _worst(
        "capability other is read\nagent main { holds other }\ntool mail { needs send  allow always }"
    )
    assert row.per_run == Bound(0) and row.per_day == Bound(0)


@given(limit=st.integers(1, 5), minutes=st.integers(1, 90), gaps=st.lists(st.integers(0, 1800), max_size=60))
def test_no_history_holds_more_than_is_said(limit: int, minutes: int, gaps: list[int]) -> None:
    row = _worst(
        f"agent main {{ holds send  stop after {minutes} minutes }}\n"
        f"tool mail {{ needs send  allow always  rate {limit} per hour }}"
    )
    window, now, taken = Window(), 0, 0
    hour = 3_600_000_000_000
    for gap in gaps:
        now += gap * 1_000_000_000
        if now >= minutes * 60_000_000_000:
            break
        if window.has_room(1, limit, hour, now_ns=now):
            window.hold(1, hour, now_ns=now)
            window.stamp(1, hour, at_ns=now)
            taken += 1
    assert row.per_run.count is not None and taken <= row.per_run.count


def test_the_command_prints_a_row_a_tool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = tmp_path / "p.fence"
    policy.write_text(HEAD + "tool mail { needs send  allow always }")
    assert main(["blast", str(policy)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].split()[:2] == ["tool", "traits"] and "unbounded" in said[1]
    assert main(["blast", str(policy), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)["tools"][0]
    assert row["calls_per_run"] is None and row["signed"] == "nobody"


def test_an_invalid_policy_has_no_blast(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = tmp_path / "p.fence"
    policy.write_text("language 1\npolicy p\ntool mail { alow always }")
    assert main(["blast", str(policy)]) == 3
    assert "E003" in capsys.readouterr().err
