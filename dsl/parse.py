"""Text to syntax: the one module that knows the parser generator.

`lark` reads the grammar and makes the LALR(1) tables, once and lazily; running them, and going on after
a mistake, is ours (`automaton`, `recover`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, cast

from lark import Lark, Tree
from lark.grammar import Rule
from lark.lexer import PatternStr
from lark.parsers.lalr_analysis import Shift

from ringfence import grammar
from ringfence.dsl.automaton import Machine, Reduction, Table
from ringfence.dsl.build import BUILDERS, Builder
from ringfence.dsl.diagnostic import Diagnostic
from ringfence.dsl.recover import Vocabulary, run
from ringfence.dsl.scan import Lexeme, Scanner
from ringfence.dsl.source import Source, Span
from ringfence.dsl.syntax import Declaration, Document


def parse(source: Source, file: Span | None = None) -> tuple[Document, list[Diagnostic]]:
    """Parse one file of a source, else its first; report every mistake, raise for none.

    What could not be read is not in the document, but its words are in `Document.lost`.
    """
    language = _language()
    file = source.first if file is None else file
    words, reports = language.scanner.scan(source, file)
    machine = Machine(language.table, language.start, source)
    body, lost = run(machine, words, language.vocabulary)
    reports += machine.reports
    reports.sort(key=lambda report: (report.span, report.code))
    document = Document(source, file, tuple(cast(list[Declaration], body.items)), lost)
    return document, reports


def lexemes(source: Source, file: Span) -> list[Lexeme]:
    """Return the words of one file, without comments."""
    return _language().scanner.scan(source, file)[0]


@dataclass(frozen=True, slots=True)
class _Language:
    scanner: Scanner
    table: Table
    start: int
    vocabulary: Vocabulary


@cache
def _language() -> _Language:
    """Make the tables; 0.2 s, once a process."""
    lark = Lark(grammar.text(), parser="lalr", lexer="basic", start="policy_file", maybe_placeholders=True)
    words: dict[str, str] = {}
    marks: dict[str, str] = {}
    patterns: dict[str, str] = {}
    for terminal in sorted(lark.terminals, key=lambda terminal: -terminal.priority):
        if isinstance(terminal.pattern, PatternStr):
            spelling = terminal.pattern.value
            (words if spelling.isalpha() else marks)[spelling] = terminal.name
        elif terminal.name not in lark.ignore_tokens and terminal.name != "NAME":  # the scanner's WORD
            patterns[terminal.name] = terminal.pattern.value
    state = lark.parse_interactive("").parser_state
    reductions: dict[Rule, Reduction] = {}

    def action(kind: Any, argument: Any) -> int | Reduction:
        if kind is Shift:
            return cast(int, argument)
        if argument not in reductions:
            make = partial(_make, state.parse_conf.callbacks[argument], _builder(argument))
            reductions[argument] = Reduction(len(argument.expansion), argument.origin.name, make)
        return reductions[argument]

    states = cast(dict[int, dict[str, tuple[Any, Any]]], state.parse_conf.states)
    table = {
        number: {symbol: action(*what) for symbol, what in actions.items()}
        for number, actions in states.items()
    }
    vocabulary = Vocabulary.of(words, marks, table)
    return _Language(Scanner(patterns, marks), table, cast(int, state.parse_conf.start_state), vocabulary)


def _builder(rule: Rule) -> Builder | None:
    """Return what builds the node of a rule; None for rules that only group or pass on."""
    name = rule.alias or rule.origin.name
    return None if name.startswith("_") else BUILDERS.get(name)


def _make(
    gather: Callable[[list[object]], object],
    build: Builder | None,
    children: list[object],
    span: Span,
    machine: Machine,
) -> object:
    """Let lark drop punctuation and inline rules that only group, then build the node."""
    gathered = gather(children)
    if build is not None and isinstance(gathered, Tree):
        return build(gathered.children, span, machine)
    return gathered
