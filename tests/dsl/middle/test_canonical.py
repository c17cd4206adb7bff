"""The quick way to canonical JSON gives the bytes of RFC 8785, and refuses what it refuses."""

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from ringfence.dsl.canonical import canonical
from ringfence.dsl.plan import Json

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(value=VALUES)
def test_both_ways_give_the_same_bytes(value: Json) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@given(text=st.text(alphabet=st.characters(max_codepoint=0x7F)))
def test_control_characters_are_escaped_alike(text: str) -> None:
    assert canonical({text: [text]}) == rfc8785.dumps({text: [text]})


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        "\ud800",
        {"\ud800": 1},
        2**53,
        [-(2**53)],
        {1: 2},
        {"a": b"x"},
        ("a", object()),
    ],
)
def test_what_json_cannot_say_is_refused(value: Json) -> None:
    with pytest.raises(ValueError):
        canonical(value)
