"""How a command speaks: data to stdout, people's words to stderr, colours only where a person looks."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import isfinite
from typing import TYPE_CHECKING, Protocol, TextIO

from ringfence.engine.seams.escape import escaped

if TYPE_CHECKING:
    from rich.console import Console

    from ringfence.dsl.plan import Json

Piece = str | tuple[str, str]
"""A piece of a line: text, or text with a style of `rich`.  Never markup."""

COLOURS = {
    "unknown": "magenta", "deny": "bold red", "ask": "yellow", "allow": "green", "halt": "bold red",
    "done": "green", "running": "cyan", "suspended": "yellow", "halted": "bold red", "failed": "red",
}  # fmt: skip
"""The style of each verdict and of each status of a run."""


class Advance(Protocol):
    """Tells a progress bar that some more of the work is done."""

    def __call__(self, steps: int = 1) -> None:
        """Count `steps` more."""
        ...


class Say:
    """The two streams of one command."""

    def __init__(self, *, json: bool, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.json = json
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._console = _console(self._out)

    def data(self, thing: "Json") -> None:
        """Write the one JSON document of a command under `--json`."""
        import json

        # SECURITY: ASCII only, DEL included, so that a document is fit for a terminal as well.
        try:
            text = json.dumps(thing, indent=2, ensure_ascii=True, allow_nan=False, default=str)
        except ValueError:  # a log may hold what no guard wrote: JSON has no NaN and no infinity
            text = json.dumps(_finite(thing), indent=2, ensure_ascii=True, allow_nan=False, default=str)
        text = text.replace("\x7f", "\\u007f")
        self._out.write(text + "\n")

    @property
    def to_terminal(self) -> bool:
        """True if a person looks at the data itself."""
        return self._out.isatty()

    @property
    def width(self) -> int | None:
        """How many columns the terminal has on which a person looks at the data; None: there is none."""
        if self._console is not None:
            return self._console.width
        if not self.to_terminal:
            return None
        from shutil import get_terminal_size

        return get_terminal_size().columns

    def record(self, line: str) -> None:
        """Write one line of JSON Lines, which is ASCII and steers no terminal (`Event.line`)."""
        self._out.write(line + "\n")

    def flush(self) -> None:
        """Let what was written arrive now: a command that goes on says so after each piece of its work."""
        self._out.flush()

    def line(self, *pieces: Piece, fit: bool = False) -> None:
        """Write a line to stdout; what could steer a terminal is written out as escapes.

        Args:
            fit: On a terminal, cut the line at its edge.
        """
        # SECURITY: the last gate to the terminal; whatever came out of a log passes here.
        shown = [escaped(p) if isinstance(p, str) else (escaped(p[0]), p[1]) for p in pieces]
        if self._console is None:
            plain = "".join(map(_plain, shown))
            if fit and self.width is not None and len(plain) > self.width:
                plain = f"{plain[: self.width - 1]}…"
            self._out.write(plain + "\n")
            return
        from rich.text import Text

        text = Text.assemble(*shown)
        if fit:
            text.truncate(self._console.width, overflow="ellipsis")
        self._console.print(text, soft_wrap=True)

    def lines(self, text: str) -> None:
        """Write text of several lines to stdout."""
        for line in text.rstrip("\n").split("\n"):
            self.line(line)

    def table(self, rows: Sequence[Sequence[Piece]], *, head: Sequence[str] = (), fit: bool = False) -> None:
        """Write rows with their columns aligned; the last column is free.

        Args:
            fit: On a terminal, cut the rows at its edge.
        """
        said = [[(name, "dim") for name in head], *rows] if head else list(rows)
        table = [[_escaped(piece) for piece in row] for row in said]
        widths = [max(len(_plain(row[i])) for row in table) for i in range(len(table[0]))] if table else []
        for row in table:
            *aligned, last = zip(row, widths, strict=True)
            self.line(*_padded(aligned), last[0], fit=fit)

    def note(self, text: str) -> None:
        """Write lines for people to stderr, fit for a terminal as well."""
        for line in text.rstrip("\n").split("\n"):
            self._err.write(escaped(line) + "\n")

    @contextmanager
    def progress(
        self, what: str, total: int, *, worth: int = 2_000, counted: bool = True
    ) -> Iterator[Advance]:
        """Show a progress bar on stderr if a person looks and there is `worth` of work.

        Args:
            counted: False: nobody says how far the work is; the bar only moves.
        """
        console = _console(self._err)
        if console is None or total < worth:
            yield lambda steps=1: None
            return
        from rich.progress import Progress

        with Progress(console=console, transient=True) as bar:
            task = bar.add_task(what, total=total if counted else None)
            yield lambda steps=1: bar.advance(task, steps)


def _finite(thing: "Json") -> "Json":
    if isinstance(thing, float):
        return thing if isfinite(thing) else str(thing)
    if isinstance(thing, dict):
        return {str(name): _finite(value) for name, value in thing.items()}
    return [_finite(part) for part in thing] if isinstance(thing, (list, tuple)) else thing


def _console(stream: TextIO) -> "Console | None":
    """Return a console if `stream` is a terminal that wants colours."""
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return None
    from rich.console import Console

    return Console(file=stream, markup=False, highlight=False, emoji=False)


def _escaped(piece: Piece) -> Piece:
    return escaped(piece) if isinstance(piece, str) else (escaped(piece[0]), piece[1])


def _plain(piece: Piece) -> str:
    return piece if isinstance(piece, str) else piece[0]


def _padded(cells: Iterable[tuple[Piece, int]]) -> Iterator[Piece]:
    for piece, width in cells:
        yield piece
        yield " " * (width - len(_plain(piece)) + 2)
