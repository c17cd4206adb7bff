"""Arguments as they are read: the quick way and the long way read the same."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.enforcement import requests
from ringfence.engine.enforcement.requests import Given, given
from ringfence.engine.enforcement.runs import Run
from tests.guards import ALICE, make_guard

MOST_BYTES = 60

texts = st.text(max_size=8) | st.sampled_from(["\ud800", "x" * 40])
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**53), 2**53)
    | st.floats()
    | texts
    | st.binary()
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(texts | st.integers(), inner), max_leaves=6
)
arguments = st.dictionaries(st.sampled_from(["what", "to", "é", "\ud800", "a" * 30]) | st.integers(), values)


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    guard = make_guard(limits={"arguments_bytes": MOST_BYTES})
    with guard.run(principal=ALICE) as run:
        yield run
    guard.close()


def both(run: Run, call: ToolCall) -> tuple[Given, Given]:
    """Return the call as the quick way reads it, and as the long way does."""
    quick = given(run, call)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(requests, "_plain", lambda *_: None)
        return quick, given(run, call)


@for_all(arguments, st.sampled_from(["look", "quiet", "nothing"]))
def test_both_ways_read_the_same(run: Run, given_arguments: dict[Any, Any], tool: str) -> None:
    quick, long = both(run, ToolCall(tool, given_arguments, "c1"))
    assert repr(quick) == repr(long)


def test_the_quick_way_leaves_the_callers_values_behind(run: Run) -> None:
    names = ["a", "b"]
    found = given(run, ToolCall("look", {"what": names}, "c1"))
    names.append("c")
    assert found.call.arguments == {"what": ["a", "b"]}


def test_arguments_at_the_limit_are_read_and_beyond_it_are_not(run: Run) -> None:
    for length, withheld in ((MOST_BYTES - 4, None), (MOST_BYTES - 3, "too large")):
        quick, long = both(run, ToolCall("look", {"what": "x" * length}, "c1"))
        assert (quick.withheld, repr(quick)) == (withheld, repr(long))
