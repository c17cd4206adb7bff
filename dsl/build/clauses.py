"""The clauses inside approvers, agents, responses and tools."""

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


def _at_most(children: list[Any], span: Span, machine: Machine) -> syntax.AtMost:
    count, first, *rest = children
    if not rest:
        return syntax.AtMost(count, first, span)
    noun = syntax.Name(f"{first.text} {rest[0].text}", first.span.to(rest[0].span))
    return syntax.AtMost(count, noun, span)


def _rate(children: list[Any], span: Span, machine: Machine) -> syntax.Rate:
    count, period, scope, counting, halt = children
    return syntax.Rate(count, period, scope, counting, halt is not None, span)


def _result_at_most(children: list[Any], span: Span, machine: Machine) -> syntax.ResultAtMost:
    limit, *noun = children
    return syntax.ResultAtMost(limit, noun[0] if noun else None, span)


BUILDERS = {
    "param": _param,
    "type_plain": lambda children, span, machine: syntax.TypeName(children[0], False, None, span),
    "type_bounded": _type_bounded,
    "type_list": _type_list,
    # approver
    "group": lambda children, span, machine: syntax.Group(children[0], span),
    "quorum": lambda children, span, machine: syntax.Quorum(children[0], span),
    "never_requester": lambda children, span, machine: syntax.NeverRequester(span),
    "answer_within": lambda children, span, machine: syntax.AnswerWithin(
        children[0], children[1] if len(children) > 1 else None, span
    ),
    # agent
    "holds": lambda children, span, machine: syntax.Holds(tuple(children), span),
    "stop_after": lambda children, span, machine: syntax.StopAfter(children[0], span),
    "at_most": _at_most,
    # responses
    "says": lambda children, span, machine: syntax.Says(children[0], children[1], span),
    "says_because": lambda children, span, machine: syntax.Says(children[0], None, span),
    # tool
    "needs": lambda children, span, machine: syntax.Needs(tuple(children), span),
    "takes": lambda children, span, machine: syntax.Takes(tuple(children), span),
    "allow_always": lambda children, span, machine: syntax.Allow(None, span),
    "allow_when": lambda children, span, machine: syntax.Allow(children[0], span),
    "require": lambda children, span, machine: syntax.Require(children[0], children[1], children[2], span),
    "deny": lambda children, span, machine: syntax.Deny(children[0], children[1], children[2], span),
    "ask": lambda children, span, machine: syntax.Ask(children[0], children[1], children[2], span),
    "rate": _rate,
    "otherwise_halt": lambda children, span, machine: True,
    "result_at_most": _result_at_most,
    "audit": lambda children, span, machine: syntax.Audit(children[0], span),
}
