"""Where a long statement may be broken, and where rather than elsewhere."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from ringfence.dsl import syntax
from ringfence.dsl.format.nodes import parts_of
from ringfence.dsl.format.words import Word
from ringfence.dsl.source import Span

OPENING = {"(": ")", "[": "]", "{": "}"}


class Breaks:
    """Finds words by place, and for each the rank at which a line may begin with it."""

    def __init__(self, words: Sequence[Word]) -> None:
        self._words = words
        self._starts = [word.start for word in words]

    def at(self, offset: int) -> int:
        """Return the index of the word at or behind an offset."""
        return bisect_left(self._starts, offset)

    def ranks(self, node: object, first: int, end: int) -> dict[int, int]:
        """Return the words of a statement with which a line may begin.

        A lower rank is a better place: 0 stands before a part such as `because`, odd ranks before `and` and
        `or`, even ones behind a comma; each pair of brackets around it costs 2.
        """
        ranks: dict[int, int] = {}
        depths: dict[int, int] = {}
        depth = 0
        for index in range(first, end):
            text = self._words[index].text
            depth -= text in OPENING.values()
            depths[index] = depth
            if text == "," and index + 1 < end:
                ranks[index + 1] = 2 * depth + 2
            depth += text in OPENING
        for index in self._connectives(node):
            if first < index < end:
                ranks[index] = 2 * depths[index] + 1
        for index in self._parts(node):
            if first < index < end:
                ranks[index] = 0
        return ranks

    def callables(self, node: object) -> Iterator[int]:
        """Yield where names end that are called, so that no space stands before the parenthesis."""
        match node:
            case syntax.Apply():
                yield node.function.span.end
            case syntax.Invocation() | syntax.FunctionOf():
                yield node.name.span.end
        for part in parts_of(node):
            yield from self.callables(part)

    def _before(self, part: Span) -> int:
        """Return the keyword before a part: parentheses around an expression are not in its span."""
        index = self.at(part.start) - 1
        while self._words[index].text == "(":
            index -= 1
        return index

    def _connectives(self, node: object) -> Iterator[int]:
        if isinstance(node, syntax.Both | syntax.Either):
            for operand in node.operands[1:]:
                yield self._before(operand.span)
        for part in parts_of(node):
            yield from self._connectives(part)

    def _parts(self, node: object) -> Iterator[int]:
        """Yield the words that begin a part of a statement."""
        match node:
            case syntax.Rule():
                for part in (node.when, node.unless, node.because):
                    if part is not None:
                        yield self._before(part.span)
            case syntax.Guarantee():
                if node.when is not None:
                    yield self._before(node.when.span)
                if node.unless_approved_by is not None:
                    yield self.at(node.unless_approved_by.span.start) - 3
            case syntax.Order():
                for step in node.steps[1:]:
                    yield self._before(step.span)
            case syntax.Ask():
                for part in (node.condition, node.because):
                    if part is not None:
                        yield self._before(part.span)
            case syntax.Require() | syntax.Deny():
                if node.because is not None:
                    yield self._before(node.because.span)
            case syntax.ResultIs():
                if node.condition is not None:
                    yield self._before(node.condition.span)
            case syntax.BudgetOf():
                yield self._before(node.amount.span)
                yield self._before(node.target.span)
                yield from self._halt(node)
            case syntax.Rate():
                if node.scope is not None:
                    yield self.at(node.scope.span.start) - 2
                if node.counting is not None:
                    yield self._before(node.counting.span)
                yield from self._halt(node)
            case syntax.BlastRadius():
                if node.scope is not None:
                    yield self.at(node.scope.span.start) - 2
                yield from self._halt(node)
            case syntax.Called():
                yield self.at(node.call.span.end)
            case syntax.Ran():
                if node.returning is not None:
                    yield self._before(node.returning.span)
                if node.signed_by:
                    yield self.at(node.signed_by[0].span.start) - 2
            case syntax.Given():
                yield self._before(node.answer.span)
            case syntax.FunctionOf():
                yield self._before(node.gives.span)
                yield self._before(node.plugin.span)
            case syntax.PolicyHeader():
                for text in (node.version, node.under):
                    if text is not None:
                        yield self._before(text.span)
            case syntax.Tool():
                if node.bound is not None:
                    yield self._before(node.bound.span)
                if node.description is not None:
                    yield self.at(node.description.span.start)

    def _halt(self, node: syntax.Rate | syntax.BlastRadius | syntax.BudgetOf) -> Iterator[int]:
        if node.otherwise_halt:
            yield self.at(node.span.end) - 2
