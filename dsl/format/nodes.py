"""The parts of syntax nodes, fast: a large file has a million of them, and every statement is walked."""

from collections.abc import Hashable, Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from typing import cast

from ringfence.dsl.source import Span


@cache
def names_of(kind: Hashable) -> tuple[str, ...] | None:
    """Return the names of a node class's fields; None: it is no node."""
    return tuple(each.name for each in fields(kind)) if is_dataclass(kind) else None


def parts_of(node: object) -> Iterator[object]:
    """Yield what a node or a tuple is made of; a place has no parts."""
    if isinstance(node, tuple):
        yield from node
    elif not isinstance(node, Span):
        for name in names_of(cast(Hashable, type(node))) or ():
            yield getattr(node, name)


def alike(one: object, other: object) -> bool:
    """True if two nodes say the same, wherever they stand."""
    kind = type(one)
    if kind is not type(other):
        return False
    if kind is Span:
        return True
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    names = names_of(cast(Hashable, kind))
    if names is None:
        return one == other
    return all(alike(getattr(one, name), getattr(other, name)) for name in names)
