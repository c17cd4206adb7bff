"""From core conditions to closures with three values.

Atoms catch every exception and give None: what cannot be decided counts against the caller, whichever
effect the clause has (law 3).  The shapes that policies are mostly made of have closures of their own,
because one decision runs several of them; everything else goes through `operand`.
"""

from collections.abc import Callable
from operator import ge, gt, le, lt
from typing import Any

from ringfence.dsl.checks.regex import full_match
from ringfence.dsl.compile import calendars, counting, recalled, traced
from ringfence.dsl.compile.operands import operand
from ringfence.dsl.plan import Condition, Json, Scope, Truth


def condition(core: Json) -> Condition:
    """Return the closure of a core condition; it is total."""
    return _CONDITIONS[core[0]](core)


def _true(core: Json) -> Condition:
    return lambda scope: True


def _false(core: Json) -> Condition:
    return lambda scope: False


def _not(core: Json) -> Condition:
    denied = _NEGATED.get(core[1][0])
    quick = None if denied is None else denied(core[1])
    if quick is not None:
        return quick
    inner = condition(core[1])

    def negation(scope: Scope) -> Truth:
        truth = inner(scope)
        return None if truth is None else not truth

    return negation


def _and(core: Json) -> Condition:
    between = _between(core, inside=True)
    if between is not None:
        return between
    parts = tuple(condition(part) for part in core[1:])
    if len(parts) == 2:
        first, second = parts

        def both(scope: Scope) -> Truth:
            one = first(scope)
            if one is False:
                return False
            other = second(scope)
            return other if one is True or other is False else None

        return both

    def all_of(scope: Scope) -> Truth:
        truth: Truth = True
        for part in parts:
            one = part(scope)
            if one is False:
                return False
            if one is None:
                truth = None
        return truth

    return all_of


def _between(core: Json, *, inside: bool) -> Condition | None:
    """Return the closure of `lowest <= argument <= highest`, or of its contrary; None for another shape."""
    if [part[0] for part in core[1:]] != [">=", "<="]:
        return None
    (_, left, lowest), (_, right, highest) = core[1:]
    if left[0] != "arg" or left != right or not lowest[0] == highest[0] == "const":
        return None
    name, least, most = left[1], lowest[1], highest[1]

    def argument_between(scope: Scope) -> Truth:
        try:
            return (least <= scope.arguments[name] <= most) is inside
        except Exception:  # fails closed: undecided counts against the caller
            return None

    return argument_between


def _or(core: Json) -> Condition:
    parts = tuple(condition(part) for part in core[1:])

    def any_of(scope: Scope) -> Truth:
        truth: Truth = False
        for part in parts:
            one = part(scope)
            if one is True:
                return True
            if one is None:
                truth = None
        return truth

    return any_of


def _boolean(core: Json) -> Condition:
    value = operand(core[1])

    def is_true(scope: Scope) -> Truth:
        try:
            found = value(scope)
        except Exception:  # fails closed: undecided counts against the caller
            return None
        return found if found is True or found is False else None

    return is_true


def _equal(core: Json) -> Condition:
    left, right = core[1], core[2]
    if left[0] == "calls" or right[0] == "calls":
        return counting.compared("==", left, right)
    if left[0] == "arg" and right[0] == "const":
        name, constant = left[1], right[1]

        def argument_is(scope: Scope) -> Truth:
            try:
                return scope.arguments[name] == constant  # type: ignore[no-any-return]
            except Exception:  # fails closed: undecided counts against the caller
                return None

        return argument_is
    if left[0] == "arg" and right[0] == "principal":
        name, attribute = left[1], right[1]

        def argument_is_principals(scope: Scope) -> Truth:
            try:
                return scope.arguments[name] == scope.principal[attribute]  # type: ignore[no-any-return]
            except Exception:  # fails closed: undecided counts against the caller
                return None

        return argument_is_principals
    one, other = operand(left), operand(right)

    def equal(scope: Scope) -> Truth:
        try:
            return one(scope) == other(scope)  # type: ignore[no-any-return]
        except Exception:  # fails closed: undecided counts against the caller
            return None

    return equal


def _ordered(operator: Callable[[Any, Any], bool]) -> Callable[[Json], Condition]:
    def make(core: Json) -> Condition:
        left, right = core[1], core[2]
        if left[0] == "calls" or right[0] == "calls":
            return counting.compared(core[0], left, right)
        if left[0] == "arg" and right[0] == "const":
            name, constant = left[1], right[1]

            def argument_ordered(scope: Scope) -> Truth:
                try:
                    return operator(scope.arguments[name], constant)
                except Exception:  # fails closed: undecided counts against the caller
                    return None

            return argument_ordered
        one, other = operand(left), operand(right)

        def ordered(scope: Scope) -> Truth:
            try:
                return operator(one(scope), other(scope))
            except Exception:  # fails closed: undecided counts against the caller
                return None

        return ordered

    return make


def _not_in(core: Json) -> Condition | None:
    left, right = core[1], core[2]
    if left[0] != "arg" or right[0] != "const":
        return None
    name, values = left[1], frozenset(right[1])

    def argument_not_in(scope: Scope) -> Truth:
        try:
            return scope.arguments[name] not in values
        except Exception:  # fails closed: undecided counts against the caller
            return None

    return argument_not_in


def _in(core: Json) -> Condition:
    left, right = core[1], core[2]
    if right[0] != "const":
        one, other = operand(left), operand(right)

        def among(scope: Scope) -> Truth:
            try:
                return one(scope) in other(scope)
            except Exception:  # fails closed: undecided counts against the caller
                return None

        return among
    values = frozenset(right[1])
    if left[0] == "arg":
        name = left[1]

        def argument_in(scope: Scope) -> Truth:
            try:
                return scope.arguments[name] in values
            except Exception:  # fails closed: undecided counts against the caller
                return None

        return argument_in
    value = operand(left)

    def within(scope: Scope) -> Truth:
        try:
            return value(scope) in values
        except Exception:  # fails closed: undecided counts against the caller
            return None

    return within


def _no_match(core: Json) -> Condition | None:
    if core[1][0] != "arg":
        return None
    name, matching = core[1][1], full_match(core[2])

    def argument_does_not_match(scope: Scope) -> Truth:
        try:
            return not matching(scope.arguments[name])
        except Exception:  # fails closed: undecided counts against the caller
            return None

    return argument_does_not_match


def _matches(core: Json) -> Condition:
    value, matching = operand(core[1]), full_match(core[2])

    def matches(scope: Scope) -> Truth:
        try:
            return matching(value(scope))
        except Exception:  # fails closed: undecided counts against the caller
            return None

    return matches


def _affix(test: Callable[[str, str], bool]) -> Callable[[Json], Condition]:
    def make(core: Json) -> Condition:
        value, part = operand(core[1]), operand(core[2])

        def has_affix(scope: Scope) -> Truth:
            try:
                return test(value(scope), part(scope))
            except Exception:  # fails closed: undecided counts against the caller
                return None

        return has_affix

    return make


def _present(core: Json) -> Condition:
    if core[1][0] == "field":
        return _field_present(core[1])
    kind, name = core[1]
    if kind == "principal":
        return lambda scope: name in scope.principal
    return lambda scope: name in scope.arguments


def _field_present(core: Json) -> Condition:
    value = operand(core[1])
    path = core[2]

    def field_present(scope: Scope) -> Truth:
        try:
            found = value(scope)
        except KeyError:  # the record itself was not given, so its field was not: `is missing` holds
            return False
        except Exception:  # fails closed: undecided counts against the caller
            return None
        for name in path:
            if not isinstance(found, dict):
                return None
            found = found.get(name)
            if found is None:
                return False
        return True

    return field_present


def _not_every(core: Json) -> Condition | None:
    among = _all_among(core)
    if among is None or core[2][0] != "arg":
        return None
    name = core[2][1]

    def argument_not_among(scope: Scope) -> Truth:
        try:
            elements = scope.arguments[name]
            return not among.issuperset(elements) if elements else None
        except Exception:  # fails closed: undecided counts against the caller
            return None

    return argument_not_among


def _all_among(core: Json) -> frozenset[Json] | None:
    """Return the set in which every element must be; None if the body says something else."""
    _, variable, _, body = core
    if body[0] == "in" and body[1] == ["var", variable] and body[2][0] == "const":
        return frozenset(body[2][1])
    return None


def _every(core: Json) -> Condition:
    _, variable, domain, body = core
    values = operand(domain)
    among = _all_among(core)
    if among is not None:

        def every_in(scope: Scope) -> Truth:
            try:
                elements = values(scope)
                return among.issuperset(elements) if elements else None
            except Exception:  # fails closed: undecided counts against the caller
                return None

        return every_in
    satisfied = condition(body)

    def every(scope: Scope) -> Truth:
        try:
            elements = values(scope)
            # "For all" over nothing would be true and help the caller; it is undecided (law 3).
            truth: Truth = True if elements else None
            bound = scope.bound
            for element in elements:
                bound[variable] = element
                one = satisfied(scope)
                if one is False:
                    return False
                if one is None:
                    truth = None
        except Exception:  # fails closed: undecided counts against the caller
            return None
        return truth

    return every


def _some(core: Json) -> Condition:
    _, variable, domain, body = core
    values, satisfied = operand(domain), condition(body)

    def some(scope: Scope) -> Truth:
        truth: Truth = False
        try:
            bound = scope.bound
            for element in values(scope):
                bound[variable] = element
                one = satisfied(scope)
                if one is True:
                    return True
                if one is None:
                    truth = None
        except Exception:  # fails closed: undecided counts against the caller
            return None
        return truth

    return some


_CONDITIONS: dict[str, Callable[[Json], Condition]] = {
    "true": _true,
    "false": _false,
    "not": _not,
    "and": _and,
    "or": _or,
    "true?": _boolean,
    "==": _equal,
    "<": _ordered(lt),
    "<=": _ordered(le),
    ">": _ordered(gt),
    ">=": _ordered(ge),
    "in": _in,
    "matches": _matches,
    "starts with": _affix(str.startswith),
    "ends with": _affix(str.endswith),
    "contains": _affix(str.__contains__),
    "present": _present,
    "every": _every,
    "some": _some,
    "after": recalled.after,
    "since": recalled.after,
    "ordered": recalled.ordered,
    "carries": recalled.carries,
    "comes_from": traced.comes_from,
    "comes_only_from": traced.comes_only_from,
    "during": calendars.during,
}

_NEGATED: dict[str, Callable[[Json], Condition | None]] = {
    "and": lambda core: _between(core, inside=False),
    "in": _not_in,
    "matches": _no_match,
    "every": _not_every,
}
"""Contraries with a closure of their own, because `require` makes one of every condition: the same truth
as of the general negation, undecided where that is; None for a shape that has none."""
