"""The LALR(1) machine: one stack, plain tables, no knowledge of where they come from.

It differs from a textbook machine in what recovery needs: it tells which words are legal next, where
the last statement began on the stack, and it can be cut back to there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ringfence.dsl.diagnostic import Diagnostic
from ringfence.dsl.scan import Lexeme
from ringfence.dsl.source import Source, Span

DEEPEST = 100  # how far a policy may nest; later stages walk trees by recursion and rely on it


@dataclass(slots=True)
class Body:
    """The statements of one block, or of the file, as they come."""

    kind: str
    items: list[object] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class Reduction:
    """A rule of the grammar: how many entries it takes, its name, and what makes its value."""

    size: int
    origin: str
    make: Callable[[list[object], Span, "Machine"], object]


Table = Mapping[int, Mapping[str, int | Reduction]]


class Machine:
    """The state of one parse."""

    def __init__(self, table: Table, start: int, source: Source) -> None:
        self.table = table
        self.source = source
        self.reports: list[Diagnostic] = []
        self.states: list[int] = [start]
        self.values: list[object] = []
        self._starts: list[int] = []
        self._ends: list[int] = []

    @property
    def actions(self) -> Mapping[str, int | Reduction]:
        """What the present state does at each terminal."""
        return self.table[self.states[-1]]

    @property
    def body(self) -> Body | None:
        """The body on top of the stack, if we stand between two of its statements."""
        return self.values[-1] if self.values and isinstance(self.values[-1], Body) else None

    @property
    def end(self) -> int:
        """Where in the text the top of the stack ends."""
        return self._ends[-1] if self._ends else 0

    def feed(self, kind: str, lexeme: Lexeme) -> bool:
        """Take one lexeme as terminal `kind`; return False if it is not legal here."""
        table, states = self.table, self.states
        while True:
            action = table[states[-1]].get(kind)
            if action is None:
                return False
            if isinstance(action, int):
                states.append(action)
                self.values.append(lexeme.value)
                self._starts.append(lexeme.start)
                self._ends.append(lexeme.end)
                return True
            self._reduce(action)

    def _reduce(self, rule: Reduction) -> None:
        size = rule.size
        if size:
            children = self.values[-size:]
            start, end = self._starts[-size], self._ends[-1]
            del self.states[-size:], self.values[-size:], self._starts[-size:], self._ends[-size:]
        else:
            children = []
            start = end = self.end
        value = rule.make(children, Span(start, end), self)
        target = self.table[self.states[-1]][rule.origin]
        assert isinstance(target, int)
        self.states.append(target)
        self.values.append(value)
        self._starts.append(start)
        self._ends.append(end)

    def settle(self) -> None:
        """Finish what can only be finished: apply rules while nothing else is possible here."""
        while self.body is None:
            choices = {action for symbol, action in self.actions.items() if symbol.isupper()}
            rule = choices.pop() if len(choices) == 1 else None
            if not isinstance(rule, Reduction):
                return
            self._reduce(rule)

    def complete(self, following: str) -> bool:
        """Finish the present statement as if terminal `following` came next; False if it is not complete."""
        while self.body is None:
            action = self.actions.get(following)
            if not isinstance(action, Reduction):
                return False
            self._reduce(action)
        return True

    def finish(self) -> bool:
        """Take the end of the text; return False if a statement is still open."""
        while not (len(self.values) == 1 and self.body is not None):
            action = self.actions.get("$END")
            if not isinstance(action, Reduction):
                return False
            self._reduce(action)
        return True

    def cut(self, height: int) -> None:
        """Forget everything above the lowest `height` entries."""
        del self.states[height + 1 :], self.values[height:], self._starts[height:], self._ends[height:]

    def accepts(self) -> dict[str, int]:
        """Return the terminals that are legal here, each with the height at which it would stand."""
        legal: dict[str, int] = {}
        for kind in self.actions:
            if kind.isupper():
                height = self._height_of(kind)
                if height is not None:
                    legal[kind] = height
        return legal

    def _height_of(self, kind: str) -> int | None:
        states = list(self.states)
        while True:
            action = self.table[states[-1]].get(kind)
            if action is None:
                return None
            if isinstance(action, int):
                return len(states) - 1
            if action.size:
                del states[-action.size :]
            target = self.table[states[-1]][action.origin]
            assert isinstance(target, int)
            states.append(target)
