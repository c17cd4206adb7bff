"""The grammar: no conflicts, every rule has its node, keywords are soft."""

import logging
from pathlib import Path

import pytest
from lark import Lark, logger
from lark.lexer import PatternStr

from ringfence import grammar
from ringfence.dsl.build import BUILDERS
from ringfence.dsl.parse import parse
from ringfence.dsl.source import Source
from ringfence.dsl.syntax import Later, Param, Takes, Tool

POLICIES = sorted((Path(__file__).parent.parent / "policies").glob("*.fence"))
LARK = Lark(grammar.text(), parser="lalr", start="policy_file")
KEYWORDS = sorted(
    terminal.pattern.value
    for terminal in LARK.terminals
    if isinstance(terminal.pattern, PatternStr) and terminal.pattern.value.isalpha()
)
SHADOWED_OPERANDS = {"true", "false", "not", "every", "some", "after", "during", "calls"}


def test_the_grammar_is_lalr1_with_a_contextual_lexer_and_without_a_conflict(
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(caplog.handler)
    try:
        Lark(grammar.text(), parser="lalr", lexer="contextual", start="policy_file", debug=True)
    finally:
        logger.removeHandler(caplog.handler)
        logger.setLevel(before)
    assert not [record.getMessage() for record in caplog.records if "conflict" in record.getMessage().lower()]


def test_every_rule_that_makes_a_node_has_a_builder_and_every_builder_a_rule() -> None:
    made = {rule.alias or rule.origin.name for rule in LARK.rules if not rule.options.expand1 or rule.alias}
    assert {name for name in made if not name.startswith("_")} - {"policy_file"} == set(BUILDERS)


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_every_policy_of_the_specification_parses_without_a_report(path: Path) -> None:
    document, reports = parse(Source.read(path))
    assert reports == []
    assert document.declarations


@pytest.mark.parametrize("word", KEYWORDS)
def test_every_keyword_may_name_a_tool_and_a_parameter(word: str) -> None:
    text = (
        f"tool {word} {{ needs {word}, {word}  takes {word}: text optional, {word}: list of text at most 5 "
        f"allow when arg.{word} == 1 and principal.{word} in {word}.{word} "
        if word not in SHADOWED_OPERANDS
        else f"tool {word} {{ needs {word}  takes {word}: text, {word}: text  allow when arg.{word} == 1 "
    )
    text += f"ask {word}  rate 1 per {word} for each {word} }}\n"
    if word != "any":  # as a target, `any` begins `any tool`
        text += f"rule {word}: deny {word}, {word} when arg.{word} == 1\n"
    document, reports = parse(Source("test.fence", text))
    assert reports == []
    tool = document.declarations[0]
    assert isinstance(tool, Tool) and tool.name.text == word
    takes = next(clause for clause in tool.clauses if isinstance(clause, Takes))
    assert [param.name.text for param in takes.params] == [word, word]
    assert all(isinstance(param, Param) for param in takes.params)


@pytest.mark.parametrize("word", sorted(set(KEYWORDS) - SHADOWED_OPERANDS))
def test_every_keyword_but_eight_is_a_parameter_at_an_operand_too(word: str) -> None:
    assert parse(Source("test.fence", f"tool a {{ allow when {word} == 1 and size({word}) < 3 }}"))[1] == []


@pytest.mark.parametrize(
    ("text", "construct"),
    [
        ("levels a < b", "levels"),
        ("ceiling x", "ceiling"),
        ('use "x.fence"', "use"),
        ('calendar c = monday to friday 08:00 to 18:00 in "UTC"', "calendar"),
        ('function f(a: text) gives boolean from "p"', "function"),
        ("isolate i { memory 64 MB  clock frozen }", "isolate"),
        ("order o: a then b", "order"),
        ("budget b: 200 KB per day of size(x) over a otherwise halt", "budget"),
        ("guarantee g: never any tool unless approved by anyone", "guarantee"),
        ('test "t" { new run  call a(x: {a: [1, -2.5]}) is denied by a.b }', "test"),
        ("shadow rule r: deny a", "shadow rule"),
        ("rule r: redact x with y for any tool", "rule … redact"),
        ("rule r: audit full for a", "rule … audit"),
    ],
)
def test_a_declaration_that_is_not_enforced_yet_is_kept_as_later(text: str, construct: str) -> None:
    document, reports = parse(Source("test.fence", text))
    assert reports == []
    (later,) = document.declarations
    assert isinstance(later, Later) and later.construct == construct


@pytest.mark.parametrize(
    ("clause", "construct"),
    [
        ("touches x as y", "touches"),
        ("blast radius 1 account per run, 20 account per day otherwise halt", "blast radius"),
        ("result is secret otherwise", "result is"),
        ("result in steps of 4 KB", "result in steps"),
        ("redact x with y", "redact"),
        ('runs "x.js" in y', "runs"),
    ],
)
def test_a_clause_that_is_not_enforced_yet_is_kept_as_later(clause: str, construct: str) -> None:
    document, reports = parse(Source("test.fence", f"tool a {{ {clause} }}"))
    tool = document.declarations[0]
    assert reports == [] and isinstance(tool, Tool)
    assert [clause.construct for clause in tool.clauses if isinstance(clause, Later)] == [construct]
