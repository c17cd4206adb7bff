"""Texts derived from the grammar itself: every construct, with white space and comments anywhere."""

from typing import Any

from hypothesis import strategies as st
from lark import Lark
from lark.grammar import Rule, Terminal
from lark.lexer import PatternStr

from ringfence import grammar

_LARK = Lark(grammar.text(), parser="lalr", start="policy_file")
_RULES: dict[str, list[Rule]] = {}
for _rule in _LARK.rules:
    _RULES.setdefault(_rule.origin.name, []).append(_rule)

_VALUES = {
    "NAME": ["a", "b1", "is_customer", "a_rather_long_name_of_some_thing"],
    "STRING": ['"x"', '""', '"a \\"b\\" # no comment"', '"' + "a long text, longer than most " * 2 + '"'],
    "REGEX": ["/[a-z]+/", r"/a#b\/c/"],
    "HOUR_MINUTE": ["08:00"],
    "DURATION": ["5 minutes", "500ms", "1   day"],
    "SIZE": ["64 KB", "1bytes"],
    "INT": ["0", "12"],
    "SIGNED": ["-3"],
    "NUMBER": ["1.50", "-0.25"],
}
_SPELLINGS = {
    terminal.name: terminal.pattern.value
    for terminal in _LARK.terminals
    if isinstance(terminal.pattern, PatternStr)
}
_GAPS = [" ", " ", " ", " ", "  ", "\n", "\n\n\n", " # c\n", "# c  \n  # d\n", "\n # c\n\n"]


def _lengths() -> dict[str, int]:
    """Return the length of the shortest derivation of every symbol."""
    shortest = dict.fromkeys(_RULES, 10**6)
    changed = True
    while changed:
        changed = False
        for name, rules in _RULES.items():
            least = min(_length(rule, shortest) for rule in rules)
            changed |= least < shortest[name]
            shortest[name] = min(least, shortest[name])
    return shortest


def _length(rule: Rule, shortest: dict[str, int]) -> int:
    return 1 + sum(1 if isinstance(symbol, Terminal) else shortest[symbol.name] for symbol in rule.expansion)


_SHORTEST = _lengths()


@st.composite
def sentences(draw: Any) -> str:
    """Return a text of one to four declarations."""
    words: list[str] = []
    for _ in range(draw(st.integers(1, 4))):
        room = len(words) + draw(st.integers(10, 60))
        _derive(
            draw, draw(st.sampled_from(["declaration", "declaration", "tool", "test", "rule"])), words, room
        )
    gaps = draw(st.lists(st.sampled_from(_GAPS), min_size=len(words), max_size=len(words)))
    return "".join(word + gap for word, gap in zip(words, gaps, strict=True))


def _derive(draw: Any, name: str, words: list[str], room: int) -> None:
    """Add the words of one derivation; past `room` words take the shortest way out."""
    rules = _RULES[name]
    if len(words) >= room:
        rule = min(rules, key=lambda rule: _length(rule, _SHORTEST))
    elif name.endswith("_body") and draw(st.integers(0, 5)):
        rule = max(rules, key=lambda rule: len(rule.expansion))  # one more statement
    else:
        rule = draw(st.sampled_from(rules))
    for symbol in rule.expansion:
        if not isinstance(symbol, Terminal):
            _derive(draw, symbol.name, words, room)
        elif symbol.name in _VALUES:
            words.append(draw(st.sampled_from(_VALUES[symbol.name])))
        else:
            words.append(_SPELLINGS[symbol.name])
