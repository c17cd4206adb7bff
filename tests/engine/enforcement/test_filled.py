"""Defaults of the host's functions: decided with the call that code makes, recorded, left out of a rerun."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.dsl.canonical import canonical
from ringfence.engine.decision.arguments import MOST_BYTES
from ringfence.engine.decision.events import CallRequested, IsolateEnded
from ringfence.engine.enforcement.filled import FillingBody, filled
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.retrospect.record import RunRecord
from ringfence.engine.retrospect.rerun import Prepared, Rerun, prepared, rerun
from tests.guards import ALICE, call
from tests.isolated_tools import executor, guard_of
from tests.isolates import FakeExecutor


def body(arguments: Any) -> Any:
    return [dict(arguments)]


FILLING = FillingBody(body, {"limit": 10, "where": {"a": [1]}})
values = st.none() | st.integers(0, 9) | st.text(max_size=3)


@given(st.dictionaries(st.sampled_from(["limit", "where", "table"]), values))
def test_what_is_missing_or_null_is_filled_in_and_nothing_else(given_: dict[str, Any]) -> None:
    arguments, names = filled(FILLING, canonical(given_).decode())
    assert arguments == {**given_, **{name: FILLING.defaults[name] for name in names}}
    assert names == tuple(name for name in ("limit", "where") if given_.get(name) is None)


@pytest.mark.parametrize("text", ["", "[]", '"a"', '{"a":1,"a":2}', '{"a":NaN}', "[" * 100_000])
def test_what_no_tool_takes_stays_as_the_code_wrote_it(text: str) -> None:
    assert filled(FILLING, text) == (text, ())


def test_what_is_too_large_for_any_tool_is_not_read() -> None:
    text = canonical({"table": "x" * MOST_BYTES}).decode()
    assert filled(FILLING, text) == (text, ())


def test_a_body_without_defaults_leaves_the_text_to_be_read_where_all_are_read() -> None:
    for one in (None, body, FillingBody(body, {})):
        assert filled(one, "{}") == ("{}", ())
    assert FILLING({"limit": 1}) == [{"limit": 1}]


def run_of(fake: FakeExecutor) -> tuple[Guard, RunRecord, Any]:
    guard = guard_of(fake)
    run = guard.begin_run(principal=ALICE)
    bodies = {"db/query": FillingBody(body, {"limit": 7})}
    gave = guard.execute(run, call("run_js", code="limits"), body, inner=bodies)
    guard.end_run(run)
    return guard, guard.runs.get(run.id), gave


def again(record: RunRecord, fake: FakeExecutor) -> Rerun:
    ready = prepared(record)
    assert isinstance(ready, Prepared)
    return asyncio.run(rerun(ready, fake))


def test_what_was_filled_in_is_decided_recorded_and_rerun_without_it() -> None:
    fake = executor()
    guard, record, gave = run_of(fake)
    default = [{"table": "orders", "limit": 7}]
    assert gave == [[{"table": "orders", "limit": 10}], "told: not authorized", default, default]
    inner = [one.event for one in record.events if isinstance(one.event, CallRequested)][1:]
    assert [one.arguments["limit"] for one in inner] == [10, 11, 7, 7]
    (ended,) = (one.event for one in record.events if isinstance(one.event, IsolateEnded))
    told = [said.get("filled") for batch in ended.answers for said in batch]
    assert told == [None, None, ["limit"], ["limit"]]
    assert record.replay().identical
    assert again(record, fake).identical
    guard.close()


def test_a_record_that_hides_what_was_filled_in_diverges() -> None:
    fake = executor()
    guard, record, _ = run_of(fake)
    events = []
    for one in record.events:
        event: Any = one.event
        if isinstance(event, IsolateEnded):
            answers = [
                [{k: v for k, v in said.items() if k != "filled"} for said in b] for b in event.answers
            ]
            event = replace(event, answers=answers)
        events.append(replace(one, event=event))
    came = again(replace(record, events=tuple(events)), fake)
    assert came.divergence is not None and "arguments" in came.divergence.differs
    guard.close()
