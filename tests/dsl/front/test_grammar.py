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
from ringfence.dsl.syntax import Allow, ComesFrom, Membership, Param, Takes, Tool
from tests.dsl.front.said import said

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
    ("text", "node"),
    [
        ("levels a < b", "Levels(names=(a, b))"),
        ('ceiling x version "7"', "PolicyHeader(name=x, version='7', is_ceiling=True)"),
        ('policy x under "y"', "PolicyHeader(name=x, under='y')"),
        ('use "x.fence"', "Use(path='x.fence')"),
        (
            'calendar c = monday to friday 08:00 to 18:00 in "UTC"',
            "Calendar(name=c, first_day=monday, last_day=friday, opens='08:00', closes='18:00', zone='UTC')",
        ),
        (
            'function f(a: text, b: list of email) gives boolean from "p"',
            "FunctionOf(name=f, params=(Param(name=a, type=text), Param(name=b, type=list of email)), "
            "gives=boolean, plugin='p')",
        ),
        ('function f() gives integer from "p"', "FunctionOf(name=f, params=(), gives=integer, plugin='p')"),
        ("shadow rule r: deny a", "Rule(name=r, effect='deny', shadow=True, target=names(a))"),
        (
            "rule r: redact x with y for any tool",
            "Rule(name=r, effect='redact', param=x, redactor=y, target=any())",
        ),
        ("rule r: audit full for a", "Rule(name=r, effect='audit', level=full, target=names(a))"),
        (
            "order o same id: a where (x) then b",
            "Order(name=o, same=id, steps=(Event(kind='tool', name=a, where=x), Event(kind='tool', name=b)))",
        ),
        (
            "budget b: 200 KB per day for each user of size(x) over a, b otherwise halt",
            "BudgetOf(name=b, limit=204800 bytes, period=day, scope=user, "
            "amount=Apply(function=size, arguments=(x)), target=names(a, b), otherwise_halt=True)",
        ),
        (
            "guarantee g: never any tool that is external when x unless approved by anyone",
            "Guarantee(name=g, target=trait(external), when=x, unless_approved_by=anyone)",
        ),
        ("agent a { may start b, c }", "Agent(name=a, clauses=(MayStart(agents=(b, c))))"),
        (
            "responses { latency at least 40 ms in steps of 20 ms }",
            "Responses(clauses=(Latency(floor=40000000 ns, step=20000000 ns)))",
        ),
        (
            "isolate i { may call a, b  output at most 1 KB }",
            "Isolate(name=i, clauses=(IsolateClause(kind='may call', value=(a, b)), "
            "IsolateClause(kind='output', value=1024 bytes)))",
        ),
        (
            'test "t" { given f("x") gives [1, {a: true}]  new run  wait 1 second }',
            "PolicyTest(name='t', steps=(Given(function=Invocation(name=f, arguments=(Argument(value='x'))), "
            "answer=[1, {'a': True}]), NewRun(), Wait(duration=1000000000 ns)))",
        ),
        (
            'test "t" { ran a() returning {} signed by b, c  call a(x: -2.5) asks b by a.b }',
            "PolicyTest(name='t', steps=(Ran(call=Invocation(name=a, arguments=()), returning={}, "
            "signed_by=(b, c)), Called(call=Invocation(name=a, arguments=(Argument(name=x, value=-2.5))), "
            "expected='asks', approver=b, by=a.b)))",
        ),
        (
            'test "t" { call a() is not found  call a() is denied }',
            "PolicyTest(name='t', steps=("
            "Called(call=Invocation(name=a, arguments=()), expected='not found'), "
            "Called(call=Invocation(name=a, arguments=()), expected='denied')))",
        ),
    ],
)
def test_each_declaration_makes_its_node(text: str, node: str) -> None:
    document, reports = parse(Source("test.fence", text))
    assert reports == []
    assert [said(declaration) for declaration in document.declarations] == [node]


@pytest.mark.parametrize(
    ("clause", "node"),
    [
        (
            "touches x as y, z as y",
            "Touches(touches=(Touch(param=x, resource=y), Touch(param=z, resource=y)))",
        ),
        (
            "blast radius 1 account per run, 20 account per day for each user otherwise halt",
            "BlastRadius(blasts=(Blast(count=1, resource=account, period=run), "
            "Blast(count=20, resource=account, period=day)), scope=user, otherwise_halt=True)",
        ),
        ("result is secret when x", "ResultIs(level=secret, condition=x)"),
        ("result is secret otherwise", "ResultIs(level=secret, otherwise=True)"),
        ("result is secret", "ResultIs(level=secret)"),
        ("result in steps of 4 KB", "ResultInSteps(step=4096 bytes)"),
        ("redact x with y", "Redact(param=x, redactor=y)"),
        ('runs "x.js" in y', "Runs(what='x.js', isolate=y)"),
        ("runs x in y", "Runs(what=x, isolate=y)"),
        ("allow when x comes from user", "Allow(condition=ComesFrom(subject=x, sources=(user)))"),
        (
            "allow when x comes only from [user, a.b]",
            "Allow(condition=ComesFrom(subject=x, sources=(user, a.b), only=True))",
        ),
        ("allow when x carries secret", "Allow(condition=Carries(subject=x, level=secret))"),
        (
            "allow when after reading secret within this run",
            "Allow(condition=After(event=Event(kind='reading', name=secret), extent=Extent()))",
        ),
        (
            "allow when after any tool that needs c where (y) within 1 hour with no b since",
            "Allow(condition=After(event=Event(kind='needs', name=c, where=y), "
            "extent=Extent(within=3600000000000 ns), since=Event(kind='tool', name=b)))",
        ),
        (
            "allow when calls to b < 3",
            "Allow(condition=Compare(left=CallsTo(event=Event(kind='tool', name=b)), operator=<, right=3))",
        ),
        ("allow when during c", "Allow(condition=During(calendar=c))"),
    ],
)
def test_each_clause_makes_its_node(clause: str, node: str) -> None:
    document, reports = parse(Source("test.fence", f"tool a {{ {clause} }}"))
    tool = document.declarations[0]
    assert reports == [] and isinstance(tool, Tool)
    assert [said(clause) for clause in tool.clauses] == [node]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("tool a { allow when x comes only from [user] }", "comes only from"),
        ("tool a { allow when x not in y }", "not in"),
    ],
)
def test_the_operator_of_a_condition_is_where_it_is_written(text: str, where: str) -> None:
    (tool,) = parse(Source("test.fence", text))[0].declarations
    assert isinstance(tool, Tool) and isinstance(tool.clauses[0], Allow)
    condition = tool.clauses[0].condition
    assert isinstance(condition, ComesFrom | Membership)
    assert text[condition.operator.start : condition.operator.end] == where
