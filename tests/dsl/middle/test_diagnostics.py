"""Every report of this part stands at exactly the wrong word, alone, and goes away when that is mended."""
# ruff: noqa: E501  one mistake a line, wrong and mended side by side

import pytest

from ringfence.dsl.diagnostic import draw
from ringfence.dsl.load import load_text

HEAD = """language 1
policy p
capability look is read
capability send is external
capability wipe is destructive
set tables = ["users", "orders"]
set hosts = ["docs.acme.example"]
pattern ticket = /T-[0-9]{6}/
principal has tier: text
approver lead { group "leads" never the requester answer within 5 minutes otherwise deny }
"""
AGENT = "agent main { holds look, send, wipe }\n"


def query(clauses: str) -> str:
    """A policy with one reading tool that has these clauses."""
    takes = "takes table: text, limit: integer, columns: list of text, note: text optional, to: email, body: text, url: url, day: date, sure: boolean"
    return HEAD + AGENT + "tool query {\n  needs look\n  " + takes + "\n  " + clauses + "\n}\n"


def rule(text: str) -> str:
    """A policy with two tools and this rule."""
    tools = """tool query { needs look takes table: text allow always }
tool mail { needs send takes body: text allow when size(body) < 20 KB rate 10 per hour }
"""
    return HEAD + AGENT + tools + text + "\n"


def declared(text: str) -> str:
    """A policy with these declarations instead of the usual agent."""
    return HEAD + text + "\ntool query { needs look allow always }\n"


# (code, the wrong text with the underlined words between « and », the mended text)
MISTAKES = [
    ("E101", rule("rule r: deny «qery» when principal.user == \"eve\""), rule("rule r: deny query when principal.user == \"eve\"")),
    ("E102", query("allow when «tabel» in tables"), query("allow when table in tables")),
    ("E102", query("allow when principal.«teir» == \"gold\""), query("allow when principal.tier == \"gold\"")),
    ("E102", query("allow when table.«name» in tables"), query("allow when table in tables")),
    ("E102", rule("rule r: deny any tool when «table» == \"x\""), rule("rule r: deny query when table == \"x\"")),
    ("E104", query("allow when table matches «tickte»"), query("allow when table matches ticket")),
    ("E105", query("allow always\n  ask «leed»"), query("allow always\n  ask lead")),
    ("E105", declared(AGENT + 'approver a { group "people" answer within 1 hour otherwise ask «a» }'), declared(AGENT + 'approver a { group "people" answer within 1 hour otherwise ask lead }')),
    ("E105", declared(AGENT + 'approver a { group "people" quorum «0» }'), declared(AGENT + 'approver a { group "people" quorum 2 }')),
    ("E105", declared(AGENT + 'approver «a» { quorum 2 }'), declared(AGENT + 'approver a { group "people" quorum 2 }')),
    ("E106", declared("agent main { holds look, send, «wype» }"), declared(AGENT)),
    ("E106", declared(AGENT + "capability x is «reed»"), declared(AGENT + "agent o { holds x } capability x is read")),
    ("E106", rule("rule r: deny any tool that is «extrenal» when principal.user == \"eve\""), rule("rule r: deny any tool that is external when principal.user == \"eve\"")),
    ("E106", rule("rule r: deny any tool that needs «lok» when principal.user == \"eve\""), rule("rule r: deny any tool that needs look when principal.user == \"eve\"")),
    ("E107", query("allow when «sise»(table) < 1 KB"), query("allow when size(table) < 1 KB")),
    ("E107", query("allow when «size»(table, table) < 1 KB"), query("allow when size(table) < 1 KB")),
    ("E110", query("allow when size(body) «<» 5 minutes"), query("allow when size(body) < 5 KB")),
    ("E110", query("allow when size(body) «!=» size(body)"), query("allow when size(body) != 5 KB")),
    ("E110", query("allow when size(body) «<» 5"), query("allow when size(body) < 5 KB")),
    ("E110", query("allow when limit «<=» 64 KB"), query("allow when limit <= 64")),
    ("E110", query('allow when limit «==» "5"'), query("allow when limit == 5")),
    ("E110", query('allow when table «<» "users"'), query('allow when table == "users"')),
    ("E110", query("allow when columns «in» tables"), query("allow when every c in columns satisfies (c in tables)")),
    ("E110", query("allow when table «in» body"), query("allow when body contains table")),
    ("E110", query("allow when table «not in» [1, 2]"), query('allow when table not in ["1", "2"]')),
    ("E110", query("allow when limit «matches» ticket"), query("allow when table matches ticket")),
    ("E110", query('allow when limit «starts with» "1"'), query('allow when table starts with "1"')),
    ("E110", query('allow when to «==» "nobody"'), query('allow when to == "bob@Acme.example"')),
    ("E110", query('allow when host(url) «==» "https://acme.example"'), query('allow when host(url) == "Acme.example"')),
    ("E110", query('allow when day «>=» "next week"'), query('allow when day >= "2026-11-23"')),
    ("E110", query('allow when lower(table) «==» "Users"'), query('allow when lower(table) == "users"')),
    ("E110", query('allow always\n  deny when to «ends with» "@Evil.example"'), query('allow always\n  deny when to ends with "@evil.example"')),
    ("E110", query('allow when url «starts with» "https://Docs.acme.example/X"'), query('allow when url starts with "https://docs.acme.example/X"')),
    ("E110", query('allow always\n  deny when url «starts with» "https://evil.example:443/"'), query('allow always\n  deny when url starts with "https://evil.example/"')),
    ("E110", query('allow when url «starts with» "https://bob@docs.acme.example/"'), query('allow when url starts with "https://docs.acme.example:8443/"')),
    ("E110", query("allow when to «==» principal.tier"), query("allow when to == \"bob@acme.example\"")),
    ("E110", query("allow when to «in» columns"), query('allow when to in ["bob@acme.example"]')),
    ("E110", query("allow when host(url) «!=» principal.tier"), query("allow when host(url) != lower(principal.tier)")),
    ("E110", query("allow when every c in columns satisfies (domain(to) «==» c)"), query("allow when every c in columns satisfies (domain(to) == lower(c))")),
    ("E110", query("allow when day «<» table"), query("allow when day < \"2026-11-23\"")),
    ("E110", query("allow when table «==» []"), query("allow when columns == []")),
    ("E110", query("allow when «host»(body) in hosts"), query("allow when host(url) in hosts")),
    ("E110", query("allow when «limit»"), query("allow when sure")),
    ("E110", query("allow when every c in «table» satisfies (c in tables)"), query("allow when every c in columns satisfies (c in tables)")),
    ("E110", query('allow when table in ["a", «1»]'), query('allow when table in ["a", "1"]')),
    ("E110", query("allow when every c in columns satisfies («c is present»)"), query("allow when note is present")),
    ("E110", declared(AGENT + "set s = [«s»]"), declared(AGENT + 'set s = ["s"]')),
    ("E110", query("allow when table in [«body»]"), query("allow when table == body")),
    ("E111", declared(AGENT + "tool t { takes a: «txt» allow always }"), declared(AGENT + "tool t { takes a: text allow always }")),
    ("E111", declared(AGENT + "tool t { takes a: integer at most «5» allow always }"), declared(AGENT + "tool t { takes a: text at most 5 allow always }")),
    ("E111", declared(AGENT + "tool t { takes a: integer at most «5 KB» allow always }"), declared(AGENT + "tool t { takes a: list of text at most 5 allow always }")),
    ("E112", query("allow always\n  rate 10 per «huor»"), query("allow always\n  rate 10 per hour")),
    ("E112", query("allow always\n  rate 10 per hour for each «wrokspace»"), query("allow always\n  rate 10 per hour for each workspace")),
    ("E112", query("allow always\n  rate 10 per hour for each «columns»"), query("allow always\n  rate 10 per hour for each table")),
    ("E112", query("allow always\n  rate 10 per run for each «user»"), query("allow always\n  rate 10 per run")),
    ("E112", query("allow always\n  audit «ful»"), query("allow always\n  audit full")),
    ("E115", declared(AGENT + "capability «look» is read"), declared(AGENT)),
    ("E115", declared(AGENT + 'set «tables» = ["a"]'), declared(AGENT)),
    ("E115", declared(AGENT + "tool a { allow always } tool «a» { allow always }"), declared(AGENT + "tool other { allow always }")),
    ("E115", declared(AGENT + 'tool a is "x" { allow always } tool b is «"x"» { allow always }'), declared(AGENT + 'tool a is "a" { allow always }')),
    ("E115", declared(AGENT + "tool a { takes x: text, «x»: text allow always }"), declared(AGENT + "tool a { takes x: text allow always }")),
    ("E115", declared(AGENT + "principal has «tier»: text"), declared(AGENT + "principal has team: text")),
    ("E115", declared(AGENT + "principal has «user»: text"), declared(AGENT + "principal has team: text")),
    ("E115", declared("policy «q»\n" + AGENT), declared(AGENT)),
    ("E115", query("allow always\n  require a: limit > 1\n  require «a»: limit < 9"), query("allow always\n  require a: limit > 1\n  require b: limit < 9")),
    ("E115", query("allow always\n  require «rate»: limit > 1"), query("allow always\n  require floor: limit > 1")),
    ("E115", query("allow when every «table» in columns satisfies (table in tables)"), query("allow when every c in columns satisfies (c in tables)")),
    ("E115", query("allow always\n  audit full\n  «audit minimal»"), query("allow always\n  audit full")),
    ("E115", declared(AGENT + "agent o { holds look stop after 1 minute «stop after 2 minutes» }"), declared(AGENT + "agent o { holds look stop after 1 minute }")),
    ("E115", rule('rule r: deny query when table == "x"\nrule «r»: deny query when table == "y"'), rule('rule r: deny query when table == "x"\nrule s: deny query when table == "y"')),
    ("E117", query('allow when «note» == "x"'), query('allow when note is present and note == "x"')),
    ("E117", query('allow when note is present or «note» == "x"'), query('allow when note is missing or note == "x"')),
    ("E117", query('allow always\n  deny when not (note is present and note == "x") and «note» != "y"'), query('allow always\n  deny when not (note is missing or note == "x") and note != "y"')),
    ("E120", query("allow when «limit > 10 and limit < 5»"), query("allow when limit > 5 and limit < 10")),
    ("E120", query('allow when «table == "a" and table == "b"»'), query('allow when table == "a" or table == "b"')),
    ("E120", query('allow when «table == "c" and table in tables»'), query('allow when table == "users" and table in tables')),
    ("E120", query("allow when «size(columns) < 0»"), query("allow when size(columns) < 1")),
    ("E120", query("allow always\n  require «false»"), query("allow always\n  require limit > 0")),
    ("E120", query("allow when «every c in [] satisfies (c == table)»"), query("allow when every c in columns satisfies (c == table)")),
    ("E120", query("allow when «table is missing»"), query("allow when note is missing")),
    ("E120", query('allow when «principal.tier is missing» or principal.tier == "x"'), query('allow when principal.tier == "x"')),
    ("E120", query("allow always\n  deny when «principal.user is missing»"), query("allow always\n  require principal.user is present")),
    ("E120", rule('rule r: deny query when «table == "a" unless table == "a" or table == "b"»'), rule('rule r: deny query when table == "a" unless table == "b"')),
    ("E130", query("allow when table matches «/(?=a)b/»"), query("allow when table matches /ab/")),
    ("E130", declared(AGENT + "pattern back = «/(a)\\1/»"), declared(AGENT + "pattern back = /aa/")),
    ("E131", declared(AGENT + 'approver a { group "people" answer within 1 hour otherwise deny }\ntool del { needs wipe takes x: text allow when x == "a" ask «a» }'), declared(AGENT + 'approver a { group "people" never the requester answer within 1 hour otherwise deny }\ntool del { needs wipe takes x: text allow when x == "a" ask a }')),
    ("E131", declared(AGENT + 'approver a { group "people" answer within 1 hour otherwise deny }\napprover b { group "people" never the requester answer within 1 hour otherwise ask a }\ntool del { needs wipe takes x: text allow when x == "a" rate 1 per hour }\nrule r: ask «b» before del'), declared(AGENT + 'approver b { group "people" never the requester answer within 1 hour otherwise deny }\ntool del { needs wipe takes x: text allow when x == "a" rate 1 per hour }\nrule r: ask b before del')),
    ("E133", query('allow when principal.agent == «"mian"»'), query('allow when principal.agent == "main"')),
    ("E133", declared("agent «query» { holds look, send, wipe }"), declared(AGENT)),
    ("E136", query("allow when limit > 1 and limit < 9 «or» limit == 20"), query("allow when (limit > 1 and limit < 9) or limit == 20")),
    ("E003", "language «2»\npolicy p\n", "language 1\npolicy p\n"),
    ("E003", "«policy» p\n", "language 1\npolicy p\n"),
    ("E003", "«language» 1\n", "language 1\npolicy p\n"),
    ("E003", "policy p\n«language 1»\n", "language 1\npolicy p\n"),
    ("E115", "language 1\npolicy p\n«language 1»\n", "language 1\npolicy p\n"),
    ("E117", query('allow when «principal.team» == "x"').replace("tier: text", "tier: text, team: text optional"), query('allow when principal.team is present and principal.team == "x"').replace("tier: text", "tier: text, team: text optional")),
    ("W201", declared(AGENT + "tool «shut» { takes a: text }"), declared(AGENT + "tool shut { takes a: text allow always }")),
    ("W201", HEAD + AGENT + "tool «query» { needs look allow always }\nrule r: deny query", declared(AGENT)),
    ("W202", declared(AGENT + "tool mail { needs send «allow always» rate 1 per hour }"), declared(AGENT + "tool mail { needs send takes a: text allow when a in tables rate 1 per hour }")),
    ("W203", rule("rule «r»: deny any tool that is money"), rule("")),
    ("W203", rule('rule a: deny any tool when principal.user == "x"\nrule «b»: deny query when principal.user == "x"'), rule('rule a: deny any tool when principal.user == "x"')),
    ("W205", query("allow always\n  rate «0» per hour"), query("allow always\n  rate 1 per hour")),
    ("W207", declared(AGENT + "capability «spare» is read"), declared(AGENT + "capability spare is read\nagent o { holds spare }")),
    ("W209", declared(AGENT + 'approver «slow» { group "s" }\ntool t { allow always ask slow }'), declared(AGENT + 'approver slow { group "s" answer within 1 hour otherwise deny }\ntool t { allow always ask slow }')),
    ("W210", declared(AGENT + "tool «del» { needs wipe takes a: text allow when a in tables }"), declared(AGENT + "tool del { needs wipe takes a: text allow when a in tables ask lead }")),
    ("W211", declared(AGENT + "tool «mail» { needs send takes a: text allow when a in tables }"), declared(AGENT + "tool mail { needs send takes a: text allow when a in tables rate 5 per hour }")),
]  # fmt: skip

CLAIMED = [
    *("E101", "E102", "E104", "E105", "E106", "E107", "E110", "E111", "E112", "E115", "E117", "E120"),
    *("E130", "E131", "E133", "E136"),
    *("W201", "W202", "W203", "W205", "W207", "W209", "W210", "W211"),
]


@pytest.mark.parametrize(("code", "wrong", "right"), MISTAKES)
def test_one_mistake_gives_one_report_at_the_wrong_word(code: str, wrong: str, right: str) -> None:
    start, end = wrong.index("«"), wrong.index("»") - 1
    text = wrong.replace("«", "").replace("»", "")
    loaded = load_text(text)
    found = [(report.code, text[report.span.start : report.span.end]) for report in loaded.diagnostics]
    assert found == [(code, text[start:end])]
    assert loaded.diagnostics[0].span.start == start
    assert (loaded.plan is None) == code.startswith("E")


@pytest.mark.parametrize(("code", "wrong", "right"), MISTAKES)
def test_the_mended_text_loads_without_a_report(code: str, wrong: str, right: str) -> None:
    loaded = load_text(right)
    assert [(report.code, report.message) for report in loaded.diagnostics] == []
    assert loaded.plan is not None


@pytest.mark.parametrize("code", CLAIMED)
def test_every_claimed_code_is_produced(code: str) -> None:
    assert any(code == produced for produced, _, _ in MISTAKES)


def test_the_nearest_word_is_offered() -> None:
    (report,) = load_text(query("allow when tabel in tables")).diagnostics
    assert report.help == "did you mean `table`?"


def test_several_mistakes_give_exactly_that_many_reports_in_order_of_place() -> None:
    text = declared("agent main { holds look, send, wype }") + (
        "tool mail { needs sned takes to: emial allow when too == 1 ask leed rate 5 per huor }\n"
        'rule r: deny mial when principal.user == "x"\n'
    )
    found = [report.code for report in load_text(text).diagnostics]
    assert found == ["E106", "E106", "E111", "E102", "E105", "E112", "E101"]


def test_a_statement_that_cannot_be_read_does_not_make_its_names_unknown() -> None:
    text = declared(AGENT).replace("capability look is read", "capability look si read")
    codes = [report.code for report in load_text(text).diagnostics]
    assert codes == ["E003"]


def test_the_same_word_in_two_covered_tools_is_reported_once() -> None:
    text = rule('rule r: deny query, mail when nosuch == "x"')
    assert [report.code for report in load_text(text).diagnostics] == ["E102"]


def test_a_set_and_a_parameter_of_one_name_are_not_guessed_between() -> None:
    text = declared(AGENT + "tool t { takes tables: list of text, x: text allow when x in tables }")
    assert [report.code for report in load_text(text).diagnostics] == ["E115"]


def test_a_deep_condition_is_refused_and_does_not_exhaust_the_stack() -> None:
    text = query("allow when " + "not (" * 60 + "sure" + ")" * 60)
    assert [report.code for report in load_text(text).diagnostics] == ["E003"]


@pytest.mark.parametrize("text", ["", "\n", "#", "language", "policy", "}", "language 1 policy p tool"])
def test_scraps_are_refused_and_never_raise(text: str) -> None:
    loaded = load_text(text)
    assert loaded.plan is None
    assert loaded.diagnostics


@pytest.mark.parametrize("wrong", [wrong for _, wrong, _ in MISTAKES])
def test_every_report_can_be_drawn_and_is_worded_as_the_style_asks(wrong: str) -> None:
    loaded = load_text(wrong.replace("«", "").replace("»", ""))
    assert draw(loaded.diagnostics)
    for report in loaded.diagnostics:
        assert not report.message.endswith(".")
        assert report.message[0].islower() or not report.message[0].isalpha()
        assert report.help or report.label


SMALL = """language 1
policy faq_bot
tool search_faq { allow always  rate 30 per minute }
"""


def test_a_small_policy_needs_nothing_more() -> None:
    assert load_text(SMALL).diagnostics == ()
