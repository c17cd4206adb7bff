import pytest

from ringfence.dsl.plan import Plan, Verdict
from ringfence.engine.decision.calls import NO_FACTS, RESERVED, Decision, Facts, ToolCall, key_base
from ringfence.engine.decision.decide import decide
from ringfence.engine.decision.events import (
    ApprovalAnswered,
    ApprovalAsked,
    BudgetRefunded,
    CallFailed,
    CallFinished,
    CallStarted,
    ModelAnswered,
    ModelAsked,
    PromptGiven,
    RunEnded,
    RunEvent,
    RunHalted,
    RunResumed,
    RunSuspended,
    Stamped,
)
from ringfence.engine.decision.records import decided, requested
from ringfence.engine.decision.state import State, apply, start
from tests.plans import T0, approver, budget, clause, plan, run_started, tool


class Run:
    """A run whose events the test writes; times are nanoseconds after its start."""

    def __init__(self, of: Plan) -> None:
        self.plan = of
        self.state: State = start(of, run_started(of))
        self.seq = 1

    def event(self, event: RunEvent, at: int = 0) -> None:
        self.seq += 1
        apply(self.state, Stamped(self.seq, T0 + at, event))

    def call(self, key: str, at: int = 0, *, facts: Facts = NO_FACTS, name: str = "t") -> Decision:
        """A call is asked for and decided."""
        call = ToolCall(name, {})
        self.event(requested(key, call), at)
        return self.decide(key, at, facts=facts)

    def decide(self, key: str, at: int = 0, *, facts: Facts = NO_FACTS) -> Decision:
        call = self.state.calls[key].request
        made = decide(self.plan, self.state, call, facts, now_ns=T0 + at, key=key)
        self.event(decided(key, call, made, facts), at)
        return made

    def finish(self, key: str, at: int = 0, *, result: object = None) -> None:
        self.event(CallFinished(key, result, None, 1), at)

    def remaining(self, at: int) -> int | None:
        return self.state.remaining_ns(T0 + at)


def asking(**limits: int) -> Run:
    one = tool("t", asks=[clause("t.ask", "ask", approver="lead")])
    return Run(plan(one, tool("free"), approvers=[approver()], **limits))  # type: ignore[arg-type]


def test_a_run_begins_with_run_started() -> None:
    with pytest.raises(TypeError):
        start(plan(), Stamped(1, T0, RunResumed("p")))


# ---- calls, denials, requests -----------------------------------------------------------------------


def test_a_place_is_taken_by_the_decision_so_parallel_calls_cannot_all_pass() -> None:
    run = Run(plan(tool("t"), calls=2))
    assert [run.call(f"k{n}.0").allowed for n in range(4)] == [True, True, False, False]
    assert run.state.halted is not None and run.state.halted.name == "main.calls"


def test_a_place_is_given_back_by_a_refund_before_the_start_and_not_after_it() -> None:
    run = Run(plan(tool("t"), calls=1))
    run.call("a.0")
    run.event(BudgetRefunded("a.0", "not dispatched"))
    assert run.state.places_taken == 0
    assert run.call("b.0").allowed
    run.event(CallStarted("b.0"))
    run.event(BudgetRefunded("b.0", "not dispatched"))
    assert run.state.places_taken == 1
    assert not run.call("c.0").allowed


def test_denied_and_unknown_calls_count_as_denials_and_the_next_after_the_limit_halts() -> None:
    run = Run(plan(tool("t", allows=[]), denials=2))
    assert run.call("a.0").halt is None
    assert run.call("b.0", name="nothing").halt is None
    made = run.call("c.0")
    assert made.halt is not None and made.halt.name == "main.denials"
    assert run.state.denials == 3


def test_a_decision_that_halts_halts_the_fold_even_if_run_halted_was_never_written() -> None:
    run = Run(plan(tool("t"), tool("free"), calls=0))
    run.call("a.0")
    assert run.state.halted is not None and run.state.status == "running"
    assert run.call("b.0", name="free").verdict is Verdict.DENY


def test_approval_requests_are_counted_by_the_decision_once_per_approver_and_call() -> None:
    run = asking(requests=2)
    run.call("a.0")
    run.event(ApprovalAsked("a.0", "T-1", "lead", None))
    run.decide("a.0")
    assert run.state.requests == 1
    run.event(ApprovalAsked("a.0", "T-2", "boss", None))
    assert run.state.requests == 2
    made = run.call("b.0")
    assert made.verdict is Verdict.DENY and made.halt is not None and made.halt.name == "main.requests"


# ---- the deadline -----------------------------------------------------------------------------------


def test_the_clock_stands_still_while_nothing_is_in_flight_and_a_ticket_is_open() -> None:
    run = asking(stop_ns=100)
    run.call("a.0", 10)
    assert run.remaining(20) == 80
    run.event(ApprovalAsked("a.0", "T-1", "lead", None), 20)
    assert run.remaining(1_000) == 80
    run.event(ApprovalAnswered("a.0", "T-1", "approve", "bob", None, None), 1_000)
    assert run.remaining(1_010) == 70


def test_the_clock_runs_while_another_call_or_a_model_is_in_flight() -> None:
    run = asking(stop_ns=100)
    run.call("a.0")
    run.call("b.0", name="free")
    run.event(ModelAsked("m", None, [], [], {}, None))
    run.event(ApprovalAsked("a.0", "T-1", "lead", None))
    assert run.remaining(10) == 90
    run.event(CallStarted("b.0"), 10)
    run.finish("b.0", 20)
    assert run.remaining(30) == 70
    run.event(ModelAnswered("m", [], None, 1, None), 40)
    assert run.remaining(500) == 60


def test_a_pause_ends_when_the_last_open_ticket_may_no_longer_be_answered() -> None:
    run = asking(stop_ns=100)
    run.call("a.0")
    run.event(ApprovalAsked("a.0", "T-1", "lead", T0 + 50))
    assert run.remaining(10) == 100
    assert run.remaining(50) == 100
    assert run.remaining(60) == 90
    run.event(PromptGiven("user", "still there?"), 70)
    assert run.remaining(80) == 70


def test_a_suspended_run_keeps_its_time_over_a_resume() -> None:
    run = asking(stop_ns=100)
    run.call("a.0")
    run.event(ApprovalAsked("a.0", "T-1", "lead", None))
    run.event(RunSuspended(("T-1",)), 10)
    assert run.state.suspended and run.state.status == "suspended"
    run.event(RunResumed("p2"), 9_000)
    assert not run.state.suspended and run.state.status == "running"
    run.event(ApprovalAnswered("a.0", "T-1", "approve", "bob", None, None), 9_001)
    assert run.remaining(9_002) == 99


def test_a_decided_call_leaves_no_ticket_open_to_stop_the_clock() -> None:
    run = asking(stop_ns=100)
    run.call("a.0")
    run.event(ApprovalAsked("a.0", "T-1", "lead", None))
    run.decide("a.0", 10, facts=Facts(approved_by={"lead": ("bob",)}))
    run.event(CallStarted("a.0"), 10)
    run.finish("a.0", 20)
    assert not run.state.open_tickets and run.remaining(30) == 80


# ---- budgets of the run ---------------------------------------------------------------------------------


def rated(limit: int, period_ns: int | None = None) -> Run:
    asks = [clause("t.ask", "ask", approver="lead")]
    one = tool("t", asks=asks, budgets=[budget("t.rate", limit, period_ns=period_ns)])
    free = tool("free", budgets=[budget("free.rate", limit, period_ns=period_ns)])
    return Run(plan(one, free, approvers=[approver()]))


def test_a_held_reservation_counts_and_is_stamped_at_dispatch() -> None:
    run = rated(1, period_ns=100)
    assert run.call("a.0", 0, name="free").allowed
    assert not run.call("b.0", 500, name="free").allowed
    run.event(CallStarted("a.0"), 500)
    assert not run.call("c.0", 599, name="free").allowed
    assert run.call("d.0", 600, name="free").allowed


def test_a_call_that_asks_holds_its_reservation_and_is_not_charged_again_when_approved() -> None:
    run = rated(1)
    assert run.call("a.0").verdict is Verdict.ASK
    assert not run.call("b.0").verdict > Verdict.DENY
    made = run.decide("a.0", facts=Facts(approved_by={"lead": ("bob",)}))
    assert made.allowed and made.charges == ()


def test_a_refund_makes_room_again_but_not_after_the_start() -> None:
    run = rated(1)
    run.call("a.0", name="free")
    run.event(BudgetRefunded("a.0", "withdrawn"))
    assert run.state.windows == {}
    assert run.call("b.0", name="free").allowed
    run.event(CallStarted("b.0"))
    run.event(BudgetRefunded("b.0", "withdrawn"))
    assert not run.call("c.0", name="free").allowed


# ---- keys, epochs, outcomes --------------------------------------------------------------------------------


def test_requests_with_one_base_are_numbered_within_an_epoch() -> None:
    run = Run(plan(tool("t")))
    assert run.state.next_ordinal("a", None) == 0
    run.call("a.0")
    run.call("a.1")
    assert run.state.next_ordinal("a", None) == 2 and run.state.next_ordinal("b", None) == 0
    run.event(RunResumed("p"))
    assert run.state.next_ordinal("a", None) == 0


def test_an_attempt_that_had_begun_before_the_resume_goes_on_counting() -> None:
    run = Run(plan(tool("t")))
    run.event(requested("a.0", ToolCall("t", {}, attempt="first")))
    run.event(RunResumed("p"))
    assert run.state.next_ordinal("a", "first") == 1
    assert run.state.next_ordinal("a", "second") == 0
    assert run.state.next_ordinal("a", None) == 0


def test_an_outcome_is_given_back_after_a_resume_and_only_then() -> None:
    run = Run(plan(tool("t")))
    run.call("a.0")
    run.event(CallStarted("a.0"))
    run.finish("a.0", result={"rows": 1})
    assert run.state.outcome_of("a.0") is None
    run.event(RunResumed("p"))
    outcome = run.state.outcome_of("a.0")
    assert outcome is not None and outcome.finished and outcome.result == {"rows": 1}
    assert run.state.outcome_of("a.1") is None
    run.event(requested("a.0", ToolCall("t", {})))
    assert run.state.next_ordinal("a", None) == 1, "it is claimed once: the next request is another call"


def test_a_failed_call_has_an_outcome_and_a_started_one_an_unknown_fate() -> None:
    run = Run(plan(tool("t")))
    for key in ("a.0", "b.0"):
        run.call(key)
        run.event(CallStarted(key))
    run.event(CallFailed("a.0", "raised", "ValueError: no", 1))
    assert not run.state.fate_unknown("b.0")
    run.event(RunResumed("p"))
    outcome = run.state.outcome_of("a.0")
    assert outcome is not None and not outcome.finished and outcome.failure == "raised"
    assert run.state.fate_unknown("b.0") and not run.state.fate_unknown("a.0")


def test_answers_are_gathered_per_approver_and_a_quorum_keeps_the_ticket_open() -> None:
    one = tool("t", asks=[clause("t.ask", "ask", approver="lead")])
    run = Run(plan(one, approvers=[approver(quorum=2)]))
    run.call("a.0")
    run.event(ApprovalAsked("a.0", "T-1", "lead", None))
    for who in ("bob", "bob"):
        run.event(ApprovalAnswered("a.0", "T-1", "approve", who, None, None))
    assert run.state.open_tickets and run.state.approved_by("a.0") == {"lead": ("bob",)}
    run.event(ApprovalAnswered("a.0", "T-1", "approve", "carol", None, None))
    assert not run.state.open_tickets
    assert run.decide("a.0", facts=Facts(approved_by=run.state.approved_by("a.0"))).allowed


def test_approvals_of_a_rejected_ticket_do_not_count() -> None:
    one = tool("t", asks=[clause("t.ask", "ask", approver="lead")])
    run = Run(plan(one, approvers=[approver(quorum=2)]))
    run.call("a.0")
    run.event(ApprovalAsked("a.0", "T-1", "lead", None))
    run.event(ApprovalAnswered("a.0", "T-1", "approve", "bob", None, None))
    run.event(ApprovalAnswered("a.0", "T-1", "reject", "carol", None, None))
    run.event(ApprovalAnswered("a.0", "T-1", "approve", "dave", None, None))
    assert run.state.approved_by("a.0") == {}


def test_an_approval_with_edits_decides_the_edited_arguments() -> None:
    run = asking()
    run.call("a.0")
    run.event(ApprovalAsked("a.0", "T-1", "lead", None))
    run.event(ApprovalAnswered("a.0", "T-1", "approve", "bob", {"x": 1}, None))
    assert run.state.calls["a.0"].request.arguments == {"x": 1}


def test_an_edit_is_what_the_next_approver_is_asked_about() -> None:
    one = tool("t", asks=[clause("t.ask", "ask", approver="lead")])
    run = Run(plan(one, approvers=[approver(quorum=2)]))
    run.call("a.0")
    run.event(ApprovalAsked("a.0", "T-1", "lead", None))
    run.event(ApprovalAnswered("a.0", "T-1", "approve", "bob", {"x": 1}, None))
    assert run.state.open_tickets and run.state.calls["a.0"].request.arguments == {"x": 1}


# ---- the fold itself --------------------------------------------------------------------------------------


def test_a_final_status_stays() -> None:
    run = Run(plan(tool("t")))
    run.event(RunHalted("main.stop", None, None))
    run.event(RunResumed("p"))
    run.event(RunEnded("done", None))
    assert run.state.status == "halted"
    assert run.call("a.0").verdict is Verdict.DENY


def test_an_ended_run_allows_nothing() -> None:
    run = Run(plan(tool("t")))
    run.event(RunEnded("nonsense", None))
    assert run.state.status == "failed"
    assert run.call("a.0", facts=RESERVED).verdict is Verdict.DENY


def test_time_never_steps_back() -> None:
    run = Run(plan(tool("t"), stop_ns=100))
    run.event(PromptGiven("user", "hi"), 90)
    run.event(PromptGiven("user", "hi"), 10)
    assert run.state.latest_ns == T0 + 90


def test_the_fold_takes_events_of_calls_it_has_never_seen() -> None:
    run = Run(plan(tool("t")))
    for event in (
        CallStarted("x.0"),
        CallFinished("y.0", None, None, 1),
        BudgetRefunded("z.0", "expired"),
        ApprovalAnswered("w.0", "T-9", "approve", "bob", None, None),
    ):
        run.event(event)
    assert run.state.places_taken == 1


def test_the_base_of_a_key_tells_tasks_tools_and_arguments_apart() -> None:
    one = ToolCall("t", {"x": 1}, call_id="c", task="a")
    assert key_base(one) == key_base(ToolCall("t", {"x": 1}, call_id="d", task="a"))
    others = [ToolCall("t", {"x": 2}, task="a"), ToolCall("u", {"x": 1}, task="a"), ToolCall("t", {"x": 1})]
    assert len({key_base(call) for call in (one, *others)}) == 4
    assert len(key_base(ToolCall("\ud800", {"x": object()}, task="\ud800"))) == 16
