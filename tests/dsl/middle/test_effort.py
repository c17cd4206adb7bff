"""No call makes a condition multiply two lengths that the model chose, beyond a fixed bound."""

import pytest

from ringfence.dsl.load import load_text
from ringfence.dsl.plan import Clause, Json, Scope

TAKES = "xs: list of text, ys: list of text, body: text, one: text"


def clause_of(condition: str) -> Clause:
    text = f"language 1\npolicy p\ntool t {{ takes {TAKES} allow when {condition} }}"
    plan = load_text(text).plan
    assert plan is not None
    return plan.tools["t"].allows[0]


def truth_of(condition: str, **arguments: Json) -> bool | None:
    found = clause_of(condition).condition
    assert found is not None
    given: dict[str, Json] = {"xs": ["a"], "ys": ["a"], "body": "a", "one": "a", **arguments}
    return found(Scope(given, {"user": "u", "workspace": "w"}))


MANY = ["b"] * 130_000
LONG = "b" * 500_000
HUGE = [
    ("every x in xs satisfies (x in ys)", {"xs": MANY, "ys": [*MANY, "a"]}),
    ("some x in xs satisfies (x in ys)", {"xs": MANY, "ys": ["a"] * 130_000}),
    ("some x in xs satisfies (ys contains x)", {"xs": MANY, "ys": ["a"] * 130_000}),
    ("some x in xs satisfies (some y in ys satisfies (x == y))", {"xs": MANY, "ys": ["a"] * 130_000}),
    ("some x in xs satisfies (body contains x)", {"xs": ["a"] * 130_000, "body": LONG}),
    ("some x in xs satisfies (body matches /.*a.*/ or x == one)", {"xs": MANY, "body": LONG}),
    ("some x in xs satisfies (lower(body) == x)", {"xs": MANY, "body": LONG}),
    ("some x in xs satisfies (size(body) < 5 bytes and x == one)", {"xs": MANY, "body": "é" * 500_000}),
    (
        "some x in xs satisfies (some e in emails(body) satisfies (domain(e) == lower(x)))",
        {"xs": MANY, "body": LONG},
    ),
    ("some x in xs satisfies (some y in ys satisfies (x contains y))", {"xs": [LONG], "ys": ["a"] * 130_000}),
    ("some x in xs satisfies (some y in ys satisfies (y contains x))", {"xs": ["a"] * 130_000, "ys": [LONG]}),
]


@pytest.mark.parametrize(("condition", "arguments"), HUGE, ids=[condition for condition, _ in HUGE])
def test_what_would_take_minutes_is_undecided_at_once(condition: str, arguments: dict[str, Json]) -> None:
    assert truth_of(condition, **arguments) is None


@pytest.mark.parametrize("condition", [condition for condition, _ in HUGE])
def test_the_same_conditions_over_values_of_usual_size_are_decided(condition: str) -> None:
    usual: dict[str, Json] = {"xs": ["a", "b"] * 40, "ys": ["a", "c"] * 40, "body": "mail a@b.example " * 40}
    assert truth_of(condition, **usual) is not None


def test_one_pass_over_the_longest_list_of_a_call_is_decided() -> None:
    assert truth_of("every x in xs satisfies (x == one)", xs=["a"] * 260_000) is True
    assert truth_of('every x in xs satisfies (lower(x) == "a")', xs=["a"] * 260_000) is True


def test_the_order_of_the_parts_does_not_matter() -> None:
    parts = ["some x in xs satisfies (x in ys)", 'one == "b"']
    for word in ("and", "or"):
        for first, second in (parts, parts[::-1]):
            condition = f"({first}) {word} {second}"
            assert truth_of(condition, xs=MANY, ys=["a"] * 130_000, one="b") is None
            assert truth_of(condition, xs=MANY, ys=["a"] * 130_000, one="c") is None
