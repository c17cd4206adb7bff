"""A contrary with a closure of its own says what the general negation says, undecided included."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.dsl.compile.closures import condition
from ringfence.dsl.plan import Json, Scope

X, LOW, HIGH = ["arg", "x"], ["const", 2], ["const", 5]
SHAPES: list[Json] = [
    ["in", X, ["const", ["a", "b", 3]]],
    ["matches", X, "[a-c]+"],
    ["every", "one", X, ["in", ["var", "one"], ["const", ["a", "b"]]]],
    ["and", [">=", X, LOW], ["<=", X, HIGH]],
    ["and", [">=", X, ["const", "a"]], ["<=", X, ["const", "b"]]],
    ["and", [">=", X, LOW], ["<=", ["arg", "y"], HIGH]],
    ["and", [">=", X, LOW], ["<", X, HIGH]],
    ["in", ["lower", X], ["const", ["a"]]],
    ["matches", ["lower", X], "[a-c]+"],
    ["<=", ["bytes", X], HIGH],
]
given_values = (
    st.none()
    | st.booleans()
    | st.integers(0, 7)
    | st.floats(0, 7)
    | st.sampled_from(["a", "b", "c", "abc", "x"])
    | st.lists(st.sampled_from(["a", "b", "z", 3, []]), max_size=3)
)


@pytest.mark.parametrize("core", SHAPES, ids=str)
@given(arguments=st.dictionaries(st.sampled_from(["x", "y"]), given_values))
def test_a_contrary_is_the_negation(core: Json, arguments: dict[str, Json]) -> None:
    truth = condition(core)(Scope(arguments, {}))
    contrary = condition(["not", core])(Scope(arguments, {}))
    assert contrary is (None if truth is None else not truth)


@pytest.mark.parametrize("core", SHAPES[3:5], ids=str)
@given(arguments=st.dictionaries(st.sampled_from(["x", "y"]), given_values))
def test_a_range_is_both_its_bounds(core: Json, arguments: dict[str, Json]) -> None:
    scope = Scope(arguments, {})
    both = [condition(part)(scope) for part in core[1:]]
    expected = False if False in both else None if None in both else True
    assert condition(core)(scope) is expected
