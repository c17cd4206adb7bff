import json
import math
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from ringfence.dsl.canonical import LARGEST_INTEGER, canonical, digest, loads_strict

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-LARGEST_INTEGER, LARGEST_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


@given(values)
def test_both_ways_give_the_bytes_of_rfc_8785(value: object) -> None:
    assert canonical(value) == rfc8785.dumps(value)  # type: ignore[arg-type]


@given(st.floats(1e-5, 1e-3) | st.floats(1e15, 1e17) | st.floats(-1e6, 1e6))
@example(0.0001)
@example(9.999999999999999e-05)
@example(-0.0)
@example(9999999999999998.0)
@example(1e16)
@example(2.0)
def test_a_float_is_written_alike_wherever_its_point_stands(number: float) -> None:
    assert canonical([number]) == rfc8785.dumps([number])


@given(st.text(max_size=20), st.sampled_from(["", "x", "\x7f", "é", "\U0001f600", '"', "\\", "\n", "\x1f"]))
def test_a_long_text_is_written_as_a_short_one(text: str, sign: str) -> None:
    long = "long " * 30 + text + sign
    assert canonical(long) == rfc8785.dumps(long)


def read_as_large_integer(number: float) -> bool:
    return number.is_integer() and LARGEST_INTEGER < abs(number) < 1e21


readable = st.recursive(
    scalars.filter(lambda value: not (isinstance(value, float) and read_as_large_integer(value))),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


numbers = (
    st.floats(-1e22, 1e22)
    | st.floats(-1e-3, 1e-3)
    | st.integers(-(10**7), 10**7).map(lambda number: number / 1000)
    | st.integers(-(2**60), 2**60).map(float)
    | st.sampled_from([-0.0, 2.0**53, 2.0**53 - 1, 1 - 2.0**53, 1e16, 1e21, 1e-4, 1e-7])
)


@given(
    st.lists(numbers | st.sampled_from(["a", 1, None, True])),
    st.sampled_from(["a", "é", "\ufb33", "\U0001f600"]),
)
def test_numbers_are_written_as_rfc_8785_writes_them(parts: list[Any], name: str) -> None:
    value = {"b": parts, name: [tuple(parts), {name: parts}]}
    assert canonical(value) == rfc8785.dumps(value)


def test_what_is_written_as_another_number_stays_as_it_was() -> None:
    value = {"whole": 1.0, "rows": [2.0]}
    assert canonical(value) == b'{"rows":[2],"whole":1}'
    assert [type(part) for part in (value["whole"], *value["rows"])] == [float, float]  # type: ignore[misc]


@given(readable)
def test_what_is_written_is_read_back_by_the_strict_reader(value: object) -> None:
    assert canonical(loads_strict(canonical(value))) == canonical(value)


@given(st.dictionaries(st.sampled_from(["\ufb33", "\U0001f600", "é", "a", "\x7f", "\r"]), st.integers(0, 9)))
def test_names_are_sorted_by_utf_16_units(record: dict[str, int]) -> None:
    named = list(json.loads(canonical(record)))
    assert named == sorted(record, key=lambda name: name.encode("utf-16-be"))


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        2**53,
        -(2**53),
        "\ud800",
        {"\udfff": 1},
        {1: 2},
        {"a": 1, 2: 3},
        {1, 2},
        b"bytes",
        object(),
        [[object()]],
    ],
)
def test_what_json_cannot_say_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        canonical(value)


def test_a_value_that_holds_itself_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(ValueError):
        canonical(endless)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":2}',
        '{"a":{"b":1,"b":1}}',
        "NaN",
        "[Infinity]",
        "-Infinity",
        "1e999",
        "9007199254740992",
        "-9007199254740992",
        "1" * 5000,
        '"\\ud800"',
        '{"\\udc00":1}',
        "[" * 101 + "]" * 101,
        "[" * 100_000 + "]" * 100_000,
        "",
        "{",
        "[1,]",
        b"\xff",
        b'"\xed\xa0\x80"',
        "\ufeff1",
        '{"a":1}'.encode("utf-16"),
    ],
)
def test_text_that_two_readers_could_see_differently_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        loads_strict(text)


def test_a_hundred_levels_are_read() -> None:
    assert loads_strict("[" * 100 + "]" * 100) is not None


def test_the_digest_is_that_of_the_canonical_form_whatever_the_order_of_names() -> None:
    assert digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
    assert digest({"a": 1}).startswith("sha256:") and len(digest(1)) == 71
