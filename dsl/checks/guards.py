"""Which optional parameters a condition guards.

Kleene's `and` and `or` do not mind the order of their parts, so neither does this: in `A and B`, B is
read where A is true; in `A or B`, where A is false.
"""

from collections.abc import Iterator
from typing import get_args

from ringfence.dsl import syntax


def known_present(node: syntax.Expression, truth: bool) -> frozenset[str]:
    """Return the core forms (as text) of the optionals that are given whenever `node` is `truth`."""
    match node:
        case syntax.Presence(subject=syntax.Path() as path, missing=missing) if truth != missing:
            return frozenset({_core_name(path)})
        case syntax.Not(operand=operand):
            return known_present(operand, not truth)
        case syntax.Both(operands=operands) | syntax.Either(operands=operands):
            facts = [known_present(operand, truth) for operand in operands]
            if isinstance(node, syntax.Both) == truth:
                return frozenset().union(*facts)
            return frozenset.intersection(*facts)
    return frozenset()


def _core_name(path: syntax.Path) -> str:
    words = [part.text for part in path.parts]
    if words[0] == "principal" and len(words) > 1:
        return str(["principal", words[1]])
    return str(["arg", words[1] if words[0] == "arg" and len(words) > 1 else words[0]])


def parameters_named(node: object) -> Iterator[str]:
    """Yield every word at operand position that might be a parameter of the call being decided."""
    if isinstance(node, syntax.Path):
        words = [part.text for part in node.parts]
        if words[0] != "principal" or len(words) == 1:
            yield words[1] if words[0] == "arg" and len(words) > 1 else words[0]
    elif isinstance(node, syntax.ComesFrom):
        yield from parameters_named(node.subject)
    elif isinstance(node, tuple):
        for part in node:
            yield from parameters_named(part)
    elif isinstance(node, _NODES):
        for name in node.__slots__:
            yield from parameters_named(getattr(node, name))


_NODES = get_args(syntax.Expression)
