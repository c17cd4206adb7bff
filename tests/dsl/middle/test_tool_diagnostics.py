"""Declarations, clauses and rules: every report stands at exactly the wrong word, alone, and goes when mended."""
# ruff: noqa: E501  one mistake a line, wrong and mended side by side

import pytest

from ringfence.dsl.diagnostic import draw
from ringfence.dsl.load import Loaded, load_text
from ringfence.dsl.plan import ISOLATE_EXECUTOR

HEAD = """language 1
policy p
capability look is read
capability send is external
capability wipe is destructive
capability run is code
approver lead { group "leads" never the requester answer within 5 minutes otherwise deny }
"""
AGENT = "agent main { holds look, send, wipe, run }\n"
INSTALLED = frozenset({"acme", "pii", ISOLATE_EXECUTOR})
SCRIPTS = {"far.js": "(args) => 1", "quote.js": "() => 2", "empty.js": " \n"}


def load(text: str) -> Loaded:
    return load_text(text, installed=INSTALLED.__contains__, read=SCRIPTS.__getitem__)


def policy(*parts: str) -> str:
    return HEAD + AGENT + "\n".join(parts) + "\n"


def query(clauses: str, *others: str) -> str:
    """A policy with a reading tool that has these clauses."""
    takes = "takes table: text, ids: list of text, limit: integer, price: number, to: email, note: text optional, sure: boolean, blob: record"
    return policy("tool query {\n  needs look\n  " + takes + "\n  " + clauses + "\n}", *others)


def labelled(clauses: str, *others: str) -> str:
    return query(clauses, "levels low < mid < high", *others)


def mail(clauses: str, *others: str) -> str:
    """A policy with a sending tool that has these clauses."""
    takes = "takes to: list of email, body: text, limit: integer"
    return policy(
        "tool mail {\n  needs send\n  " + takes + "\n  allow when size(to) < 9\n  " + clauses + "\n}", *others
    )


def fetch(clauses: str, *others: str) -> str:
    """A policy with a tool that takes addresses and has these clauses."""
    takes = "takes page: url, from: email, to: list of email, body: text"
    return policy("tool fetch {\n  needs look\n  " + takes + "\n  " + clauses + "\n}", *others)


def starts(text: str) -> str:
    return HEAD + text + "\ntool query {\n  needs look\n  allow always\n}\n"


LABELS = 'result is mid when table == "a"\n  result is high otherwise'
LEAK = "tool query { needs look allow always result is high }"
ISOLATE = "isolate box { memory 4 MB }"
CODE = "tool js {{ needs run takes code: text, count: integer, lines: list of text, spare: text optional allow when size(code) < 1 KB {} rate 5 per hour }}"


def js(clauses: str, isolate: str = ISOLATE) -> str:
    return policy(CODE.format(clauses), isolate)


# (code, the wrong text with the underlined words between « and », the mended text)
MISTAKES = [
    ("E003", "language 1\nceiling c\n«agent» main { holds look }\n", "language 1\nceiling c\n"),
    ("E003", "language 1\nceiling c\ntool t { «takes» a: text }\n", "language 1\nceiling c\ntool t { rate 3 per hour }\n"),
    ("E101", policy("isolate box { may call «qery» }", "tool query { needs look allow always }"), policy("isolate box { may call query }", "tool query { needs look allow always }")),
    ("E101", query("allow always", "budget b: 9 per day of limit over «qery»"), query("allow always", "budget b: 9 per day of limit over query")),
    ("E101", query("allow always", "guarantee g: never «qery»"), query("allow always", "guarantee g: never query")),
    ("E102", query("allow always\n  touches «tabel» as table"), query("allow always\n  touches table as table")),
    ("E102", mail("redact «boby» with pii\n  rate 5 per hour"), mail("redact body with pii\n  rate 5 per hour")),
    ("E102", mail("rate 5 per hour", "rule r: redact «subject» with pii for mail"), mail("rate 5 per hour", "rule r: redact body with pii for mail")),
    ("E102", js("runs «coed» in box"), js("runs code in box")),
    ("E102", query("allow always", "budget b: 9 per day of «limmit» over query"), query("allow always", "budget b: 9 per day of limit over query")),
    ("E103", labelled("allow always\n  result is «midd» when table == \"a\"\n  result is high otherwise", "tool other {\n  needs look\n  allow always\n  result is mid\n}"), labelled("allow always\n  " + LABELS)),
    ("E103", query("allow always\n  result is «high»"), labelled("allow always\n  " + LABELS)),
    ("E105", query("allow always", "guarantee g: never query unless approved by «leed»"), query("allow always", "guarantee g: never query unless approved by lead")),
    ("E105", query("allow always", "rule r: ask «leed» before query"), query("allow always", "rule r: ask lead before query")),
    ("E110", js("runs «count» in box"), js("runs code in box")),
    ("E110", js("runs «lines» in box"), js("runs code in box")),
    ("E117", js("runs «spare» in box"), js("runs code in box")),
    ("E110", mail("redact «limit» with pii\n  rate 5 per hour"), mail("redact body with pii\n  rate 5 per hour")),
    ("E110", query("allow always\n  touches «blob» as thing"), query("allow always\n  touches ids as thing")),
    ("E110", query("allow always", "budget b: 9 per day of «table» over query"), query("allow always", "budget b: 9 KB per day of size(table) over query")),
    ("E110", query("allow always", "budget b: 9 per day of «size(table)» over query"), query("allow always", "budget b: 9 KB per day of size(table) over query")),
    ("E110", query("allow always", "budget b: 9 KB per day of «limit» over query"), query("allow always", "budget b: 9 per day of price over query")),
    ("E110", query("allow always", "budget b: «9007199255» per day of limit over query"), query("allow always", "budget b: 9007199254 per day of limit over query")),
    ("E110", query("allow always\n  result in steps of «0 KB»"), query("allow always\n  result in steps of 4 KB")),
    ("E112", query("allow always\n  touches ids as id\n  blast radius 3 id per «weak»"), query("allow always\n  touches ids as id\n  blast radius 3 id per day")),
    ("E112", query("allow always\n  touches ids as id\n  blast radius 3 id per day for each «wrokspace»"), query("allow always\n  touches ids as id\n  blast radius 3 id per day for each workspace")),
    ("E112", query("allow always\n  touches ids as id\n  blast radius 3 id per run for each «user»"), query("allow always\n  touches ids as id\n  blast radius 3 id per run, 5 id per day for each user")),
    ("E112", query("allow always", "budget b: 9 per day for each «ids» of limit over query"), query("allow always", "budget b: 9 per day for each table of limit over query")),
    ("E112", query("allow always\n  rate 5 per hour counting «attempts»"), query("allow always\n  rate 5 per run counting attempts")),
    ("E112", query("allow always\n  rate 5 per hour for each «workspace» counting attempts"), query("allow always\n  rate 5 per hour for each user counting attempts")),
    ("E112", query("allow always\n  rate 5 per hour counting «tries»"), query("allow always\n  rate 5 per hour counting calls")),
    ("E112", query("allow always", "rule r: audit «ful» for query"), query("allow always", "rule r: audit full for query")),
    ("E113", js("runs code in «bx»"), js("runs code in box")),
    ("E113", js("runs code in box", "isolate box { lockdown «ful» }"), js("runs code in box", "isolate box { lockdown full }")),
    ("E113", js("runs code in box", "isolate box { clock «frosen» }"), js("runs code in box", "isolate box { clock frozen }")),
    ("E114", query("allow always\n  touches ids as row\n  blast radius 3 «rwo» per run"), query("allow always\n  touches ids as row\n  blast radius 3 row per run")),
    ("E114", query("allow always\n  blast radius 3 «row» per run"), query("allow always\n  touches ids as row\n  blast radius 3 row per run")),
    ("E115", labelled("allow always\n  result is mid otherwise\n  «result is high otherwise»"), labelled("allow always\n  " + LABELS)),
    ("E115", labelled("allow always\n  " + LABELS, "«levels low < mid < high»"), labelled("allow always\n  " + LABELS)),
    ("E115", query("allow always\n  result is low", "levels low < «low»"), query("allow always\n  result is high", "levels low < high")),
    ("E115", query("allow always\n  touches ids as row\n  touches «ids» as row"), query("allow always\n  touches ids as row")),
    ("E115", js("runs code in box «runs code in box»"), js("runs code in box")),
    ("E113", js("runs code in box", "isolate box { clock «coarse» }"), js("runs code in box", "isolate box { clock coarse 5 ms lockdown process }")),
    ("E113", js("runs code in box", "isolate box { clock frozen «5 ms» }"), js("runs code in box", "isolate box { clock frozen }")),
    ("E113", js("runs «\"empty.js\"» in box"), js("runs \"quote.js\" in box")),
    ("E132", js("runs «\"quotes.js\"» in box"), js("runs \"quote.js\" in box")),
    ("E115", js("runs code in box", "isolate box { memory 4 MB «memory 5 MB» }"), js("runs code in box")),
    ("E115", js("runs code in box", ISOLATE + "\nisolate «box» { memory 5 MB }"), js("runs code in box")),
    ("E115", query("allow always", "guarantee g: never mail2 when after query\nguarantee «g»: never query\ntool mail2 { needs send allow when principal.user == \"a\" rate 1 per hour }"), query("allow always")),
    ("E115", query("allow always\n  result in steps of 4 KB\n  «result in steps of 8 KB»"), query("allow always\n  result in steps of 4 KB")),
    ("E115", query("allow always\n  require «redact»: limit > 1"), query("allow always\n  require floor: limit > 1")),
    ("E115", policy("tool query { needs look allow always }").replace("wipe, run }", "wipe, run at most 5 calls «at most 9 call» }"), policy("tool query { needs look allow always }").replace("wipe, run }", "wipe, run at most 5 calls at most 9 denials }")),
    ("E115", query("allow always", 'approver «anyone» { group "g" never the requester answer within 1 hour otherwise deny }'), query("allow always", 'approver anybody { group "g" never the requester answer within 1 hour otherwise deny }')),
    ("E116", "language 1\nceiling c\ntool t { «allow» always }\n", "language 1\nceiling c\n"),
    ("E131", policy('approver a { group "people" answer within 1 hour otherwise deny }', "agent wiper { holds wipe }").replace("agent main {", "agent main { may start wiper ") + "rule r: ask «a» before wiper\n", policy("agent wiper { holds wipe }").replace("agent main {", "agent main { may start wiper ") + "rule r: ask lead before wiper\n"),
    ("E133", starts("agent main { holds look, send, wipe, run may start «othr» }\nagent other { holds look }"), starts("agent main { holds look, send, wipe, run may start other }\nagent other { holds look }")),
    ("E134", js("runs code in box", "isolate box { may call «js» }"), js("runs code in box", "isolate box { may call query }\ntool query { allow always }")),
    ("E135", policy("levels low < high", "tool «query» {\n  needs look\n  allow always\n}", "tool other {\n  needs look\n  allow always\n  result is high\n}"), policy("levels low < high", "tool query {\n  needs look\n  allow always\n  result is high\n}")),
    ("W203", mail("rate 5 per hour", "shadow rule a: deny mail", "shadow rule «b»: deny mail"), mail("rate 5 per hour", "shadow rule a: deny mail")),
    ("W205", query("allow always\n  touches ids as row\n  blast radius «0» row per run"), query("allow always\n  touches ids as row\n  blast radius 1 row per run")),
    ("W205", query("allow always", "budget b: «0» per day of limit over query"), query("allow always", "budget b: 1 per day of limit over query")),
    ("W205", js("runs code in box", "isolate box { memory «0 MB» }"), js("runs code in box")),
    ("W205", js("runs code in box", "isolate box { clock coarse «0 seconds» }"), js("runs code in box", "isolate box { clock coarse 1 second }")),
    ("W206", mail("rate 5 per hour", "levels low < high", "tool query { needs look allow always result is high }", "tool post { needs send takes a: text allow when a == \"b\" rate 1 per hour }", "rule r: deny post when after reading high").replace("tool mail", "tool «mail»"), mail("rate 5 per hour", "levels low < high", "tool query { needs look allow always result is high }", "rule r: deny mail when after reading high")),
    *(
        ("W206", mail("rate 5 per hour", "levels low < high", LEAK, wrong).replace("tool mail", "tool «mail»"), mail("rate 5 per hour", "levels low < high", LEAK, right))
        for wrong, right in (
            ("rule r: deny mail when not after reading high", "rule r: deny mail when not (limit > 3 and not after reading high)"),
            ("rule r: deny mail when after reading high within 1 hour", "rule r: deny mail when after reading high or limit > 5"),
            ("rule r: ask lead before mail when after reading high within this run", "rule r: ask lead before mail when some one in to satisfies (one carries high)"),
            ("rule r: deny mail when after query with no reading high since", "rule r: deny mail when after reading high with no query since"),
        )
    ),
    ("W206", mail("rate 5 per hour", "levels low < high", LEAK).replace("size(to) < 9", "after reading high").replace("tool mail", "tool «mail»"), mail("rate 5 per hour", "levels low < high", LEAK).replace("size(to) < 9", "not after reading high")),
    ("W208", query("allow always\n  result is high", "levels low < «mid» < high"), query("allow always\n  result is high", "levels low < high")),
    ("W209", query("allow always", 'approver «slow» { group "s" }', "rule r: ask slow before query"), query("allow always", "rule r: ask lead before query")),
    ("W211", policy("tool «mail» { needs send takes a: text allow when a == \"b\" }"), policy("tool mail { needs send takes a: text touches a as x allow when a == \"b\" blast radius 1 x per run }")),
    ("W211", policy("tool «mail» { needs send takes a: text allow when a == \"b\" }"), policy("tool mail { needs send takes a: text allow when a == \"b\" }", "budget b: 3 KB per day of size(a) over mail")),
    ("W213", query("allow always\n  rate 3 per run counting «successes»"), query("allow always\n  rate 3 per run counting calls")),
    ("W214", query("allow always  «rate» 3 per run"), query("allow always\n  rate 3 per run")),
    ("W214", policy("tool query { needs look allow always }", 'approver boss {\n  group "b" «never» the requester\n}'), policy("tool query { needs look allow always }", 'approver boss {\n  group "b"\n  never the requester\n}')),
    ("W215", mail("rate 5 per hour\n  ask lead\n  «ask lead when size(to) > 3»"), mail("rate 5 per hour\n  ask lead when size(to) > 3")),
    ("W215", mail("ask lead", "rule «r»: ask lead before mail when limit > 3"), mail("rate 5 per hour", "rule r: ask lead before mail when limit > 3")),
    ("W215", mail("touches to as recipient\n  blast radius 3 recipient per run\n  «ask lead when size(to) > 3»"), mail("touches to as recipient\n  blast radius 4 recipient per run\n  ask lead when size(to) > 3")),
    *(
        ("W217", fetch(f"«{wrong}»"), fetch(right))
        for wrong, right in (
            ('allow when host(page) ends with "acme.example"', 'allow when host(page) ends with ".acme.example"'),
            ('allow when host(page) starts with "docs."', 'allow when host(page) == "docs.acme.example"'),
            ('allow when page starts with "https://acme.example"', 'allow when page starts with "https://acme.example/"'),
            ('allow when page contains "acme.example"', 'allow when not (page contains "acme.example")'),
            ('allow when every one in to satisfies (one ends with "acme.example")', 'allow when every one in to satisfies (one ends with "@acme.example")'),
            ('allow when every one in urls(body) satisfies (host(one) contains "acme")', 'allow when page starts with "https:" and page ends with ".pdf"'),
        )
    ),
    ("W217", fetch('allow always\n  «require domain(from) ends with "acme.example"»'), fetch('allow always\n  deny when domain(from) ends with "acme.example"')),
    ("W217", fetch("allow always", '«rule r: ask lead before fetch when not (from contains "@acme.example")»'), fetch("allow always", 'rule r: ask lead before fetch when from contains "@acme.example"')),
    ("W216", mail("redact body with «piii»\n  rate 5 per hour"), mail("redact body with pii\n  rate 5 per hour")),
    ("W216", mail("rate 5 per hour", "rule r: redact body with «piii» for mail"), mail("rate 5 per hour", "rule r: redact body with pii for mail")),
    ("W216", query("allow always", 'function f(a: text) gives boolean from «"acem"»'), query("allow always", 'function f(a: text) gives boolean from "acme"')),
]  # fmt: skip

CLAIMED = [
    *("E101", "E102", "E103", "E105", "E110", "E112", "E113", "E114", "E115", "E116", "E117"),
    *("E131", "E133", "E134", "E135"),
    *("W203", "W205", "W206", "W208", "W209", "W211", "W213", "W214", "W215", "W216", "W217"),
]


@pytest.mark.parametrize(("code", "wrong", "right"), MISTAKES)
def test_one_mistake_gives_one_report_at_the_wrong_word(code: str, wrong: str, right: str) -> None:
    start, end = wrong.index("«"), wrong.index("»") - 1
    text = wrong.replace("«", "").replace("»", "")
    loaded = load(text)
    found = [(report.code, text[report.span.start : report.span.end]) for report in loaded.diagnostics]
    assert found == [(code, text[start:end])]
    assert loaded.diagnostics[0].span.start == start
    assert loaded.valid != code.startswith("E")


@pytest.mark.parametrize(("code", "wrong", "right"), MISTAKES)
def test_the_mended_text_loads_without_a_report(code: str, wrong: str, right: str) -> None:
    loaded = load(right)
    assert [(report.code, report.message) for report in loaded.diagnostics] == []
    assert loaded.valid


@pytest.mark.parametrize("code", CLAIMED)
def test_every_claimed_code_is_produced(code: str) -> None:
    assert any(code == produced for produced, _, _ in MISTAKES)


@pytest.mark.parametrize("wrong", [wrong for _, wrong, _ in MISTAKES])
def test_every_report_can_be_drawn_and_is_worded_as_the_style_asks(wrong: str) -> None:
    loaded = load(wrong.replace("«", "").replace("»", ""))
    assert draw(loaded.diagnostics)
    for report in loaded.diagnostics:
        assert not report.message.endswith(".")
        assert report.message[0].islower() or not report.message[0].isalpha()
        assert report.help or report.label


def test_a_second_text_behind_an_or_is_told_how_to_list_values() -> None:
    (report,) = load(query('allow when table == "a" or "b"')).diagnostics
    assert report.code == "E110" and "in [" in report.help


def test_without_knowledge_of_plugins_none_is_called_missing() -> None:
    text = mail("redact body with piii\n  rate 5 per hour")
    assert load_text(text).diagnostics == ()


def test_a_tool_whose_isolate_nothing_can_run_is_told_where_the_isolate_is_named() -> None:
    text = js("runs code in box")
    loaded = load_text(text, installed={"acme", "pii"}.__contains__)
    assert loaded.valid
    (report,) = loaded.diagnostics
    assert (report.code, report.span.start) == ("W216", text.index("box", text.index("runs code")))
    assert report.label == "every call of `js` fails before it starts"


def test_isolates_that_call_each_other_in_a_circle_are_each_told() -> None:
    far = 'isolate away { may call js }\ntool far { runs "far.js" in away allow always }'
    loaded = load(js("runs code in box", "isolate box { may call far }\n" + far))
    assert [(report.code, report.message) for report in loaded.diagnostics] == [
        ("E134", "isolate `box` may call `far`, which leads back into it"),
        ("E134", "isolate `away` may call `js`, which leads back into it"),
    ]
