"""The types of `takes` beside live shapes: the type that says a shape, and whether a type is within one."""

from collections.abc import Mapping
from dataclasses import dataclass

from ringfence.dsl.live.shapes import Shape
from ringfence.dsl.types import LARGEST, TEXTUAL, Type, size_text

FORMATS: Mapping[str, str] = {"email": "email", "uri": "url", "url": "url", "date": "date"}
"""Formats that are types of the language; a `url` is http or https, so it is narrower than a URI."""

_LONGEST_DATE = 10


@dataclass(frozen=True, slots=True)
class Untakable:
    """Why no type of the language says a shape."""

    why: str


def type_of(shape: Shape) -> Type | Untakable:
    """Return the type that lets through all of a shape, but for null, or as little more as can be said.

    A format is taken at its word, and a `url` is narrower than a URI: what no such type takes is refused.
    """
    kind = shape.plain
    if kind is None:
        return Untakable("its schema gives it no type" if len(shape.kinds) > 3 else _several(shape))
    if kind == "text":
        named = FORMATS.get(shape.format or "", "text")
        return Type(named, False, *_bound(shape.at_most_long if named != "date" else None, "characters"))
    if kind != "list":
        return Type(kind)
    if shape.element is None:
        return Untakable("its schema gives no type to its elements")
    element = type_of(shape.element)
    if isinstance(element, Untakable) or element.is_list or "null" in shape.element.kinds:
        return Untakable("it is a list of what no type says")
    return Type(element.kind, True, *_bound(shape.at_most_many, "elements"))


def _bound(limit: int | None, unit: str) -> tuple[int, str] | tuple[()]:
    limit = _sayable(limit)
    return () if limit is None else (limit, unit)


def _sayable(limit: int | None) -> int | None:
    """Return a bound; one that no number of the language says bounds nothing that there is."""
    return None if limit is None or limit > LARGEST else limit


def _several(shape: Shape) -> str:
    kinds = sorted(shape.kinds - {"null"})
    return f"it may be {' or '.join(kinds)}" if kinds else "nothing fits its schema"


@dataclass(frozen=True, slots=True)
class Excess:
    """What a type lets through that a shape does not: values of another kind, or larger ones."""

    limit: int | None = None
    unit: str | None = None


def beyond(type: Type, shape: Shape) -> Excess | None:
    """Return what a type lets through that a shape does not; None: the type is as narrow, or narrower.

    Enumerations, patterns and the bounds of numbers are no types: conditions say them.
    """
    if type.is_list:
        return _list_beyond(type, shape)
    kinds = {"text"} if type.kind in TEXTUAL else {type.kind}
    if type.kind == "number":
        kinds = {"integer", "number"}
    if not kinds <= shape.kinds:
        return Excess()
    longest = _LONGEST_DATE if type.kind == "date" else type.at_most
    limit = _sayable(shape.at_most_long)
    # A text of at most so many bytes has at most so many characters.
    if kinds == {"text"} and limit is not None and (longest is None or longest > limit):
        return Excess(limit, "characters") if type.kind != "date" else Excess()
    return None


def _list_beyond(type: Type, shape: Shape) -> Excess | None:
    if "list" not in shape.kinds:
        return Excess()
    if shape.element is not None and beyond(type.element, _unbounded(shape.element)) is not None:
        return Excess()
    limit = _sayable(shape.at_most_many)
    if limit is not None and (type.at_most is None or type.at_most > limit):
        return Excess(limit, "elements")
    return None


def _unbounded(shape: Shape) -> Shape:
    """Return the shape of elements without the bounds that no `list of` can say."""
    return Shape(kinds=shape.kinds, element=shape.element)


def told(shape: Shape) -> str:
    """Return a shape in the words of the language, for people."""
    type = type_of(shape)
    if isinstance(type, Type):
        return str(type)
    kinds = sorted(shape.kinds - {"null"} - ({"integer"} if "number" in shape.kinds else set()))
    return " or ".join(kinds) if kinds else "never fitting"


def said(type: Type) -> str:
    """Return a type as `takes` says it."""
    bound = ""
    if type.at_most is not None:
        bound = f" at most {size_text(type.at_most) if type.unit == 'bytes' else type.at_most}"
    return f"{'list of ' if type.is_list else ''}{type.kind}{bound}"
