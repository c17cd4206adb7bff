"""Text to syntax: the tables of the grammar are run over the words of a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import cast

from ringfence import grammar
from ringfence.dsl import tables
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
    machine = Machine(language.table, 0, source)
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
    vocabulary: Vocabulary


@cache
def _language() -> _Language:
    """Read the tables, once a process."""
    text = grammar.text()
    read = tables.shipped(text) or _made(text)
    table = _table(read)
    vocabulary = Vocabulary.of(read.words, read.marks, table)
    return _Language(Scanner(read.patterns, read.marks), table, vocabulary)


def _made(text: str) -> tables.Tables:
    from ringfence.dsl.lalr import made  # the parser generator costs as much as reading a large policy

    return made(text)


def _table(read: tables.Tables) -> Table:
    sets = [[read.symbols[symbol] for symbol in symbols] for symbols in read.sets]
    rules = [
        Reduction(size, origin, partial(value_of, pick, single, BUILDERS.get(name)))
        for origin, size, name, pick, single in read.rules
    ]
    table: dict[int, dict[str, int | Reduction]] = {}
    for state, (onward, applied) in enumerate(read.states):
        numbers = iter(onward)
        actions: dict[str, int | Reduction] = {
            read.symbols[symbol]: target for symbol, target in zip(numbers, numbers, strict=True)
        }
        numbers = iter(applied)
        for terminals, rule in zip(numbers, numbers, strict=True):
            actions.update(dict.fromkeys(sets[terminals], rules[rule]))
        table[state] = actions
    return table


@dataclass(slots=True)
class Group:
    """What stands under a rule that builds nothing."""

    children: list[object]


def value_of(
    pick: tables.Pick | None,
    single: bool,
    build: Builder | None,
    children: list[object],
    span: Span,
    machine: Machine,
) -> object:
    """Make the value of a rule out of the entries that it keeps."""
    kept = children if pick is None else _kept(pick, children)
    value: object = kept[0] if single and len(kept) == 1 else Group(kept)
    if build is not None and isinstance(value, Group):
        return build(value.children, span, machine)
    return value


def _kept(pick: Sequence[int | None], children: list[object]) -> list[object]:
    kept: list[object] = []
    for place in pick:
        if place is None:
            kept.append(None)
        elif place >= 0:
            kept.append(children[place])
        else:
            group = children[~place]
            assert isinstance(group, Group)
            # A list that grows by its last entry is the same one all along; its shorter self is gone.
            kept = kept + group.children if kept else group.children
    return kept
