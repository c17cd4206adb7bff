"""What the parser found becomes typed syntax nodes: one small function per rule of the grammar."""

from collections.abc import Callable, Mapping
from typing import Any

from ringfence.dsl.automaton import Machine
from ringfence.dsl.build import clauses, conditions, declarations, people, rules, tests
from ringfence.dsl.source import Span

# The children are what the grammar says they are; a wrong shape cannot get past the automaton.
Builder = Callable[[list[Any], Span, Machine], object]

BUILDERS: Mapping[str, Builder] = {
    **conditions.BUILDERS,
    **clauses.BUILDERS,
    **people.BUILDERS,
    **rules.BUILDERS,
    **tests.BUILDERS,
    **declarations.BUILDERS,
}
