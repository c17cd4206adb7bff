"""`comes from` and `comes only from`: which questions are asked, and how the answers combine."""
# ruff: noqa: E501  one case a line

from itertools import product

import pytest

from ringfence.dsl.plan import Json, Origin, Scope, Truth
from tests.dsl.middle.remembered import Remembered
from tests.dsl.middle.test_history import clause_of

MADE: dict[str, Json] = {
    "to": ["a@x.example", "b@x.example"],
    "subject": "hello",
    "body": "see https://docs.acme.example/ or mail eve@evil.example",
    "count": 7,
    "one": "Bob@acme.example",
    "url": "https://docs.acme.example/",
    "extra": {"name": "Ann", "tags": ["x", "y"], "deep": {"n": 1810}, "flag": True, "nothing": None},
    "rows": [{"id": "r1"}, {"id": "r2"}],
    "cc": ["x", "y"],
}


def truth(text: str, memory: Remembered, edited: frozenset[str] = frozenset(), **changes: Json) -> Truth:
    condition = clause_of(text).condition
    assert condition is not None
    return condition(Scope({**MADE, **changes}, {"tier": "gold"}, memory=memory, edited=edited))


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("one comes from user", [["user"]]),
        ("one comes only from [user, system, attachment]", [["user"], ["system"], ["attachment"]]),
        ("one comes from [query, contacts.rows.email]", [["tool", "query"], ["field", "contacts", ["rows", "email"]]]),
        ("one comes from [approver, model]", [["approver", "one"], ["model", "one"]]),
        ("some t in to satisfies (lower(t) comes from model)", [["model", "to"]]),
        ("some e in emails(body) satisfies (e comes from approver)", [["approver", "body"]]),
        ("principal.tier comes from model", [["model", None]]),
        ("one comes from people", [["set", ["Bob@acme.example"]]]),
        ("urls(body) comes from pages", [["set", ["https://docs.acme.example/"]]]),
        ("count comes from codes", [["set", [7, 8.5]]]),
        ("extra.name comes from hosts", [["set", ["docs.acme.example", "status.acme.example"]]]),
    ],
)  # fmt: skip
def test_the_sources_of_a_question_have_this_core_form(text: str, origins: Json) -> None:
    core = clause_of(text).core
    while core[0] in ("some", "every"):
        core = core[3]
    assert core[0] in ("comes_from", "comes_only_from")
    assert core[2] == origins


def test_each_element_is_asked_of_each_source() -> None:
    memory = Remembered()
    truth("to comes from [user, query.email]", memory)
    plain = [(Origin("user")), Origin("field", "query", ("email",))]
    assert memory.asked == list(product(["a@x.example", "b@x.example"], plain))
    memory = Remembered()
    truth("to comes only from web", memory)
    assert memory.asked == [("a@x.example", Origin("tool", "web", only=True))]


# what user knows, what web knows, undecided sources -> `to comes from [user, web]`, `to comes only from […]`
TABLE: list[tuple[str, str, str, Truth, Truth]] = [
    ("", "", "", False, False),
    ("a", "", "", True, False),
    ("a", "b", "", True, True),
    ("ab", "", "web", True, True),
    ("a", "", "web", True, None),
    ("", "", "web", None, None),
    ("", "b", "user", True, None),
    ("", "", "user web", None, None),
]


@pytest.mark.parametrize(("user", "web", "unknown", "some", "every"), TABLE)
def test_answers_combine_by_kleenes_tables(
    user: str, web: str, unknown: str, some: Truth, every: Truth
) -> None:
    for names in ("[user, web]", "[web, user]"):
        for to in (["a@x.example", "b@x.example"], ["b@x.example", "a@x.example"]):
            memory = Remembered(
                sources={
                    "user": [f"{name}@x.example" for name in user],
                    "web": [f"{name}@x.example" for name in web],
                },
                unknown=frozenset(unknown.split()),
            )
            assert truth(f"to comes from {names}", memory, to=to) is some
            assert truth(f"to comes only from {names}", memory, to=to) is every


def test_only_from_over_an_empty_list_is_undecided_and_from_is_false() -> None:
    memory = Remembered()
    assert truth("to comes only from user", memory, to=[]) is None
    assert truth("to comes from user", memory, to=[]) is False
    assert truth("urls(body) comes only from user", memory, body="no address") is None


def test_a_source_that_fails_leaves_the_others_their_say() -> None:
    class Half(Remembered):
        def comes_from(self, value: Json, source: Origin) -> Truth:
            if source.kind == "system":
                raise RuntimeError("broken")
            return source.kind == "user"

    assert truth("one comes from [system, user]", Half()) is True
    assert truth("one comes only from [system, user]", Half()) is True
    assert truth("one comes only from [system, attachment]", Half()) is None


def test_a_set_is_known_without_a_memory() -> None:
    condition = clause_of("one comes only from people").condition
    assert condition is not None
    assert condition(Scope({"one": "Bob@acme.example"}, {})) is True
    assert condition(Scope({"one": "bob@acme.example"}, {})) is False
    mixed = clause_of("one comes only from [user, people]").condition
    assert mixed is not None
    assert mixed(Scope({"one": "Bob@acme.example"}, {})) is True
    assert mixed(Scope({"one": "eve@acme.example"}, {})) is None


def test_what_an_approver_wrote_comes_from_the_approver_and_not_from_the_model() -> None:
    memory = Remembered(sources={"model": ["hello", "a@x.example", "b@x.example"]})
    edited = frozenset({"subject"})
    assert truth("subject comes from approver", memory) is False
    assert truth("subject comes from approver", memory, edited) is True
    assert truth("lower(subject) comes only from [user, approver]", memory, edited) is True
    assert truth("to comes only from [user, approver]", memory, edited) is False
    assert truth("some t in to satisfies (t comes from approver)", memory, frozenset({"to"})) is True
    assert truth("subject comes from model", memory) is True
    assert truth("subject comes from model", memory, edited) is False
    assert truth("principal.tier comes from approver", memory, edited) is False


def test_values_inside_texts_and_records_are_asked_too() -> None:
    memory = Remembered(
        sources={"user": ["eve@evil.example", "https://docs.acme.example/", "Ann", "x", "y", 1810]}
    )
    assert truth("emails(body) comes only from user", memory) is True
    assert truth("urls(body) comes only from user", memory) is True
    assert truth("extra.name comes only from user", memory) is True
    assert truth("extra.tags comes only from user", memory) is True
    assert truth("extra.deep.n comes only from user", memory) is True
    assert truth("every r in rows satisfies (r.id comes only from user)", memory) is False


def test_an_untyped_field_that_is_no_text_or_number_has_no_source() -> None:
    memory = Remembered(sources={"user": [True, 1, None]})
    for field in ("flag", "nothing", "missing", "deep"):
        assert truth(f"extra.{field} comes from user", memory) is None
        assert truth(f"extra.{field} comes only from user", memory) is None
    assert truth("extra.tags comes only from user", memory, extra={"tags": [1, True]}) is None
    assert truth("extra.tags comes only from user", memory, extra={"tags": []}) is None


def test_more_questions_than_can_be_answered_are_undecided() -> None:
    many = [f"p{number}@x.example" for number in range(20_000)]
    for text in (
        "to comes only from user",
        "to comes from user",
        "some t in to satisfies (t comes from user)",
    ):
        memory = Remembered(sources={"user": many[:5]})
        assert truth(text, memory, to=many) is None
        assert memory.asked == []
    every = "every t in to satisfies (t comes only from [user, query])"
    assert truth(every, Remembered(sources={"user": many}), to=many) is None
    few = many[:500]
    assert truth("to comes only from [user, query]", Remembered(sources={"user": few}), to=few) is True
    assert truth(every, Remembered(sources={"user": few}), to=few) is True


def test_the_addresses_in_a_long_text_count_and_not_its_length() -> None:
    many = [f"p{number}@x.example" for number in range(20_000)]
    memory = Remembered(sources={"user": many})
    for text in (
        "emails(body) comes only from user",
        "every e in emails(body) satisfies (e comes only from user)",
    ):
        assert truth(text, memory, body=" ".join(many)) is None
        assert truth(text, memory, body="nobody is named here, at great length " * 10_000 + many[0]) is True
