"""What hides a value must not hide it from a rule: an undecided redaction, on policies written as text."""

from itertools import product
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ringfence.dsl.load import load_text
from ringfence.dsl.plan import Verdict
from ringfence.engine.decision.calls import Decision, Facts, ToolCall
from ringfence.engine.decision.decide import assess, conclude
from ringfence.engine.decision.state import start
from tests.plans import T0, run_started

_LOOKS = (
    'n contains "secret"',
    'n == "[gone]"',
    "size(n) > 6 bytes",
    'n starts with "s"',
    "size(n) <= 6 bytes",
)
_CLAUSES = [
    *(f"deny when {look}" for look in _LOOKS),
    *(f"require {look}" for look in _LOOKS),
    *(f"ask lead when {look}" for look in _LOOKS),
    *(f"result is high when {look}" for look in _LOOKS),
    "redact n with other",
    'allow when not n contains "secret"',
]
_COUNTED = ("", "budget b: 7 bytes per run of size(n) over t\n")


@given(
    clauses=st.lists(st.sampled_from(_CLAUSES), max_size=4, unique=True),
    counted=st.sampled_from(_COUNTED),
    conditions=st.lists(st.sampled_from(["first(n)", "second(n)"]), min_size=1, max_size=2, unique=True),
)
def test_an_undecided_redaction_is_never_more_permissive_than_a_decided_one(
    clauses: list[str], counted: str, conditions: list[str]
) -> None:
    """Whatever `first` and `second` would have said: what is asked without their answers passes with both."""
    text = (
        "language 1\npolicy p\nlevels low < high\ncapability look is read\n"
        'approver lead { group "g" never the requester answer within 5 minutes otherwise deny }\n'
        'function first(n: text) gives boolean from "plug"\n'
        'function second(n: text) gives boolean from "plug"\n'
        "tool t { needs look takes n: text at most 40 allow always result is low otherwise "
        + " ".join(clauses)
        + " }\n"
        + counted
        + "".join(f"rule r{i}: redact n with pii{i} for t when {c}\n" for i, c in enumerate(conditions))
    )
    plan = load_text(text).plan
    assert plan is not None, text
    state = start(plan, run_started(plan))
    call = ToolCall("t", {"n": "a secret"})

    def made(said: dict[str, bool | None]) -> Decision:
        answers: dict[str, Any] = {}
        while True:
            facts = Facts(reserved=(), answers=answers)
            assessed = assess(plan, state, call, facts, now_ns=T0)
            if not assessed.wanted:
                return conclude(assessed, facts)
            for key, question in assessed.wanted.items():
                if question.function.startswith("redact"):
                    answers[key] = ["gave", "[gone]"]
                else:
                    truth = said[question.function]
                    answers[key] = ["failed", "it raised"] if truth is None else ["gave", truth]

    def label(decision: Decision) -> int:
        return -1 if decision.label is None else decision.label

    names = ("first", "second")
    unknown = made(dict.fromkeys(names))
    for truths in product((True, False), repeat=2):
        known = made(dict(zip(names, truths, strict=True)))
        assert unknown.verdict <= known.verdict, (text, truths)
        if unknown.verdict >= Verdict.ASK:
            assert label(unknown) >= label(known), (text, truths)
            assert unknown.verdict < known.verdict or set(known.asks) <= set(unknown.asks), (text, truths)
