"""What is denied at once: by the clauses, for the reasons and in the order of the long way."""

from typing import Any

import pytest

from ringfence.dsl.compile.certain import MOST_CHARACTERS
from ringfence.dsl.plan import Verdict
from ringfence.engine.decision.assessment import Assessment
from ringfence.engine.decision.at_once import at_once
from ringfence.engine.decision.calls import NO_FACTS, RESERVED, ToolCall
from ringfence.engine.decision.decide import assess, conclude
from ringfence.engine.decision.records import requested
from tests.engine.decision.test_at_once import GOOD, HEAD, KINDS, Run, Text, loaded, policy
from tests.plans import T0


def quick(run: Run, call: ToolCall = GOOD) -> Assessment | None:
    """What is said at once of a call, after the tool was called; it is what the long way says."""
    run.both(GOOD, None)
    run.both(call, None)
    return at_once(run.plan, run.state, call, None, run.now_ns)


def names(found: Assessment | None) -> list[str] | None:
    return None if found is None else [reason.name for reason in found.reasons]


@pytest.mark.parametrize(
    ("clauses", "speak"),
    [
        ("allow when n < 1", ["tool_1.allow"]),
        ("allow always deny when n == 1", ["tool_1.deny", "tool_1.allow"]),
        ("allow when n < 1 deny when n == 1", ["tool_1.deny", "tool_1.allow"]),
        ("allow always require first: n > 1 require other: n < 9", ["tool_1.first", "tool_1.allow"]),
        (
            'allow always require one: n > 1 require two: t == "b"',
            ["tool_1.one", "tool_1.two", "tool_1.allow"],
        ),
        ('allow when n > 1 require one: t == "a" require two: t == "b"', ["tool_1.two", "tool_1.allow"]),
        ('allow when principal.team is present and principal.team == "a"', ["tool_1.allow"]),
        ("allow when n < 1 ask lead when n == 2", ["tool_1.allow"]),
        ("allow when n < 1 rate 0 per run rate 1 per hour for each user", ["tool_1.allow"]),
        ('allow when t in few and n == 2 deny when t contains "a"', ["tool_1.deny", "tool_1.allow"]),
    ],
)
def test_every_clause_that_speaks_is_named_in_its_order(clauses: str, speak: list[str]) -> None:
    found = quick(Run(loaded(policy(clauses)), {"user": "alice", "tier": "gold"}))
    assert found is not None and found.verdict is Verdict.DENY
    assert names(found) == speak
    assert found.charges == found.wider == ()


def test_an_allow_that_fits_is_told_from_one_that_does_not() -> None:
    details = []
    for most in (0, 9):
        run = Run(loaded(policy(f"allow when n < {most} deny when n == 1")), {})
        found = quick(run)
        assert found is not None
        details.append([(reason.effect, reason.detail) for reason in found.reasons])
    assert details == [
        [("deny", None), ("deny", "no allow clause fits")],
        [("deny", None), ("allow", None)],
    ]


def test_a_shadow_is_heard_at_length_only_where_it_speaks() -> None:
    text = policy("allow when n > 1 deny when n == 7") + '\nshadow rule maybe: deny tool_1 when t == "a"'
    run = Run(loaded(text), {})
    assert quick(run) is None
    assert names(quick(run, ToolCall("tool_1", {"n": 7, "t": "b"}))) == ["tool_1.deny", "tool_1.allow"]
    assert names(quick(run, ToolCall("tool_1", {"n": 1, "t": "b"}))) == ["tool_1.allow"]


@pytest.mark.parametrize("clauses", ["deny when t == 'x' {}", "{} deny when t == 'x'"])
def test_beside_a_clause_that_is_undecided_nothing_is_said_at_once(clauses: str) -> None:
    asked = clauses.replace("'", '"').format("deny when every x in s satisfies (x in few)")
    run = Run(loaded(f"{HEAD}\ntool tool_1 {{ takes t: text, s: list of text allow always {asked} }}"), {})
    for elements, said in ((["a"], 2), (["zz"], 2), ([], None)):
        found = names(quick(run, ToolCall("tool_1", {"t": "x", "s": elements})))
        assert (found is None) is (said is None)


LISTED = "allow when t in few require every x in s satisfies (x in few)"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"t": "zz", "s": ["a"]}, True),
        ({"t": "a", "s": ["zz"]}, True),
        ({"t": "\u0430", "s": ["a"]}, False),
        ({"t": "\ud800", "s": ["a"]}, False),
        ({"t": Text("a"), "s": ["zz"]}, False),
        ({"t": "zz", "s": ["\u0430"]}, False),
        ({"t": "zz", "s": ["a", "\ud800"]}, False),
        ({"t": "zz", "s": [Text("a")]}, False),
        ({"t": "zz", "s": [1]}, False),
        ({"t": "x" * (MOST_CHARACTERS - 20), "s": ["a"]}, True),
        ({"t": "x" * MOST_CHARACTERS, "s": ["a"]}, False),
        ({"t": "a", "s": ["x" * (MOST_CHARACTERS - 20)]}, True),
        ({"t": "a", "s": ["x" * MOST_CHARACTERS]}, False),
        ({"t": "a", "s": ["x" * (MOST_CHARACTERS // 2)] * 2}, False),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_text_that_no_set_has_is_looked_through_before_a_denial(arguments: Any, said: bool) -> None:
    run = Run(loaded(f"{HEAD}\ntool tool_1 {{ takes t: text, s: list of text {LISTED} }}"), {})
    assert (quick(run, ToolCall("tool_1", arguments)) is not None) is said


@pytest.mark.parametrize("name", list(KINDS))
def test_a_value_that_does_not_fit_is_said_at_length(name: str) -> None:
    type_, usual, unusual = KINDS[name]
    run = Run(loaded(f"{HEAD}\ntool tool_1 {{ takes {name}: {type_}, z: integer allow when z > 1 }}"), {})
    quick(run, ToolCall("tool_1", {name: usual[0], "z": 1}))
    assert run.denied
    for value in (*unusual, object(), float("nan"), 10**400, {"a": 1}):
        found = quick(run, ToolCall("tool_1", {name: value, "z": 1}))
        slow = assess(run.plan, run.state, ToolCall("tool_1", {name: value, "z": 1}), NO_FACTS, T0)
        assert found is None or slow.reasons[0].name != "tool_1.arguments"


@pytest.mark.parametrize(
    "arguments", [{"n": 1}, {"n": 1, "t": "a", "u": 1}, {"n": 1, "t": "a", "T": "a"}, {}]
)
def test_other_arguments_than_the_tool_takes_are_refused_at_length(arguments: Any) -> None:
    run = Run(loaded(policy("allow when n > 1")), {})
    assert quick(run) is not None
    assert quick(run, ToolCall("tool_1", arguments)) is None


def test_a_denial_too_many_halts_the_run_at_length() -> None:
    agent = "agent main { holds work at most 3 denials }"
    run = Run(loaded(policy("allow when n > 1", more=agent)), {})
    assert quick(run) is not None
    run.state.denials = 3
    assert quick(run) is None
    found = assess(run.plan, run.state, GOOD, NO_FACTS, T0)
    assert conclude(found, NO_FACTS).halt is not None


def test_a_denial_changes_nothing_that_the_next_one_is_made_of() -> None:
    run = Run(loaded(policy("allow when n > 1 deny when n == 1")), {})
    first = quick(run)
    assert first is not None
    decision = conclude(first, RESERVED)
    first.reasons.clear()
    again = quick(run)
    assert again is not None and conclude(again, NO_FACTS) == decision and len(again.reasons) == 2


def test_most_calls_that_the_clauses_deny_are_denied_at_once() -> None:
    every = list(KINDS)
    text = "\n".join(
        [
            HEAD, "tool tool_1 {", "needs work",
            "takes " + ", ".join(f"{name}: {KINDS[name][0]}" for name in every),
            "allow when n < 9 and t in few", "require every x in s satisfies (x in few)",
            'deny when m in people and principal.tier == "gold"', "ask lead when n == 5",
            "rate 90 per run", "rate 90 per hour for each user", "}",
        ]
    )  # fmt: skip
    run = Run(loaded(text), {"user": "alice", "tier": "gold"})
    for number in range(20):
        arguments = {name: usual[number % len(usual)] for name, (_, usual, _) in KINDS.items()}
        name, value = [("n", 9), ("t", "no"), ("s", ["no"]), ("m", "bob@acme.example")][number % 4]
        arguments[name] = value
        arguments = {name: value for name, value in arguments.items() if value is not None or number % 3}
        run.call(ToolCall("tool_1", arguments), "")
    assert run.allowed == 0 and run.denied == run.said == 80


@pytest.mark.parametrize("number", [1, 9])
def test_of_a_call_that_code_makes_nothing_is_said_at_once(number: int) -> None:
    run = Run(loaded(policy("allow when n < 5")), {})
    run.both(GOOD, None)
    made = ToolCall("tool_1", {"n": number, "t": "a"})
    run.record(requested("k.0", made))
    assert at_once(run.plan, run.state, made, "k.0", T0) is not None
    run.state.calls["k.0"].parent = "around.0"
    assert at_once(run.plan, run.state, made, "k.0", T0) is None
