"""Grammar to tables: the one module that knows the parser generator.

`lark` reads the grammar, makes the LALR(1) automaton and says what of a rule stays; running it, and going
on after a mistake, is ours (`automaton`, `recover`).  `python -m ringfence.dsl.lalr` writes the tables that
are shipped.
"""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from lark import Lark
from lark.grammar import Rule
from lark.lexer import PatternStr
from lark.parse_tree_builder import maybe_create_child_filter
from lark.parsers.lalr_analysis import Shift

from ringfence import grammar
from ringfence.dsl.tables import FILE, Pick, Tables, digest, written

Actions = Mapping[int, Mapping[str, tuple[Any, Any]]]
"""State -> symbol -> what is done there, and the next state or the rule."""


def lark_of(text: str) -> Lark:
    """Return the parser generator with this grammar read; 0.1 s."""
    return Lark(text, parser="lalr", lexer="basic", start="policy_file", maybe_placeholders=True)


def made(text: str) -> Tables:
    """Make the tables of a grammar: the same ones whenever and wherever it is done."""
    lark = lark_of(text)
    words: dict[str, str] = {}
    marks: dict[str, str] = {}
    patterns: dict[str, str] = {}
    for terminal in sorted(lark.terminals, key=lambda terminal: -terminal.priority):
        if isinstance(terminal.pattern, PatternStr):
            spelling = terminal.pattern.value
            (words if spelling.isalpha() else marks)[spelling] = terminal.name
        elif terminal.name not in lark.ignore_tokens and terminal.name != "NAME":  # the scanner's WORD
            patterns[terminal.name] = terminal.pattern.value
    conf = lark.parse_interactive("").parser_state.parse_conf
    actions = cast(Actions, conf.states)
    order = _order(actions, cast(int, conf.start_state))
    symbols = {name: at for at, name in enumerate(sorted({name for row in actions.values() for name in row}))}
    rules = {rule: at for at, rule in enumerate(lark.rules)}
    sets: dict[tuple[int, ...], int] = {}
    states = []
    for state in order:
        onward: list[int] = []
        applied: dict[int, list[int]] = {}
        for symbol, (kind, argument) in sorted(actions[state].items()):
            if kind is Shift:
                onward += (symbols[symbol], order[argument])
            else:
                applied.setdefault(rules[argument], []).append(symbols[symbol])
        at = [(sets.setdefault(tuple(where), len(sets)), rule) for rule, where in sorted(applied.items())]
        states.append((onward, _flat(at)))
    shapes = [
        (str(rule.origin.name), len(rule.expansion), _builder(rule), pick_of(rule), _passes(rule))
        for rule in rules
    ]
    return Tables(digest(text), words, marks, patterns, list(symbols), shapes, list(map(list, sets)), states)


def _order(actions: Actions, start: int) -> dict[int, int]:
    """Number the states as they are reached: the generator numbers them by the hashes of texts."""
    order, waiting = {start: 0}, [start]
    for state in waiting:
        for _, (kind, argument) in sorted(actions[state].items()):
            if kind is Shift and argument not in order:
                order[argument] = len(order)
                waiting.append(argument)
    return order


def pick_of(rule: Rule) -> Pick | None:
    """Say what of a rule stays, as the generator would keep it; None: everything, as it is."""
    options = rule.options
    absent_at = list(options.empty_indices)
    chosen = maybe_create_child_filter(rule.expansion, options.keep_all_tokens, False, absent_at)
    if chosen is None:
        return None
    pick: list[int | None] = []
    for place, opened, *absent in chosen.args[0]:
        pick += [None] * sum(absent)
        pick.append(~place if opened else place)
    return pick + [None] * sum(chosen.args[1:])


def _passes(rule: Rule) -> bool:
    return bool(rule.options.expand1) and not rule.alias


def _builder(rule: Rule) -> str:
    """Return the name that a rule's builder has; empty for rules that only group."""
    name = rule.alias or rule.origin.name
    return "" if name.startswith("_") else str(name)


def _flat(pairs: Iterable[tuple[int, int]]) -> list[int]:
    return [number for pair in pairs for number in pair]


if __name__ == "__main__":
    FILE.write_text(written(made(grammar.text())), "utf-8")
