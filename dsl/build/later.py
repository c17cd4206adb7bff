"""Edition 1 has more than this version enforces: the rest is parsed and kept as `Later`, to be refused."""

from collections.abc import Callable
from typing import Any

from ringfence.dsl.automaton import Machine
from ringfence.dsl.source import Span
from ringfence.dsl.syntax import Later, Name, Text


def _whole(construct: str) -> Callable[[list[Any], Span, Machine], Later]:
    return lambda children, span, machine: Later(construct, span)


def _head(construct: str) -> Callable[[list[Any], Span, Machine], Later]:
    """The span ends with the name, so that a report does not underline a whole block."""

    def build(children: list[Any], span: Span, machine: Machine) -> Later:
        name = next(child for child in children if isinstance(child, Name | Text))
        return Later(construct, span.to(name.span))

    return build


def _nothing(children: list[Any], span: Span, machine: Machine) -> None:
    """Part of a construct that is kept as a whole."""


LATER = {
    **{
        construct: _head(construct)
        for construct in (
            "ceiling",
            "use",
            "calendar",
            "function",
            "isolate",
            "order",
            "budget",
            "guarantee",
            "test",
        )
    },
    **{construct: _whole(construct) for construct in ("levels", "latency", "touches", "redact", "runs")},
    "may_start": _whole("may start"),
    "blast_radius": _whole("blast radius"),
    "result_is": _whole("result is"),
    "result_in_steps": _whole("result in steps"),
    "comes_from": _whole("comes from"),
    "comes_only_from": _whole("comes only from"),
    "carries": _whole("carries"),
    "after": _whole("after"),
    "during": _whole("during"),
    "calls_to": _whole("calls to"),
    **{
        part: _nothing
        for part in ("isolate_clause", "event", "test_step", "who", "invocation", "argument", "value", "pair")
    },
}
