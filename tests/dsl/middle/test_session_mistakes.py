"""Mistakes about history, labels, sources, calendars, functions and records stand at exactly the wrong word."""
# ruff: noqa: E501  one mistake a line, wrong and mended side by side

import pytest

from ringfence.dsl.diagnostic import draw
from ringfence.dsl.load import load_text
from tests.dsl.middle.remembered import policy

# (code, the wrong condition with the underlined words between « and », the mended condition)
CONDITIONS = [
    ("E101", "after «qery»", "after query"),
    ("E101", "calls to «qery» > 3", "calls to query > 3"),
    ("E101", "after query with no «wbe» since", "after query with no web since"),
    ("E102", 'after query where («tabel» == "x")', 'after query where (table == "x")'),
    ("E102", 'after any tool that needs look where («limit» == 1)', 'after any tool that needs look where (table == "x")'),
    ("E102", 'after query where («subject» == "x")', 'after query where (table == "x")'),
    ("E102", 'after query where (principal.«teir» == "x")', 'after query where (principal.tier == "x")'),
    ("E103", "after reading «sceret»", "after reading secret"),
    ("E103", "body carries «pubic»", "body carries public"),
    ("E106", "after any tool that needs «lok»", "after any tool that needs look"),
    ("E107", "«is_custmer»(one)", "is_customer(one)"),
    ("E107", "«is_customer»(one, one)", "is_customer(one)"),
    ("E107", '«sql_table»(body) contains "x"', 'sql_tables(body) contains "x"'),
    ("E108", "one comes from «uesr»", "one comes from user"),
    ("E108", "one comes from [user, «qeury»]", "one comes from [user, query]"),
    ("E108", "one comes only from [«contact».email]", "one comes only from [contacts.email]"),
    ("E108", "one comes from user.«name»", "one comes from user"),
    ("E108", "one comes from people.«name»", "one comes from people"),
    ("E109", "during «ofice»", "during office"),
    ("E110", 'after query where («after web»)', 'after query where (table == "x")'),
    ("E110", 'after query where («table comes from user»)', 'after query where (table == "x")'),
    ("E110", 'after query where («during office»)', 'after query where (table == "x")'),
    ("E110", 'after query where («table carries secret»)', 'after query where (table == "x")'),
    ("E110", 'after query where («calls to web» > 2)', 'after query where (limit > 2)'),
    ("E110", 'after query where (table «==» arg.table)', 'after query where (table == "x")'),
    ("E110", 'calls to query «<=» calls to query', 'calls to query <= calls to web'),
    ("E110", 'after query where («tier_of»(table, 1) == "x")', 'after query where (table == "x")'),
    ("E110", "«calls to query» in codes", "calls to query == 7"),
    ("E110", "size(cc) == 1 and «calls to query»", "size(cc) == 1 and calls to query == 0"),
    ("E110", "calls to «reading secret» > 1", "calls to web > 1"),
    ("E110", 'calls to query «>» "3"', "calls to query > 3"),
    ("E110", "calls to query «>» 5 minutes", "calls to query > 5"),
    ("E110", "size(body) «<» 5 minutes", "size(body) < 5 KB"),
    ("E110", "sure «comes from» user", "one comes from user"),
    ("E110", "extra «comes only from» user", "extra.to comes only from user"),
    ("E110", "rows «comes from» user", "cc comes from user"),
    ("E110", "size(cc) «comes from» user", "count comes from user"),
    ("E110", "one «comes from» switches", "one comes from people"),
    ("E110", "one «comes from» hosts", "one comes from people"),
    ("E110", "count «comes from» people", "count comes from codes"),
    ("E110", "subject «comes only from» codes", "subject comes only from hosts"),
    ("E110", "principal.tier «carries» secret", "subject carries secret"),
    ("E110", '"x" «carries» secret', "subject carries secret"),
    ("E110", "«is_customer»(subject)", "is_customer(one)"),
    ("E110", '«is_customer»("nobody")', 'is_customer("Bob@ACME.example")'),
    ("E110", "«tier_of»(subject, 1.5) == principal.tier", "tier_of(subject, 1) == principal.tier"),
    ("E110", "«inspect»(body, extra)", "inspect(cc, extra)"),
    ("E110", "«tier_of(subject, 1)»", 'tier_of(subject, 1) == "gold"'),
    ("E110", "extra «==» extra", "extra.a == 1"),
    ("E110", "extra.a «==» extra.b", "extra.a == subject"),
    ("E110", "extra.a «<» day", "extra.a < count"),
    ("E110", "extra.a «==» one", 'extra.a == "x"'),
    ("E110", "extra.a «==» 5 KB", "extra.a == 5"),
    ("E110", "«size»(extra.a) == 1", "size(rows) == 1"),
    ("E102", "subject.«name» == 1", "extra.name == 1"),
    ("E112", "after query within «0 seconds»", "after query within 1 second"),
    ("E117", "«note» comes from user", "note is present and note comes from user"),
    ("E117", "«note» carries secret", "note is missing or note carries secret"),
    ("E117", "«more.a» == 1", "more.a is present and more.a == 1"),
    ("E117", 'tier_of(«note», 1) == "x"', 'tier_of(subject, 1) == "x"'),
    ("E120", "after query where («limit > 5 and limit < 3»)", "after query where (limit > 5 and limit < 30)"),
    ("E120", "«calls to query > 5 and calls to query < 3»", "calls to query > 5 and calls to query < 30"),
    ("E120", "«calls to query < 0»", "calls to query <= 0"),
    ("E136", "after query and after web «or» sure", "after query and (after web or sure)"),
]  # fmt: skip

OFFICE = 'calendar c = {} to {} {} to {} in "{}"\n'
DECLARATIONS = [
    ("E109", OFFICE.format("«munday»", "friday", "08:00", "18:00", "UTC"), OFFICE.format("monday", "friday", "08:00", "18:00", "UTC")),
    ("E109", OFFICE.format("monday", "«fryday»", "08:00", "18:00", "UTC"), OFFICE.format("friday", "monday", "08:00", "24:00", "UTC")),
    ("E109", OFFICE.format("monday", "friday", "«25:00»", "26:00", "UTC").replace("26:00", "18:00"), OFFICE.format("monday", "monday", "00:00", "18:00", "UTC")),
    ("E109", OFFICE.format("monday", "friday", "18:00", "«08:00»", "UTC"), OFFICE.format("monday", "friday", "18:00", "24:00", "UTC")),
    ("E109", OFFICE.format("monday", "friday", "08:00", "«08:00»", "UTC"), OFFICE.format("monday", "friday", "08:00", "08:01", "UTC")),
    ("E109", 'calendar c = monday to friday 08:00 to 18:00 in «"Europe/Lundon"»\n', OFFICE.format("monday", "friday", "08:00", "18:00", "Europe/London")),
    ("E109", 'calendar c = monday to friday 08:00 to 18:00 in «"../etc/passwd"»\n', OFFICE.format("monday", "friday", "08:00", "18:00", "Etc/UTC")),
    ("E107", 'function f(a: text) gives boolean from «" "»\n', 'function f(a: text) gives boolean from "acme"\n'),
    ("E111", 'function f(a: «txt») gives boolean from "acme"\n', 'function f(a: text) gives boolean from "acme"\n'),
    ("E111", 'function f(a: text) gives «bool» from "acme"\n', 'function f() gives boolean from "acme"\n'),
    ("E111", 'function f(«a»: text optional) gives boolean from "acme"\n', 'function f(a: record) gives list of text from "acme"\n'),
    ("E115", 'function f(a: text, «a»: text) gives boolean from "acme"\n', 'function f(a: text, b: text) gives boolean from "acme"\n'),
    ("E115", 'function «size»(a: text) gives boolean from "acme"\n', 'function sql_tables(a: text) gives list of text from "acme"\n'),
    ("E115", 'function «is_customer»(a: text) gives boolean from "acme"\n', 'function is_client(a: text) gives boolean from "acme"\n'),
    ("E115", OFFICE.replace(" c ", " «office» ").format("monday", "friday", "08:00", "18:00", "UTC"), OFFICE.format("monday", "friday", "08:00", "18:00", "UTC")),
    ("E115", "«levels a < b»\n", ""),
]  # fmt: skip
CASES = [(code, policy(wrong), policy(right)) for code, wrong, right in CONDITIONS]
CASES += [(code, policy("sure", wrong), policy("sure", right)) for code, wrong, right in DECLARATIONS]
MISTAKES = [(code, wrong) for code, wrong, _ in CASES]


@pytest.mark.parametrize(("code", "wrong"), MISTAKES)
def test_one_mistake_gives_one_report_at_the_wrong_word(code: str, wrong: str) -> None:
    start, end = wrong.index("«"), wrong.index("»") - 1
    text = wrong.replace("«", "").replace("»", "")
    loaded = load_text(text)
    found = [(report.code, text[report.span.start : report.span.end]) for report in loaded.diagnostics]
    assert found == [(code, text[start:end])]
    assert loaded.diagnostics[0].span.start == start
    assert loaded.plan is None


@pytest.mark.parametrize("right", [right for _, _, right in CASES])
def test_the_mended_text_loads_without_a_report(right: str) -> None:
    loaded = load_text(right)
    assert [(report.code, report.message) for report in loaded.diagnostics] == []
    assert loaded.plan is not None


@pytest.mark.parametrize("wrong", [wrong for _, wrong in MISTAKES])
def test_every_report_is_worded_as_the_style_asks(wrong: str) -> None:
    loaded = load_text(wrong.replace("«", "").replace("»", ""))
    assert draw(loaded.diagnostics)
    for report in loaded.diagnostics:
        assert not report.message.endswith(".")
        assert report.message[0].islower() or not report.message[0].isalpha()
        assert report.help or report.label


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("after qery", "query"),
        ("after reading sceret", "secret"),
        ("one comes from uesr", "user"),
        ("one comes from peopel", "people"),
        ("one comes from contact.email", "contacts"),
        ("during ofice", "office"),
        ("is_custmer(one)", "is_customer"),
    ],
)
def test_the_nearest_word_is_offered(wrong: str, meant: str) -> None:
    (report,) = load_text(policy(wrong)).diagnostics
    assert report.help == f"did you mean `{meant}`?"


def test_without_levels_a_level_is_told_where_to_be_declared() -> None:
    text = "language 1\npolicy p\ntool t { takes a: text allow when a carries secret }"
    (report,) = load_text(text).diagnostics
    assert (report.code, report.help) == (
        "E103",
        "declare them, lowest first: `levels public < internal < secret`",
    )


def test_a_source_that_is_a_set_and_a_tool_is_not_guessed_between() -> None:
    text = policy("one comes from web").replace("set codes", 'set web = ["a@b.example"]\nset codes')
    assert [report.code for report in load_text(text).diagnostics] == ["E115"]


def test_a_mistake_in_a_where_of_many_tools_is_reported_once() -> None:
    text = policy('after any tool that needs look where (nosuch == "x")')
    assert [report.code for report in load_text(text).diagnostics] == ["E102"]
