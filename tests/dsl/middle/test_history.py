"""Conditions about what happened before: what they ask of the session's memory, and what comes of it."""
# ruff: noqa: E501  one case a line

import pytest

from ringfence.dsl.compile.watches import Remembered as Mentioned
from ringfence.dsl.compile.watches import asked
from ringfence.dsl.load import load_text
from ringfence.dsl.plan import Clause, Json, Scope, Truth, Watch
from ringfence.dsl.spelling import spell
from tests.dsl.middle.remembered import Broken, Remembered, policy

ARGUMENTS: dict[str, Json] = {"to": ["a@b.example"], "subject": "s", "body": "b", "count": 3, "sure": True}
TARGETS = {"query": ("query",), "web": ("web",), "look": ("query", "contacts")}


def clause_of(text: str) -> Clause:
    loaded = load_text(policy(text))
    assert loaded.plan is not None, loaded.diagnostics
    (clause,) = loaded.plan.tools["mail"].allows
    return clause


def truth(text: str, memory: Remembered | Broken | None, now_ns: int = 7) -> Truth:
    condition = clause_of(text).condition
    assert condition is not None
    return condition(Scope(ARGUMENTS, {"tier": "gold"}, memory=memory, now_ns=now_ns))


def watches(text: str) -> list[Watch]:
    mentioned = Mentioned()
    mentioned.meet(clause_of(text).core, lambda target: TARGETS[target[1]])
    return list(mentioned.watches.values())


@pytest.mark.parametrize(
    ("text", "core"),
    [
        ("after query", ["after", ["tools", ["tool", "query"]], ["session"]]),
        ("after any tool that needs look within 2 hours", ["after", ["tools", ["needs", "look"]], ["within", 7_200_000]]),
        ("after reading internal within this run", ["after", ["reading", 1], ["run"]]),
        ("after query with no web since", ["since", ["tools", ["tool", "query"]], ["session"], ["tools", ["tool", "web"]]]),
        ('after query where (table == "x")', ["after", ["tools", ["tool", "query"], [[["==", ["arg", "table"], ["const", "x"]], ["query"]]]], ["session"]]),
        ("after query where (1 == 1)", ["after", ["tools", ["tool", "query"]], ["session"]]),
        ("calls to web within 1 minute > 2", [">", ["calls", ["tools", ["tool", "web"]], ["within", 60_000]], ["const", 2]]),
        ("2 < calls to web", [">", ["calls", ["tools", ["tool", "web"]], ["session"]], ["const", 2]]),
        ("body carries secret", ["carries", ["arg", "body"], 2]),
        ("every t in to satisfies (t carries public)", ["every", "t", ["arg", "to"], ["carries", ["var", "t"], 0]]),
    ],
)  # fmt: skip
def test_a_condition_about_history_has_this_core_form(text: str, core: Json) -> None:
    assert clause_of(text).core == core


def test_a_where_is_typed_for_each_tool_it_may_mean() -> None:
    text = 'after any tool that needs look where (table == "users")'
    (watch,) = watches(text)
    (happening,) = watch.events
    assert sorted(happening.tools) == ["contacts", "query"]
    for condition in happening.tools.values():
        assert condition is not None
        assert condition(Scope({"table": "users"}, {})) is True
        assert condition(Scope({"table": "x"}, {})) is False
        assert condition(Scope({}, {})) is None
    (group,) = clause_of(text).core[1][2]
    assert group[1] == ["contacts", "query"]


def test_watches_say_what_must_be_remembered() -> None:
    (watch,) = watches("not (after reading secret within 1 second and sure)")
    assert (watch.kind, watch.within_ns, watch.in_run, watch.events[0].rank) == (
        "after",
        1_000_000_000,
        False,
        2,
    )
    (watch,) = watches("after query within this run with no any tool that needs look since or sure")
    assert (watch.kind, watch.in_run, watch.within_ns) == ("since", True, None)
    assert [sorted(event.tools) for event in watch.events] == [["query"], ["contacts", "query"]]
    (watch,) = watches("every t in to satisfies (calls to web < 4)")
    assert (watch.kind, watch.events[0].tools, watch.events[0].rank) == ("calls", {"web": None}, None)
    assert watches("sure and body carries secret") == []


def test_the_memory_is_asked_by_the_watchs_key_at_the_engines_time() -> None:
    for text in ("after query", "after query with no web since", "calls to query > 1"):
        memory = Remembered()
        truth(text, memory, now_ns=11)
        assert memory.watched == [(watch.key, 11) for watch in watches(text)]


@pytest.mark.parametrize("happened", [True, False, None])
def test_after_is_what_the_memory_says(happened: Truth) -> None:
    negated = None if happened is None else not happened
    for text in ("after query", "after query with no web since", "after reading secret"):
        assert truth(text, Remembered(happened=happened)) is happened
        assert truth(f"not ({text})", Remembered(happened=happened)) is negated


COUNTS = [
    # least, most, n -> calls == n, != n, < n, <= n, > n, >= n
    ((2, 2), 2, (True, False, False, True, False, True)),
    ((2, 2), 3, (False, True, True, True, False, False)),
    ((2, 2), 1, (False, True, False, False, True, True)),
    ((2, 4), 2, (None, None, False, None, None, True)),
    ((2, 4), 3, (None, None, None, None, None, None)),
    ((2, 4), 4, (None, None, None, True, False, None)),
    ((2, 4), 5, (False, True, True, True, False, False)),
    ((2, 4), 1, (False, True, False, False, True, True)),
    ((2, None), 1, (False, True, False, False, True, True)),
    ((2, None), 9, (None, None, None, None, None, None)),
]


@pytest.mark.parametrize(("count", "number", "expected"), COUNTS)
def test_a_count_is_undecided_only_where_the_maybes_could_change_it(
    count: tuple[int, int | None], number: int, expected: tuple[Truth, ...]
) -> None:
    mirrored = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
    for operator, one in zip(mirrored, expected, strict=True):
        memory = Remembered(count=count)
        assert truth(f"calls to query {operator} {number}", memory) is one
        assert truth(f"{number} {mirrored[operator]} calls to query", memory) is one


def test_a_count_is_compared_with_arguments_sizes_and_other_counts() -> None:
    assert truth("calls to query == count", Remembered(count=(3, 3))) is True
    assert truth("size(to) < calls to query", Remembered(count=(3, 4))) is True
    assert truth("calls to query >= calls to web", Remembered(count=(3, 3))) is True
    assert truth("calls to query >= calls to web", Remembered(count=(3, 4))) is None


def test_a_label_is_what_the_session_carries() -> None:
    assert truth("body carries internal", Remembered(rank=1)) is True
    assert truth("body carries secret", Remembered(rank=1)) is False
    assert truth("body carries secret", Remembered()) is None
    assert truth("lower(body) carries public", Remembered(rank=0)) is True


SESSION = [
    "after query", "after query with no web since", "after reading public", "calls to web == 0", "calls to web >= 0",
    "body carries public", "body comes from user", "body comes only from user", "during office",
]  # fmt: skip


@pytest.mark.parametrize("text", SESSION)
@pytest.mark.parametrize("memory", [None, Broken()])
def test_without_a_memory_or_with_a_broken_one_all_is_undecided(text: str, memory: Broken | None) -> None:
    assert truth(text, memory) is None


@pytest.mark.parametrize("text", SESSION)
def test_an_answer_that_is_no_truth_is_undecided(text: str) -> None:
    class Odd(Remembered):
        def carries(self, rank: int) -> Truth:
            return 1  # type: ignore[return-value]

        def comes_from(self, value: Json, source: object) -> Truth:
            return "yes"  # type: ignore[return-value]

    memory = Odd(happened="yes", count=("a", "b"))  # type: ignore[arg-type]
    assert truth(text, memory) is None


@pytest.mark.parametrize(
    "text",
    [*SESSION, 'after query where (table == "x" and principal.tier == "gold")', "calls to query within 5 minutes > 3",
     "after any tool that needs look within this run with no query since"],
)  # fmt: skip
def test_what_is_spelt_names_the_same_things(text: str) -> None:
    spelt = spell(clause_of(text).core)
    for word in ("query", "web", "look", "user", "table", "5 minutes", "since", "this run", "08:00"):
        assert (word in spelt) == (word in text or (word == "08:00" and "during" in text))


def test_levels_are_spelt_by_their_names() -> None:
    core = clause_of("not (after reading secret) and body carries internal").core
    assert (
        spell(core, ("public", "internal", "secret"))
        == "not (after reading secret) and body carries internal"
    )


@pytest.mark.parametrize(
    ("text", "atoms"),
    [
        ("sure and is_customer(one)", []),
        ("sure and (after query or every t in to satisfies (is_customer(t)))", ["after"]),
        ("some t in to satisfies (t comes from user or t carries secret)", ["comes_from", "carries"]),
        ("not (calls to web > size(to)) and size(cc) == 1", ["calls"]),
        ("extra.a == 1 or tier_of(extra.b, 1) == subject or during office", []),
        ('after query where (table == "x") with no web since', ["since"]),
    ],
)
def test_what_a_condition_asks_of_the_session_is_found(text: str, atoms: list[str]) -> None:
    assert [atom[0] for atom in asked(clause_of(text).core)] == atoms


def test_a_principal_named_in_a_where_must_be_said_by_the_host() -> None:
    clause = clause_of("after query where (principal.workspace == table)")
    assert clause.principal_fields == ("workspace",)
