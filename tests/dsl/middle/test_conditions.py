"""Conditions are three-valued and total; what cannot be decided never helps the caller."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.dsl.compile.closures import condition
from ringfence.dsl.load import load_text
from ringfence.dsl.plan import Clause, Condition, Json, Scope, Truth
from ringfence.dsl.spelling import spell

TAKES = """table: text, limit: integer, columns: list of text, note: text optional, to: email,
  all: list of email, body: text, url: url, day: date, sure: boolean, max: integer"""

ARGUMENTS: dict[str, Json] = {
    "table": "users",
    "limit": 10,
    "columns": ["id", "name"],
    "to": "Bob@acme.example",
    "all": ["a@acme.example", "b@acme.example"],
    "body": "see https://docs.acme.example/x or mail eve@evil.example",
    "url": "https://docs.acme.example:8443/x",
    "day": "2026-11-23",
    "sure": True,
    "max": 10,
}
PRINCIPAL = {"user": "alice", "workspace": "w1", "agent": "main", "tier": "gold"}


def clause_of(text: str) -> Clause:
    """An `allow` under this condition, loaded as part of a policy."""
    policy = f"""language 1
policy p
principal has tier: text, team: text optional
set tables = ["users", "orders"]
set people = ["Bob@Acme.Example"]
pattern word = /[a-z]+/
tool t {{ takes {TAKES} allow when {text} }}
"""
    loaded = load_text(policy)
    assert loaded.plan is not None, loaded.diagnostics
    (clause,) = loaded.plan.tools["t"].allows
    assert clause.condition is not None
    return clause


def condition_of(text: str) -> Condition:
    """The closure of a condition."""
    found = clause_of(text).condition
    assert found is not None
    return found


def core_of(text: str) -> Json:
    """The core form of a condition."""
    return clause_of(text).core


def truth(text: str, **changes: Json) -> Truth:
    """The value of a condition, with these arguments changed; a changed None is an absent argument."""
    arguments = {name: value for name, value in {**ARGUMENTS, **changes}.items() if value is not None}
    return condition_of(text)(Scope(arguments, PRINCIPAL))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('table == "users"', True),
        ('table != "users"', False),
        ("limit >= 10 and limit <= 10", True),
        ("10 < limit", False),
        ("limit < max", False),
        ("limit <= max", True),
        ("limit == 10.0", True),
        ("table in tables", True),
        ('table not in ["orders"]', True),
        ("table in columns", False),
        ('columns contains "name"', True),
        ('columns contains "users"', False),
        ('body contains "evil"', True),
        ('table starts with "us"', True),
        ('table ends with "us"', False),
        ("table matches word", True),
        ("table matches /user/", False),
        ("sure", True),
        ("not sure", False),
        ("sure == true", True),
        ("note is missing", True),
        ("note is present and note == table", False),
        ("note is missing or note == table", True),
        ("every c in columns satisfies (c in [\"id\", \"name\"])", True),
        ("every c in columns satisfies (c == \"id\")", False),
        ("some c in columns satisfies (c == \"id\")", True),
        ("some c in columns satisfies (c == table)", False),
        ("every a in all satisfies (domain(a) == \"ACME.example\")", True),
        ("to in people", True),
        ('to == "Bob@ACME.example"', True),
        ('to == "bob@acme.example"', False),
        ('host(url) == "DOCS.acme.example"', True),
        ('url == "HTTPS://docs.acme.example:8443/x"', True),
        ('lower(to) == "bob@acme.example"', True),
        ("size(columns) == 2", True),
        ("size(table) == 5 bytes", True),
        ("size(body) < 1 KB", True),
        ('day > "2026-11-22" and day <= "2026-11-23"', True),
        ('every u in urls(body) satisfies (host(u) == "docs.acme.example")', True),
        ('some e in emails(body) satisfies (domain(e) == "evil.example")', True),
        ('principal.tier == "gold"', True),
        ("principal.team is missing", True),
        ("arg.table == principal.user", False),
        ("every c in columns satisfies (some d in columns satisfies (c == d))", True),
    ],
)  # fmt: skip
def test_a_condition_means_what_it_says_and_so_does_its_spelling(text: str, expected: bool) -> None:
    assert truth(text) is expected
    spelt = spell(core_of(text))
    assert core_of(spelt) == core_of(text)


@pytest.mark.parametrize(
    "text",
    [
        'table == "users"', 'table != "x"', 'not (table == "x")', "table in tables", "table not in tables",
        "table matches word", 'table starts with "u"', "size(table) < 1 KB", "table in columns",
        'lower(table) == "users"', "every u in urls(table) satisfies (host(u) in tables)",
        "table == principal.user",
    ],
)  # fmt: skip
def test_a_missing_argument_is_undecided(text: str) -> None:
    assert truth(text, table=None) is None


def test_a_value_of_another_type_is_undecided_and_never_raises() -> None:
    assert truth("limit < 5", limit="x") is None
    assert truth("table matches word", table=5) is None
    assert truth("table in tables", table=["users"]) is None
    assert truth("sure", sure=1) is None


def test_a_missing_attribute_of_the_principal_is_undecided() -> None:
    assert condition_of('principal.tier == "gold"')(Scope(ARGUMENTS, {})) is None


def test_every_over_nothing_is_undecided_and_some_is_false() -> None:
    assert truth("every c in columns satisfies (c in tables)", columns=[]) is None
    assert truth('every c in columns satisfies (c starts with "u")', columns=[]) is None
    assert truth('some c in columns satisfies (c starts with "u")', columns=[]) is False
    assert truth('every u in urls(body) satisfies (host(u) == "a.example")', body="none here") is None


def test_an_ambiguous_url_in_a_text_is_undecided() -> None:
    text = 'every u in urls(body) satisfies (host(u) == "docs.acme.example")'
    assert truth(text, body="https://docs.acme.example\\@evil.example/") is None


@pytest.mark.parametrize("ending", ["\n", "\nx", "\r", "\u2028", "\x00"])
def test_a_pattern_matches_the_whole_text_to_the_last_character(ending: str) -> None:
    assert truth("table matches word", table="users" + ending) is False
    assert truth("table matches /(?m)^[a-z]+$/", table="users" + ending) is False


THREE: tuple[Truth, ...] = (True, False, None)


def given_atoms(core: Json, values: dict[str, Truth]) -> Truth:
    """Evaluate a core of `and`, `or`, `not` whose atoms `["true?", ["arg", name]]` have these values."""
    arguments = {name: value for name, value in values.items() if value is not None}
    return condition(core)(Scope(arguments, {}))


def atom(name: str) -> Json:
    return ["true?", ["arg", name]]


@pytest.mark.parametrize(("a", "b"), list(product(THREE, THREE)))
def test_and_and_or_follow_kleenes_tables_in_either_order(a: Truth, b: Truth) -> None:
    values = {"a": a, "b": b}
    both = False if False in (a, b) else None if None in (a, b) else True
    either = True if True in (a, b) else None if None in (a, b) else False
    for first, second in (("a", "b"), ("b", "a")):
        assert given_atoms(["and", atom(first), atom(second)], values) is both
        assert given_atoms(["or", atom(first), atom(second)], values) is either
    assert given_atoms(["not", atom("a")], values) is (None if a is None else not a)


NAMES = ("a", "b", "c", "d")
CORES = st.recursive(
    st.sampled_from(NAMES).map(atom),
    lambda inner: (
        inner.map(lambda part: ["not", part])
        | st.lists(inner, min_size=2, max_size=4).map(lambda parts: ["and", *parts])
        | st.lists(inner, min_size=2, max_size=4).map(lambda parts: ["or", *parts])
    ),
    max_leaves=12,
)


@given(
    core=CORES,
    values=st.fixed_dictionaries({name: st.booleans() for name in NAMES}),
    lost=st.sets(st.sampled_from(NAMES)),
)
def test_losing_atoms_never_turns_a_condition_round(
    core: Json, values: dict[str, bool], lost: set[str]
) -> None:
    whole = given_atoms(core, dict(values))
    partial = given_atoms(core, {name: None if name in lost else value for name, value in values.items()})
    assert partial in (whole, None)


@given(core=CORES, values=st.fixed_dictionaries({name: st.sampled_from(THREE) for name in NAMES}))
def test_de_morgans_laws_hold_with_three_values(core: Json, values: dict[str, Truth]) -> None:
    negated = given_atoms(["not", core], values)
    if core[0] in ("and", "or"):
        dual = ["or" if core[0] == "and" else "and", *(["not", part] for part in core[1:])]
        assert given_atoms(dual, values) is negated


def test_an_exception_in_one_atom_leaves_the_others_their_say() -> None:
    assert truth("table matches word and limit > 50", table=5) is False
    assert truth("table matches word or limit == 10", table=5) is True


@given(value=st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text()))
def test_conditions_are_total(value: Json) -> None:
    scope = Scope({name: value for name in ARGUMENTS}, {"user": value})
    for closure in TOTAL:
        assert closure(scope) in THREE


TOTAL = [
    condition_of(text)
    for text in (
        'table == "x" or limit < 5',
        "table in tables",
        "every c in columns satisfies (c in tables)",
        'some a in all satisfies (domain(a) == "x.example")',
        'host(url) == "x.example"',
        "table matches word",
        "every u in urls(body) satisfies (u == url)",
        "body contains table",
        "size(body) > 1 KB or size(columns) == 1",
    )
]
