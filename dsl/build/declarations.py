"""Declarations, and the bodies that hold them."""

from collections.abc import Callable
from typing import Any

from ringfence.dsl import syntax
from ringfence.dsl.automaton import Body, Machine
from ringfence.dsl.source import Span


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


def _policy(children: list[Any], span: Span, machine: Machine) -> syntax.PolicyHeader:
    name, version, under = children
    return syntax.PolicyHeader(name, version, under, False, span)


def _levels(children: list[Any], span: Span, machine: Machine) -> syntax.Levels:
    return syntax.Levels(tuple(children[0::2]), span)  # between them stands `<`


def _tool(children: list[Any], span: Span, machine: Machine) -> syntax.Tool:
    name, bound, description, body = children
    return syntax.Tool(name, bound, description, tuple(body.items), span)


def _calendar(children: list[Any], span: Span, machine: Machine) -> syntax.Calendar:
    name, first_day, last_day, opens, closes, zone = children
    return syntax.Calendar(name, first_day, last_day, opens, closes, zone, span)


def _function(children: list[Any], span: Span, machine: Machine) -> syntax.FunctionOf:
    name, *params, gives, plugin = children
    return syntax.FunctionOf(name, tuple(params), gives, plugin, span)


BUILDERS = {
    **{
        f"{kind}_body": _body(kind)
        for kind in ("policy", "approver", "agent", "responses", "isolate", "tool", "test")
    },
    "language": lambda children, span, machine: syntax.Edition(children[0], span),
    "policy": _policy,
    "ceiling": lambda children, span, machine: syntax.PolicyHeader(
        children[0], children[1], None, True, span
    ),
    "use": lambda children, span, machine: syntax.Use(children[0], span),
    "levels": _levels,
    "capability": lambda children, span, machine: syntax.Capability(children[0], tuple(children[1:]), span),
    "set": lambda children, span, machine: syntax.SetOf(children[0], children[1], span),
    "pattern": lambda children, span, machine: syntax.PatternOf(children[0], children[1], span),
    "calendar": _calendar,
    "function": _function,
    "principal": lambda children, span, machine: syntax.PrincipalHas(tuple(children), span),
    "approver": lambda children, span, machine: syntax.Approver(children[0], tuple(children[1].items), span),
    "agent": lambda children, span, machine: syntax.Agent(children[0], tuple(children[1].items), span),
    "responses": lambda children, span, machine: syntax.Responses(tuple(children[0].items), span),
    "isolate": lambda children, span, machine: syntax.Isolate(children[0], tuple(children[1].items), span),
    "tool": _tool,
}
