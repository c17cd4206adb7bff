"""What a JSON Schema lets through, as far as the language can say it (JSON Schema 2020-12).

A shape is never narrower than its schema: what is not understood lets everything through.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from math import isfinite
from typing import TypeVar

from ringfence.dsl.plan import Json

N = TypeVar("N", int, float)

_KINDS: Mapping[str, frozenset[str]] = {
    "string": frozenset({"text"}),
    "integer": frozenset({"integer"}),
    "number": frozenset({"integer", "number"}),
    "boolean": frozenset({"boolean"}),
    "array": frozenset({"list"}),
    "object": frozenset({"record"}),
    "null": frozenset({"null"}),
}
EVERY_KIND = frozenset().union(*_KINDS.values())

_DEEPEST = 20
_MOST_PARTS = 20_000
"""How many subschemas of one tool are read: references may multiply without end."""
_MOST_CHOICES = 5_000
"""Beyond these, what several alternatives enumerate together bounds nothing."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The values that a schema lets through; None: not bounded in this way."""

    kinds: frozenset[str] = EVERY_KIND
    """Of: text, integer, number, boolean, list, record, null.  With `number` stands `integer`."""
    format: str | None = None
    """Of a text: a note, which most validators do not check."""
    at_least_long: int | None = None
    at_most_long: int | None = None
    """Of a text, in characters."""
    pattern: str | None = None
    """Of a text: ECMA-262's dialect, found anywhere in it."""
    element: "Shape | None" = None
    """Of a list; None: anything."""
    at_most_many: int | None = None
    """Elements of a list."""
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[Json, ...] | None = None
    """`enum` or `const`."""

    @property
    def plain(self) -> str | None:
        """Return the one kind that is not null; None: there are several, or none."""
        kinds = self.kinds - {"null"}
        if kinds == {"integer", "number"}:
            return "number"
        return next(iter(kinds)) if len(kinds) == 1 else None


ANYTHING = Shape()
NOTHING = Shape(kinds=frozenset())


def shape_of(schema: Json, root: Json) -> Shape:
    """Return the shape of a schema.

    Args:
        root: The whole schema, in which its references lead.
    """
    return Reader(root).shape(schema)


class Reader:
    """Reads the shapes of one whole schema."""

    def __init__(self, root: Json) -> None:
        self._root = root
        self._left = _MOST_PARTS
        self._known: dict[tuple[int, int], Shape] = {}

    def shape(self, schema: Json, depth: int = 0) -> Shape:
        """Return the shape of a part of it."""
        if schema is False:
            return NOTHING
        if not isinstance(schema, Mapping) or depth > _DEEPEST:
            return ANYTHING
        # References that lead to the same part many times over are read once; the root keeps each part alive.
        part = (id(schema), depth)
        if part not in self._known:
            self._left -= 1
            if self._left < 0:
                return ANYTHING
            self._known[part] = self._read(schema, depth)
        return self._known[part]

    def _read(self, schema: Mapping[str, Json], depth: int) -> Shape:
        shapes = [self._own(schema, depth)]
        if isinstance(reference := schema.get("$ref"), str):
            shapes.append(self.shape(found(self._root, reference), depth + 1))
        for word in ("anyOf", "oneOf"):
            if options := _parts(schema.get(word)):
                shapes.append(reduce(either, [self.shape(one, depth + 1) for one in options]))
        shapes += [self.shape(one, depth + 1) for one in _parts(schema.get("allOf"))]
        return reduce(both, shapes)

    def _own(self, schema: Mapping[str, Json], depth: int) -> Shape:
        kinds = schema.get("type")
        named = [kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list) else []
        known = [_KINDS[kind] for kind in named if isinstance(kind, str) and kind in _KINDS]
        choices = schema.get("enum")
        if "const" in schema:
            choices = [schema["const"]]
        allowed = frozenset[str]().union(*known) if known and len(known) == len(named) else EVERY_KIND
        if isinstance(choices, list):
            allowed &= frozenset[str]().union(*(_kinds_of(choice) for choice in choices))
        format, pattern = schema.get("format"), schema.get("pattern")
        items = schema.get("items")
        return Shape(
            kinds=allowed,
            format=format if isinstance(format, str) else None,
            at_least_long=_count(schema.get("minLength")),
            at_most_long=_count(schema.get("maxLength")),
            pattern=pattern if isinstance(pattern, str) else None,
            element=self.shape(items, depth + 1)
            if isinstance(items, Mapping) and "prefixItems" not in schema
            else None,
            at_most_many=_count(schema.get("maxItems")),
            least=_number(schema.get("minimum")),
            most=_number(schema.get("maximum")),
            above=_number(schema.get("exclusiveMinimum")),
            below=_number(schema.get("exclusiveMaximum")),
            choices=tuple(choices) if isinstance(choices, list) else None,
        )


def found(root: Json, reference: str) -> Json:
    """Return what a reference inside a schema leads to; None where it leads elsewhere, or nowhere."""
    if not reference.startswith("#"):
        return None
    at = root
    for word in reference[1:].split("/")[1:]:
        word = word.replace("~1", "/").replace("~0", "~")
        if not isinstance(at, Mapping) or word not in at:
            return None
        at = at[word]
    return at


def either(one: Shape, other: Shape) -> Shape:
    """Return a shape that lets through what either does."""
    text = _of("text", one, other)
    many = _of("list", one, other)
    numbers = _of("integer", one, other)
    chosen = None
    if one.choices is not None and other.choices is not None:
        chosen = one.choices + other.choices
        if len(chosen) > _MOST_CHOICES:  # joined one by one, so that each costs as much as all before it
            chosen = None
    elif one.kinds <= {"null"}:
        chosen = other.choices  # beside it nothing but null
    elif other.kinds <= {"null"}:
        chosen = one.choices
    return Shape(
        kinds=one.kinds | other.kinds,
        format=_same([shape.format for shape in text]),
        at_least_long=_wider([shape.at_least_long for shape in text], min),
        at_most_long=_wider([shape.at_most_long for shape in text], max),
        pattern=_same([shape.pattern for shape in text]),
        element=_either_element([shape.element for shape in many]),
        at_most_many=_wider([shape.at_most_many for shape in many], max),
        least=_wider([shape.least for shape in numbers], min),
        most=_wider([shape.most for shape in numbers], max),
        above=_wider([shape.above for shape in numbers], min),
        below=_wider([shape.below for shape in numbers], max),
        choices=chosen,
    )


def _either_element(elements: list[Shape | None]) -> Shape | None:
    known = [element for element in elements if element is not None]
    return reduce(either, known) if known and len(known) == len(elements) else None


def both(one: Shape, other: Shape) -> Shape:
    """Return a shape that lets through what both do; where the language could say one only, the first."""
    element = one.element or other.element
    if one.element is not None and other.element is not None:
        element = both(one.element, other.element)
    return replace(
        one,
        kinds=one.kinds & other.kinds,
        format=one.format if one.format is not None else other.format,
        at_least_long=_tighter(one.at_least_long, other.at_least_long, max),
        at_most_long=_tighter(one.at_most_long, other.at_most_long, min),
        pattern=one.pattern if one.pattern is not None else other.pattern,
        element=element,
        at_most_many=_tighter(one.at_most_many, other.at_most_many, min),
        least=_tighter(one.least, other.least, max),
        most=_tighter(one.most, other.most, min),
        above=_tighter(one.above, other.above, max),
        below=_tighter(one.below, other.below, min),
        choices=one.choices if one.choices is not None else other.choices,
    )


def _of(kind: str, *shapes: Shape) -> list[Shape]:
    return [shape for shape in shapes if kind in shape.kinds]


def _same(values: list[str | None]) -> str | None:
    return values[0] if values and all(value == values[0] for value in values) else None


def _wider(values: Sequence[N | None], choose: Callable[[list[N]], N]) -> N | None:
    bounds = [value for value in values if value is not None]
    return choose(bounds) if bounds and len(bounds) == len(values) else None


def _tighter(one: N | None, other: N | None, choose: Callable[[list[N]], N]) -> N | None:
    bounds = [value for value in (one, other) if value is not None]
    return choose(bounds) if bounds else None


def _parts(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _kinds_of(value: Json) -> Iterable[str]:
    if value is None:
        return ("null",)
    if isinstance(value, bool):
        return ("boolean",)
    if isinstance(value, int | float):
        return ("integer", "number") if isinstance(value, float) and not value.is_integer() else ("integer",)
    if isinstance(value, str):
        return ("text",)
    return ("list",) if isinstance(value, list | tuple) else ("record",)


def _count(value: Json) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _number(value: Json) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if isinstance(value, int) or isfinite(value) else None
