"""The text of the clause at which a reason stands, cut from the policy that the run began with."""

from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate

from ringfence.dsl.parse import parse
from ringfence.dsl.source import Source, Span

_LONGEST = 60
"""Lines of one clause that are shown; a whole tool, where the place is the tool's own, is longer."""


class _File:
    """One file of the policy, and where its clauses stand."""

    def __init__(self, name: str, text: str) -> None:
        self.text = text
        self.lines = list(accumulate((len(line) + 1 for line in text.split("\n")), initial=0))
        try:
            self.spans = sorted(_spans(Source(name, text)))
        except (ValueError, TypeError, RecursionError):  # no policy: its lines are shown all the same
            self.spans = []

    def clause(self, line: int, column: int) -> tuple[int, str] | None:
        """Return the line on which the clause begins, and its text; None: there is no such place."""
        if not (1 <= line < len(self.lines) and column >= 1):
            return None
        offset = self.lines[line - 1] + column - 1
        if offset >= self.lines[line]:
            return None
        around = [span for span in self.spans if span.start <= offset < span.end]
        start, end = min(((s.start, s.end) for s in around), key=lambda s: s[1] - s[0], default=(0, 0))
        if end == 0:
            start, end = self.lines[line - 1], self.lines[line] - 1
        first = bisect_right(self.lines, start)
        start = self.lines[first - 1]  # with its indentation
        stop = self.text.find("\n", end)  # and with a comment behind it
        whole = self.text[start : len(self.text) if stop < 0 else stop]
        lines = [one.rstrip("\r") for one in whole.split("\n")]
        inset = min((len(one) - len(one.lstrip(" ")) for one in lines if one.strip()), default=0)
        shown = [one[inset:] for one in lines[:_LONGEST]]
        if len(lines) > _LONGEST:
            shown.append(f"… [{len(lines) - _LONGEST} more lines]")
        return first, "\n".join(shown)


class Clauses:
    """The clauses of a policy by the places that its reasons say.

    Args:
        texts: File -> text, under the names that the places say.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts
        self._files: dict[str, _File] = {}

    def at(self, place: object) -> tuple[str, int, str] | None:
        """Return file, line and text of the clause at a place; None where the record has none."""
        name, line, column = [*str(place or "").rsplit(":", 2), "", ""][:3]
        if name not in self._texts and len(self._texts) == 1:
            name = next(iter(self._texts))  # recorded before the name of the file was
        text = self._texts.get(name)
        if text is None or not all(one.isascii() and one.isdecimal() for one in (line, column)):
            return None
        file = self._files.get(name)
        if file is None:
            file = self._files[name] = _File(name, text)
        if len(line) > 9 or len(column) > 9 or (found := file.clause(int(line), int(column))) is None:
            return None
        return name, *found


def _spans(source: Source) -> list[Span]:
    """Return the span of every declaration, and of every clause inside of one."""
    spans: list[Span] = []
    for declaration in parse(source)[0].declarations:
        spans.append(declaration.span)
        spans += [clause.span for clause in getattr(declaration, "clauses", ())]
    return spans
