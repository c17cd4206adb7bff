"""What comes again is written as before, and what only looks alike is not."""

import array
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ringfence.dsl.canonical import canonical
from ringfence.engine.decision.events import ModelAsked, body_of
from ringfence.engine.journal.jsonable import jsonable
from ringfence.engine.journal.repeated import Repeated, asked_body

_ALIKE: list[Any] = [
    1, True, 1.0, "1", 0, False, 0.0, -0.0, "", None, (), [], {}, set(), frozenset(), "a", b"a",
    bytearray(b"a"),
    array.array("b", [97]), array.array("B", [97]), 2**60, float("nan"), float("inf"), "\ud800", "é", 97,
]  # fmt: skip
_parts = st.recursive(
    st.sampled_from(_ALIKE),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.sampled_from(["a", "b", "é", 1, True, 1.5, "1", None]), inner, max_size=3)
    ),
    max_leaves=6,
)
_requests = st.lists(st.lists(_parts, max_size=4), max_size=5)


@given(_requests, st.sampled_from([None, "m", "\ud800"]), _parts)
def test_a_request_is_written_as_if_nothing_had_come_before(
    requests: list[list[Any]], model: str | None, parameters: Any
) -> None:
    repeated = Repeated()
    for request in [one for one in requests for _ in range(2)]:
        tools, *messages = repeated.parts([("tools", request), *request], lambda one: one, jsonable)
        asked = ModelAsked(
            request="r",
            model=model,
            messages=[part.said for part in messages],
            tools=tools.said,
            parameters=jsonable(parameters),
            parent=None,
        )
        assert canonical(asked.messages) == canonical([jsonable(one) for one in request])
        body = asked_body(asked, messages, tools)
        if model == "\ud800":
            assert body is None, "the general way describes it"
        else:
            assert body == canonical(body_of(asked))


def test_a_part_is_asked_for_once_while_it_stays_as_it_is_whatever_else_is_said() -> None:
    asked: list[object] = []

    def say(value: object) -> object:
        asked.append(value)
        return jsonable(value)

    repeated, one, other = Repeated(), {"content": ["first"]}, {"content": ["second"]}
    for request in ([one], [other, one], [other], [one], [dict(one)]):
        repeated.parts(request, lambda value: value, say)
    assert asked == [one, other], "of two conversations that take turns, each is remembered"
    one["content"].append("more")
    (part,) = repeated.parts([one], lambda value: value, say)
    assert part.said == {"content": ["first", "more"]} and len(asked) == 3


def test_nothing_is_kept_of_what_was_not_said_in_the_last_two_requests() -> None:
    repeated = Repeated()
    for number in range(10):
        repeated.parts([number, "always"], lambda value: value, jsonable)
    assert len(repeated._last) + len(repeated._before) == 4


def test_what_is_more_than_plain_values_is_always_asked() -> None:
    class Odd:
        def __init__(self) -> None:
            self.said = 0

        def __repr__(self) -> str:
            self.said += 1
            return f"said {self.said}"

    odd, repeated = Odd(), Repeated()
    texts = [repeated.parts([[odd]], lambda value: value, jsonable)[0].written for _ in range(2)]
    assert texts[0] != texts[1]


def test_what_is_nested_without_end_is_described() -> None:
    deep: list[Any] = []
    for _ in range(1_500):
        deep = [deep]
    itself: list[Any] = []
    itself.append(itself)
    repeated = Repeated()
    for _ in range(2):
        parts = repeated.parts([deep, itself], lambda value: value, jsonable)
        assert [part.written for part in parts] == [canonical(jsonable(one)) for one in (deep, itself)]
