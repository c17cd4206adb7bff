"""The clauses inside approvers, agents, responses and isolates."""

from typing import Any, Literal

from ringfence.dsl import syntax
from ringfence.dsl.automaton import Machine
from ringfence.dsl.source import Span


def _at_most(children: list[Any], span: Span, machine: Machine) -> syntax.AtMost:
    count, first, *rest = children
    if not rest:
        return syntax.AtMost(count, first, span)
    noun = syntax.Name(f"{first.text} {rest[0].text}", first.span.to(rest[0].span))
    return syntax.AtMost(count, noun, span)


def _isolate_clause(kind: Literal["lockdown", "memory", "cpu", "time", "output", "clock"]) -> Any:
    return lambda children, span, machine: syntax.IsolateClause(
        kind, children[0], children[1] if len(children) > 1 else None, span
    )


BUILDERS = {
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
    "may_start": lambda children, span, machine: syntax.MayStart(tuple(children), span),
    # responses
    "says": lambda children, span, machine: syntax.Says(children[0], children[1], span),
    "says_because": lambda children, span, machine: syntax.Says(children[0], None, span),
    "latency": lambda children, span, machine: syntax.Latency(children[0], children[1], span),
    # isolate
    "lockdown": _isolate_clause("lockdown"),
    "memory": _isolate_clause("memory"),
    "cpu": _isolate_clause("cpu"),
    "time": _isolate_clause("time"),
    "may_call": lambda children, span, machine: syntax.IsolateClause("may call", tuple(children), None, span),
    "output": _isolate_clause("output"),
    "clock": _isolate_clause("clock"),
}
