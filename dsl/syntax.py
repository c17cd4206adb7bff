"""Typed syntax nodes: what the author wrote, each with its span.

The parser builds them, the checks read them, the compiler turns them into a plan.  Nothing here
knows what is legal: an unknown capability or a `quorum 0` is a node like any other.
"""

from dataclasses import dataclass
from typing import Literal as OneOf

from ringfence.dsl.source import Source, Span


@dataclass(frozen=True, slots=True)
class Name:
    """An identifier as written."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Text:
    """A quoted string, unescaped."""

    value: str
    span: Span


@dataclass(frozen=True, slots=True)
class Count:
    """A whole number in a clause: `10 per hour`, `quorum 2`."""

    value: int
    span: Span


@dataclass(frozen=True, slots=True)
class Duration:
    """A length of time, in nanoseconds."""

    ns: int
    span: Span


@dataclass(frozen=True, slots=True)
class Size:
    """A size in bytes; KB is 1024 bytes."""

    bytes: int
    span: Span


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression between slashes, without them; `\\/` is already `/`."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class TypeName:
    """`text at most 20 KB`, `list of email at most 20`, `integer`."""

    name: Name
    is_list: bool
    at_most: Count | Size | None
    span: Span


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter of a tool, or one attribute that `principal has`."""

    name: Name
    type: TypeName
    optional: bool
    span: Span


# ---- expressions ---------------------------------------------------------------------------------


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
class Later:
    """Legal in edition 1 and parsed, but not enforced by this version: refused, never ignored.

    Stands for a declaration, a clause or an expression; `construct` is what the author calls it
    (`blast radius`, `order`, `after …`).
    """

    construct: str
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
    | Later
)


# ---- declarations --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Edition:
    """`language 1`."""

    number: Count
    span: Span


@dataclass(frozen=True, slots=True)
class PolicyHeader:
    """`policy support_desk version "2026.11.1"`."""

    name: Name
    version: Text | None
    span: Span


@dataclass(frozen=True, slots=True)
class Capability:
    """`capability browse is read, external`."""

    name: Name
    traits: tuple[Name, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class SetOf:
    """`set tables = ["users", "orders"]`."""

    name: Name
    items: ListOf
    span: Span


@dataclass(frozen=True, slots=True)
class PatternOf:
    """`pattern ticket = /T-[0-9]{6}/`."""

    name: Name
    pattern: Pattern
    span: Span


@dataclass(frozen=True, slots=True)
class PrincipalHas:
    """`principal has tier: text`."""

    params: tuple[Param, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Group:
    """`group "support-leads"`."""

    name: Text
    span: Span


@dataclass(frozen=True, slots=True)
class Quorum:
    """`quorum 2`."""

    count: Count
    span: Span


@dataclass(frozen=True, slots=True)
class NeverRequester:
    """`never the requester`."""

    span: Span


@dataclass(frozen=True, slots=True)
class AnswerWithin:
    """`answer within 15 minutes otherwise deny` (or `otherwise ask NAME`)."""

    within: Duration
    otherwise_ask: Name | None
    span: Span


@dataclass(frozen=True, slots=True)
class Approver:
    """`approver support_lead { … }`."""

    name: Name
    clauses: tuple[Group | Quorum | NeverRequester | AnswerWithin | Later, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Holds:
    """`holds read_data, browse`."""

    capabilities: tuple[Name, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class StopAfter:
    """`stop after 5 minutes`, in an agent or a tool."""

    duration: Duration
    span: Span


@dataclass(frozen=True, slots=True)
class AtMost:
    """`at most 40 calls`, `at most 5 denials`, `at most 3 approval requests`; `noun` is as written."""

    count: Count
    noun: Name
    span: Span


@dataclass(frozen=True, slots=True)
class Agent:
    """`agent support { … }`."""

    name: Name
    clauses: tuple[Holds | StopAfter | AtMost | Later, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Says:
    """`deny says "not authorized"`; `text` is None for `deny says because`."""

    occasion: Name
    text: Text | None
    span: Span


@dataclass(frozen=True, slots=True)
class Responses:
    """`responses { … }`."""

    clauses: tuple[Says | Later, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Needs:
    """`needs send_message`."""

    capabilities: tuple[Name, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Takes:
    """`takes to: list of email at most 20, body: text`."""

    params: tuple[Param, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Allow:
    """`allow always` (no condition) or `allow when E`."""

    condition: Expression | None
    span: Span


@dataclass(frozen=True, slots=True)
class Require:
    """`require row_cap: limit <= 1000 because "…"`."""

    label: Name | None
    condition: Expression
    because: Text | None
    span: Span


@dataclass(frozen=True, slots=True)
class Deny:
    """`deny too_late: when E because "…"`, inside a tool."""

    label: Name | None
    condition: Expression
    because: Text | None
    span: Span


@dataclass(frozen=True, slots=True)
class Ask:
    """`ask support_lead when E because "…"`, inside a tool."""

    approver: Name
    condition: Expression | None
    because: Text | None
    span: Span


@dataclass(frozen=True, slots=True)
class Rate:
    """`rate 10 per hour for each workspace counting calls otherwise halt`."""

    count: Count
    period: Name
    scope: Name | None
    counting: Name | None
    otherwise_halt: bool
    span: Span


@dataclass(frozen=True, slots=True)
class ResultAtMost:
    """`result at most 1000 rows` (`noun` is `rows`) or `result at most 256 KB` (no noun)."""

    limit: Count | Size
    noun: Name | None
    span: Span


@dataclass(frozen=True, slots=True)
class Audit:
    """`audit full`."""

    level: Name
    span: Span


ToolClause = Needs | Takes | Allow | Require | Deny | Ask | Rate | ResultAtMost | Audit | StopAfter | Later


@dataclass(frozen=True, slots=True)
class Tool:
    """`tool query_database is "support-db/query" "Read rows" { … }`."""

    name: Name
    bound: Text | None
    description: Text | None
    clauses: tuple[ToolClause, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Target:
    """What a rule covers: named tools, or any tool, perhaps with a capability or a trait."""

    kind: OneOf["names", "any", "needs", "trait"]
    names: tuple[Name, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Rule:
    """`rule NAME: deny TARGET when E unless F because "…"` or `ask APPROVER before TARGET …`."""

    name: Name
    effect: OneOf["deny", "ask"]
    approver: Name | None
    target: Target
    when: Expression | None
    unless: Expression | None
    because: Text | None
    span: Span


Declaration = (
    Edition
    | PolicyHeader
    | Capability
    | SetOf
    | PatternOf
    | PrincipalHas
    | Approver
    | Agent
    | Responses
    | Tool
    | Rule
    | Later
)


@dataclass(frozen=True, slots=True)
class Document:
    """One parsed policy file: its declarations in the order they were written.

    `lost` holds the words of statements that could not be read: a name among them may well have been
    declared there, so that its absence is not worth a second report.
    """

    source: Source
    declarations: tuple[Declaration, ...]
    lost: frozenset[str] = frozenset()
