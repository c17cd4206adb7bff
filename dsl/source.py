"""The text of a policy, and places in it."""

from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A half-open range of character offsets into one source text."""

    start: int
    end: int

    def to(self, other: "Span") -> "Span":
        """Return the span from the start of this one to the end of `other`."""
        return Span(self.start, other.end)


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands, as people count: line and column from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Source:
    """One `.fence` text and the name people know it by (a path, as given)."""

    name: str
    text: str = field(repr=False)

    @classmethod
    def read(cls, path: str | Path) -> "Source":
        """Read a file as UTF-8; raise OSError.  A byte that is not UTF-8 stays in the text as a lone
        surrogate, which the scanner refuses at its place.
        """
        return cls(str(path), Path(path).read_bytes().decode("utf-8", "surrogateescape"))

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(i + 1 for i, character in enumerate(self.text) if character == "\n")]

    def place(self, span: Span) -> Place:
        """Return the place at which `span` begins."""
        line = bisect_right(self._line_starts, span.start)
        return Place(self.name, line, span.start - self._line_starts[line - 1] + 1)

    def line(self, number: int) -> str:
        """Return the text of line `number` (from 1), without its line break."""
        start = self._line_starts[number - 1]
        stop = self._line_starts[number] - 1 if number < len(self._line_starts) else len(self.text)
        return self.text[start:stop].rstrip("\r")
