import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.dsl.canonical import canonical
from ringfence.dsl.plan import Reason, Verdict
from ringfence.engine.decision import events as module
from ringfence.engine.decision.calls import Charge, Decision, Facts, Refusal, ToolCall
from ringfence.engine.decision.events import (
    KINDS,
    ApprovalAsked,
    CallRequested,
    RunEvent,
    RunStarted,
    body_of,
    event_of,
)
from ringfence.engine.decision.records import call_of, decided, facts_of, facts_record, requested
from tests.plans import PLACE

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
counts = st.integers(0, 2**53 - 1)
moments = st.integers(0, 2**62)
json_values = st.recursive(
    st.none() | st.booleans() | counts | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
by_annotation: dict[str, st.SearchStrategy[object]] = {
    "<class 'bool'>": st.booleans(),
    "<class 'str'>": words,
    "<class 'int'>": counts,
    "str | None": st.none() | words,
    "int | None": st.none() | counts,
    "tuple[str, ...]": st.lists(words, max_size=3).map(tuple),
    "tuple[str, ...] | None": st.none() | st.lists(words, max_size=3).map(tuple),
    "tuple[typing.Any, ...]": st.lists(json_values, max_size=3).map(tuple),
    "typing.Any": json_values,
    "collections.abc.Mapping[str, typing.Any]": st.dictionaries(words, json_values, max_size=3),
    "collections.abc.Mapping[str, typing.Any] | None": st.none()
    | st.dictionaries(words, json_values, max_size=3),
}
events = st.sampled_from(sorted(KINDS)).flatmap(
    lambda kind: st.builds(
        KINDS[kind],
        **{
            name: st.none() | moments if name == "expires_ns" else by_annotation[str(annotation)]
            for name, annotation in KINDS[kind].__annotations__.items()
            if name != "kind"
        },
    )
)


@given(events)
def test_a_body_read_back_from_canonical_json_is_the_event(event: RunEvent) -> None:
    assert event_of(event.kind, json.loads(canonical(body_of(event)))) == event


def test_a_moment_beyond_what_json_can_say_is_written_as_text() -> None:
    event = ApprovalAsked("a.0", "T-1", "lead", 1_800_000_000_000_000_000)
    assert body_of(event)["expires_ns"] == "1800000000000000000"
    assert event_of("ApprovalAsked", body_of(event)) == event


def test_an_unknown_kind_and_other_fields_are_refused() -> None:
    with pytest.raises(KeyError):
        event_of("Unheard", {})
    with pytest.raises(TypeError):
        event_of("CallStarted", {"call": "a.0", "extra": 1})


@given(
    st.none() | st.lists(st.builds(Refusal, words, words, st.none() | st.integers(0, 2**62))).map(tuple),
    st.dictionaries(words, st.lists(words, max_size=2).map(tuple), max_size=2),
    st.none() | words,
)
def test_facts_are_read_back_as_they_were(
    reserved: tuple[Refusal, ...] | None, approved_by: dict[str, tuple[str, ...]], failed: str | None
) -> None:
    facts = Facts(reserved, approved_by, {'["f"]': ["gave", 1]}, reserved, failed)
    assert facts_of(json.loads(canonical(facts_record(facts)))) == facts


@given(
    st.dictionaries(words, json_values, max_size=3),
    st.none() | words,
    st.none() | words,
    st.none() | words,
    st.none() | st.frozensets(words, max_size=3),
)
def test_a_call_is_read_back_as_it_was(
    arguments: dict[str, object],
    call_id: str | None,
    task: str | None,
    attempt: str | None,
    schema_names: frozenset[str] | None,
) -> None:
    call = ToolCall("t", arguments, call_id, task, attempt, schema_names)
    event = event_of("CallRequested", json.loads(canonical(body_of(requested("a.0", call)))))
    assert isinstance(event, CallRequested) and call_of(event) == call


def test_arguments_that_may_not_be_shown_are_replaced_and_said_to_be() -> None:
    stand_in = {"$digest": "d", "$size": 9}
    event = requested("a.0", ToolCall("t", {"x": 1}), withheld="too large", arguments=stand_in)
    assert event.arguments == stand_in and event.withheld == "too large"


def made(arguments: dict[str, object]) -> Decision:
    reasons = (Reason("t.allow", "allow", PLACE, "why"),)
    return Decision(Verdict.ALLOW, reasons, arguments, charges=(Charge("b", "k", 1, 5, None),))


def test_a_decision_is_recorded_with_its_reasons_charges_and_digest() -> None:
    event = decided("a.0", ToolCall("t", {"x": 1}), made({"x": 1}), Facts())
    assert event.verdict == "allow" and event.arguments is None
    assert event.reasons == [
        {"name": "t.allow", "effect": "allow", "place": "test.fence:1:1", "because": "why", "detail": None}
    ]
    assert event.charges == [{"budget": "b", "key": "k", "amount": 1}]
    assert event.digest.startswith("sha256:")


def test_canonical_arguments_are_recorded_where_they_differ_and_true_is_not_one() -> None:
    assert decided("a.0", ToolCall("t", {"x": 1}), made({"x": True}), Facts()).arguments == {"x": True}
    assert decided("a.0", ToolCall("t", {"x": 1.0}), made({"x": 1}), Facts()).arguments is None


def test_a_decision_about_arguments_that_are_no_json_is_recorded_with_the_empty_digest() -> None:
    event = decided("a.0", ToolCall("t", {"x": object()}), made({"x": object()}), Facts())
    assert event.digest == "" and event.arguments is None


def test_a_run_of_an_older_log_began_before_every_order_to_stop() -> None:
    began = RunStarted(
        "s", None, "main", {}, (), "shop", "sha256:0", "", "enforce", "python", None, None, None, orders=7
    )
    body = body_of(began)
    assert event_of("RunStarted", body) == began
    del body["orders"]
    older = event_of("RunStarted", body)
    assert isinstance(older, RunStarted) and older.orders == 0


def outcome(make: Callable[[str, Mapping[str, Any]], RunEvent], kind: str, body: Mapping[str, Any]) -> object:
    """What comes of reading a body: the class of each value, too; of an error its class."""
    try:
        event = make(kind, body)
    except (KeyError, TypeError, ValueError) as error:
        return type(error)
    said = [(one.name, getattr(event, one.name)) for one in fields(event)]
    return type(event), [(name, type(value), value) for name, value in said]


@given(events, st.data())
def test_a_body_that_says_the_usual_is_read_as_any_other(event: RunEvent, data: st.DataObject) -> None:
    body = json.loads(canonical(body_of(event)))
    for _ in range(data.draw(st.integers(0, 2))):
        names = [*body, "edited", "redacted", "ahead", "unheard"]
        name = data.draw(st.sampled_from(names))
        if name in body and data.draw(st.booleans()):
            del body[name]
        else:
            body[name] = data.draw(json_values)
    assert outcome(event_of, event.kind, body) == outcome(module._of_any, event.kind, body)


def test_an_event_of_a_usual_body_cannot_be_changed() -> None:
    event = event_of("CallStarted", {"call": "a.0"})
    with pytest.raises(AttributeError):
        event.call = "b.0"  # type: ignore[union-attr, misc]
