"""From core operands to closures that give a value, or raise: the atom around them is then *undecided*."""

from collections.abc import Callable
from typing import Any

from ringfence.dsl.compile.addresses import domain_of, emails_in, host_of, urls_in
from ringfence.dsl.compile.canonicalisers import canonicaliser
from ringfence.dsl.plan import Json, Question, Scope, UnfitError
from ringfence.dsl.types import Type

Operand = Callable[[Scope], Json]
"""Gives a value, or raises: the atom around it turns that into *undecided*."""


def operand(core: Json) -> Operand:
    """Return the closure of a core operand; it raises where there is no value."""
    kind = core[0]
    if kind == "const":
        constant = core[1]
        return lambda scope: constant
    if kind == "arg":
        name = core[1]
        return lambda scope: scope.arguments[name]
    if kind == "principal":
        name = core[1]
        return lambda scope: scope.principal[name]
    if kind == "var":
        name = core[1]
        return lambda scope: scope.bound[name]
    if kind in _MADE:
        return _MADE[kind](core)
    function = FUNCTIONS[kind]
    if core[1][0] == "arg":
        argument = core[1][1]
        return lambda scope: function(scope.arguments[argument])
    inner = operand(core[1])
    return lambda scope: function(inner(scope))


def _field(core: Json) -> Operand:
    """Follow the names into a record; a missing one, and null, is no value."""
    record, path = operand(core[1]), tuple(core[2])

    def field(scope: Scope) -> Json:
        value = record(scope)
        for name in path:
            value = value[name]
        if value is None:
            raise UnfitError("null is no value")
        return value

    return field


def _as(core: Json) -> Operand:
    """Take an untyped value for what the rest of the condition needs; raise where it is something else."""
    kind, inner = core[1], operand(core[2])
    is_list, fits = kind.startswith("list of "), _FITS[kind.removeprefix("list of ")]

    def typed(scope: Scope) -> Json:
        value = inner(scope)
        if not (type(value) is list and all(map(fits, value)) if is_list else fits(value)):
            raise UnfitError(f"expected {kind}")
        return value

    return typed


_FITS: dict[str, Callable[[Json], bool]] = {
    "text": lambda value: type(value) is str,
    # SECURITY: Python says that True == 1; `record.count == 1` must not hold for true.
    "number": lambda value: type(value) is int or type(value) is float,
    "boolean": lambda value: type(value) is bool,
    "any": lambda value: True,
}


def _call(core: Json) -> Operand:
    """Ask a declared function; its answer must be of the type that its declaration gives."""
    _, name, operands, (kind, is_list, at_most, unit) = core
    arguments = tuple(map(operand, operands))
    canonical = canonicaliser(Type(kind, is_list, at_most, unit))

    def answer(scope: Scope) -> Json:
        question = Question(name, tuple(argument(scope) for argument in arguments))
        return canonical(scope.ask(question))

    return answer


_MADE: dict[str, Callable[[Json], Operand]] = {"field": _field, "as": _as, "call": _call}


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


FUNCTIONS: dict[str, Callable[[Any], Json]] = {
    "count": len,
    "bytes": _bytes,
    "lower": str.lower,
    "host": host_of,
    "domain": domain_of,
    "urls": urls_in,
    "emails": emails_in,
}
"""Each is a pure function of one value, and raises where it has none."""
