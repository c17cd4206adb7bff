"""What the parser found becomes typed syntax nodes: one small function per rule of the grammar."""

from collections.abc import Callable, Mapping
from typing import Any

from ringfence.dsl.automaton import Machine
from ringfence.dsl.build import clauses, conditions, declarations
from ringfence.dsl.build.later import LATER
from ringfence.dsl.source import Span

# The children are what the grammar says they are; a wrong shape cannot get past the automaton.
Builder = Callable[[list[Any], Span, Machine], object]

BUILDERS: Mapping[str, Builder] = {
    **conditions.BUILDERS,
    **clauses.BUILDERS,
    **declarations.BUILDERS,
    **LATER,
}
