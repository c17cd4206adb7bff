"""`calls to …` beside a number: a count is known between bounds, and compared with what both bounds say."""

from collections.abc import Callable
from math import inf

from ringfence.dsl.compile.operands import operand
from ringfence.dsl.compile.recalled import watch_key
from ringfence.dsl.plan import Condition, Json, Scope, Truth

Bounds = tuple[int | float, int | float]
"""The least and the most that a number can be."""


def compared(operator: str, left: Json, right: Json) -> Condition:
    """Return the closure of a comparison with `calls to …` on a side.

    Calls in flight or failed count in the most and not in the least, so the comparison is undecided only
    where they could change it.
    """
    one, other, compare = _bounds(left), _bounds(right), _COMPARED[operator]

    def bounds_compared(scope: Scope) -> Truth:
        try:
            return compare(one(scope), other(scope))
        except Exception:  # fails closed: undecided counts against the caller
            return None

    return bounds_compared


def _bounds(core: Json) -> Callable[[Scope], Bounds]:
    if core[0] == "calls":
        key = watch_key(core)

        def counted(scope: Scope) -> Bounds:
            least, most = scope.memory.counted(key, now_ns=scope.now_ns)  # type: ignore[union-attr]  # None raises
            return least, inf if most is None else most

        return counted
    value = operand(core)

    def exact(scope: Scope) -> Bounds:
        number = value(scope)
        if type(number) is not int and type(number) is not float:
            raise TypeError("no number")
        return number, number

    return exact


def _equal(one: Bounds, other: Bounds) -> Truth:
    if one[1] < other[0] or other[1] < one[0]:
        return False
    return True if one[0] == one[1] == other[0] == other[1] else None


def _less(one: Bounds, other: Bounds) -> Truth:
    if one[1] < other[0]:
        return True
    return False if one[0] >= other[1] else None


def _at_most(one: Bounds, other: Bounds) -> Truth:
    if one[1] <= other[0]:
        return True
    return False if one[0] > other[1] else None


_COMPARED: dict[str, Callable[[Bounds, Bounds], Truth]] = {
    "==": _equal,
    "<": _less,
    "<=": _at_most,
    ">": lambda one, other: _less(other, one),
    ">=": lambda one, other: _at_most(other, one),
}
