"""Rules across tools, orders, budgets, guarantees, and what they cover."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ringfence.dsl import syntax
from ringfence.dsl.automaton import Machine
from ringfence.dsl.source import Span


@dataclass(frozen=True, slots=True)
class _Effect:
    """What a rule does, and to which tools."""

    effect: Literal["deny", "ask", "redact", "audit"]
    target: syntax.Target
    approver: syntax.Name | None = None
    param: syntax.Name | None = None
    redactor: syntax.Name | None = None
    level: syntax.Name | None = None


def _rule(children: list[Any], span: Span, machine: Machine) -> syntax.Rule:
    shadow, name, what, when, unless, because = children
    return syntax.Rule(
        name,
        what.effect,
        shadow is not None,
        what.approver,
        what.param,
        what.redactor,
        what.level,
        what.target,
        when,
        unless,
        because,
        span,
    )


def _rule_redact(children: list[Any], span: Span, machine: Machine) -> _Effect:
    param, redactor, target = children
    return _Effect("redact", target, param=param, redactor=redactor)


def _target(kind: Any) -> Callable[[list[Any], Span, Machine], syntax.Target]:
    return lambda children, span, machine: syntax.Target(kind, tuple(children), span)


def _order(children: list[Any], span: Span, machine: Machine) -> syntax.Order:
    name, same, *steps = children
    return syntax.Order(name, same, tuple(steps), span)


def _budget(children: list[Any], span: Span, machine: Machine) -> syntax.BudgetOf:
    name, limit, period, scope, amount, target, halt = children
    return syntax.BudgetOf(name, limit, period, scope, amount, target, halt is not None, span)


def _guarantee(children: list[Any], span: Span, machine: Machine) -> syntax.Guarantee:
    name, target, when, approver = children
    return syntax.Guarantee(name, target, when, approver, span)


BUILDERS = {
    "rule": _rule,
    "rule_deny": lambda children, span, machine: _Effect("deny", children[0]),
    "rule_ask": lambda children, span, machine: _Effect("ask", children[1], approver=children[0]),
    "rule_redact": _rule_redact,
    "rule_audit": lambda children, span, machine: _Effect("audit", children[1], level=children[0]),
    "target_names": _target("names"),
    "target_any": _target("any"),
    "target_needs": _target("needs"),
    "target_trait": _target("trait"),
    "order": _order,
    "budget": _budget,
    "guarantee": _guarantee,
}
