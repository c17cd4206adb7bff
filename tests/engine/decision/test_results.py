"""Results within their limits."""

import json

import pytest

from ringfence.dsl.plan import Json, Obligations
from ringfence.engine.decision.results import RefusedResultError, bound_result

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


STEPS = Obligations(step_bytes=16)


@pytest.mark.parametrize(
    ("value", "size"), [("", 16), ("a", 16), ("x" * 16, 16), ("x" * 17, 32), ("é" * 8, 16), ("é" * 9, 32)]
)
def test_a_text_is_padded_to_a_whole_number_of_steps(value: str, size: int) -> None:
    bounded = bound_result(value, STEPS)
    assert bounded.value == value + " " * (size - len(value.encode()))
    before = len(value.encode())
    assert bounded.truncated == (None if before == size else {"bytes_before": before, "bytes": size})


@pytest.mark.parametrize("value", [{"a": [1, 2]}, [], None, 7, True, (1, 2)])
def test_another_value_is_handed_over_as_its_json_text_in_steps(value: Json) -> None:
    bounded = bound_result(value, STEPS)
    assert len(bounded.value) == 16
    assert json.loads(bounded.value) == (list(value) if isinstance(value, tuple) else value)


def test_steps_never_go_beyond_the_limit_of_bytes() -> None:
    both = Obligations(max_bytes=40, step_bytes=16)
    sizes = {len(bound_result("x" * n, both).value) for n in range(60)}
    assert sizes == {16, 32, 40}
    assert bound_result("x" * 50, both).truncated == {"bytes_before": 50, "bytes": 40}
    assert bound_result("x" * 33, both).truncated == {"bytes_before": 33, "bytes": 40}


def test_rows_are_cut_before_the_step_is_taken() -> None:
    bounded = bound_result(ROWS, Obligations(max_rows=1, step_bytes=16))
    assert bounded.value == '[{"n":0}]' + " " * 7
    assert bounded.truncated == {"rows_before": 10, "rows": 1, "bytes_before": 9, "bytes": 16}


def test_what_is_no_json_is_refused_where_sizes_go_in_steps() -> None:
    with pytest.raises(RefusedResultError):
        bound_result(object(), STEPS)
