import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.dsl.canonical import canonical, same
from ringfence.dsl.load import load_text
from ringfence.dsl.plan import Json, Plan, Scope, Truth, Verdict
from ringfence.engine.decision.calls import Facts, Refusal, ToolCall
from ringfence.engine.decision.events import (
    ApprovalAnswered,
    ApprovalAsked,
    CallDecided,
    CallFailed,
    CallRequested,
    CallStarted,
    PromptGiven,
    RunResumed,
    RunSuspended,
    Stamped,
)
from ringfence.engine.decision.records import requested
from ringfence.engine.retrospect.record import RecordError, RunRecord
from ringfence.engine.retrospect.replay import replay
from tests.logs import Recorder, entries_of
from tests.plans import SECOND_NS, approver, budget, clause, parameter, plan, tool


def at_most(limit: int) -> Plan:
    def small(scope: Scope) -> Truth:
        return bool(scope.arguments["x"] <= limit)

    def large(scope: Scope) -> Truth:
        return bool(scope.arguments["x"] > 50)

    return plan(
        tool(
            "t",
            takes=[parameter("x", kind="integer")],
            allows=[clause("t.allow", "allow", small)],
            asks=[clause("t.ask", "ask", large, approver="lead")],
            budgets=[budget("t.rate", 3), budget("t.day", 9, period_ns=SECOND_NS, scope="workspace")],
        ),
        denials=3,
        requests=2,
        stop_ns=1_000,
        approvers=[approver()],
    )


PLAN = at_most(99)
ROOM = Facts(reserved=())


def recorder() -> Recorder:
    """Allowed, refused by the ledger, unknown, asked and approved over a suspension, denied, halted."""
    run = Recorder(PLAN)
    run.record(PromptGiven("user", "go"))
    run.call("a.0", {"x": 1.0}, facts=ROOM)
    run.call("b.0", {"x": 2}, facts=Facts(reserved=(Refusal("t.day/workspace", "w1", 10**17),)))
    run.call("c.0", {}, name="nothing")
    run.call("d.0", {"x": 60}, facts=ROOM)
    run.record(ApprovalAsked("d.0", "T-1", "lead", run.now_ns + 500))
    run.record(RunSuspended(("T-1",)))
    run.now_ns += 2_000
    run.record(RunResumed("p2"))
    run.record(ApprovalAnswered("d.0", "T-1", "approve", "bob", None, None))
    run.decide("d.0", facts=Facts(reserved=None, approved_by={"lead": ("bob",)}))
    run.call("e.0", {"x": 5}, facts=ROOM)
    return run


def record_of(events: list[Stamped]) -> RunRecord:
    return RunRecord.read(entries_of("r1", events))


def verdicts(run: Recorder) -> list[str]:
    return [s.event.verdict for s in run.events if isinstance(s.event, CallDecided)]


def test_a_run_replays_to_the_decisions_it_recorded() -> None:
    run = recorder()
    assert verdicts(run) == ["allow", "deny", "unknown", "ask", "deny", "deny"]
    again = replay(RunRecord.read(run.entries()), PLAN)
    assert again.identical and again.decisions == 6 and again.not_replayable == ()


def test_an_approved_call_replays_too() -> None:
    run = Recorder(PLAN)
    run.call("d.0", {"x": 60}, facts=ROOM)
    run.record(ApprovalAsked("d.0", "T-1", "lead", None))
    run.record(ApprovalAnswered("d.0", "T-1", "approve", "bob", {"x": 61}, None))
    made = run.decide("d.0", facts=Facts(approved_by={"lead": ("bob",)}))
    assert made.allowed and made.arguments == {"x": 61}
    assert RunRecord.read(run.entries()).replay(PLAN).identical


def changed(run: Recorder, index: int, **fields: object) -> list[Stamped]:
    """The run's events with one field of one of them altered (and the chain made anew over it)."""
    events = list(run.events)
    events[index] = replace(events[index], event=replace(events[index].event, **fields))  # type: ignore[arg-type]
    return events


def index_of(run: Recorder, kind: type, nth: int = 0) -> int:
    return [n for n, s in enumerate(run.events) if isinstance(s.event, kind)][nth]


@pytest.mark.parametrize("nth", range(5))
def test_one_altered_argument_diverges_exactly_there(nth: int) -> None:
    run = recorder()
    events = changed(run, index_of(run, CallRequested, nth), arguments={"x": 77})
    again = replay(record_of(events), PLAN)
    assert again.divergence is not None
    where = events[again.divergence.seq - 1].event
    asked = events[index_of(run, CallRequested, nth)].event
    assert isinstance(where, CallDecided) and isinstance(asked, CallRequested)
    assert where.call == asked.call == again.divergence.call
    assert "digest" in again.divergence.differs


def test_one_altered_rule_diverges_at_the_first_call_it_decides_otherwise() -> None:
    run = Recorder(PLAN)
    for number, x in enumerate([1, 5, 9]):
        run.call(f"k{number}.0", {"x": x}, facts=ROOM)
    again = replay(RunRecord.read(run.entries()), at_most(5))
    assert again.decisions == 3 and again.divergence is not None
    assert again.divergence.call == "k2.0" and again.divergence.recomputed["verdict"] == "deny"
    assert again.divergence.recorded["verdict"] == "allow"
    shown = str(again.divergence)
    assert 'verdict recorded:   "allow"' in shown and 'verdict recomputed: "deny"' in shown


@pytest.mark.parametrize(
    "field",
    [
        {"verdict": "allow"},
        {"reasons": []},
        {"charges": [{"budget": "t.rate/run", "key": "", "amount": 2}]},
        {"asks": ("lead",)},
        {"digest": "sha256:" + "0" * 64},
        {"arguments": {"x": 3}},
        {"shadow": [{"name": "r"}]},
    ],
)
def test_a_verdict_is_made_anew_and_never_read_back(field: dict[str, object]) -> None:
    run = recorder()
    index = index_of(run, CallDecided, 1)
    again = replay(record_of(changed(run, index, **field)), PLAN)
    assert again.divergence is not None and again.divergence.seq == index + 1
    assert again.divergence.differs == tuple(field)


def test_an_altered_clock_that_passes_the_deadline_diverges() -> None:
    run = recorder()
    index = index_of(run, CallDecided, 0)
    events = list(run.events)
    events[index] = replace(events[index], at_ns=events[index].at_ns + SECOND_NS)
    again = replay(record_of(events), PLAN)
    assert again.divergence is not None and again.divergence.recomputed["verdict"] == "deny"


@pytest.mark.parametrize("nth", [0, 1])
def test_a_start_without_an_allow_to_use_diverges(nth: int) -> None:
    run = recorder()
    key = ["a.0", "b.0"][nth]  # a.0 was started before, b.0 was denied
    run.record(CallStarted(key))
    again = replay(RunRecord.read(run.entries()), PLAN)
    assert again.divergence is not None and again.divergence.differs == ("started",)
    assert again.divergence.seq == len(run.events) and again.divergence.call == key


@pytest.mark.parametrize("resumed", [True, False])
def test_an_interrupted_call_starts_again_after_a_resume_alone(resumed: bool) -> None:
    run = Recorder(PLAN)
    run.call("a.0", {"x": 1.0}, facts=ROOM)
    run.record(CallFailed("a.0", "interrupted", "GraphInterrupt", 1))
    if resumed:
        run.record(RunSuspended(()))
        run.record(RunResumed("p"))
    run.call("a.0", {"x": 1.0}, facts=ROOM)
    again = replay(RunRecord.read(run.entries()), PLAN)
    assert again.identical is resumed


def test_a_decision_about_a_call_that_nobody_asked_for_diverges() -> None:
    run = recorder()
    events = changed(run, index_of(run, CallRequested, 0), call="other.0")
    again = replay(record_of(events), PLAN)
    assert again.divergence is not None and again.divergence.differs == ("requested",)


def test_calls_whose_arguments_are_withheld_are_reported_and_the_rest_replays() -> None:
    run = recorder()
    index = index_of(run, CallRequested, 0)
    shown = requested("a.0", ToolCall("t", {}), withheld="keyed", arguments={"x": "hmac"})
    events = list(run.events)
    events[index] = replace(events[index], event=shown)
    again = replay(record_of(events), PLAN)
    assert again.identical and again.decisions == 5
    assert [(one.call, one.because) for one in again.not_replayable] == [("a.0", "keyed")]


def test_a_run_whose_deciding_events_were_purged_cannot_be_replayed() -> None:
    run = recorder()
    entries = run.entries()
    entries[1] = entries[1]._replace(body=None, salt=b"")
    assert replay(RunRecord.read(entries), PLAN).identical, "a prompt decides nothing"
    entries[2] = entries[2]._replace(body=None, salt=b"")
    with pytest.raises(RecordError, match="purged"):
        replay(RunRecord.read(entries), PLAN)


def test_facts_that_cannot_be_read_are_named() -> None:
    run = recorder()
    events = changed(run, index_of(run, CallDecided), facts={"reserved": 5})
    with pytest.raises(RecordError, match="facts of event"):
        replay(record_of(events), PLAN)


def test_the_recorder_of_these_tests_reaches_every_verdict() -> None:
    run = recorder()
    reached = {known.verdict for known in run.state.calls.values()}
    assert reached >= {Verdict.ALLOW, Verdict.DENY, Verdict.UNKNOWN}


POLICY = """
language 1
policy p
tool t {
  takes x: integer
  allow when x <= 10
  require cap: x >= 1 because "at least one"
  rate 2 per run otherwise halt
}
"""


def compiled(text: str = POLICY, name: str = "deep/er/my.fence") -> Plan:
    loaded = load_text(text, name)
    assert loaded.plan is not None, loaded.diagnostics
    return loaded.plan


def test_the_recorded_policy_text_is_compiled_and_decides_again() -> None:
    run = Recorder(compiled())
    for number, x in enumerate([5, 0, 11, 6, 7]):
        run.call(f"k{number}.0", {"x": x})
    assert verdicts(run) == ["allow", "deny", "deny", "allow", "deny"]
    assert run.state.halted is not None and run.state.halted.name == "t.rate"
    again = RunRecord.read(run.entries()).replay()
    assert again.identical and again.decisions == 5, str(again.divergence)


def test_a_policy_text_that_is_not_the_one_that_was_digested_diverges_at_the_start() -> None:
    run = Recorder(compiled())
    run.call("a.0", {"x": 5})
    events = changed(run, 0, policy_text=POLICY.replace("<= 10", "<= 11"))
    again = replay(record_of(events))
    assert again.divergence is not None and again.divergence.seq == 1 and again.divergence.call is None
    assert again.divergence.differs == ("policy_digest",)


def test_a_recorded_policy_that_does_not_load_is_said_to_be_so() -> None:
    run = Recorder(compiled())
    with pytest.raises(RecordError, match="does not load"):
        replay(record_of(changed(run, 0, policy_text="language 1\npolicy")))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-3, 3) | st.sampled_from(["", "1", "a", "é"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.sampled_from(["a", "b", "é"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(json_values, json_values)
def test_two_values_are_the_same_exactly_if_their_canonical_forms_are(one: Json, other: Json) -> None:
    for left, right in ((one, other), (one, one), (one, json.loads(json.dumps(one)))):
        assert same(left, right) == (canonical(left) == canonical(right))
    assert not same({"a": True}, {"a": 1})
