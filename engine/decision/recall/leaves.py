"""The leaves of a JSON value, each with its way there.

Lists are transparent: the way to an element's field is that of the field alone.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ringfence.dsl.canonical import MOST_DEPTH, loads_strict
from ringfence.dsl.plan import Json


class Leaf(NamedTuple):
    """A text, number, boolean or null; or the name of a field, whose `path` is None."""

    path: tuple[str, ...] | None
    value: Json


def leaves_of(value: Json, *, names: bool = False) -> Iterator[Leaf]:
    """Yield the leaves in order, and the names of fields if asked for.

    Raises:
        ValueError: The value is nested more than 100 levels deep, or is no JSON.
    """
    waiting: list[tuple[tuple[str, ...], int, Json]] = [((), 0, value)]
    while waiting:
        path, depth, one = waiting.pop()
        if depth > MOST_DEPTH:
            raise ValueError("nested too deep")
        if isinstance(one, Mapping):
            for name in one:
                if not isinstance(name, str):
                    raise ValueError("a name is no text")
                if names:
                    yield Leaf(None, name)
            waiting.extend(((*path, name), depth + 1, part) for name, part in reversed(list(one.items())))
        elif isinstance(one, list | tuple):
            waiting.extend((path, depth + 1, part) for part in reversed(one))
        elif one is None or isinstance(one, str | bool | int | float):
            yield Leaf(path, one)
        else:
            raise ValueError("a value is no JSON")


def structured(value: Json) -> Json:
    """Return the list or record that a JSON text says; every other value is returned as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return loads_strict(value)
        except ValueError:  # fails closed: a text that readers might read differently has no fields
            return value
    return value


def is_described(value: Json) -> bool:
    """Say whether a part of a value is no JSON and stands in the record by its description alone."""
    if isinstance(value, str):
        return False
    return any(leaf.path is None and leaf.value == "$type" for leaf in leaves_of(value, names=True))


def weigh(value: Json) -> tuple[int, int]:
    """Return characters and leaves, neither less than what `leaves_of(structured(value))` will give.

    Raises:
        ValueError: As `leaves_of`.
    """
    if isinstance(value, str):
        return len(value), 1 + (
            value.count(",") + value.count(":") if value.lstrip()[:1] in ("[", "{") else 0
        )
    characters = leaves = 0
    for leaf in leaves_of(value, names=True):
        leaves += 1
        characters += len(leaf.value) if isinstance(leaf.value, str) else 8
    return characters, leaves
