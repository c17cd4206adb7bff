"""The schema says what every event is, word for word as it was reviewed, and nothing that is none fits it."""

import json
import subprocess
import sys
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.engine.decision import events as e
from ringfence.engine.journal.chain import ZERO, chained
from ringfence.engine.journal.queued import LARGEST_BODY, encoded
from ringfence.engine.journal.schema import schema
from ringfence.engine.seams.hookspecs import Event
from ringfence.engine.seams.ports import Entry
from tests.engine.decision.test_events import by_annotation
from tests.golden.rewrite import event_schema, schema_text
from tests.schemas import faults

SCHEMA = schema()
UNSAYABLE = "lone \ud800 surrogate"


def entry_of(event: e.RunEvent) -> Entry:
    return chained(
        ZERO, run="r1", seq=1, kind=event.kind, schema=e.SCHEMA, at_ns=1_795_000_000_000_000_000, mono_ns=7,
        salt=b"s" * 16, body=encoded(event),
    )  # fmt: skip


def line_of(event: e.RunEvent) -> dict[str, Any]:
    """Return the exported line of an event, read back."""
    read: dict[str, Any] = json.loads(Event.of(entry_of(event)).line())
    return read


def of_kind(kind: str) -> st.SearchStrategy[e.RunEvent]:
    made = e.KINDS[kind]
    moment = st.integers(0, 2**62)
    moments = {"<class 'int'>": moment, "int | None": st.none() | moment}
    drawn = {
        field.name: (moments if field.name in e.TIMES else by_annotation)[str(field.type)]
        for field in fields(made)
    }
    return st.builds(made, **drawn)


def test_the_schema_is_the_one_that_was_reviewed() -> None:
    """After a change that older lines do not fit, raise SCHEMA and keep the old file; then
    `python -m tests.golden.rewrite`."""
    assert schema_text() == event_schema().read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", sorted(e.KINDS))
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_every_event_of_a_kind_fits_it_and_none_of_another_kind(kind: str, data: st.DataObject) -> None:
    line = line_of(data.draw(of_kind(kind)))
    assert faults(line, SCHEMA) == []
    other = data.draw(st.sampled_from(sorted(e.KINDS.keys() - {kind})))
    required = set(SCHEMA["$defs"][other]["required"])
    if not required <= line["body"].keys() or not line["body"].keys() <= set(
        SCHEMA["$defs"][other]["properties"]
    ):
        assert faults({**line, "kind": other}, SCHEMA)


@pytest.mark.parametrize("kind", sorted(e.KINDS))
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_a_body_with_a_field_less_or_one_more_or_of_another_type_does_not_fit(
    kind: str, data: st.DataObject
) -> None:
    line = line_of(data.draw(of_kind(kind)))
    body, definition = line["body"], SCHEMA["$defs"][kind]
    for name in definition["required"]:
        assert faults({**line, "body": {key: body[key] for key in body if key != name}}, SCHEMA), name
    assert faults({**line, "body": {**body, "extra": 1}}, SCHEMA)
    for name, form in definition["properties"].items():
        if form.keys() - {"description"}:  # else any JSON value fits
            assert faults({**line, "body": {**body, name: 1.5}}, SCHEMA), name


def test_a_purged_event_fits_it() -> None:
    purged = entry_of(e.CallStarted("c"))._replace(body=None, salt=b"")
    assert faults(json.loads(Event.of(purged).line()), SCHEMA) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"schema": e.SCHEMA + 1}, {"schema": True}, {"kind": "Unheard"}, {"seq": 0}, {"hash": "00"},
        {"salt": "5"}, {"digest": None}, {"body": []}, {"at_ns": "1"}, {"more": 1}, {"id": "r1"},
    ],
    ids=str,
)  # fmt: skip
def test_an_event_of_another_version_or_with_another_field_does_not_fit(changed: dict[str, Any]) -> None:
    line = line_of(e.CallStarted("c"))
    assert faults(line, SCHEMA) == []
    assert faults({**line, **changed}, SCHEMA)


@pytest.mark.parametrize("name", [field.name for field in fields(Event)])
def test_an_event_lacks_none_of_its_fields(name: str) -> None:
    line = line_of(e.CallStarted("c"))
    del line[name]
    assert faults(line, SCHEMA)


STARTED = e.RunStarted(
    "s", None, "main", {}, (), "shop", "sha256:0", "", "enforce", "python", None, None, None
)


@pytest.mark.parametrize(
    "event",
    [
        e.CallFailed("c", "raised", UNSAYABLE, 2**60),
        e.CallFailed("c", "raised", "x" * LARGEST_BODY, 1),
        e.CallFinished(UNSAYABLE, object(), None, 1),
        e.CallFinished("c", {1, 2}, float("nan"), 1),
        replace(STARTED, principal={"user": object()}, capabilities=(UNSAYABLE, "b")),
        replace(STARTED, capabilities=("x" * LARGEST_BODY,), policy_text="y" * LARGEST_BODY),
        e.RunSuspended((UNSAYABLE,)),
        e.ApprovalAsked("c", "T-1", UNSAYABLE, -5),
    ],
    ids=lambda event: event.kind,
)
def test_what_json_cannot_say_and_what_is_too_large_is_described_and_fits(event: e.RunEvent) -> None:
    line = line_of(event)
    assert "$type" in json.dumps(line["body"])
    assert faults(line, SCHEMA) == []


def test_every_kind_and_every_field_of_an_event_is_in_words() -> None:
    assert all("description" in form for form in SCHEMA["$defs"].values())
    assert all("description" in form for name, form in SCHEMA["properties"].items())


def test_an_interpreter_without_docstrings_says_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-OO", "-m", "ringfence", "schema"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == schema_text()
