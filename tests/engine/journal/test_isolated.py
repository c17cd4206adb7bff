"""What code in an isolate was given can be had again from the record, to the byte, or the record says not."""

import json
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.dsl.canonical import canonical
from ringfence.engine.decision.events import CallFinished, body_of, event_of
from ringfence.engine.journal.isolated import digest_of_text, fulfilled, handed, judged, rejected
from ringfence.engine.journal.jsonable import jsonable
from ringfence.engine.journal.tales import decode
from ringfence.engine.seams.isolates import IsolateOutcome

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary(max_size=5)
    | st.builds(object)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=4)
        | st.sets(st.integers() | st.text(max_size=3), max_size=3)
    ),
    max_leaves=12,
)


def recorded(value: Any) -> Any:
    """Return a result as it comes out of the log."""
    body = canonical(body_of(CallFinished("k", jsonable(value), None, 1)))
    event = event_of("CallFinished", decode(body.decode()))
    assert isinstance(event, CallFinished)
    return event.result


@given(values)
def test_the_recorded_result_gives_the_text_that_the_code_was_given(value: Any) -> None:
    text = handed(value)
    json.loads(text)
    said = fulfilled(text, value, keyed=False)
    again = canonical(recorded(value)).decode()
    assert said == {"result": digest_of_text(again)} and again == text


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("value", ["x" * 1_100_000, nested(60), {"a": ["é" * 700_000]}])
def test_what_the_log_does_not_hold_whole_is_said_to_be_withheld(value: Any) -> None:
    text = handed(value)
    assert json.loads(text) == value
    assert canonical(recorded(value)).decode() != text
    assert fulfilled(text, value, keyed=False) == {
        "result": "sha256:" + sha256(text.encode()).hexdigest(),
        "withheld": "too large or too deep",
    }


def test_a_private_result_leaves_no_digest() -> None:
    assert fulfilled("1", 1, keyed=True) == {"result": None, "withheld": "keyed"}


@pytest.mark.parametrize("text", ["no", "", "é\u2028"])
def test_the_words_of_a_refusal_are_kept(text: str) -> None:
    assert rejected(text) == {"error": text}


@pytest.mark.parametrize("text", ["x" * 5000, "\ud800"])
def test_words_that_the_log_cannot_hold_are_described(text: str) -> None:
    assert isinstance(rejected(text)["error"], dict)


@pytest.mark.parametrize(
    ("result", "failure"),
    [
        (None, "executor"),
        ("{", "not JSON"),
        ("NaN", "not JSON"),
        ('{"a":1,"a":1}', "not JSON"),
        ('"\ud800"', "not JSON"),
        ("[" * 200 + "]" * 200, "not JSON"),
        ('"' + "x" * 1000 + '"', "output"),
    ],
)
def test_what_is_no_result_is_a_failure(result: str | None, failure: str) -> None:
    outcome, value = judged(IsolateOutcome(result), 500)
    assert (outcome.failure, outcome.result, value) == (failure, None, None)
