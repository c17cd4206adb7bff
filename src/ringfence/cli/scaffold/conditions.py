"""What a schema says beyond types, as conditions: enumerations, bounds of numbers, patterns, least lengths.

A condition says what the schema says, or less.  What the language cannot say is told, and left to the schema.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from math import ceil, floor

from ringfence.cli.scaffold.words import quoted
from ringfence.dsl.checks.regex import pattern_mistake
from ringfence.dsl.live import Shape
from ringfence.dsl.plan import Json
from ringfence.dsl.scan import UNSAFE
from ringfence.dsl.types import LARGEST, Type

_LONGEST_PATTERN = 300
_MOST_CHOICES = 300
_CHOICES_CHARACTERS = 6_000
_INLINE = 72
_LITERAL = re.compile(r"(?:[^/\\\r\n]|\\[^\r\n])+")


@dataclass(slots=True)
class Said:
    """What is written of one parameter, and what is not."""

    conditions: list[str] = field(default_factory=list)
    unsaid: list[str] = field(default_factory=list)


Named = Callable[[str], str]
"""Makes a set of a list, and gives its name."""


def conditions_of(name: str, type: Type, shape: Shape, named: Named, variable: str) -> Said:
    """Return the conditions of one parameter, under the name by which a condition reaches it.

    Args:
        named: Makes a named set of a list that is too long to stand in a condition.
        variable: What one element of a list is called.
    """
    said = Said()
    if type.is_list and shape.element is not None:
        inner = Said()
        _of_one(variable, Type(type.kind), shape.element, named, inner)
        said.unsaid += inner.unsaid
        if inner.conditions:
            each = " and ".join(inner.conditions)
            # `every` over an empty list is undecided, which would refuse it.
            said.conditions.append(f"size({name}) == 0 or (every {variable} in {name} satisfies ({each}))")
    elif not type.is_list:
        _of_one(name, type, shape, named, said)
    return said


def _of_one(name: str, type: Type, shape: Shape, named: Named, said: Said) -> None:
    if shape.choices is not None:
        _choices(name, type, shape.choices, named, said)
        return
    if type.kind in ("integer", "number"):
        _bounds(name, type.kind == "integer", shape, said)
    if type.kind == "text":
        if shape.at_least_long and shape.at_least_long <= LARGEST:
            # A text has at least as many bytes as characters.
            said.conditions.append(f"size({name}) >= {shape.at_least_long} bytes")
        if shape.pattern:
            _pattern(name, shape.pattern, said)


def _choices(name: str, type: Type, choices: tuple[Json, ...], named: Named, said: Said) -> None:
    written = [_literal(choice, type) for choice in choices if choice is not None]
    kept = list(dict.fromkeys(one for one in written if one is not None))
    if type.kind == "boolean":
        if len(kept) == 1:
            said.conditions.append(f"{name} == {kept[0]}")
        return
    if type.kind == "record" or not kept or None in written or len(kept) > _MOST_CHOICES:
        said.unsaid.append(f"an enumeration of {len(written)}")
        return
    listed = f"[{', '.join(kept)}]"
    if len(listed) > _CHOICES_CHARACTERS:
        said.unsaid.append(f"an enumeration of {len(written)}")
    elif len(kept) == 1:
        said.conditions.append(f"{name} == {kept[0]}")
    else:
        said.conditions.append(f"{name} in {listed if len(listed) <= _INLINE else named(listed)}")


def _literal(value: Json, type: Type) -> str | None:
    if isinstance(value, bool):
        return str(value).lower() if type.kind == "boolean" else None
    if isinstance(value, str):
        return quoted(value) if type.kind in ("text", "line") else None
    if isinstance(value, int | float) and type.kind in ("integer", "number"):
        return number(value)
    return None


def number(value: float) -> str | None:
    """Return a number as the language writes it; None: it is beyond what can be written."""
    if abs(value) > LARGEST:
        return None
    if isinstance(value, int) or value.is_integer():
        return str(int(value))
    written = format(Decimal(repr(value)), "f")
    return written if len(written) < 40 else None


def _bounds(name: str, whole: bool, shape: Shape, said: Said) -> None:
    lower = [(">=", shape.least), (">", shape.above)]
    upper = [("<=", shape.most), ("<", shape.below)]
    if whole:
        lower = [(">=", None if b is None else ceil(b) if o == ">=" else floor(b) + 1) for o, b in lower]
        upper = [("<=", None if b is None else floor(b) if o == "<=" else ceil(b) - 1) for o, b in upper]
    low, high = _tightest(lower, 1), _tightest(upper, -1)
    if low and high and (low[1] > high[1] or (low[1] == high[1] and (low[0] == ">" or high[0] == "<"))):
        said.unsaid.append("bounds between which no number lies")
        return
    for bound in (low, high):
        if bound is not None and (written := number(bound[1])) is not None:
            said.conditions.append(f"{name} {bound[0]} {written}")


def _tightest(bounds: list[tuple[str, float | None]], sign: int) -> tuple[str, float] | None:
    """Return the bound that leaves least; of two equal ones the strict one."""
    known = [(sign * bound, word in ("<", ">"), word, bound) for word, bound in bounds if bound is not None]
    if not known:
        return None
    _, _, word, bound = max(known)
    return word, bound


def _pattern(name: str, pattern: str, said: Said) -> None:
    written = full_match(pattern)
    if written is None:
        said.unsaid.append("a pattern that RE2 does not know, or that is too long")
    elif written:
        said.conditions.append(f"{name} matches /{written}/")


def full_match(pattern: str) -> str | None:
    """Return a schema's pattern, found anywhere in a text, as one of the whole text between slashes.

    None: no policy can say it; empty: it matches every text.
    """
    if len(pattern) > _LONGEST_PATTERN or UNSAFE.search(pattern) or "\n" in pattern or "\t" in pattern:
        return None
    plain = re.sub(r"\\(.)", lambda found: "/" if found[1] == "/" else found[0], pattern)
    if plain in ("", ".*", "^.*$", "^", "$"):
        return ""
    anchored = plain.startswith("^") and plain.endswith("$") and "|" not in plain and not _escaped_end(plain)
    whole = plain[1:-1] if anchored else f"(?s:.*)(?:{plain})(?s:.*)"
    if not whole or pattern_mistake(plain) is not None or pattern_mistake(whole) is not None:
        return None
    written = re.sub(r"\\.|/", lambda found: "\\/" if found[0] == "/" else found[0], whole)
    back = written.replace("\\/", "/")
    return written if _LITERAL.fullmatch(written) and back == whole else None


def _escaped_end(pattern: str) -> bool:
    before = pattern[:-1]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1
