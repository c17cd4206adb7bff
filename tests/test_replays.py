"""Every run of the suite is replayed: what is altered fails, what cannot be decided again is counted."""

import json
from dataclasses import replace
from typing import Any

import pytest

from ringfence.engine.decision.events import CallRequested, RunEnded, Stamped
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.ports import Entry
from tests.backtests import Limits, recorded
from tests.guards import ALICE, call, events_of, make_guard
from tests.logs import entries_of
from tests.replays import BY_HAND, ELSEWHERE, KEPT, Kept, Tally, replayed

PLAN = Limits().plan


def run_of(*numbers: int) -> list[Stamped]:
    return recorded(PLAN, "s1", numbers).events


def told(*runs: list[Entry]) -> tuple[list[str], Tally]:
    tally = Tally()
    return replayed(runs, tally), tally


def test_a_run_as_it_was_made_is_identical() -> None:
    wrong, tally = told(entries_of("r1", run_of(1, 95, 85)))
    assert (wrong, tally.runs, tally.decisions) == ([], 1, 3)


def test_a_run_with_an_altered_argument_fails_and_is_named() -> None:
    events = run_of(1, 95)
    at = next(n for n, one in enumerate(events) if isinstance(one.event, CallRequested))
    event: Any = events[at].event
    events[at] = replace(events[at], event=replace(event, arguments={"x": 2}))
    wrong, _ = told(entries_of("r7", events))
    assert len(wrong) == 1 and "run r7: event 3" in wrong[0] and "digest" in wrong[0]


def test_a_run_whose_texts_make_another_policy_fails() -> None:
    events = run_of(1)
    started: Any = events[0].event
    text = started.policy_text.replace("at most 4", "at most 5")
    events[0] = replace(events[0], event=replace(started, policy_text=text))
    wrong, _ = told(entries_of("r1", events))
    assert wrong == ["run r1: its texts make another policy than the one that it began with"]


def test_what_cannot_be_decided_again_is_counted_with_its_reason() -> None:
    events = run_of(1)
    asked: Any = events[1].event
    keyed = replace(asked, arguments={"$keyed": "hmac"}, withheld="keyed")
    wrong, tally = told(entries_of("r1", [events[0], replace(events[1], event=keyed), *events[2:]]))
    assert wrong == [] and tally.withheld == {"keyed": 1}
    odd = replace(keyed, withheld="because")
    wrong, _ = told(entries_of("r1", [events[0], replace(events[1], event=odd), *events[2:]]))
    assert wrong == ["run r1: event 3 is not replayable: because"]


def test_a_run_of_another_process_is_counted() -> None:
    events = run_of(1)
    _, tally = told(entries_of("r1", events)[1:])
    assert (tally.not_decided, tally.runs) == ({ELSEWHERE: 1}, 0)


def test_a_run_without_a_policy_text_is_counted() -> None:
    events = run_of(1)
    started: Any = events[0].event
    events[0] = replace(events[0], event=replace(started, policy_text=""))
    _, tally = told(entries_of("r1", events))
    assert tally.not_decided == {BY_HAND: 1}
    assert "runs not replayable: 1, its policy was made by hand, not from a text" in list(tally.lines())


def test_what_several_processes_have_counted_is_added_up() -> None:
    asked: Any = (events := run_of(1, 95))[1].event
    keyed = replace(events[1], event=replace(asked, withheld="keyed"))
    _, one = told(entries_of("r1", [events[0], keyed, *events[2:]]))
    _, other = told(entries_of("r1", run_of(1)), entries_of("r2", run_of(2))[1:])
    one.add(json.loads(json.dumps(other.told())))
    assert (one.runs, one.decisions, one.withheld) == (2, 2, {"keyed": 1})
    assert one.not_decided == {ELSEWHERE: 1}


def test_two_runs_of_one_name_are_two_runs() -> None:
    kept = Kept()
    for events in (run_of(1), run_of(2, 3)):
        kept.add(entries_of("r1", events))
    assert sorted(len(run) for run in kept.taken()) == [5, 9]
    assert kept.taken() == []


@pytest.fixture
def guard() -> Any:
    made = make_guard()
    yield made
    made.close()


def test_what_a_guard_makes_durable_is_kept_to_its_end(guard: Guard) -> None:
    KEPT.taken()
    with guard.run(principal=ALICE, agent="main") as run:
        guard.execute(run, call("look", what="x"), lambda _: "seen")
    events = events_of(guard, run)
    (kept,) = KEPT.taken()
    assert [one.kind for one in kept] == [one.kind for one in events]
    assert isinstance(events[-1], RunEnded)
    KEPT.add(kept)
