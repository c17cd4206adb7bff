"""The small parts of every clause: names, texts, counts, durations, sizes, patterns, types."""

from dataclasses import dataclass
from typing import Literal as OneOf

from ringfence.dsl.source import Span


@dataclass(frozen=True, slots=True)
class Name:
    """An identifier as written."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Text:
    """A quoted string, unescaped."""

    value: str
    span: Span


@dataclass(frozen=True, slots=True)
class Count:
    """A whole number in a clause: `10 per hour`, `quorum 2`."""

    value: int
    span: Span


@dataclass(frozen=True, slots=True)
class Duration:
    """A length of time, in nanoseconds."""

    ns: int
    span: Span


@dataclass(frozen=True, slots=True)
class Size:
    """A size in bytes; KB is 1024 bytes."""

    bytes: int
    span: Span


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression between slashes, without them; `\\/` is already `/`."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class TypeName:
    """`text at most 20 KB`, `list of email at most 20`, `integer`."""

    name: Name
    is_list: bool
    at_most: Count | Size | None
    span: Span


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter of a tool, or one attribute that `principal has`."""

    name: Name
    type: TypeName
    optional: bool
    span: Span


@dataclass(frozen=True, slots=True)
class Target:
    """What a rule covers: named tools, or any tool, perhaps with a capability or a trait."""

    kind: OneOf["names", "any", "needs", "trait"]
    names: tuple[Name, ...]
    span: Span
