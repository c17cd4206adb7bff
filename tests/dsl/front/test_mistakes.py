"""Mistakes: where they are reported, how many reports they cost, and that none is an exception."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lark import Lark

from ringfence import grammar
from ringfence.dsl.diagnostic import as_json, draw
from ringfence.dsl.parse import parse
from ringfence.dsl.source import Source
from ringfence.dsl.syntax import Tool
from tests.dsl.front.underlined import assert_reports, reports_of

FRONT = Path(__file__).parents[2] / "golden" / "front"
POLICIES = [path.read_text() for path in sorted((Path(__file__).parent.parent / "policies").glob("*.fence"))]


def test_a_misspelt_clause_is_told_what_it_could_have_been() -> None:
    (report,) = assert_reports("tool a {\n  alow always\n  rate 1 per day\n}", ("E003", "alow"))
    assert (report.label, report.help) == ("a clause of a tool starts here", "did you mean `allow`?")


def test_a_mistake_in_the_first_word_of_a_block_does_not_hide_those_inside() -> None:
    assert_reports(
        "policy p\ntol a {\n  allow alwys\n}\ntool b { needs }",
        ("E003", "tol"),
        ("E003", "alwys"),
        ("E003", "}"),
    )


def test_a_mistake_in_the_head_of_a_block_does_not_hide_those_inside() -> None:
    assert_reports("tool a is b {\n  allow alwys\n}", ("E003", "b"), ("E003", "alwys"))


def test_an_unclosed_block_is_reported_at_its_brace_and_the_next_block_is_read() -> None:
    (report,) = assert_reports("tool a {\n  allow always\n\ntool b { allow always }\n", ("E002", "{"))
    assert report.span.start == 7


def test_an_unfinished_clause_is_reported_where_the_next_one_begins() -> None:
    assert_reports("tool a {\n  takes x: text,\n  allow always\n}", ("E003", "allow"))
    assert_reports("tool a {\n  allow when (x == 1\n  rate 1 per day\n}", ("E003", "rate"))


def test_mixed_operators_are_reported_at_the_one_that_differs_and_parentheses_help() -> None:
    (report,) = assert_reports("tool a { require x and y or z }", ("E136", "or"))
    assert report.span.start == 25
    assert_reports("tool a { require (x and y) or z  require x or not (y and z) }")


def test_an_unclosed_record_costs_one_report_and_one_step() -> None:
    assert_reports(
        'test "t" {\n  ran a(x: {y: 1) returning 1\n  call b() is alowed\n  call c() is allowed\n}',
        ("E003", ")"),
        ("E003", "alowed"),
    )
    assert_reports(
        'test "t" {\n  ran a(x: [{y: 1]\n}\ntool a { alow always }', ("E003", "]"), ("E003", "alow")
    )


def test_what_is_given_twice_is_reported_at_the_second() -> None:
    first, second = assert_reports(
        'test "t" { call a(x: {k: 1, "k": 2, l: {k: 3}}, y: 1, x: 2) is allowed }',
        ("E115", '"k"'),
        ("E115", "x"),
    )
    assert (first.message, second.message) == ("key `k` is given twice", "argument `x` is given twice")


@pytest.mark.parametrize(("name", "mistakes"), [("blocks", 18), ("tests", 14), ("rules", 12)])
def test_a_file_full_of_mistakes_gets_one_report_for_each(name: str, mistakes: int) -> None:
    text = (FRONT / f"mistakes_in_{name}.fence").read_text()
    assert len({report.span for report in reports_of(text)}) == mistakes


@pytest.mark.parametrize(
    ("text", "code", "where"),
    [
        ('test "t" { call a(x: 9007199254740992) is allowed }', "E001", "9007199254740992"),
        ('test "t" { call a(x: -9007199254740992) is allowed }', "E001", "-9007199254740992"),
        ('test "t" { call a(x: nothing) is allowed }', "E003", "nothing"),
        ('tool a { require x == "f\\qo" }', "E001", "\\q"),
        ('tool a {\n  require x == "foo\n}', "E001", '"foo'),
        ("\ufefflanguage 1", "E001", "\ufeff"),
        ("language 1 # \u202e", "E001", "\u202e"),
        ('set a = ["\u2066"]', "E001", "\u2066"),
        ("language 1\r# x", "E001", "\r"),
        ("language 1 \x00", "E001", "\x00"),
        ("tool \u0430llow { }", "E001", "\u0430"),
        ("set a = [99999999999999999999]", "E001", "99999999999999999999"),
        ("set a = [" + "9" * 9000 + "]", "E001", "9" * 9000),
        ("agent a { stop after 5 minuets }", "E003", "minuets"),
        ("tool a { result at most 20 kb of }", "E003", "of"),
        ("tool Send { allow always }", "E003", "Send"),
        ("policy", "E003", ""),
        ("}", "E003", "}"),
        ("tool a {", "E002", "{"),
        ("tool a { require " + "(" * 10_000 + "x" + ")" * 10_000 + " }", "E003", "("),
        ("tool a { require " + "not " * 10_000 + "x }", "E003", "not"),
    ],
)
def test_one_mistake_is_one_report_at_its_place(text: str, code: str, where: str) -> None:
    assert_reports(text, (code, where))


def test_bytes_that_are_not_utf8_are_reported_and_drawn(tmp_path: Path) -> None:
    path = tmp_path / "x.fence"
    path.write_bytes(b"language 1\n# caf\xe9\n")
    (report,) = parse(Source.read(path))[1]
    assert report.message == "the byte 0xE9 is not UTF-8"
    draw([report]).encode("utf-8")


def test_carriage_returns_before_line_feeds_and_tabs_are_white_space() -> None:
    assert reports_of("language 1\r\n\tpolicy p\r\ntool a {\tallow\talways\r\n}\r\n") == []


def test_words_of_a_blanked_statement_are_remembered() -> None:
    document, _ = parse(Source("x", "set tables [1]\ntool a { allow always }"))
    assert "tables" in document.lost
    assert isinstance(document.declarations[0], Tool)


def test_a_megabyte_of_junk_is_reported() -> None:
    assert reports_of("@ x {\n" * 170_000)


SEEDS: list[Callable[[str], str]] = [
    lambda tool: tool.replace("allow always", "alow always"),
    lambda tool: tool.replace("allow always", "allow alwys"),
    lambda tool: tool.replace("per hour", "par hour"),
    lambda tool: tool.replace("rate 5", "xyzzy 5"),
    lambda tool: tool.replace("x == 1", "x == "),
    lambda tool: tool.replace("x == 1", "x = 1"),
    lambda tool: tool.replace("x == 1", 'x == "1'),
    lambda tool: tool.replace("x == 1", "x == @1"),
    lambda tool: tool.replace("x == 1", "x == 1 and y or z"),
    lambda tool: tool.replace("(text)", "text)"),
    lambda tool: tool.replace("needs c", "needs c,"),
    lambda tool: tool.replace("tool ", "tol "),
    lambda tool: tool.replace("\n}", ""),
]
TOOL = """\
tool t{} {{
  needs c
  allow always
  require x == 1
    because "y"
  require size(text) < 3
  rate 5 per hour
}}
"""


@given(st.lists(st.integers(-1, len(SEEDS) - 1), min_size=1, max_size=6))
@settings(max_examples=150)
def test_k_mistakes_in_k_statements_are_k_reports(seeds: list[int]) -> None:
    tools = [TOOL.format(number) for number in range(len(seeds))]
    text = "language 1\npolicy p\n" + "".join(
        SEEDS[seed](tool) if seed >= 0 else tool for seed, tool in zip(seeds, tools, strict=True)
    )
    reports = reports_of(text)
    assert len(reports) == sum(seed >= 0 for seed in seeds), draw(reports)


@given(st.data())
@settings(max_examples=200)
def test_no_mutation_of_a_policy_raises(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(POLICIES))
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(text)))
        gone = data.draw(st.integers(0, 12))
        new = data.draw(
            st.one_of(st.text(max_size=6), st.sampled_from(['"', "{", "}", "(", "tool", "\n", "and", "5 "]))
        )
        text = text[:at] + new + text[at + gone :]
    document, reports = parse(Source("x.fence", text))
    assert document.source.text == text
    draw(reports)
    as_json(reports)


@given(st.text(max_size=200))
@settings(max_examples=200)
def test_no_text_raises(text: str) -> None:
    draw(reports_of(text))


REFERENCE = Lark(grammar.text(), parser="lalr", start="policy_file")


@given(st.data())
@settings(max_examples=200)
def test_nothing_is_blanked_in_silence(data: st.DataObject) -> None:
    """What gets no report here is what the plain parser accepts, whole."""
    words = data.draw(st.sampled_from(POLICIES)).split(" ")
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(words) - 1))
        words[at : at + data.draw(st.integers(0, 2))] = data.draw(
            st.lists(st.sampled_from(words), max_size=2)
        )
    text = " ".join(words)
    if not reports_of(text):
        REFERENCE.parse(text)
