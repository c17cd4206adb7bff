"""The language page says every diagnostic there is, and everything that is refused as not enforced yet."""

import re

import pytest

from ringfence.dsl.load import load_text
from tests.docs.pages import ROOT, table

PAGE = ROOT / "docs" / "language.md"


def test_the_table_of_diagnostics_is_that_of_the_code() -> None:
    given = {
        code
        for file in (ROOT / "dsl").rglob("*.py")
        for code in re.findall(r'"([EW][0-9]{3})"', file.read_text(encoding="utf-8"))
    }
    described = [code for code, _ in table(PAGE, "Diagnostics")]
    assert described == sorted(given)


CLAUSE = "language 1\npolicy p\ntool t {{ takes a: text {} }}\n"
DECLARATION = "language 1\npolicy p\ntool t {{ takes a: text allow always }}\n{}\n"

REFUSED = {
    "use": DECLARATION.format('use "a.fence"'),
    "levels": DECLARATION.format("levels public < secret"),
    "calendar": DECLARATION.format('calendar h = monday to friday 08:00 to 18:00 in "Europe/London"'),
    "function": DECLARATION.format('function f(a: email) gives boolean from "x"'),
    "isolate": DECLARATION.format("isolate i { memory 4 MB }"),
    "order": DECLARATION.format("order o: t then t"),
    "budget": DECLARATION.format("budget b: 3 per day of size(a) over t"),
    "guarantee": DECLARATION.format("guarantee g: never t"),
    "shadow": DECLARATION.format('shadow rule r: deny t when principal.user == "a"'),
    "audit … for": DECLARATION.format("rule r: audit full for t"),
    "test": DECLARATION.format('test "x" { call t(a: "b") is allowed }'),
    "latency": DECLARATION.format("responses { latency at least 4 ms in steps of 2 ms }"),
    "may start": DECLARATION.format("agent main { may start other } agent other { stop after 1 minute }"),
    "under": 'language 1\npolicy p under "x.fence"\ntool t { allow always }\n',
    "ceiling": "language 1\nceiling c\n",
    "record": CLAUSE.replace("a: text", "a: record").format("allow always"),
    "result is": CLAUSE.format("allow always result is public"),
    "carries": CLAUSE.format("allow when a carries secret"),
    "after reading": CLAUSE.format("allow when after reading secret"),
    "comes from": CLAUSE.format("allow when a comes from user"),
    "comes only from": CLAUSE.format("allow when a comes only from user"),
    "after": CLAUSE.format("allow when after t"),
    "calls to": CLAUSE.format("allow when calls to t within 1 hour > 3"),
    "during": CLAUSE.format("allow when during h"),
    "sql_is_read_only": CLAUSE.format("allow when sql_is_read_only(a)"),
    "runs … in": CLAUSE.format("allow always runs a in i"),
    "touches": CLAUSE.format("allow always touches a as b"),
    "blast radius": CLAUSE.format("allow always blast radius 1 b per run"),
    "redact": CLAUSE.format("allow always redact a with pii"),
    "result in steps": CLAUSE.format("allow always result in steps of 4 KB"),
    "counting attempts": CLAUSE.format("allow always rate 3 per day counting attempts"),
    "counting successes": CLAUSE.format("allow always rate 3 per day counting successes"),
}


@pytest.mark.parametrize("construct", REFUSED)
def test_what_the_page_calls_not_enforced_is_refused_and_named_there(construct: str) -> None:
    loaded = load_text(REFUSED[construct])
    assert loaded.plan is None
    assert {report.code for report in loaded.diagnostics if report.is_error} == {"E190"}
    section = " ".join(PAGE.read_text(encoding="utf-8").split("\n## Not in this version\n")[1].split())
    assert f"`{construct}" in section
