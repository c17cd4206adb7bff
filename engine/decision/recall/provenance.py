"""Where a value came from: an index over a session's prompts, results and written arguments.

A value matches a source as one whole, token-delimited span of one of its texts, as a whole leaf of a
structured result, or as a number that is said there; never assembled from several texts.  What the model
has written in an argument gains no new source from a later result (echo).

Nothing is tokenised before the first question.  Memory is bounded: at most `MOST_CHARACTERS` characters
and `MOST_LEAVES` leaves are kept, a part of them for the user's own prompts alone.  What comes when they
are used up is not kept: `overflow`, and what is not found is then undecided.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from itertools import islice
from typing import Literal

from ringfence.dsl.plan import Json, Origin, Truth
from ringfence.engine.decision.recall.corpus import Corpus, Sought, sought
from ringfence.engine.decision.recall.echo import loosely
from ringfence.engine.decision.recall.leaves import is_described, leaves_of, weigh
from ringfence.engine.decision.recall.segment import LOOSELY, WRITTEN, Operation, Segment

MOST_CHARACTERS = 8 * 1024 * 1024
"""Of all texts of a session."""
MOST_LEAVES = 200_000
"""Of all structured results, prompts and arguments of a session."""
MOST_ASKED = 10_000
"""Leaves of one value whose sources are told."""
MOST_SEARCHED = 128 * 1024 * 1024
"""Lexemes that may have to be searched for one value: the session's, once for each leaf of many tokens."""
FOR_USER = 8
"""One part in so many is kept for the user's own prompts: a flood of results must not silence the user."""

_PROMPTS: tuple[Literal["user", "system", "attachment", "approver"], ...] = (
    "user",
    "system",
    "attachment",
    "approver",
)
_TOOL = "tool "


class Provenance:
    """What reached a session, and where values stand in it.

    Pure and total: every answer is a function of the operations before `position`.  Positions rise with
    each operation; they are the session's own count, no time.
    """

    __slots__ = (
        "_forked_at",
        "_incomplete",
        "_left",
        "_open",
        "_sealed",
        "_shown",
        "_unread_at",
        "_user_known",
        "overflow",
    )

    def __init__(self) -> None:
        self._sealed: tuple[Segment, ...] = ()
        self._open = Segment()
        self._forked_at = 0
        """Operations that the origin of this fork had."""
        self._shown: dict[str, int] = {}
        """Tool -> where a result of it was shown first."""
        self._user_known = False
        self._incomplete: set[str] = set()
        """Sources of which something is not kept."""
        self._unread_at: int | None = None
        """Where arguments were written first that are not known: a later match may be their echo."""
        mine = (MOST_CHARACTERS // FOR_USER, MOST_LEAVES // FOR_USER)
        self._left = {True: mine, False: (MOST_CHARACTERS - mine[0], MOST_LEAVES - mine[1])}
        """Characters and leaves that there is room for: of the user's prompts (True), of all else."""
        self.overflow = False
        """Something did not fit and is not kept."""

    # ---- what happened ------------------------------------------------------------------------------

    def prompt(self, position: int, source: str, text: Json) -> None:
        """Take a prompt; `host` (origin unsaid) matches nothing; None: its text is withheld."""
        if source not in _PROMPTS:
            return
        if source == "user":
            self._user_known = True
        if text is None:
            self._incomplete.add(source)
        else:
            self._keep(Operation("prompt", position, source, text))

    def result(self, position: int, tool: str, value: Json) -> None:
        """Take a result as it was shown to the model; `tool` is the policy's name."""
        self._shown.setdefault(tool, position)
        self._keep(Operation("result", position, _TOOL + tool, value))

    def written(self, position: int, arguments: Json) -> None:
        """Take the arguments of a call, denied or not; None: they are withheld."""
        if arguments is None:
            self._unread(position)
        else:
            self._keep(Operation("written", position, WRITTEN, arguments))

    def withheld(self, tool: str, *, position: int = 0) -> None:
        """Note that a result of this tool was shown that is not known."""
        self._shown.setdefault(tool, position)
        self._incomplete.add(_TOOL + tool)

    # ---- where it came from ---------------------------------------------------------------------------

    def comes_from(self, value: Json, origin: Origin, *, position: int) -> Truth:
        """Say whether a value (each leaf of it) comes from a source, before `position`.

        Undecided if unmatched while the tool's results were shown: they may stand behind a paraphrase.
        """
        return self._each(value, lambda what: self._from(what, origin, position))

    def comes_only_from(self, value: Json, origins: Sequence[Origin], *, position: int) -> Truth:
        """Say whether each leaf of a value has a source among these; of no leaf at all: undecided.

        A value that stands nowhere has none, whatever was shown; undecided if not all is known.
        """
        return self._each(
            value, lambda what: _any([self._found(what, origin, position) for origin in origins])
        )

    def sources_of(self, value: Json, *, position: int) -> list[Origin]:
        """Return every origin in which a leaf of the value is found, `model` if surely none; without sets."""
        found: dict[Origin, None] = {}
        for what in self._sought(value) or ():
            found.update(dict.fromkeys(self._origins(what, position)))
        return list(found)

    # ---- forks ------------------------------------------------------------------------------------------

    def fork(self) -> "Provenance":
        """Return a copy that goes its own way; what is known so far is shared."""
        self._seal()
        copy = Provenance()
        copy._sealed = self._sealed
        copy._forked_at = sum(len(segment.operations) for segment in self._sealed)
        copy._shown = dict(self._shown)
        copy._user_known = self._user_known
        copy._incomplete = set(self._incomplete)
        copy._unread_at = self._unread_at
        copy._left = dict(self._left)
        copy.overflow = self.overflow
        return copy

    def own(self) -> list[Operation]:
        """Return what was taken since this fork was made."""
        every = [operation for segment in self._segments for operation in segment.operations]
        return every[self._forked_at :]

    def join(self, other: "Provenance", *, position: int) -> int:
        """Take over what a fork of this has taken since; return the first position that is free then.

        Each operation gets a position of its own from `position` on: their order is what echo rests on.
        """
        for operation in other.own():
            self._keep(operation._replace(position=position))
            position += 1
        for tool in other._shown:
            self._shown.setdefault(tool, position)
        if other._unread_at is not None:
            self._unread(min(position, other._unread_at))
        self._user_known = self._user_known or other._user_known
        self._incomplete |= other._incomplete
        self.overflow = self.overflow or other.overflow
        return position + 1

    # ---- inside -------------------------------------------------------------------------------------------

    @property
    def _segments(self) -> tuple[Segment, ...]:
        return (*self._sealed, self._open) if self._open.operations else self._sealed

    def _seal(self) -> None:
        """Close the open segment, and merge it with its elders while they are not much longer."""
        if not self._open.operations:
            return
        self._open.seal()
        sealed = [*self._sealed, self._open]
        while len(sealed) > 1 and len(sealed[-2].operations) < 2 * len(sealed[-1].operations):
            younger, elder = sealed.pop(), sealed.pop()
            sealed.append(Segment([*elder.operations, *younger.operations]))
        self._sealed = tuple(sealed)
        self._open = Segment()

    def _unread(self, position: int) -> None:
        self._unread_at = position if self._unread_at is None else min(self._unread_at, position)

    def _keep(self, operation: Operation) -> None:
        """Keep an operation if there is room for it, else note what is no longer complete."""
        of_user = operation.source == "user"
        left = self._left[of_user]
        try:
            characters, leaves = weigh(operation.value)
        except ValueError:  # fails closed: it is treated like what does not fit
            characters, leaves = left[0] + 1, 0
        if characters > left[0] or leaves > left[1]:
            self._left[of_user] = (-1, -1)
            self.overflow = True
            self._incomplete.add(operation.source)
            if not of_user:
                self._unread(operation.position)  # a later result may be the echo of what is not kept
            return
        if operation.kind != "written" and is_described(operation.value):
            self._incomplete.add(operation.source)  # bytes, an object, a text too long for the record
        self._left[of_user] = (left[0] - characters, left[1] - leaves)
        self._open.operations.append(operation)

    def _sought(self, value: Json) -> "list[Sought] | None":
        """Return the leaves of a value, each once; None: it is no JSON, or too much to be looked for.

        SECURITY: how long a question takes is not for the model to choose.
        """
        try:
            leaves = list(islice(leaves_of(value), MOST_ASKED + 1))
        except ValueError:
            return None
        if len(leaves) > MOST_ASKED:
            return None
        # A number and a text that are equal are looked for differently.
        every = list({(type(leaf.value), leaf.value): sought(leaf.value) for leaf in leaves}.values())
        spans = sum(1 for what in every if any(len(spelled) > 1 for spelled in what.spelled))
        if spans > 1:
            searched = sum(segment.lexemes for segment in self._segments)
            if spans * searched > MOST_SEARCHED:
                return None
        return every

    def _each(self, value: Json, ask: Callable[[Sought], Truth]) -> Truth:
        every = self._sought(value)
        if every is None:  # fails closed
            return None
        answers = [ask(what) for what in every]
        if False in answers:
            return False
        return None if None in answers or not answers else True

    def _from(self, what: Sought, origin: Origin, position: int) -> Truth:
        found = self._found(what, origin, position)
        if found is False and origin.kind in ("tool", "field") and self._was_shown(origin.tool, position):
            return None
        return found

    def _found(self, what: Sought, origin: Origin, position: int) -> Truth:
        """Say whether one leaf stands in a source; undecided only where not all of it is known."""
        kind = origin.kind
        if kind == "set":
            return not _members(origin.values).isdisjoint(what.forms)
        if kind == "model":
            return self._nowhere(what, position)
        if kind in ("tool", "field"):
            return self._in_tool(what, origin, position)
        at = self._earliest(kind, lambda corpus: corpus.earliest(what))
        if at is not None and at < position:
            return True
        known = kind not in self._incomplete and (kind != "user" or self._user_known)
        return False if known and not self._is_full(kind) else None

    def _in_tool(self, what: Sought, origin: Origin, position: int) -> Truth:
        source = f"{_TOOL}{origin.tool}"
        path = origin.path if origin.kind == "field" else None
        at = self._earliest(
            source,
            lambda corpus: corpus.earliest(what) if path is None else corpus.earliest_field(what, path),
        )
        if at is not None and at < position:
            counts = self._is_no_echo(what, at)
            if counts is not False:
                return counts
        return None if source in self._incomplete or self._is_full(source) else False

    def _is_no_echo(self, what: Sought, at: int) -> Truth:
        """Say whether a match at `at` counts: no argument before it already held the value."""
        loose = what if what.text is None else sought(loosely(what.text))
        for source, wanted in ((WRITTEN, what), (LOOSELY, loose)):
            written = self._earliest(source, partial(Corpus.earliest, what=wanted))
            if written is not None and written < at:
                return False
        full = self._is_full(WRITTEN) or self._is_full(LOOSELY)
        if full or (self._unread_at is not None and self._unread_at < at):
            return None
        return True

    def _nowhere(self, what: Sought, position: int) -> Truth:
        """Say whether a leaf stands in no source at all."""
        answers = [self._found(what, Origin(kind), position) for kind in _PROMPTS]
        answers += [self._in_tool(what, Origin("tool", tool), position) for tool in self._shown]
        if True in answers:
            return False
        return None if None in answers else True

    def _origins(self, what: Sought, position: int) -> list[Origin]:
        found = [Origin(kind) for kind in _PROMPTS if self._found(what, Origin(kind), position)]
        for tool in sorted(self._shown):
            if not self._in_tool(what, Origin("tool", tool), position):
                continue
            paths = {
                path
                for segment in self._segments
                if (corpus := segment.corpus(_TOOL + tool)) is not None
                for path, _ in corpus.paths(what)
                if path and self._in_tool(what, Origin("field", tool, path), position)
            }
            found += [Origin("field", tool, path) for path in sorted(paths)] or [Origin("tool", tool)]
        if not found and self._nowhere(what, position):
            found.append(Origin("model"))
        return found

    def _was_shown(self, tool: str | None, position: int) -> bool:
        at = self._shown.get(tool or "")
        return at is not None and at < position

    def _earliest(self, source: str, ask: Callable[[Corpus], int | None]) -> int | None:
        """Return where a value stands first in a source; segments follow one another in position."""
        for segment in self._segments:
            corpus = segment.corpus(source)
            at = None if corpus is None else ask(corpus)
            if at is not None:
                return at
        return None

    def _is_full(self, source: str) -> bool:
        corpora = [segment.corpus(source) for segment in self._segments]
        return any(corpus is not None and corpus.full for corpus in corpora)


def _any(answers: Sequence[Truth]) -> Truth:
    if True in answers:
        return True
    return None if None in answers else False


@lru_cache(maxsize=256)
def _members(values: frozenset[Json]) -> frozenset[str | tuple[str, ...]]:
    return frozenset(form for value in values for form in sought(value).forms)
