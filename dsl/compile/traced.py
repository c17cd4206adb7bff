"""Provenance: whether the elements of a value have a source among those that are named.

What prompts and results held is asked of `Scope.memory`; a set and what an approver wrote are known here.
Matches combine by Kleene's tables: an element has a source if one of the sources matches, whatever the
others say.
"""

from collections.abc import Callable

from ringfence.dsl.compile.operands import operand
from ringfence.dsl.compile.recalled import certain
from ringfence.dsl.plan import Condition, Json, Origin, Scope, Truth

MOST_QUESTIONS = 5_000
"""Elements times sources; a value with more is undecided, whatever its first elements are."""

Match = Callable[[Scope, Json], Truth]
"""Says whether one value (no list, no record) has a source; may raise."""


def comes_from(core: Json) -> Condition:
    """Return the closure of `x comes from S`: some element has a source in S."""
    value, matches = operand(core[1]), tuple(_match(origin, only=False) for origin in core[2])

    def some_from(scope: Scope) -> Truth:
        truth: Truth = False
        try:
            for element in _elements(value(scope), len(matches)):
                one = _matched(matches, scope, element)
                if one is True:
                    return True
                if one is None:
                    truth = None
        except Exception:  # fails closed: undecided counts against the caller
            return None
        return truth

    return some_from


def comes_only_from(core: Json) -> Condition:
    """Return the closure of `x comes only from S`: every element has a source in S; of none, undecided."""
    value, matches = operand(core[1]), tuple(_match(origin, only=True) for origin in core[2])

    def all_from(scope: Scope) -> Truth:
        try:
            elements = _elements(value(scope), len(matches))
            # "For all" over nothing would be true and help the caller; it is undecided (law 3).
            truth: Truth = True if elements else None
            for element in elements:
                one = _matched(matches, scope, element)
                if one is False:
                    return False
                if one is None:
                    truth = None
        except Exception:  # fails closed: undecided counts against the caller
            return None
        return truth

    return all_from


def _elements(value: Json, sources: int) -> list[Json]:
    elements = value if isinstance(value, list) else [value]
    if len(elements) * sources > MOST_QUESTIONS:
        raise ValueError("more questions than are asked of one value")
    for element in elements:
        if type(element) not in (str, int, float):
            # An untyped field may hold anything: true and a record are found in no text.
            raise ValueError("only texts and numbers have a source")
    return elements


def _matched(matches: tuple[Match, ...], scope: Scope, value: Json) -> Truth:
    truth: Truth = False
    for match in matches:
        try:
            one = match(scope, value)
        except Exception:  # fails closed: this source is undecided, the others keep their say
            one = None
        if one is True:
            return True
        if one is None:
            truth = None
    return truth


def _match(core: Json, *, only: bool) -> Match:
    kind = core[0]
    if kind == "set":
        values = frozenset(core[1])
        return lambda scope, value: value in values
    if kind == "approver":
        return lambda scope, value: core[1] in scope.edited
    origin = _origin(core, only)

    def recalled(scope: Scope, value: Json) -> Truth:
        if kind == "model" and core[1] in scope.edited:
            return False
        memory = scope.memory
        return None if memory is None else certain(memory.comes_from(value, origin))

    return recalled


def _origin(core: Json, only: bool) -> Origin:
    match core:
        case ["field", tool, path]:
            return Origin("field", tool, tuple(path), only=only)
        case ["tool", tool]:
            return Origin("tool", tool, only=only)
    return Origin(core[0], only=only)
