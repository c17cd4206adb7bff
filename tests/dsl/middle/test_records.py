"""Records have untyped fields: compared as what they turn out to be, undecided where that does not fit."""

import pytest

from ringfence.dsl.compile.canonicalisers import record
from ringfence.dsl.plan import Json, Scope, Truth, UnfitError
from ringfence.dsl.spelling import spell
from tests.dsl.middle.test_history import clause_of

EXTRA: dict[str, Json] = {
    "name": "Ann",
    "n": 5,
    "half": 0.5,
    "yes": True,
    "nothing": None,
    "tags": ["x", "y"],
    "mixed": ["x", 1],
    "deep": {"name": "Bob"},
    "rows": [{"id": 1}, {"id": 2}],
}
GIVEN: dict[str, Json] = {
    "extra": EXTRA,
    "rows": [{"id": "a", "n": 1}, {"id": "b", "n": 2}],
    "subject": "Ann",
    "count": 5,
    "cc": ["Ann"],
}


def truth(text: str, **changes: Json) -> Truth:
    condition = clause_of(text).condition
    assert condition is not None
    return condition(Scope({**GIVEN, **changes}, {"tier": "gold"}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('extra.name == "Ann"', True),
        ('extra.name != "Ann"', False),
        ("extra.name == subject", True),
        ("extra.name == 5", None),
        ("extra.n == 5", True),
        ("extra.n == count", True),
        ("4 < extra.n", True),
        ("extra.half < 1", True),
        ('extra.n == "5"', None),
        ("extra.yes == true", True),
        ("extra.yes", True),
        ("not extra.yes", False),
        ("extra.yes == 1", None),
        ("extra.n == true", None),
        ("extra.n", None),
        ("extra.nothing == 5", None),
        ("extra.missing == 5", None),
        ("extra.name.deeper == 5", None),
        ('extra.deep.name == "Bob"', True),
        ("extra.deep == 5", None),
        ('extra.tags == ["x", "y"]', True),
        ('extra.mixed == ["x", "y"]', None),
        ("extra.tags == []", False),
        ('extra.name in ["Ann", "Bob"]', True),
        ("extra.name in cc", True),
        ("extra.n in cc", None),
        ('"x" in extra.tags', True),
        ("subject in extra.tags", False),
        ("subject in extra.name", None),
        ('extra.name contains "n"', True),
        ('extra.tags contains "x"', None),
        ('extra.name starts with "A"', True),
        ("extra.name matches /[A-Z]nn/", True),
        ("extra.n matches /5/", None),
        ('lower(extra.name) == "ann"', True),
        ("lower(extra.n) == \"5\"", None),
        ("extra.name is present", True),
        ("extra.nothing is present", False),
        ("extra.missing is missing", True),
        ("extra.deep.name is present", True),
        ("extra.name.deeper is present", None),
        ("some t in extra.tags satisfies (t == \"y\")", True),
        ("every t in extra.mixed satisfies (t == \"x\")", None),
        ("every t in extra.name satisfies (t == \"x\")", None),
        ("every r in extra.rows satisfies (r.id > 0)", True),
        ("some r in rows satisfies (r.n == 2 and r.id == \"b\")", True),
        ("some r in rows satisfies (r.x is present)", False),
        ("size(rows) == 2", True),
        ("arg.extra.n == 5", True),
        ("more is present and more.a == 1", False),
        ("more.a is present", False),
        ("more.a is missing or more.a == 1", True),
    ],
)  # fmt: skip
def test_an_untyped_field_is_compared_as_what_it_is(text: str, expected: Truth) -> None:
    assert truth(text) is expected


def test_an_optional_record_that_is_given_is_looked_into() -> None:
    assert truth("more is present and more.a == 1", more={"a": 1}) is True
    assert truth("more is present and more.a == 1", more={}) is None
    assert truth("more.a is present and more.a == 1", more={}) is False


def test_fields_are_spelt_as_they_were_written() -> None:
    assert spell(clause_of('extra.deep.name == "Bob"').core) == 'extra.deep.name == "Bob"'
    assert spell(clause_of("extra.a is missing").core) == "extra.a is missing"


def test_a_record_has_one_canonical_form() -> None:
    given = {"b": 5.0, "a": [True, None, {"c": 0.5}]}
    found = record(given)
    assert found == given
    assert type(found["b"]) is int


@pytest.mark.parametrize(
    "value",
    [
        None,
        "x",
        ["x"],
        {1: 2},
        {"a": float("nan")},
        {"a": 2**53},
        {"a": "\ud800"},
        {"\ud800": 1},
        {"a": object()},
    ],
)
def test_what_is_no_record_of_json_values_does_not_fit(value: Json) -> None:
    with pytest.raises(UnfitError):
        record(value)


def test_a_record_nested_too_deep_does_not_fit() -> None:
    value: Json = {}
    for _ in range(60):
        value = {"a": value}
    with pytest.raises(UnfitError):
        record(value)


HUGE = ["b"] * 120_000


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        (
            "every t in extra.xs satisfies (lower(extra.ys) == lower(t))",
            {"extra": {"xs": HUGE, "ys": "a" * 400_000}},
        ),
        (
            "some r in rows satisfies (some t in r.xs satisfies (t in cc))",
            {"rows": [{"xs": HUGE}], "cc": HUGE},
        ),
        ("some t in cc satisfies (extra.body contains t)", {"cc": HUGE, "extra": {"body": "a" * 400_000}}),
    ],
)
def test_what_records_hold_cannot_multiply_beyond_the_bound(text: str, changes: dict[str, Json]) -> None:
    assert truth(text, **changes) is None
