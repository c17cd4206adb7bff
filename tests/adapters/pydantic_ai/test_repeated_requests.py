"""A request is written as if nothing had come before it, whatever it has in common with the last one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.adapters.pydantic_ai.requests import body_of_request
from ringfence.dsl.canonical import canonical
from ringfence.engine.decision.events import ModelAsked, body_of
from ringfence.engine.journal.queued import encoded
from ringfence.engine.journal.repeated import Repeated

_messages: st.SearchStrategy[list[Any]] = st.lists(
    st.dictionaries(
        st.sampled_from(["kind", "parts", "é"]),
        st.sampled_from([1, True, 1.0, "1", [], {}, "é", "\ud800", float("nan"), 2**60, None]),
        max_size=3,
    ),
    max_size=4,
)


class _Run:
    """What of a run a request is written with."""

    def __init__(self) -> None:
        self.repeated = Repeated()


@given(st.lists(_messages, max_size=4), _messages)
def test_a_request_is_written_as_if_nothing_had_come_before(requests: list[Any], tools: Any) -> None:
    run: Any = _Run()
    for messages in (one for one in requests for _ in range(2)):
        asked = ModelAsked(
            request="r", model="m", messages=messages, tools=tools, parameters={"a": 1}, parent=None
        )
        body = body_of_request(run, asked)
        if body is None:
            with pytest.raises(ValueError):
                canonical(body_of(asked))
        else:
            assert body == encoded(asked) == canonical(body_of(asked))


def test_what_json_cannot_say_goes_the_general_way() -> None:
    run: Any = _Run()
    odd = ModelAsked(request="r", model="m", messages=["\ud800"], tools=None, parameters=None, parent=None)
    assert body_of_request(run, odd) is None
