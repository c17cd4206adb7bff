"""Results within their limits."""

import json

import pytest

from ringfence.dsl.plan import Json, Obligations
from ringfence.engine.enforcement.tool_results import RefusedResultError, bound_result

ROWS = [{"n": n} for n in range(10)]


def test_a_result_without_limits_is_left_alone() -> None:
    bounded = bound_result({"a": 1}, Obligations())
    assert (bounded.value, bounded.truncated) == ({"a": 1}, None)


def test_rows_beyond_the_limit_are_cut_and_the_cut_is_told() -> None:
    bounded = bound_result(ROWS, Obligations(max_rows=3))
    assert (bounded.value, bounded.truncated) == (ROWS[:3], {"rows_before": 10, "rows": 3})
    assert bound_result(ROWS, Obligations(max_rows=10)).truncated is None


def test_a_text_that_is_a_json_list_counts_as_one_and_stays_a_text() -> None:
    bounded = bound_result(json.dumps(ROWS), Obligations(max_rows=2))
    assert json.loads(bounded.value) == ROWS[:2]


@pytest.mark.parametrize("value", ["ten rows", {"rows": ROWS}, None, 7, "[1, 2", "{}"])
def test_no_list_where_rows_are_expected_is_refused(value: Json) -> None:
    with pytest.raises(RefusedResultError):
        bound_result(value, Obligations(max_rows=3))


def test_bytes_beyond_the_limit_are_cut_between_characters() -> None:
    bounded = bound_result("ä" * 10, Obligations(max_bytes=5))
    assert (bounded.value, bounded.truncated) == ("ää", {"bytes_before": 20, "bytes": 4})


def test_a_list_too_large_loses_whole_rows() -> None:
    bounded = bound_result(ROWS, Obligations(max_bytes=20))
    assert bounded.value == ROWS[:2]
    assert bounded.truncated == {"bytes_before": 81, "bytes": 17, "rows_before": 10, "rows": 2}
    text = bound_result(json.dumps(ROWS), Obligations(max_rows=9, max_bytes=29))
    assert len(text.value) <= 29 and json.loads(text.value) == ROWS[:2]


@pytest.mark.parametrize("value", [{"a": "x" * 100}, 10**60, float("nan"), object()])
def test_what_has_no_end_to_cut_is_refused_when_too_large(value: Json) -> None:
    with pytest.raises(RefusedResultError):
        bound_result(value, Obligations(max_bytes=20))
