"""Declarations, and the bodies that hold them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ringfence.dsl import syntax
from ringfence.dsl.automaton import Body, Machine
from ringfence.dsl.source import Span


@dataclass(frozen=True, slots=True)
class _Effect:
    """What a rule does, and to which tools; `later` names an effect that is not enforced yet."""

    effect: Any
    approver: syntax.Name | None
    target: syntax.Target
    later: str | None = None


def _body(kind: str) -> Callable[[list[Any], Span, Machine], Body]:
    def build(children: list[Any], span: Span, machine: Machine) -> Body:
        if not children:
            return Body(kind)
        body, statement = children
        assert isinstance(body, Body)
        # In place: a body is only ever extended by a finished statement, so cutting the stack back to
        # it loses exactly the unfinished one.
        if isinstance(statement, tuple):
            body.items.extend(statement)
        elif statement is not None:
            body.items.append(statement)
        return body

    return build


def _policy(children: list[Any], span: Span, machine: Machine) -> object:
    name, version, under = children
    return syntax.PolicyHeader(name, version, under, False, span)


def _tool(children: list[Any], span: Span, machine: Machine) -> syntax.Tool:
    name, bound, description, body = children
    return syntax.Tool(name, bound, description, tuple(body.items), span)


def _rule(children: list[Any], span: Span, machine: Machine) -> syntax.Rule | syntax.Later:
    shadow, name, effect, when, unless, because = children
    if shadow is not None:
        return syntax.Later("shadow rule", span.to(name.span))
    if effect.later is not None:
        return syntax.Later(effect.later, span.to(name.span))
    return syntax.Rule(
        name,
        effect.effect,
        False,
        effect.approver,
        None,
        None,
        None,
        effect.target,
        when,
        unless,
        because,
        span,
    )


def _target(kind: Any) -> Callable[[list[Any], Span, Machine], syntax.Target]:
    return lambda children, span, machine: syntax.Target(kind, tuple(children), span)


BUILDERS = {
    **{
        f"{kind}_body": _body(kind)
        for kind in ("policy", "approver", "agent", "responses", "isolate", "tool", "test")
    },
    "language": lambda children, span, machine: syntax.Edition(children[0], span),
    "policy": _policy,
    "capability": lambda children, span, machine: syntax.Capability(children[0], tuple(children[1:]), span),
    "set": lambda children, span, machine: syntax.SetOf(children[0], children[1], span),
    "pattern": lambda children, span, machine: syntax.PatternOf(children[0], children[1], span),
    "principal": lambda children, span, machine: syntax.PrincipalHas(tuple(children), span),
    "approver": lambda children, span, machine: syntax.Approver(children[0], tuple(children[1].items), span),
    "agent": lambda children, span, machine: syntax.Agent(children[0], tuple(children[1].items), span),
    "responses": lambda children, span, machine: syntax.Responses(tuple(children[0].items), span),
    "tool": _tool,
    "rule": _rule,
    "rule_deny": lambda children, span, machine: _Effect("deny", None, children[0]),
    "rule_ask": lambda children, span, machine: _Effect("ask", children[0], children[1]),
    "rule_redact": lambda children, span, machine: _Effect("redact", None, children[-1], "rule … redact"),
    "rule_audit": lambda children, span, machine: _Effect("audit", None, children[-1], "rule … audit"),
    "target_names": _target("names"),
    "target_any": _target("any"),
    "target_needs": _target("needs"),
    "target_trait": _target("trait"),
}
