"""The clauses inside a tool, and the tool."""

from dataclasses import dataclass

from ringfence.dsl.source import Span
from ringfence.dsl.syntax.expressions import Expression
from ringfence.dsl.syntax.words import Count, Duration, Name, Param, Size, Text


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


@dataclass(frozen=True, slots=True)
class StopAfter:
    """`stop after 5 minutes`, in an agent or a tool."""

    duration: Duration
    span: Span


@dataclass(frozen=True, slots=True)
class Touch:
    """`to as recipient`: each value of the parameter is one resource of this kind."""

    param: Name
    resource: Name
    span: Span


@dataclass(frozen=True, slots=True)
class Touches:
    """`touches to as recipient, account_id as account`."""

    touches: tuple[Touch, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Blast:
    """`10 recipient per run`: at most so many distinct resources of this kind."""

    count: Count
    resource: Name
    period: Name
    span: Span


@dataclass(frozen=True, slots=True)
class BlastRadius:
    """`blast radius 10 recipient per run, 25 recipient per day for each user otherwise halt`."""

    blasts: tuple[Blast, ...]
    scope: Name | None
    otherwise_halt: bool
    span: Span


@dataclass(frozen=True, slots=True)
class ResultIs:
    """`result is secret when E`, `result is internal otherwise`, `result is public`."""

    level: Name
    condition: Expression | None
    otherwise: bool
    span: Span


@dataclass(frozen=True, slots=True)
class ResultInSteps:
    """`result in steps of 4 KB`."""

    step: Size
    span: Span


@dataclass(frozen=True, slots=True)
class Redact:
    """`redact body with pii`, inside a tool."""

    param: Name
    redactor: Name
    span: Span


@dataclass(frozen=True, slots=True)
class Runs:
    """`runs code in analyst` (a parameter) or `runs "tools/price_quote.js" in calculator` (a file)."""

    what: Name | Text
    isolate: Name
    span: Span


ToolClause = (
    Needs
    | Takes
    | Touches
    | Allow
    | Require
    | Deny
    | Ask
    | Rate
    | BlastRadius
    | ResultIs
    | ResultAtMost
    | ResultInSteps
    | Redact
    | Runs
    | Audit
    | StopAfter
)


@dataclass(frozen=True, slots=True)
class Tool:
    """`tool query_database is "support-db/query" "Read rows" { … }`."""

    name: Name
    bound: Text | None
    description: Text | None
    clauses: tuple[ToolClause, ...]
    span: Span
