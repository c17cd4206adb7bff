"""A policy test that names what is not there, or gives what does not fit, is drawn at the wrong word."""
# ruff: noqa: E501  one mistake a line

import pytest

from ringfence.dsl.diagnostic import draw
from ringfence.dsl.load import load_text
from tests.dsl.front.underlined import underlined

POLICY = """language 1
policy p
capability look is read
capability send is external
principal has tier: text, seats: integer
function is_customer(address: email) gives boolean from "crm"
approver lead { group "leads" never the requester answer within 5 minutes otherwise deny }
agent desk { holds look, send }
agent reader { holds look }
tool read { needs look takes what: text, limit: integer optional allow when what == "x" }
tool mail {
  needs send
  takes to: list of email at most 2, body: text
  allow when every a in to satisfies (is_customer(a))
  ask lead
  redact body with pii
}
tool any_tool { needs send allow when principal.seats > 3 ask lead }
"""


def reports(body: str, policy: str = POLICY) -> list[tuple[str, str, str]]:
    loaded = load_text(f'{policy}test "it" {{\n{body}\n}}\n')
    assert (loaded.plan is None) == any(report.is_error for report in loaded.diagnostics)
    return [
        (report.code, underlined(report), draw([report])) for report in loaded.diagnostics if report.is_error
    ]


DESK = "as agent desk\n"

MISTAKES = {
    "an unknown tool": (DESK + 'call raed(what: "x") is allowed', "E101", "raed", "did you mean `read`?"),
    "an unknown tool that ran": (DESK + 'ran raed(what: "x")', "E101", "raed", "did you mean `read`?"),
    "an unknown agent": ('as agent dsk\ncall read(what: "x") is allowed', "E133", "dsk", "did you mean `desk`?"),
    "an unknown agent as a text": ('as agent "dsk"\ncall read(what: "x") is allowed', "E133", '"dsk"', "did you mean `desk`?"),
    "no agent, of several": ('call read(what: "x") is allowed', "E133", '"it"', "the agents are `desk`, `reader`"),
    "an unknown attribute": ('as agent desk, teir "gold"', "E102", "teir", "did you mean `tier`?"),
    "an attribute of another type": ('as agent desk, seats "many"', "E110", '"many"', "declared as `integer`"),
    "an attribute that is said twice": ('as agent desk, tier "a", tier "b"', "E115", "tier", "the second one"),
    "an unknown approver that signs": (DESK + 'ran read(what: "x") signed by led', "E105", "led", "did you mean `lead`?"),
    "an unknown approver that is asked": (DESK + 'call read(what: "x") asks led', "E105", "led", "did you mean `lead`?"),
    "an argument that is not taken": (DESK + 'call read(what: "x", limt: 3) is allowed', "E102", "limt", "did you mean `limit`?"),
    "an argument without a name": (DESK + 'call read("x") is allowed', "E102", '"x"', "write `read(PARAMETER: VALUE)`"),
    "an argument that is missing": (DESK + "call read(limit: 3) is allowed", "E102", "read", "not given `what`"),
    "an integer for a text": (DESK + "call read(what: 3) is allowed", "E110", "3", "declared as `text`"),
    "a list for a text": (DESK + 'ran read(what: ["x"])', "E110", '["x"]', "expected a text"),
    "a text for a list": (DESK + 'call mail(to: "a@x.example", body: "") is denied', "E110", '"a@x.example"', "expected a list"),
    "no address": (DESK + 'call mail(to: ["ann"], body: "") is denied by mail.allow', "E110", '["ann"]', "list of email at most 2"),
    "no moment": ('at "tomorrow"\n' + DESK, "E109", '"tomorrow"', "write day, time and zone"),
    "a moment without a zone": ('at "2026-11-23 10:00"\n' + DESK, "E109", '"2026-11-23 10:00"', "write day, time and zone"),
    "a moment in a zone that nobody knows": ('at "2026-11-23 10:00 Europe/Lundun"\n' + DESK, "E109", '"2026-11-23 10:00 Europe/Lundun"', "unknown zone"),
    "a time of day that there is not": ('at "2026-11-23 25:00 UTC"\n' + DESK, "E109", '"2026-11-23 25:00 UTC"', "no moment"),
    "a day that there is not": ('at "2026-02-30 10:00 UTC"\n' + DESK, "E109", '"2026-02-30 10:00 UTC"', "no moment"),
    "an unknown function": ('given is_custmer("a@x.example") gives true', "E107", "is_custmer", "did you mean `is_customer`?"),
    "a function of too many values": ('given is_customer("a@x.example", 2) gives true', "E107", "is_customer", "takes one value"),
    "a function of a wrong value": ('given is_customer("ann") gives true', "E110", '"ann"', "declared as `email`"),
    "a wrong answer": ('given is_customer("a@x.example") gives "yes"', "E110", '"yes"', "what `is_customer` gives"),
    "a named value of a function": ('given is_customer(address: "a@x.example") gives true', "E107", "address", "has no names"),
    "a redactor of two values": ('given pii("a", "b") gives "c"', "E107", "pii", "takes one value"),
    "an agent that changes in a run": (DESK + 'call read(what: "x") is allowed\nas agent reader', "E003", "as", "put it first, or behind `new run`"),
    "two agents in a run": (DESK + "as agent reader", "E003", "as", "this run has begun already"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_drawn_once_at_its_word(mistake: str) -> None:
    body, code, word, said = MISTAKES[mistake]
    found = reports(body)
    assert [(each[0], each[1]) for each in found] == [(code, word)], found
    assert said in found[0][2]


def test_two_tests_of_one_name_are_a_mistake() -> None:
    loaded = load_text(POLICY + 'test "a" { as agent desk }\ntest "a" { as agent desk }\n')
    (report,) = [report for report in loaded.diagnostics if report.is_error]
    assert (report.code, underlined(report)) == ("E115", '"a"')
    assert report.span.start > loaded.source.text.index('test "a"') + 20


@pytest.mark.parametrize(
    "body",
    [
        DESK + "call raed(x: 1, y: {a: [true]}) is not found",
        DESK + "call read() is denied by read.arguments",
        DESK + "call read(what: 3, more: 4) is denied by read.arguments",
        'as agent reader\ncall mail(x: 1) is not found',
        DESK + "call any_tool(whatever: [1, {deep: true}]) asks lead",
        DESK + 'given pii("Ann") gives "[name]"\ngiven sql_tables("select 1") gives ["t"]',
        'as agent desk, seats "12", tier gold, user "alice"',
        DESK + "new run\nas agent reader",
        'at "2026-10-25 01:30 Europe/London"',
        "",
    ],
)  # fmt: skip
def test_what_is_expected_to_be_wrong_is_no_mistake(body: str) -> None:
    assert reports(body) == []


def test_the_only_agent_need_not_be_named() -> None:
    small = "language 1\npolicy p\ntool t { allow always rate 1 per day }\n"
    assert reports("call t() is allowed", small) == []
    assert reports("as agent main\ncall t() is allowed", small) == []
    assert [code for code, _, _ in reports("as agent other\ncall t() is allowed", small)] == ["E133"]


def test_a_name_that_may_stand_in_an_unread_statement_is_not_reported_again() -> None:
    text = POLICY.replace("tool read {", "tool read { alow always")
    codes = {code for code, _, _ in reports(DESK + 'call read(what: "x") is allowed', text)}
    assert codes == {"E003"}


def test_tests_are_no_part_of_what_a_policy_means() -> None:
    alone, tested = load_text(POLICY), load_text(POLICY + 'test "it" { as agent desk }\n')
    assert alone.plan is not None and tested.plan is not None
    assert alone.plan.digest == tested.plan.digest
    assert (len(alone.tests), len(tested.tests)) == (0, 1)
