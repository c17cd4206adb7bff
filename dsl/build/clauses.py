"""Types, parameters, and the clauses inside tools."""

from typing import Any

from ringfence.dsl import syntax
from ringfence.dsl.automaton import Machine
from ringfence.dsl.source import Span


def _param(children: list[Any], span: Span, machine: Machine) -> syntax.Param:
    name, type_, optional = children
    return syntax.Param(name, type_, optional is not None, span)


def _type_bounded(children: list[Any], span: Span, machine: Machine) -> syntax.TypeName:
    name, at_most = children
    return syntax.TypeName(name, False, at_most, span)


def _type_list(children: list[Any], span: Span, machine: Machine) -> syntax.TypeName:
    name, at_most = children
    return syntax.TypeName(name, True, at_most, span)


def _rate(children: list[Any], span: Span, machine: Machine) -> syntax.Rate:
    count, period, scope, counting, halt = children
    return syntax.Rate(count, period, scope, counting, halt is not None, span)


def _blast_radius(children: list[Any], span: Span, machine: Machine) -> syntax.BlastRadius:
    *blasts, scope, halt = children
    return syntax.BlastRadius(tuple(blasts), scope, halt is not None, span)


def _result_at_most(children: list[Any], span: Span, machine: Machine) -> syntax.ResultAtMost:
    limit, *noun = children
    return syntax.ResultAtMost(limit, noun[0] if noun else None, span)


BUILDERS = {
    "param": _param,
    "type_plain": lambda children, span, machine: syntax.TypeName(children[0], False, None, span),
    "type_bounded": _type_bounded,
    "type_list": _type_list,
    "needs": lambda children, span, machine: syntax.Needs(tuple(children), span),
    "takes": lambda children, span, machine: syntax.Takes(tuple(children), span),
    "touch": lambda children, span, machine: syntax.Touch(children[0], children[1], span),
    "touches": lambda children, span, machine: syntax.Touches(tuple(children), span),
    "allow_always": lambda children, span, machine: syntax.Allow(None, span),
    "allow_when": lambda children, span, machine: syntax.Allow(children[0], span),
    "require": lambda children, span, machine: syntax.Require(children[0], children[1], children[2], span),
    "deny": lambda children, span, machine: syntax.Deny(children[0], children[1], children[2], span),
    "ask": lambda children, span, machine: syntax.Ask(children[0], children[1], children[2], span),
    "rate": _rate,
    "blast": lambda children, span, machine: syntax.Blast(children[0], children[1], children[2], span),
    "blast_radius": _blast_radius,
    "otherwise_halt": lambda children, span, machine: True,
    "result_is": lambda children, span, machine: syntax.ResultIs(children[0], children[1], False, span),
    "result_is_otherwise": lambda children, span, machine: syntax.ResultIs(children[0], None, True, span),
    "result_at_most": _result_at_most,
    "result_in_steps": lambda children, span, machine: syntax.ResultInSteps(children[0], span),
    "redact": lambda children, span, machine: syntax.Redact(children[0], children[1], span),
    "runs": lambda children, span, machine: syntax.Runs(children[0], children[1], span),
    "audit": lambda children, span, machine: syntax.Audit(children[0], span),
}
