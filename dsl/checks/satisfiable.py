"""Conditions that no call can make true (E120): contradictory bounds and sets in one conjunction.

Sound, not complete: what is reported is certain, what is not reported may still be impossible.
"""

from dataclasses import dataclass, field

from ringfence.dsl.checks.fold import FALSE
from ringfence.dsl.plan import Json


@dataclass(slots=True)
class _Term:
    """What a conjunction demands of one operand."""

    low: Json = None
    low_strict: bool = False
    high: Json = None
    high_strict: bool = False
    among: list[Json] | None = None
    excluded: list[Json] = field(default_factory=list)

    def impossible(self) -> bool:
        if self.among is not None:
            return not any(self._admits(value) for value in self.among)
        if self.low is None or self.high is None:
            return False
        return bool(self.low > self.high or (self.low == self.high and (self.low_strict or self.high_strict)))

    def _admits(self, value: Json) -> bool:
        if value in self.excluded:
            return False
        if self.low is not None and (value < self.low or (self.low_strict and value == self.low)):
            return False
        return self.high is None or not (value > self.high or (self.high_strict and value == self.high))

    def at_least(self, value: Json, strict: bool) -> None:
        if self.low is None or value > self.low or (value == self.low and strict):
            self.low, self.low_strict = value, strict

    def at_most(self, value: Json, strict: bool) -> None:
        if self.high is None or value < self.high or (value == self.high and strict):
            self.high, self.high_strict = value, strict

    def one_of(self, values: list[Json]) -> None:
        self.among = values if self.among is None else [value for value in self.among if value in values]


def never_true(core: Json) -> bool:
    """Return True if no call whatever makes the condition true."""
    return _never(_pushed(core, True))


def _pushed(core: Json, truth: bool) -> Json:
    """Return the condition, or its negation, with `not` at atoms only (De Morgan, as in Kleene's logic)."""
    match core[0]:
        case "not":
            return _pushed(core[1], not truth)
        case "true" | "false":
            return ["true" if (core[0] == "true") == truth else "false"]
        case "and" | "or" as word:
            dual = {"and": "or", "or": "and"}[word]
            parts: list[Json] = []
            for part in core[1:]:
                pushed = _pushed(part, truth)
                parts.extend(pushed[1:] if pushed[0] == (word if truth else dual) else [pushed])
            return [word if truth else dual, *parts]
    return core if truth else ["not", core]


def _never(core: Json) -> bool:
    match core[0]:
        case "false":
            return True
        case "or":
            return all(_never(part) for part in core[1:])
        case "and":
            return any(_never(part) for part in core[1:]) or _contradictory(core[1:])
        case "every" | "some":
            return bool(core[3] == FALSE or core[2] == ["const", []]) or never_true(core[3])
    return _contradictory([core])


def _contradictory(parts: list[Json]) -> bool:
    terms: dict[str, _Term] = {}
    for part in parts:
        negated = part[0] == "not"
        atom = part[1] if negated else part
        if atom[0] not in ("==", "<", "<=", ">", ">=", "in") or atom[2][0] != "const":
            continue
        subject, value = atom[1], atom[2][1]
        term = terms.setdefault(str(subject), _Term())
        if subject[0] in ("count", "bytes", "calls"):
            term.at_least(0, False)
        _demand(term, atom[0], value, negated)
    return any(term.impossible() for term in terms.values())


_NEGATED = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}


def _demand(term: _Term, operator: str, value: Json, negated: bool) -> None:
    if negated and operator in _NEGATED:
        operator, negated = _NEGATED[operator], False
    match operator:
        case "==" if negated:
            term.excluded.append(value)
        case "==":
            term.one_of([value])
        case "in" if negated:
            term.excluded.extend(value)
        case "in":
            term.one_of(value)
        case "<" | "<=":
            term.at_most(value, operator == "<")
        case _:
            term.at_least(value, operator == ">")
