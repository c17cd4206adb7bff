"""Declared functions: asked through the scope, answered later, and believed only where the type fits."""

import pytest

from ringfence.dsl.plan import Json, Question, Scope, Truth
from tests.dsl.middle.test_history import clause_of

GIVEN: dict[str, Json] = {
    "to": ["a@x.example", "b@x.example"],
    "subject": "hello",
    "one": "Bob@acme.example",
    "count": 3,
    "cc": ["x"],
    "extra": {"name": "Ann", "n": 1},
    "sure": False,
}
ASKED = Question("is_customer", ("Bob@acme.example",))


def decide(text: str, answers: dict[str, Json]) -> tuple[Truth, dict[str, Question]]:
    condition = clause_of(text).condition
    assert condition is not None
    scope = Scope(GIVEN, {"tier": "gold"}, answers=answers)
    return condition(scope), scope.wanted


def test_a_question_that_nobody_has_answered_is_undecided_and_wanted() -> None:
    truth, wanted = decide("is_customer(one)", {})
    assert truth is None
    assert wanted == {ASKED.key: ASKED}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (["gave", True], True),
        (["gave", False], False),
        (["gave", 1], None),
        (["gave", "true"], None),
        (["gave", None], None),
        (["failed", "timed out"], None),
        ([], None),
    ],
)
def test_a_boolean_function_stands_as_a_condition(answer: Json, expected: Truth) -> None:
    truth, wanted = decide("is_customer(one)", {ASKED.key: answer})
    assert truth is expected
    assert wanted == {}


def test_an_answer_takes_the_canonical_form_of_what_the_function_gives() -> None:
    key = Question("team", ()).key
    for answer, expected in (
        (["Bob@ACME.example"], True),
        (["eve@acme.example"], False),
        (["no address"], None),
        (["a@x.example"] * 3, None),
        ("Bob@acme.example", None),
    ):
        assert decide("one in team()", {key: ["gave", answer]})[0] is expected


def test_several_values_are_asked_in_the_canonical_form_of_their_parameters() -> None:
    for text, arguments in (
        ('tier_of(subject, count) == "gold"', ("hello", 3)),
        ('tier_of("x", 2) == "gold"', ("x", 2)),
        ('tier_of(extra.name, size(cc)) == "gold"', ("Ann", 1)),
    ):
        truth, wanted = decide(text, {})
        assert truth is None
        assert [question.arguments for question in wanted.values()] == [arguments]
        (key,) = wanted
        assert decide(text, {key: ["gave", "gold"]})[0] is True
        assert decide(text, {key: ["gave", "two\nlines"]})[0] is None
    assert decide("inspect(cc, extra)", {})[1].keys() == {Question("inspect", (["x"], GIVEN["extra"])).key}
    literal = decide('is_customer("Bob@ACME.example")', {})[1]
    assert literal.keys() == {ASKED.key}


def test_only_what_could_change_the_condition_is_asked() -> None:
    assert decide("not sure or is_customer(one)", {})[1] == {}
    assert decide("sure and is_customer(one)", {})[1] == {}
    every = "every t in to satisfies (is_customer(t))"
    assert len(decide(every, {})[1]) == 2


def test_an_untyped_value_that_is_no_text_is_not_asked_about() -> None:
    truth, wanted = decide('tier_of(extra.n, 1) == "gold"', {})
    assert (truth, wanted) == (None, {})


def test_a_function_is_not_asked_about_thousands_of_values() -> None:
    condition = clause_of("every t in to satisfies (is_customer(t))").condition
    assert condition is not None
    scope = Scope({**GIVEN, "to": [f"p{number}@x.example" for number in range(10_000)]}, {})
    assert condition(scope) is None
    assert scope.wanted == {}
