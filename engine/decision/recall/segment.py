"""A stretch of what reached a session, indexed when the first question is asked."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from ringfence.dsl.plan import Json
from ringfence.engine.decision.recall.corpus import Corpus
from ringfence.engine.decision.recall.echo import loosely, unpacked
from ringfence.engine.decision.recall.leaves import Leaf, leaves_of, structured

WRITTEN = "written"
"""The source of what the model wrote in arguments."""
LOOSELY = "written, read loosely"
"""The same as a tool may repeat it."""


class Operation(NamedTuple):
    """One thing that reached the session."""

    kind: Literal["prompt", "result", "written"]
    position: int
    source: str
    """`user`, `system`, …; `tool NAME`; `written`."""
    value: Json


@dataclass(slots=True)
class Segment:
    """Operations in the order of their positions, and the corpus of each source once it was asked for.

    INVARIANT: a sealed segment never changes, except that its whole index appears at once; so forks in
    several threads share it.
    """

    operations: list[Operation] = field(default_factory=list)
    indexed: int = 0
    corpora: dict[str, Corpus] = field(default_factory=dict)

    def corpus(self, source: str) -> Corpus | None:
        """Return all texts of one source; None: there are none."""
        if self.indexed < len(self.operations):
            self.index()
        return self.corpora.get(source)

    @property
    def lexemes(self) -> int:
        """How many lexemes the texts of all sources have."""
        if self.indexed < len(self.operations):
            self.index()
        return sum(corpus.lexemes for corpus in self.corpora.values())

    def seal(self) -> None:
        """Finish an index that was begun; one that was not stays to be made."""
        if self.indexed:
            self.index()

    def index(self) -> None:
        """Take up what was added since the last time."""
        corpora = self.corpora if self.indexed else {}
        upto = len(self.operations)
        for operation in self.operations[self.indexed : upto]:
            _take(corpora.setdefault(operation.source, Corpus()), operation)
            if operation.kind == "written":
                _take_loosely(corpora.setdefault(LOOSELY, Corpus()), operation)
        self.corpora = corpora
        self.indexed = upto


def _take(corpus: Corpus, operation: Operation) -> None:
    value = operation.value
    if operation.kind == "prompt" and isinstance(value, str):
        corpus.add(operation.position, Leaf((), value))
        return
    parts = value if operation.kind == "prompt" else structured(value)
    for leaf in leaves_of(parts, names=operation.kind != "prompt"):
        corpus.add(operation.position, leaf)
        if operation.source == WRITTEN and isinstance(leaf.value, str):
            inner = structured(leaf.value)
            if inner is not leaf.value:
                for within in leaves_of(inner, names=True):
                    corpus.add(operation.position, within)


def _take_loosely(corpus: Corpus, operation: Operation) -> None:
    texts = [leaf.value for leaf in leaves_of(operation.value, names=True) if isinstance(leaf.value, str)]
    read = [said for text in texts for said in (loosely(text), unpacked(text)) if said]
    # No value that is read loosely has a semicolon, so none reaches from one text into the next.
    corpus.add(operation.position, Leaf(None, " ; ".join(read)))
