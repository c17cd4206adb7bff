"""Policy tests: their steps, and the JSON values in them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from ringfence.dsl import syntax
from ringfence.dsl.automaton import Machine
from ringfence.dsl.diagnostic import Diagnostic
from ringfence.dsl.source import Span


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What is expected of a call."""

    expected: Literal["allowed", "not found", "denied", "asks"]
    approver: syntax.Name | None = None
    by: syntax.Path | None = None


@dataclass(frozen=True, slots=True)
class _Pair:
    """One member of a record."""

    key: str
    span: Span
    value: syntax.Value


def _called(children: list[Any], span: Span, machine: Machine) -> syntax.Called:
    call, outcome = children
    return syntax.Called(call, outcome.expected, outcome.approver, outcome.by, span)


def _ran(children: list[Any], span: Span, machine: Machine) -> syntax.Ran:
    call, returning, *signed_by = children
    return syntax.Ran(call, returning, tuple(signed_by), span)


def _invocation(children: list[Any], span: Span, machine: Machine) -> syntax.Invocation:
    name, *arguments = children
    given = tuple(argument for argument in arguments if argument is not None)
    _each_once(
        "argument", ((each.name.text, each.name.span) for each in given if each.name is not None), machine
    )
    return syntax.Invocation(name, given, span)


def _plain(children: list[Any], span: Span, machine: Machine) -> syntax.Value:
    return syntax.Value(children[0].value, span)


def _list(children: list[Any], span: Span, machine: Machine) -> syntax.Value:
    return syntax.Value([item.value for item in children if item is not None], span)


def _pair(children: list[Any], span: Span, machine: Machine) -> _Pair:
    key, value = children
    return _Pair(key.text if isinstance(key, syntax.Name) else key.value, key.span, value)


def _record(children: list[Any], span: Span, machine: Machine) -> syntax.Value:
    pairs = [pair for pair in children if pair is not None]
    _each_once("key", ((pair.key, pair.span) for pair in pairs), machine)
    return syntax.Value({pair.key: pair.value.value for pair in pairs}, span)


def _each_once(kind: str, named: Iterable[tuple[str, Span]], machine: Machine) -> None:
    """Report a name that stands twice: which of the two values counts would be a guess."""
    seen: set[str] = set()
    for name, span in named:
        if name in seen:
            machine.reports.append(
                Diagnostic(
                    "E115",
                    f"{kind} `{name}` is given twice",
                    span,
                    machine.source,
                    "the second one",
                    "remove or rename one",
                )
            )
        seen.add(name)


BUILDERS = {
    "test": lambda children, span, machine: syntax.PolicyTest(children[0], tuple(children[1].items), span),
    "as_who": lambda children, span, machine: syntax.As(tuple(children), span),
    "who": lambda children, span, machine: syntax.Who(children[0], children[1], span),
    "at_moment": lambda children, span, machine: syntax.At(children[0], span),
    "prompt": lambda children, span, machine: syntax.Prompt(children[0], span),
    "wait": lambda children, span, machine: syntax.Wait(children[0], span),
    "new_run": lambda children, span, machine: syntax.NewRun(span),
    "given": lambda children, span, machine: syntax.Given(children[0], children[1], span),
    "ran": _ran,
    "called": _called,
    "is_allowed": lambda children, span, machine: _Outcome("allowed"),
    "is_not_found": lambda children, span, machine: _Outcome("not found"),
    "is_denied": lambda children, span, machine: _Outcome("denied", by=children[0]),
    "asks": lambda children, span, machine: _Outcome("asks", children[0], children[1]),
    "invocation": _invocation,
    "argument": lambda children, span, machine: syntax.Argument(children[0], children[1], span),
    "value_plain": _plain,
    "value_true": lambda children, span, machine: syntax.Value(True, span),
    "value_false": lambda children, span, machine: syntax.Value(False, span),
    "value_list": _list,
    "value_record": _record,
    "pair": _pair,
}
