"""Conditions and the values in them."""

from dataclasses import dataclass
from typing import Literal as OneOf

from ringfence.dsl.source import Span
from ringfence.dsl.syntax.words import Duration, Name, Pattern, Size


@dataclass(frozen=True, slots=True)
class Constant:
    """`"text"`, `12`, `1.5`, `true`."""

    value: str | int | float | bool
    span: Span


@dataclass(frozen=True, slots=True)
class ListOf:
    """`[a, b]`."""

    items: tuple["Expression", ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Path:
    """`limit`, `principal.workspace`, `arg.after`."""

    parts: tuple[Name, ...]
    span: Span

    def __str__(self) -> str:
        return ".".join(part.text for part in self.parts)


@dataclass(frozen=True, slots=True)
class Apply:
    """`size(body)`: a built-in or declared function."""

    function: Name
    arguments: tuple["Expression", ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Compare:
    """`a <= b`; `operator` stands where diagnostics about the pair are drawn."""

    left: "Expression"
    operator: Name
    right: "Expression"
    span: Span


@dataclass(frozen=True, slots=True)
class Membership:
    """`a in b`, `a not in b`."""

    left: "Expression"
    right: "Expression"
    negated: bool
    operator: Span
    span: Span


@dataclass(frozen=True, slots=True)
class Matches:
    """`ticket_ref matches ticket`, `id matches /[a-z]+/`."""

    subject: "Expression"
    pattern: Name | Pattern
    span: Span


@dataclass(frozen=True, slots=True)
class Affix:
    """`a starts with b`, `a ends with b`, `a contains b`."""

    kind: OneOf["starts with", "ends with", "contains"]
    subject: "Expression"
    part: "Expression"
    operator: Span
    span: Span


@dataclass(frozen=True, slots=True)
class Presence:
    """`limit is present`, `limit is missing`."""

    subject: "Expression"
    missing: bool
    span: Span


@dataclass(frozen=True, slots=True)
class Quantified:
    """`every x in xs satisfies (…)`, `some x in xs satisfies (…)`."""

    every: bool
    variable: Name
    domain: "Expression"
    body: "Expression"
    span: Span


@dataclass(frozen=True, slots=True)
class Not:
    """`not a`."""

    operand: "Expression"
    span: Span


@dataclass(frozen=True, slots=True)
class Both:
    """`a and b and c`."""

    operands: tuple["Expression", ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Either:
    """`a or b or c`."""

    operands: tuple["Expression", ...]
    span: Span


@dataclass(frozen=True, slots=True)
class ComesFrom:
    """`value comes from web_fetch`, `to comes only from [user, query_database.email]`."""

    subject: "Expression"
    sources: tuple[Path, ...]
    only: bool
    operator: Span
    span: Span


@dataclass(frozen=True, slots=True)
class Carries:
    """`body carries personal`."""

    subject: "Expression"
    level: Name
    span: Span


@dataclass(frozen=True, slots=True)
class Event:
    """What history is asked for: a call of a tool that succeeded, or a result that was read.

    `tool` names one tool; `needs` means any tool that needs the capability; `reading` a result at or above
    the level.
    """

    kind: OneOf["tool", "needs", "reading"]
    name: Name
    where: "Expression | None"
    span: Span


@dataclass(frozen=True, slots=True)
class Extent:
    """`within 1 hour`; `within this run` has no duration."""

    within: Duration | None
    span: Span


@dataclass(frozen=True, slots=True)
class After:
    """`after web_fetch within 1 hour with no approve since`."""

    event: Event
    extent: Extent | None
    """None: the session."""
    since: Event | None
    span: Span


@dataclass(frozen=True, slots=True)
class CallsTo:
    """`calls to query_database where (table == "users") within 1 hour`: a count."""

    event: Event
    extent: Extent | None
    span: Span


@dataclass(frozen=True, slots=True)
class During:
    """`during support_hours`."""

    calendar: Name
    span: Span


Expression = (
    Constant
    | Duration
    | Size
    | ListOf
    | Path
    | Apply
    | Compare
    | Membership
    | Matches
    | Affix
    | Presence
    | Quantified
    | Not
    | Both
    | Either
    | ComesFrom
    | Carries
    | After
    | CallsTo
    | During
)
