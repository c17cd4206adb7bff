"""What a condition may look at while one call is decided, and what it answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Json = Any
"""A JSON value: None, bool, int, float, str, list or dict with str keys."""

Truth = bool | None
"""Kleene's three values; None is *undecided*."""


class UnfitError(ValueError):
    """A value does not fit its declared type; the message says why, without repeating the value."""


class Recalled(Protocol):
    """What the session remembers, as conditions ask it; folded from events, never scanned.

    Everything is total and three-valued: None is *undecided* (in flight, failed, overflowed, unknown).
    Watches are named by the canonical JSON of their core form (`Watch.key`).
    """

    def after(self, watch: str, *, now_ns: int) -> Truth:
        """Say whether the watched event has happened (`after …`, `after … with no … since`)."""
        ...

    def counted(self, watch: str, *, now_ns: int) -> tuple[int, int | None]:
        """Return the least and the most that `calls to …` can be; None: no upper bound is known."""
        ...

    def ordered(self, watch: str, value: Json) -> Truth:
        """Say whether all steps of an `order` but the last came, in order, with this value of `same`."""
        ...

    def carries(self, rank: int) -> Truth:
        """Say whether the session's label is at or above this rank."""
        ...

    def comes_from(self, value: Json, source: "Origin") -> Truth:
        """Say whether one value (no list) matches the source."""
        ...


@dataclass(frozen=True, slots=True)
class Origin:
    """A source of provenance."""

    kind: Literal["user", "system", "attachment", "approver", "model", "set", "tool", "field"]
    tool: str | None = None
    """The policy's name of the tool, of `tool` and `field`."""
    path: tuple[str, ...] = ()
    """Of `field`: the names on the way to the leaf, lists left out."""
    values: frozenset[Json] = frozenset()
    """Of `set`: its canonical values."""
    only: bool = False
    """Asked by `comes only from`: unmatched is false then, even while results of the tool were shown."""


@dataclass(slots=True)
class Question:
    """A question to a plugin's function (or redactor) that a decision needs answered."""

    function: str
    """The function's name in the policy; `redact NAME` for a redactor."""
    arguments: tuple[Json, ...]

    @property
    def key(self) -> str:
        """The canonical JSON of `[function, *arguments]`: under it the answer is recorded."""
        from ringfence.dsl.canonical import canonical  # it needs Json

        return canonical([self.function, *self.arguments]).decode()


class UnansweredError(Exception):
    """The function was not asked yet (the question is noted in `Scope.wanted`), or had no answer."""


@dataclass(slots=True)
class Scope:
    """What a condition may look at while one call is decided."""

    arguments: Mapping[str, Json]
    """The canonical arguments; an optional parameter that was not given is absent."""
    principal: Mapping[str, Json]
    """`user`, `workspace`, `agent` and the declared attributes that the host has said."""
    bound: dict[str, Json] = field(default_factory=dict)
    """Variables of `every` and `some`."""
    memory: Recalled | None = None
    """None: nothing is remembered here, and what asks for it is undecided."""
    now_ns: int = 0
    """The engine's clock."""
    wall_ns: int | None = None
    """The time of day that calendars see, since the epoch; None: unknown, and calendars are undecided."""
    edited: frozenset[str] = frozenset()
    """Parameters whose values an approver wrote."""
    answers: Mapping[str, Json] = field(default_factory=dict)
    """`Question.key` -> `["gave", value]` or `["failed", why]`."""
    wanted: dict[str, Question] = field(default_factory=dict)
    """Questions met that have no answer yet, by key."""

    def ask(self, question: Question) -> Json:
        """Return what the function gave; raise UnansweredError, which leaves the atom undecided."""
        key = question.key
        answer = self.answers.get(key)
        if answer is None:
            self.wanted[key] = question
            raise UnansweredError
        if answer[0] != "gave":
            raise UnansweredError
        return answer[1]


Condition = Callable[[Scope], Truth]
"""Total: an exception or a missing value inside is *undecided* (None), never raised.

Atoms catch; `and`, `or`, `not` combine by Kleene's tables whatever the order of their parts.
"""

Canonicaliser = Callable[[Json], Json]
"""Turns a given value into the one canonical value of its type, or raises `UnfitError`."""


Amount = Callable[[Scope], Json]
"""Gives a number, or raises: then what it is for is undecided."""
