"""What a decision says beside its verdict: labels, redacted values, audit levels, questions."""

from dataclasses import replace
from typing import Any

import pytest

from ringfence.dsl.plan import (
    AuditRule,
    LabelClause,
    Obligations,
    Question,
    Redaction,
    Scope,
    Truth,
    UnfitError,
    Verdict,
)
from ringfence.engine.decision.calls import Decision, Facts, ToolCall
from ringfence.engine.decision.decide import assess, decide
from ringfence.engine.decision.events import ApprovalAnswered, ApprovalAsked, RunEvent, Stamped
from ringfence.engine.decision.records import decided, requested
from ringfence.engine.decision.state import apply, start
from tests.plans import PLACE, T0, approver, clause, parameter, plan, run_started, tool


def says(truth: Truth) -> Any:
    return lambda scope: truth


def decision(facts: Facts | None = None, arguments: Any = None, **more: Any) -> Decision:
    of = plan(tool("t", takes=[parameter("x", optional=True)], **more), levels=("low", "mid", "high"))
    call = ToolCall("t", {"x": "secret"} if arguments is None else arguments)
    return decide(of, start(of, run_started(of)), call, facts or Facts(), now_ns=T0)


@pytest.mark.parametrize(
    ("first", "second", "rank"),
    [
        (True, False, 1),
        (False, True, 0),
        (True, True, 1),
        (False, False, 2),
        (None, False, 2),
        (None, True, 1),
    ],
)
def test_a_label_is_the_join_of_what_is_not_false(first: Truth, second: Truth, rank: int) -> None:
    labels = (
        LabelClause(1, says(first), False),
        LabelClause(0, says(second), False),
        LabelClause(2, None, True),
    )
    assert decision(labels=labels).label == rank


def test_labels_join_over_layers_and_a_denied_call_has_none() -> None:
    labels = (LabelClause(0, None, False), LabelClause(1, None, True, "acme"))
    assert decision(labels=labels).label == 1
    assert decision(labels=labels, denies=[clause("no", "deny")]).label is None
    assert decision().label is None


REDACTED = Redaction("t.redact", "x", "pii", None, PLACE)
KEY = Question("redact pii", ("secret",)).key


def test_everyone_sees_the_redacted_value() -> None:
    def seen(scope: Scope) -> Truth:
        return bool(scope.arguments["x"] == "***")

    made = decision(
        Facts(answers={KEY: ["gave", "***"]}), redactions=(REDACTED,), allows=[clause("a", "allow", seen)]
    )
    assert made.allowed and made.arguments == {"x": "***"}


def test_a_redactor_that_was_not_asked_is_wanted_and_denies() -> None:
    of = plan(tool("t", takes=[parameter("x")], redactions=(REDACTED,)))
    found = assess(of, start(of, run_started(of)), ToolCall("t", {"x": "secret"}), Facts(), now_ns=T0)
    assert found.wanted == {KEY: Question("redact pii", ("secret",))}
    assert found.verdict is Verdict.DENY


@pytest.mark.parametrize("answer", [["failed", "timeout"], ["gave", 7], ["gave", None], ["gave", ["***"]]])
def test_a_redaction_that_fails_or_does_not_fit_denies(answer: Any) -> None:
    made = decision(Facts(answers={KEY: answer}), redactions=(REDACTED,))
    assert made.verdict is Verdict.DENY
    assert [reason.name for reason in made.reasons] == ["t.redact!error"]
    assert "secret" not in str(made.reasons)


def test_whether_to_redact_is_asked_of_the_values_as_given() -> None:
    def given(scope: Scope) -> Truth:
        return bool(scope.arguments["x"] == "secret")

    two = (
        replace(REDACTED, redactor="b", condition=given, name="second"),
        replace(REDACTED, redactor="a", name="first"),
    )
    answers = {
        Question("redact a", ("secret",)).key: ["gave", "half"],
        Question("redact b", ("half",)).key: ["gave", "done"],
    }
    assert decision(Facts(answers=answers), redactions=two).arguments == {"x": "done"}
    assert decision(Facts(answers=answers), redactions=two[::-1]).arguments == {"x": "done"}


@pytest.mark.parametrize(("truth", "shadow"), [(False, False), (True, True)])
def test_what_need_not_be_redacted_is_sent_as_it_is(truth: Truth, shadow: bool) -> None:
    made = decision(redactions=(replace(REDACTED, condition=says(truth), shadow=shadow),))
    assert made.allowed and made.arguments == {"x": "secret"}
    assert [reason.effect for reason in made.shadow] == (["redact"] if shadow else [])
    assert decision(arguments={}, redactions=(REDACTED,)).allowed


def _says_secret(scope: Scope) -> Truth:
    return bool(scope.arguments["x"] == "secret")


@pytest.mark.parametrize(("truth", "allowed"), [(False, False), (True, True), (None, False)])
def test_a_value_that_is_perhaps_redacted_hides_from_no_clause(truth: Truth, allowed: bool) -> None:
    """A `deny` that sees the value if it is not redacted must not be met by an undecided redaction."""
    made = decision(
        Facts(answers={KEY: ["gave", "***"]}),
        redactions=(replace(REDACTED, condition=says(truth)),),
        denies=[clause("no_secret", "deny", _says_secret)],
        labels=(LabelClause(2, _says_secret, False), LabelClause(0, None, True)),
    )
    assert made.allowed is allowed
    assert made.arguments == {"x": "secret" if truth is False else "***"}
    assert ("no_secret" in [reason.name for reason in made.reasons]) is not allowed


def test_what_a_call_gives_is_labelled_for_both_values() -> None:
    made = decision(
        Facts(answers={KEY: ["gave", "***"]}),
        redactions=(replace(REDACTED, condition=says(None)),),
        labels=(LabelClause(2, _says_secret, False), LabelClause(0, None, True)),
    )
    assert made.allowed and made.label == 2
    assert len(made.reasons) == len(set(made.reasons))


def test_several_people_are_asked_for_both_values() -> None:
    of = [clause("one", "ask", _says_secret, approver="boss"), clause("two", "ask", None, approver="chief")]
    redactions = (replace(REDACTED, condition=says(None)),)
    asking = tool("t", takes=[parameter("x")], redactions=redactions, asks=of)
    asked_plan = plan(asking, approvers=[approver("boss"), approver("chief")])
    facts = Facts(answers={KEY: ["gave", "***"]})
    made = decide(
        asked_plan,
        start(asked_plan, run_started(asked_plan)),
        ToolCall("t", {"x": "secret"}),
        facts,
        now_ns=T0,
    )
    assert sorted(made.asks) == ["boss", "chief"] and made.arguments == {"x": "***"}


def test_too_many_redactions_that_are_undecided_deny() -> None:
    many = tuple(replace(REDACTED, redactor=f"r{number}", condition=says(None)) for number in range(5))
    answers = {Question(f"redact r{number}", ("secret",)).key: ["gave", "secret"] for number in range(5)}
    made = decision(Facts(answers=answers), redactions=many)
    assert not made.allowed
    assert "too many redactions" in str(made.reasons[0].detail)


@pytest.mark.parametrize("truth", [True, None])
def test_audit_levels_join_to_the_one_that_records_more(truth: Truth) -> None:
    rules = (AuditRule("full", says(truth)), AuditRule("minimal", None))
    least = Obligations(audit="minimal", max_rows=3)
    assert decision(audits=rules, obligations=least).obligations == Obligations(audit="full", max_rows=3)
    assert decision(audits=rules[1:]).obligations.audit == "standard"
    assert decision(audits=(AuditRule("full", says(False)),)).obligations.audit == "standard"
    made = decision(audits=(AuditRule("full", None, shadow=True, name="loud"),))
    assert made.obligations.audit == "standard"
    assert [(reason.name, reason.effect) for reason in made.shadow] == [("loud", "audit")]


def test_a_question_without_an_answer_is_undecided_and_wanted() -> None:
    question = Question("is_customer", ("a@x.example",))

    def asks(scope: Scope) -> Truth:
        try:
            return bool(scope.ask(question))
        except Exception:
            return None

    of = plan(tool("t", takes=None, allows=[clause("a", "allow", asks)]))
    state = start(of, run_started(of))
    found = assess(of, state, ToolCall("t", {}), Facts(), now_ns=T0)
    assert list(found.wanted) == [question.key] and found.verdict is Verdict.DENY
    for answer, verdict in ((["gave", True], Verdict.ALLOW), (["failed", "timeout"], Verdict.DENY)):
        found = assess(of, state, ToolCall("t", {}), Facts(answers={question.key: answer}), now_ns=T0)
        assert found.verdict is verdict and not found.wanted


def test_only_an_agent_that_may_start_it_sees_an_agents_tool() -> None:
    starts = tool("researcher", takes=None, starts="researcher")
    for may, verdict in (((), Verdict.UNKNOWN), (("researcher",), Verdict.ALLOW)):
        of = plan(starts, may_start=may)
        made = decide(of, start(of, run_started(of)), ToolCall("researcher", {}), Facts(), now_ns=T0)
        assert made.verdict is verdict


def test_the_time_of_day_is_the_engines_or_given_or_unknown() -> None:
    seen: list[int | None] = []

    def asks(scope: Scope) -> Truth:
        seen.append(scope.wall_ns)
        return True

    of = plan(tool("t", takes=None, allows=[clause("a", "allow", asks)]))
    state = start(of, run_started(of))
    assess(of, state, ToolCall("t", {}), Facts(), now_ns=T0)
    assess(of, state, ToolCall("t", {}), Facts(), now_ns=T0, wall_ns=None)
    assess(of, state, ToolCall("t", {}), Facts(), now_ns=T0, wall_ns=5)
    assert seen == [T0, None, 5]


def test_only_what_an_approver_changed_is_edited() -> None:
    edited: list[frozenset[str]] = []

    def asks(scope: Scope) -> Truth:
        edited.append(scope.edited)
        return True

    def lower(value: Any) -> Any:
        if not isinstance(value, str):
            raise UnfitError("not a text")
        return value.lower()

    takes = [replace(parameter("x"), canonical=lower), parameter("y")]
    of = plan(
        tool("t", takes=takes, asks=[clause("q", "ask", asks, approver="lead")]), approvers=[approver()]
    )
    state = start(of, run_started(of))
    call = ToolCall("t", {"x": "ANN", "y": "b"})
    made = decide(of, state, call, Facts(), now_ns=T0)
    told: list[RunEvent] = [
        requested("k.0", call),
        decided("k.0", call, made, Facts()),
        ApprovalAsked("k.0", "T-1", "lead", None),
        ApprovalAnswered("k.0", "T-1", "approve", "dana", {"x": "ann", "y": "c"}, None),
    ]
    for number, event in enumerate(told):
        apply(state, Stamped(number + 2, T0, event))
    decide(of, state, state.calls["k.0"].request, Facts(), now_ns=T0, key="k.0")
    assert edited == [frozenset(), frozenset({"y"})]
