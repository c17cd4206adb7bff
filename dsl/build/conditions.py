"""Conditions and the values in them."""

from typing import Any

from ringfence.dsl import syntax
from ringfence.dsl.automaton import Machine
from ringfence.dsl.diagnostic import Diagnostic
from ringfence.dsl.source import Span


def _chain(children: list[Any], span: Span, machine: Machine) -> syntax.Expression:
    """Build `a and b and c`.

    `and` with `or` is reported here, at the first operator unlike the first one: parentheses are gone
    later.  The node then groups as most languages do, so that the rest can still be checked.
    """
    operands: list[syntax.Expression] = children[0::2]
    operators: list[syntax.Name] = children[1::2]
    other = next((operator for operator in operators if operator.text != operators[0].text), None)
    if other is None:
        kind = syntax.Both if operators[0].text == "and" else syntax.Either
        return kind(tuple(operands), span)
    machine.reports.append(
        Diagnostic(
            "E136",
            "`and` and `or` are mixed here",
            other.span,
            machine.source,
            f"the condition began with `{operators[0].text}`",
            "put parentheses around what belongs together",
        )
    )
    groups: list[list[syntax.Expression]] = [[operands[0]]]
    for operator, operand in zip(operators, operands[1:], strict=True):
        if operator.text == "and":
            groups[-1].append(operand)
        else:
            groups.append([operand])
    return syntax.Either(tuple(_both(group) for group in groups), span)


def _both(group: list[syntax.Expression]) -> syntax.Expression:
    if len(group) == 1:
        return group[0]
    return syntax.Both(tuple(group), group[0].span.to(group[-1].span))


def _literal(children: list[Any], span: Span, machine: Machine) -> syntax.Expression:
    (value,) = children
    if isinstance(value, syntax.Text | syntax.Count):
        return syntax.Constant(value.value, span)
    assert isinstance(value, syntax.Constant | syntax.Duration | syntax.Size)
    return value


def _affix(children: list[Any], span: Span, machine: Machine) -> syntax.Affix:
    subject, *words, part = children
    operator = words[0].span.to(words[-1].span)
    return syntax.Affix(" ".join(word.text for word in words), subject, part, operator, span)  # type: ignore[arg-type]  # the grammar has these words only


def _is_not_in(children: list[Any], span: Span, machine: Machine) -> syntax.Membership:
    left, no, within, right = children
    return syntax.Membership(left, right, True, no.span.to(within.span), span)


def _comes_from(children: list[Any], span: Span, machine: Machine) -> syntax.ComesFrom:
    subject, *rest = children
    words = [child for child in rest if isinstance(child, syntax.Name)]
    sources = tuple(child for child in rest if isinstance(child, syntax.Path))
    return syntax.ComesFrom(subject, sources, len(words) == 3, words[0].span.to(words[-1].span), span)


def _event(kind: Any) -> Any:
    return lambda children, span, machine: syntax.Event(
        kind, children[0], children[1] if len(children) > 1 else None, span
    )


def _quantified(every: bool) -> Any:
    return lambda children, span, machine: syntax.Quantified(
        every, children[0], children[1], children[2], span
    )


BUILDERS = {
    "chain": _chain,
    "negated": lambda children, span, machine: syntax.Not(children[0], span),
    "compare": lambda children, span, machine: syntax.Compare(children[0], children[1], children[2], span),
    "is_in": lambda children, span, machine: syntax.Membership(
        children[0], children[2], False, children[1].span, span
    ),
    "is_not_in": _is_not_in,
    "matches": lambda children, span, machine: syntax.Matches(children[0], children[1], span),
    "affix": _affix,
    "present": lambda children, span, machine: syntax.Presence(children[0], False, span),
    "missing": lambda children, span, machine: syntax.Presence(children[0], True, span),
    "every": _quantified(True),
    "some": _quantified(False),
    "comes_from": _comes_from,
    "comes_only_from": _comes_from,
    "carries": lambda children, span, machine: syntax.Carries(children[0], children[1], span),
    "after": lambda children, span, machine: syntax.After(children[0], children[1], children[2], span),
    "during": lambda children, span, machine: syntax.During(children[0], span),
    "calls_to": lambda children, span, machine: syntax.CallsTo(children[0], children[1], span),
    "event_tool": _event("tool"),
    "event_needs": _event("needs"),
    "event_reading": _event("reading"),
    "within": lambda children, span, machine: syntax.Extent(children[0], span),
    "within_run": lambda children, span, machine: syntax.Extent(None, span),
    "literal": _literal,
    "true": lambda children, span, machine: syntax.Constant(True, span),
    "false": lambda children, span, machine: syntax.Constant(False, span),
    "path": lambda children, span, machine: syntax.Path(tuple(children), span),
    "apply": lambda children, span, machine: syntax.Apply(
        children[0], tuple(child for child in children[1:] if child is not None), span
    ),
    "list": lambda children, span, machine: syntax.ListOf(
        tuple(child for child in children if child is not None), span
    ),
}
