"""How much work a condition is, known before it is begun.

Every atom is linear in the values of the call, and a call is bounded by a megabyte (questions of provenance,
one for each element, bound themselves: `traced.MOST_QUESTIONS`); but a quantifier
inside a quantifier, or a search of a whole text or list for each element, multiplies two lengths that the
model chooses.  A clause that would take more than `MOST_STEPS` is undecided instead: the sum over all its
parts counts, so their order does not matter, and no clause takes from another.
"""

from collections.abc import Mapping

from ringfence.dsl.compile.closures import condition
from ringfence.dsl.plan import Condition, Json, Scope, Truth

MOST_STEPS = 2_000_000
"""About half a second.  A step is one look at an element, or 64 characters of a text."""

Variables = Mapping[str, tuple[int, int]]
"""Variable -> how many parts an element of its list has at most, and how long the longest is."""

_LOOPS = ("every", "some")
_JOINED = ("and", "or", "not")
_TEXT_SEARCHED = ("matches", "contains")
_TEXT_READ = ("bytes", "lower", "host", "domain", "urls", "emails")
_UNTYPED = ("field", "as")
_FUNCTIONS = (*_TEXT_READ, "count", *_UNTYPED)
_TRACED = ("comes_from", "comes_only_from")
_RECALLED = ("after", "since", "ordered", "during")
_PARSED = ("urls", "emails")
_CHARACTERS = 64
_PARSED_CHARACTERS = 4
"""The shortest address or URL is hardly shorter; reading one takes about as long as a step."""
_ADDRESS = 254
"""The longest e-mail address that `emails` gives (RFC 5321, 4.5.3.1)."""
_QUESTION = 200
"""Steps of one question of provenance, beside reading the value."""
_ASKED = 20_000
"""Steps of one question to a declared function: a hundred are too many, whatever they cost."""
_ANSWER = 1000
"""How long an answer is taken to be: what a plugin gives is the host's own, and no model chose it."""


def bounded(core: Json) -> Condition:
    """Return the closure of a core condition; undecided where it would be too much work.

    One that needs no bound says what it was made of, as `core`: see `certain`.
    """
    inner = condition(core)
    if not _multiplies(core, in_loop=False):
        inner.core = core  # type: ignore[attr-defined]  # a function takes any attribute
        return inner

    def within_bounds(scope: Scope) -> Truth:
        try:
            too_much = _steps(core, scope, {}) > MOST_STEPS
        except Exception:  # fails closed: a value of an odd shape is undecided
            return None
        return None if too_much else inner(scope)

    return within_bounds


def _multiplies(core: Json, *, in_loop: bool) -> bool:
    """Say whether two lengths of the call's values may be multiplied here."""
    kind = core[0]
    if kind in _JOINED:
        return any(_multiplies(part, in_loop=in_loop) for part in core[1:])
    if kind in _LOOPS:
        return in_loop or _multiplies(core[3], in_loop=True)
    if kind in _RECALLED or not in_loop:
        return False
    if kind in _TRACED:
        return True
    searched = kind in _TEXT_SEARCHED or kind == "in"
    operands = [part for part in core[1:] if isinstance(part, list)]
    if any(_asks(part) for part in operands):
        return True
    # What reads its own variable alone reads each element once: that is linear.
    return any(_whole(part) and (searched or part[0] in _TEXT_READ) for part in operands)


def _whole(operand: Json) -> bool:
    """Say whether an operand reads a value of the call, rather than an element of one."""
    while operand[0] in _FUNCTIONS:
        operand = _inside(operand)
    return bool(operand[0] in ("arg", "principal"))


def _given(operand: Json) -> bool:
    """Say whether an operand is a value of the call, or a field of one, as it was given."""
    return operand[0] in ("arg", "principal") or (operand[0] in _UNTYPED and _whole(operand))


def _asks(operand: Json) -> bool:
    """Say whether an operand is the answer of a declared function, or made from one."""
    while operand[0] in _FUNCTIONS:
        operand = _inside(operand)
    return bool(operand[0] == "call")


def _inside(operand: Json) -> Json:
    return operand[2] if operand[0] == "as" else operand[1]


def _steps(core: Json, scope: Scope, variables: Variables) -> int:
    """Return the most steps the condition can take."""
    kind = core[0]
    if kind in _JOINED:
        return sum(_steps(part, scope, variables) for part in core[1:])
    if kind in _LOOPS:
        _, variable, domain, body = core
        count, length = _elements(domain, scope, variables)
        # An element of an untyped list may be a list itself.
        parts = length if domain[0] == "as" else 1
        each = _steps(body, scope, {**variables, variable: (parts, length)})
        return _reading(domain, scope, variables) + count * (1 + each)
    if kind in _RECALLED:
        return 1
    if kind in _TRACED:
        count, _ = _elements(core[1], scope, variables)
        asking = max(count, 1) * _QUESTION + _length(core[1], scope, variables) // _PARSED_CHARACTERS
        return _reading(core[1], scope, variables) + asking * len(core[2])
    return 1 + sum(_reading(part, scope, variables) for part in core[1:] if isinstance(part, list))


def _elements(domain: Json, scope: Scope, variables: Variables) -> tuple[int, int]:
    """Return how many elements an operand has at most, and how long the longest is; a scalar is one."""
    kind = domain[0]
    if kind in _PARSED:
        length = _length(domain[1], scope, variables)
        text = _value(domain[1], scope) if _given(domain[1]) else None
        if isinstance(text, str) and kind == "urls":
            return text.count("://"), length
        if isinstance(text, str):
            return sum(map(text.count, "@＠﹫")), min(length, _ADDRESS)
        return length // _PARSED_CHARACTERS, length
    if kind == "const" or _given(domain):
        value = domain[1] if kind == "const" else _value(domain, scope)
        if isinstance(value, list):
            return len(value), max(map(_weight, value), default=0)
        return 1, _length(domain, scope, variables)
    if kind == "var":
        return variables[domain[1]]
    length = _length(domain, scope, variables)
    return (length, length) if kind in _UNTYPED or kind == "call" else (1, length)


def _reading(operand: Json, scope: Scope, variables: Variables) -> int:
    """Return the steps that reading an operand to its end takes."""
    kind = operand[0]
    if kind in _PARSED:
        inner = operand[1]
        return _reading(inner, scope, variables) + _length(inner, scope, variables) // _PARSED_CHARACTERS
    if kind == "const":
        return 0
    if kind == "call":
        return _ASKED + sum(_reading(part, scope, variables) for part in operand[2])
    if kind == "calls":
        return 1
    if _given(operand):
        value = _value(operand, scope)
        if isinstance(value, list):
            return len(value)
    elif kind in _UNTYPED:
        return _length(operand, scope, variables)
    return _length(operand, scope, variables) // _CHARACTERS


def _length(operand: Json, scope: Scope, variables: Variables) -> int:
    """Return how long the text is that an operand reads, at most; of a list or record, all of it."""
    kind = operand[0]
    if kind == "const":
        return len(operand[1]) if isinstance(operand[1], str) else 0
    if kind == "var":
        return variables[operand[1]][1]
    if kind == "call":
        return _ANSWER
    if _given(operand):
        value = _value(operand, scope)
        return len(value) if isinstance(value, str) else _weight(value)
    return _length(_inside(operand), scope, variables)


def _value(operand: Json, scope: Scope) -> Json:
    """Return what an argument, an attribute or a field of one is; None if there is nothing."""
    kind = operand[0]
    if kind == "as":
        return _value(operand[2], scope)
    if kind == "field":
        value = _value(operand[1], scope)
        for name in operand[2]:
            value = value.get(name) if isinstance(value, dict) else None
        return value
    return (scope.arguments if kind == "arg" else scope.principal).get(operand[1])


def _weight(value: Json) -> int:
    """Return how much there is in a value: its characters, and one for each part of it."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list):
        return len(value) + sum(map(_weight, value))
    if isinstance(value, dict):
        return len(value) + sum(map(_weight, value.values()))
    return 1
