"""A replay that compares the bytes first, and folds a run by itself, gives what the long way gives."""

from dataclasses import fields, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.engine.decision.calls import NO_FACTS, Facts, Refusal, ToolCall
from ringfence.engine.decision.decide import decide
from ringfence.engine.decision.events import (
    ApprovalAnswered,
    ApprovalAsked,
    CallDecided,
    CallFailed,
    PromptGiven,
    RunResumed,
    RunSuspended,
    Stamped,
    SubrunJoined,
)
from ringfence.engine.decision.lineage import Family, Lineage
from ringfence.engine.decision.records import facts_of, facts_record
from ringfence.engine.decision.state import KnownCall, State
from ringfence.engine.retrospect import replay as module
from ringfence.engine.retrospect.record import RunRecord
from ringfence.engine.retrospect.replay import Fold, decided_again, replay
from tests.engine.retrospect.test_replay import PLAN
from tests.logs import Recorder, entries_of

FACTS = (
    NO_FACTS,
    Facts(reserved=()),
    Facts(reserved=(Refusal("t.day/workspace", "w1", 10**17),)),
    Facts(approved_by={"lead": ("bob",)}),
    Facts(answers={"q": ["gave", 1.5]}, failed="mail"),
)
VALUES: tuple[dict[str, object], ...] = (
    {"x": 1}, {"x": 1.0}, {"x": 60}, {"x": 99}, {"x": 100}, {"x": "é"}, {"x": True}, {}, {"y": [1]},
)  # fmt: skip
CALL = st.tuples(
    st.just("call"), st.sampled_from(VALUES), st.sampled_from(FACTS), st.sampled_from(["t", "?"])
)
OTHER = st.sampled_from(
    [
        ("event", PromptGiven("user", "go")),
        ("event", RunSuspended(())),
        ("event", RunResumed("p2")),
        ("event", SubrunJoined("r9", None, 3)),
        ("event", CallFailed("a0.0", "raised", "boom", 1)),
        ("event", ApprovalAsked("a0.0", "T-1", "lead", None)),
        ("event", ApprovalAnswered("a0.0", "T-1", "approve", "bob", {"x": 61}, None)),
    ]
)


@st.composite
def runs(draw: st.DrawFn) -> Recorder:
    """Any calls, with any facts, and what else happens between them."""
    run = Recorder(PLAN)
    steps: st.SearchStrategy[tuple[Any, ...]] = st.one_of(CALL, OTHER)
    for number, step in enumerate(draw(st.lists(steps, max_size=12))):
        if step[0] == "event":
            run.record(step[1])
        else:
            run.call(f"a{number}.0", dict(step[1]), name=step[3], facts=step[2])
    return run


ALTERED: dict[str, tuple[Any, ...]] = {
    "verdict": ("allow", "deny", "odd"),
    "reasons": ([], None),
    "shadow": ([{"name": "x", "effect": "deny", "place": None, "because": None, "detail": None}],),
    "arguments": ({"x": 1}, {}),
    "digest": ("", "sha256:00"),
    "charges": ([], [{"budget": "t.rate", "key": "r1", "amount": 1.0}]),
    "asks": ((), ("lead",)),
    "label": ("secret",),
    "edited": ({"x": 2},),
    "redacted": (("reasons",),),
    "facts": ({**facts_record(NO_FACTS), "failed": "x"},),
}


def slowly(record: RunRecord) -> RunRecord:
    """The same record, with nothing at hand but its events."""
    return replace(record, bodies={})


@settings(max_examples=150, deadline=None)
@given(run=runs(), data=st.data())
def test_a_run_of_which_anything_was_altered_diverges_as_field_by_field(
    run: Recorder, data: st.DataObject
) -> None:
    events = list(run.events)
    decided = [n for n, one in enumerate(events) if isinstance(one.event, CallDecided)]
    alter = data.draw(st.booleans())
    if alter and decided:
        at = data.draw(st.sampled_from(decided))
        name = data.draw(st.sampled_from(sorted(ALTERED)))
        event: Any = replace(events[at].event, **{name: data.draw(st.sampled_from(ALTERED[name]))})
        events[at] = replace(events[at], event=event)
    record = RunRecord.read(entries_of("r1", events))
    quick = outcome(record)
    assert quick == outcome(slowly(record))


def outcome(record: RunRecord) -> object:
    try:
        return replay(record, PLAN)
    except Exception as error:  # what is told of it is compared, too
        return type(error), str(error)


@settings(max_examples=50, deadline=None)
@given(run=runs())
def test_what_is_as_it_was_recorded_is_found_by_its_bytes(run: Recorder) -> None:
    record = RunRecord.read(run.entries())
    fold = Fold(record, PLAN)
    for stamped in record.events[1:]:
        event = stamped.event
        if isinstance(event, CallDecided):
            body = record.body_of(stamped)
            made = decided_again(PLAN, fold.state, stamped, event, body)
            assert body is not None and isinstance(made, tuple) and made[1] is None
            call = fold.state.calls[event.call].request
            facts = facts_of(event.facts)
            again = decide(PLAN, fold.state, call, facts, now_ns=stamped.at_ns, key=event.call)
            usual = facts == NO_FACTS and call.arguments.keys() <= {"x"} and event.arguments is None
            if usual and type(call.arguments.get("x", 1)) is int:
                assert module._would_be(body, event, call, again, facts, PLAN)
        fold.take(stamped)


def test_an_event_that_was_put_in_the_place_of_the_one_read_has_no_bytes() -> None:
    run = Recorder(PLAN)
    run.call("a.0", {"x": 1})
    record = RunRecord.read(run.entries())
    (at,) = (n for n, one in enumerate(record.events) if isinstance(one.event, CallDecided))
    stamped = record.events[at]
    assert record.body_of(stamped) is not None
    decided: Any = stamped.event
    event = replace(decided, verdict="allow")
    other = Stamped(stamped.seq, stamped.at_ns, event)
    assert record.body_of(other) is None
    events = (*record.events[:at], other, *record.events[at + 1 :])
    assert replay(replace(record, events=events), PLAN).divergence is not None


@settings(max_examples=100, deadline=None)
@given(run=runs())
def test_a_run_by_itself_is_folded_as_with_all_that_it_remembers(run: Recorder) -> None:
    record = RunRecord.read(run.entries())
    family = Family()
    family.tell(record.run, record.tale)
    family.upto[record.run] = record.tale.last
    fold, lineage = Fold(record, PLAN), Lineage(PLAN, family)
    for stamped in record.events:
        fold.reach(stamped.seq)
        assert told(fold.state) == told(lineage.state(record.run, stamped.seq))
    assert told(fold.state) == told(run.state)


def told(state: State) -> dict[str, object]:
    """All that a state says."""
    own = {"plan", "prepared", "recall", "joining", "calls", "below", "ahead", "windows", "open_tickets"}
    said: dict[str, object] = {name: getattr(state, name) for name in State.__slots__ if name not in own}
    for name in ("calls", "below", "ahead"):
        said[name] = {key: known(one) for key, one in getattr(state, name).items()}
    said["windows"] = {key: repr(vars_of(one)) for key, one in state.windows.items()}
    return said


def known(call: KnownCall) -> dict[str, object]:
    said = {name: getattr(call, name) for name in KnownCall.__slots__ if name not in ("_request", "tickets")}
    said["request"] = asked(call.request)
    said["tickets"] = [[getattr(one, f.name) for f in fields(one)] for one in call.tickets]
    return said


def asked(call: ToolCall) -> tuple[object, ...]:
    return (call.tool, dict(call.arguments), call.call_id)


def vars_of(window: object) -> list[object]:
    return [getattr(window, name) for name in type(window).__slots__]  # type: ignore[attr-defined]
