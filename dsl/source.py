"""The texts of a policy, and places in them."""

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A half-open range of character offsets into one source."""

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


@dataclass(slots=True)
class _File:
    """One file of a source: its range of offsets, and where its lines begin, once that was asked."""

    name: str
    span: Span
    lines: list[int] = field(default_factory=list)


@dataclass(eq=False)
class Source:
    """One `.fence` text and the name people know it by (a path, as given), and the texts it names.

    Files are only ever added behind, each with a range of offsets of its own, so that two integers say
    a place in any of them.  Between two files stands one line break that is in neither.
    """

    name: str
    text: str = field(repr=False)
    """The text of all files together."""

    def __post_init__(self) -> None:
        self._files = [_File(self.name, Span(0, len(self.text)))]
        self._starts = [0]

    @classmethod
    def read(cls, path: str | Path) -> "Source":
        """Read a file as UTF-8; raise OSError.  A byte that is not UTF-8 stays in the text as a lone
        surrogate, which the scanner refuses at its place.
        """
        return cls(str(path), decoded(Path(path).read_bytes()))

    @property
    def first(self) -> Span:
        """The range of the file that the source was made with."""
        return self._files[0].span

    def add(self, name: str, text: str) -> Span:
        """Add a file; return its range of offsets."""
        start = len(self.text) + 1
        self.text = f"{self.text}\n{text}"
        self._files.append(_File(name, Span(start, start + len(text))))
        self._starts.append(start)
        return self._files[-1].span

    def place(self, span: Span) -> Place:
        """Return the place at which `span` begins."""
        file = self._file(span.start)
        line = bisect_right(file.lines, span.start)
        return Place(file.name, line, span.start - file.lines[line - 1] + 1)

    def file(self, span: Span) -> Span:
        """Return the range of the file in which `span` begins."""
        return self._file(span.start).span

    def line(self, span: Span) -> str:
        """Return the line on which `span` begins, without its line break."""
        file = self._file(span.start)
        line = bisect_right(file.lines, span.start)
        stop = file.lines[line] - 1 if line < len(file.lines) else file.span.end
        return self.text[file.lines[line - 1] : stop].rstrip("\r")

    def _file(self, offset: int) -> _File:
        file = self._files[bisect_right(self._starts, offset) - 1]
        if not file.lines:
            lengths = (len(line) + 1 for line in self.text[file.span.start : file.span.end].split("\n"))
            file.lines = list(accumulate(lengths, initial=file.span.start))[:-1]
        return file


def decoded(content: bytes) -> str:
    """Return a file's text; a byte that is not UTF-8 becomes a lone surrogate, which is no legal text."""
    return content.decode("utf-8", "surrogateescape")
