"""The tables that are shipped are the grammar's, and say of each rule what the generator would keep."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from lark import Tree
from lark.grammar import Rule

from ringfence import grammar
from ringfence.dsl import tables
from ringfence.dsl.automaton import Machine
from ringfence.dsl.diagnostic import Diagnostic
from ringfence.dsl.lalr import lark_of, made, pick_of
from ringfence.dsl.parse import Group, _language, parse, value_of
from ringfence.dsl.source import Source, Span

LARK = lark_of(grammar.text())
BROKEN = Source("x.fence", 'policy p\ntool look { needs go allow when x == "a" }\ntool { }\n')
CONF = LARK.parse_interactive("").parser_state.parse_conf
CALLBACKS: Mapping[Any, Callable[[list[Any]], object]] = CONF.callbacks


def test_the_shipped_tables_are_those_of_the_grammar() -> None:
    same = tables.FILE.read_text("utf-8") == tables.written(made(grammar.text()))
    assert same, f"the grammar has changed: `{tables.COMMAND}` (`make tables`) writes its tables anew"


def test_the_tables_of_another_grammar_are_not_taken() -> None:
    assert tables.shipped(grammar.text()) is not None
    assert tables.shipped(grammar.text() + "\n") is None


def test_without_shipped_tables_they_are_made_and_say_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _found()
    monkeypatch.setattr(tables, "FILE", tmp_path / "none.json")
    _language.cache_clear()
    try:
        assert tables.shipped(grammar.text()) is None
        assert _found() == before
    finally:
        _language.cache_clear()


def _found() -> tuple[str, list[Diagnostic]]:
    document, found = parse(BROKEN)
    assert document.declarations and found
    return repr(document.declarations), found


@pytest.mark.parametrize("opened", [0, 1, 3])
@pytest.mark.parametrize("rule", LARK.rules, ids=str)
def test_of_a_rule_stays_what_the_generator_would_keep(rule: Rule, opened: int) -> None:
    """Each group has `opened` entries."""
    machine = Machine({}, 0, Source("x.fence", ""))
    entries: list[Any] = []
    ours: list[Any] = []
    for place, symbol in enumerate(rule.expansion):
        children = [f"{place}.{entry}" for entry in range(opened)]
        is_group = symbol.name.startswith("_")
        entries.append(Tree(symbol.name, list(children)) if is_group else f"{place}")
        ours.append(Group(list(children)) if is_group else f"{place}")
    passes = bool(rule.options.expand1) and not rule.alias
    expected = CALLBACKS[rule](entries)
    value = value_of(pick_of(rule), passes, None, ours, Span(0, 0), machine)
    if isinstance(expected, Tree):
        assert isinstance(value, Group)
        assert value.children == expected.children
    else:
        assert value == expected
