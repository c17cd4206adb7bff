"""Rules across tools, orders, budgets and guarantees."""

from dataclasses import dataclass
from typing import Literal as OneOf

from ringfence.dsl.source import Span
from ringfence.dsl.syntax.expressions import Event, Expression
from ringfence.dsl.syntax.words import Count, Name, Size, Target, Text


@dataclass(frozen=True, slots=True)
class Rule:
    """`rule NAME: deny TARGET when E unless F because "…"`.

    Or `ask APPROVER before TARGET`, `redact PARAM with REDACTOR for TARGET`, `audit LEVEL for TARGET`;
    `shadow rule` is decided and recorded, not enforced.
    """

    name: Name
    effect: OneOf["deny", "ask", "redact", "audit"]
    shadow: bool
    approver: Name | None
    """Of an ask."""
    param: Name | None
    redactor: Name | None
    """Both of a redact."""
    level: Name | None
    """Of an audit."""
    target: Target
    when: Expression | None
    unless: Expression | None
    because: Text | None
    span: Span


@dataclass(frozen=True, slots=True)
class Order:
    """`order deletion same account_id: write_to_crm where (…) then delete_account`."""

    name: Name
    same: Name | None
    steps: tuple[Event, ...]
    """At least two; the last is the one that is guarded."""
    span: Span


@dataclass(frozen=True, slots=True)
class BudgetOf:
    """`budget outbound: 200 KB per day for each workspace of size(body) over send_email otherwise halt`."""

    name: Name
    limit: Size | Count
    period: Name
    scope: Name | None
    amount: Expression
    target: Target
    otherwise_halt: bool
    span: Span


@dataclass(frozen=True, slots=True)
class Guarantee:
    """`guarantee NAME: never TARGET when E unless approved by APPROVER`: kept and checked, not yet proved."""

    name: Name
    target: Target
    when: Expression | None
    unless_approved_by: Name | None
    """An approver's name, or `anyone`."""
    span: Span
