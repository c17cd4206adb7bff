"""The types of the language: what parameters are declared as, and what expressions turn out to be."""

from dataclasses import dataclass

from ringfence.dsl import syntax

DECLARABLE = ("text", "line", "integer", "number", "boolean", "email", "url", "date", "record")
"""The types that `takes` and `principal has` may name, also as `list of T`."""

BOUNDABLE_TEXT = frozenset({"text", "line", "email", "url"})

TEXTUAL = frozenset({"text", "line", "email", "url", "date", "host", "domain", "lowered"})
"""Kinds whose values are texts; `host`, `domain` and `lowered` are what functions give."""

NUMERIC = frozenset({"integer", "number", "count"})
"""Kinds that compare with each other as numbers; `count` is the size of a list."""

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
"""The days of calendars; Monday is 0."""

LARGEST = 2**53 - 1
"""The largest integer that JSON carries exactly (RFC 8785)."""


@dataclass(frozen=True, slots=True)
class Type:
    """A type: a kind, perhaps as a list, perhaps bounded."""

    kind: str
    is_list: bool = False
    at_most: int | None = None
    unit: str | None = None
    """`characters`, `bytes` or `elements`; None where there is no bound."""

    @property
    def element(self) -> "Type":
        """The type of one element of this list."""
        return Type(self.kind)

    @property
    def fields(self) -> bool:
        """True if a value may have fields: `x.field`."""
        return self.kind in ("record", "untyped") and not self.is_list

    @property
    def known(self) -> bool:
        """False after a mistake that has been reported: nothing follows from it."""
        return self.kind != "unknown"

    def __str__(self) -> str:
        name = NAMES.get(self.kind, self.kind)
        return f"list of {name}" if self.is_list else name


NAMES = {
    "untyped": "untyped value",
    "bytes": "size in bytes",
    "host": "host name",
    "lowered": "lower-case text",
    "empty": "nothing",
}

UNKNOWN = Type("unknown")


def written(node: syntax.TypeName) -> str:
    """Return a declared type in one spelling: `list of email at most 20`."""
    bound = ""
    if isinstance(node.at_most, syntax.Count):
        bound = f" at most {node.at_most.value}"
    elif isinstance(node.at_most, syntax.Size):
        bound = f" at most {size_text(node.at_most.bytes)}"
    return f"{'list of ' if node.is_list else ''}{node.name.text}{bound}"


def size_text(size: int) -> str:
    """Return a size in its largest whole unit: `64 KB`."""
    for unit, factor in (("GB", 2**30), ("MB", 2**20), ("KB", 2**10)):
        if size and size % factor == 0:
            return f"{size // factor} {unit}"
    return f"{size} bytes"


def duration_text(ns: int) -> str:
    """Return a duration in its largest whole unit: `5 minutes`."""
    units = (("day", 86_400_000), ("hour", 3_600_000), ("minute", 60_000), ("second", 1000))
    for unit, factor in units:
        count, rest = divmod(ns, factor * 1_000_000)
        if count and not rest:
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{ns // 1_000_000} ms"
