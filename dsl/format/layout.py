"""Words on lines."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise

from ringfence.dsl import syntax
from ringfence.dsl.format.breaks import Breaks
from ringfence.dsl.format.words import Comment, Word

WIDTH = 110
_STEP = 2
_NO_SPACE_BEFORE = frozenset((")", "]", "}", ",", ":", "."))
_NO_SPACE_BEHIND = frozenset(("(", "[", "{", "."))

_Block = syntax.Tool | syntax.Approver | syntax.Agent | syntax.Responses | syntax.Isolate | syntax.PolicyTest
_NAMED = (syntax.Rule, syntax.Order, syntax.Guarantee)
"""Their effect stands on lines of its own, under the name."""


class Layout:
    """One text on its way: the lines so far."""

    def __init__(self, words: Sequence[Word], breaks: Breaks) -> None:
        self._words = words
        self._breaks = breaks
        self._lines: list[str] = []
        self._called: frozenset[int] = frozenset()

    def text(self, document: syntax.Document) -> str:
        """Return the whole file; it ends with a line break unless it is empty."""
        declarations = document.declarations
        self._called = frozenset(self._breaks.callables(declarations))
        for node in declarations:
            self._declaration(node)
        self._comments(self._words[-1].comments, 0)
        return "".join(line + "\n" for line in self._lines)

    # ---- statements ------------------------------------------------------------------------------

    def _declaration(self, node: syntax.Declaration) -> None:
        first, end = self._range(node)
        self._lead(self._words[first], 0)
        if isinstance(node, _Block):
            self._block(node, first, end)
        elif isinstance(node, _NAMED):
            colon = next(index for index in range(first, end) if self._words[index].text == ":")
            self._statement(None, first, colon + 1, 0)
            self._comments(self._words[colon + 1].comments, _STEP, blanks=False)
            self._statement(node, colon + 1, end, _STEP, hang=0)
        else:
            self._statement(node, first, end, 0)

    def _block(self, node: _Block, first: int, end: int) -> None:
        brace = next(index for index in range(first, end) if self._words[index].text == "{")
        closing = self._words[end - 1]
        head = self._breaks.ranks(node, first, brace + 1)
        clauses: tuple[object, ...] = node.steps if isinstance(node, syntax.PolicyTest) else node.clauses
        if not clauses and not closing.comments and not self._words[brace].trailing:
            self._lines += self._laid(self._words[first:end], self._shifted(head, first), 0)
            return
        self._lines += self._laid(self._words[first : brace + 1], self._shifted(head, first), 0)
        opening = len(self._lines)
        for clause in clauses:
            start, stop = self._range(clause)
            self._lead(self._words[start], _STEP, edge=opening)
            self._statement(clause, start, stop, _STEP)
        self._comments(closing.comments, _STEP, edge=opening)
        self._lines += self._laid([closing], {}, 0)

    def _range(self, node: object) -> tuple[int, int]:
        span = node.span  # type: ignore[attr-defined]  # every node of syntax has one
        return self._breaks.at(span.start), self._breaks.at(span.end)

    def _statement(self, node: object, first: int, end: int, indent: int, hang: int = _STEP) -> None:
        ranks = {} if node is None else self._breaks.ranks(node, first, end)
        self._lines += self._laid(self._words[first:end], self._shifted(ranks, first), indent, hang)

    @staticmethod
    def _shifted(ranks: Mapping[int, int], first: int) -> dict[int, int]:
        return {index - first: rank for index, rank in ranks.items()}

    # ---- what stands before a statement ----------------------------------------------------------

    def _lead(self, word: Word, indent: int, edge: int = 0) -> None:
        self._comments(word.comments, indent, edge=edge)
        self._gap(word.blank, edge)

    def _comments(
        self, comments: Sequence[Comment], indent: int, *, edge: int = 0, blanks: bool = True
    ) -> None:
        for comment in comments:
            self._gap(blanks and comment.blank, edge)
            self._lines.append(" " * indent + comment.text)

    def _gap(self, blank: bool, edge: int) -> None:
        """Keep a blank line, but none at the edge of the file or of a block."""
        if blank and len(self._lines) > edge:
            self._lines.append("")

    # ---- one statement ---------------------------------------------------------------------------

    def _laid(
        self, words: Sequence[Word], ranks: Mapping[int, int], indent: int, hang: int = _STEP
    ) -> list[str]:
        """Return the lines of a statement, or of a part of one, the first `indent` columns in.

        Args:
            ranks: Where it may be broken, as indexes into `words`.
            hang: How much further in its other lines stand.
        """
        forced = [at for at in range(1, len(words)) if words[at - 1].trailing or words[at].comments]
        flat = " " * indent + self._joined(words)
        if not forced and (len(flat) <= WIDTH or not ranks):
            return [flat + _behind(words[-1])]
        rank = min(ranks.values(), default=None)
        if rank is None:
            cuts = forced
        else:
            cuts = sorted(at for at, other in ranks.items() if other == rank)
            if rank and rank % 2 == 0:
                cuts = self._filled(words, cuts, indent, hang)
        starts = [0, *cuts]
        inner: list[dict[int, int]] = [{} for _ in starts]
        for at, other in ranks.items():
            piece = bisect_right(starts, at) - 1
            if other != rank and at > starts[piece]:
                inner[piece][at - starts[piece]] = other
        lines: list[str] = []
        for start, end, ranks_within in zip(starts, [*cuts, len(words)], inner, strict=True):
            column = indent + (hang if start else 0)
            if start:
                lines += [" " * column + comment.text for comment in words[start].comments]
            lines += self._laid(words[start:end], ranks_within, column)
        return lines

    def _filled(self, words: Sequence[Word], cuts: Sequence[int], indent: int, hang: int) -> list[int]:
        """Return the cuts that are needed if every line takes as much as it can."""
        needed: list[int] = []
        start = 0
        for at, end in zip(cuts, [*cuts[1:], len(words)], strict=True):
            column = indent + (hang if start else 0)
            whole = words[start:end]
            commented = any(word.trailing or other.comments for word, other in pairwise(whole))
            if commented or column + len(self._joined(whole)) > WIDTH:
                needed.append(at)
                start = at
        return needed

    def _joined(self, words: Sequence[Word]) -> str:
        parts: list[str] = []
        for index, word in enumerate(words):
            if index and self._apart(words[index - 1], word):
                parts.append(" ")
            parts.append(word.text)
        return "".join(parts)

    def _apart(self, left: Word, right: Word) -> bool:
        if right.text in _NO_SPACE_BEFORE or left.text in _NO_SPACE_BEHIND:
            return False
        return not (right.text == "(" and left.end in self._called)


def _behind(word: Word) -> str:
    return f"  {word.trailing}" if word.trailing else ""
