"""An order is a deny of its last step unless the other steps came before, with the same value."""

import pytest

from ringfence.dsl.load import load_text
from ringfence.dsl.plan import Clause, Json, Scope, Truth
from tests.dsl.middle.remembered import Remembered, policy


def denies(order: str, tool: str = "mail") -> list[Clause]:
    loaded = load_text(policy("sure", f"order o {order}\n"))
    assert loaded.plan is not None, loaded.diagnostics
    return [clause for clause in loaded.plan.tools[tool].denies if clause.name == "o"]


QUERY: Json = ["tools", ["tool", "query"]]
WHERE: Json = ["tools", ["tool", "query"], [[["==", ["arg", "table"], ["const", "x"]], ["query"]]]]


@pytest.mark.parametrize(
    ("order", "core"),
    [
        (": query then mail", ["not", ["ordered", "o", [QUERY], None]]),
        ('same table: query where (table == "x") then contacts', ["not", ["ordered", "o", [WHERE], "table"]]),
        (
            ": query then reading internal then mail",
            ["not", ["ordered", "o", [QUERY, ["reading", 1]], None]],
        ),
        (
            ": query then mail where (count > 3)",
            ["and", [">", ["arg", "count"], ["const", 3]], ["not", ["ordered", "o", [QUERY], None]]],
        ),
    ],
)
def test_an_order_has_this_core_form(order: str, core: Json) -> None:
    (clause,) = denies(order, "contacts" if "contacts" in order else "mail")
    assert (clause.effect, clause.core) == ("deny", core)


@pytest.mark.parametrize(("in_order", "denied"), [(True, False), (False, True), (None, None)])
def test_the_last_step_is_denied_unless_the_others_came_before(in_order: Truth, denied: Truth) -> None:
    (clause,) = denies("same table: query then contacts", "contacts")
    assert clause.condition is not None
    memory = Remembered(in_order=in_order)
    assert clause.condition(Scope({"table": "x", "kind": "k"}, {}, memory=memory)) is denied
    assert clause.condition(Scope({"kind": "k"}, {}, memory=memory)) is None
    assert clause.condition(Scope({"table": "x"}, {})) is None


def test_a_where_of_the_last_step_says_which_calls_are_guarded() -> None:
    (clause,) = denies(": query then mail where (count > 3)")
    assert clause.condition is not None
    memory = Remembered(in_order=False)
    assert clause.condition(Scope({"count": 4}, {}, memory=memory)) is True
    assert clause.condition(Scope({"count": 3}, {}, memory=memory)) is False
    assert clause.condition(Scope({}, {}, memory=memory)) is None


def test_a_last_step_of_many_tools_guards_each_of_them() -> None:
    order = ": web then any tool that needs look"
    assert [len(denies(order, tool)) for tool in ("query", "contacts", "mail")] == [1, 1, 0]


@pytest.mark.parametrize(
    ("order", "code", "wrong"),
    [
        (": qery then mail", "E101", "qery"),
        (": query then mial", "E101", "mial"),
        (": reading sceret then mail", "E103", "sceret"),
        ("same tabel: query then contacts", "E102", "tabel"),
        ("same limit: query then contacts", "E102", "limit"),
        ("same note: mail then mail", "E117", "note"),
        ("same subject: mail then chat", "E110", "subject"),
        ("same table: reading internal then contacts", "E110", "reading internal"),
        (": query then reading internal", "E110", "reading internal"),
        (": query then mail where (cuont > 3)", "E102", "cuont"),
        (": query where (during office) then mail", "E110", "during office"),
    ],
)
def test_a_mistake_in_an_order_stands_at_the_wrong_word(order: str, code: str, wrong: str) -> None:
    more = f"tool chat {{ takes subject: integer allow always }}\norder o {order}\n"
    text = policy("sure", more)
    found = [
        (report.code, text[report.span.start : report.span.end]) for report in load_text(text).diagnostics
    ]
    assert found == [(code, wrong)]


def test_the_principal_named_in_an_order_must_be_said_by_the_host() -> None:
    (clause,) = denies(": query where (principal.workspace == table) then mail")
    assert clause.principal_fields == ("workspace",)
