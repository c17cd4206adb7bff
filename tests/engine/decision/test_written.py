"""What is put together from parts is what the general way writes, byte for byte."""

from hypothesis import given
from hypothesis import strategies as st

from ringfence.dsl.canonical import canonical
from ringfence.dsl.plan import Json, Reason, Verdict
from ringfence.dsl.source import Place
from ringfence.engine.decision.calls import Charge, Decision, Facts, Refusal, ToolCall
from ringfence.engine.decision.events import CallFinished, CallStarted, body_of
from ringfence.engine.decision.records import decided, requested
from ringfence.engine.decision.written import (
    decided_body,
    finished_body,
    reason_record,
    reason_text,
    requested_body,
    started_body,
)

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
odd_words = st.text(max_size=8)
maybe = st.none() | words
numbers = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
records = st.dictionaries(words, values, max_size=4)
places = st.none() | st.builds(Place, words, st.integers(1, 99), st.integers(1, 99))
effects = st.sampled_from(["unknown", "deny", "ask", "allow", "halt"])
reasons = st.lists(st.builds(Reason, words, effects, places, maybe, maybe), max_size=3).map(tuple)
charges = st.lists(
    st.builds(
        Charge,
        words,
        words,
        st.integers(-9, 2**53 - 1),
        st.just(5),
        st.none(),
        st.lists(words, max_size=2).map(tuple),
        st.sampled_from(["calls", "attempts", "successes"]),
    ),
    max_size=3,
).map(tuple)


@given(records, maybe, maybe, maybe, maybe, st.none() | st.frozensets(words, max_size=3), words)
def test_a_request(
    arguments: dict[str, Json],
    call_id: str | None,
    task: str | None,
    attempt: str | None,
    parent: str | None,
    schema_names: frozenset[str] | None,
    key: str,
) -> None:
    event = requested(key, ToolCall(key, arguments, call_id, task, attempt, schema_names), parent=parent)
    assert requested_body(event, canonical(arguments)) == canonical(body_of(event))


def test_a_request_whose_arguments_are_withheld_is_not_put_together() -> None:
    event = requested("a.0", ToolCall("t", {}), withheld="keyed", arguments={})
    assert requested_body(event, b"{}") is None


@given(
    words,
    words,
    st.sampled_from(Verdict),
    reasons,
    reasons,
    charges,
    st.lists(words, max_size=2).map(tuple),
    st.none() | st.lists(st.builds(Refusal, words, words, st.none()), max_size=1).map(tuple),
    st.dictionaries(words, st.lists(words, max_size=2).map(tuple), max_size=1),
    st.dictionaries(words, st.tuples(st.just("gave"), values).map(list), max_size=1),
    st.none() | st.lists(st.builds(Refusal, words, words, st.none()), max_size=1).map(tuple),
    maybe,
    st.none() | st.integers(0, 1),
)
def test_a_decision(
    key: str,
    tool: str,
    verdict: Verdict,
    spoke: tuple[Reason, ...],
    shadow: tuple[Reason, ...],
    charged: tuple[Charge, ...],
    asks: tuple[str, ...],
    reserved: tuple[Refusal, ...] | None,
    approved_by: dict[str, tuple[str, ...]],
    answers: dict[str, Json],
    attempted: tuple[Refusal, ...] | None,
    failed: str | None,
    label: int | None,
) -> None:
    facts = Facts(reserved, approved_by, answers, attempted, failed)
    decision = Decision(verdict, spoke, {"x": 1}, charges=charged, asks=asks, shadow=shadow, label=label)
    event = decided(key, ToolCall(tool, {"x": 1}), decision, facts, levels=("low", 'h"igh'))
    usual = not reserved and not attempted and not approved_by and not answers and failed is None
    assert decided_body(event, decision, facts) == (canonical(body_of(event)) if usual else None)


@given(words)
def test_a_dispatch(key: str) -> None:
    assert started_body(CallStarted(key)) == canonical(body_of(CallStarted(key)))


@given(words, values, st.none() | records, st.integers(0, 2**53 - 1))
def test_a_result(key: str, result: Json, truncated: Json, duration_ns: int) -> None:
    event = CallFinished(key, result, truncated, duration_ns)
    assert finished_body(event) == (canonical(body_of(event)) if truncated is None else None)


@given(odd_words)
def test_a_text_that_utf_8_cannot_carry_is_left_to_the_general_way(text: str) -> None:
    fine = text == text.encode("utf-8", "ignore").decode()
    event = requested("a.0", ToolCall("t", {}, call_id=text))
    assert (started_body(CallStarted(text)) is not None) is fine
    assert (requested_body(event, b"{}") is not None) is fine
    assert (finished_body(CallFinished("a.0", text, None, 1)) is not None) is fine


def test_what_is_no_json_is_left_to_the_general_way() -> None:
    assert finished_body(CallFinished("a.0", object(), None, 1)) is None
    assert finished_body(CallFinished("a.0", 1, None, 2**53)) is None


def test_a_reason_is_written_once_and_another_one_made_of_it_anew() -> None:
    reason = Reason("t.allow", "allow", None)
    assert reason_text(reason) is reason_text(reason)
    assert reason_text(reason) == canonical(reason_record(reason)).decode()
    assert reason == Reason("t.allow", "allow", None)
