"""Core conditions spelt in the words of the language again, for `explain` and for people who debug."""

import json
from collections.abc import Sequence

from ringfence.dsl.plan import Json
from ringfence.dsl.types import duration_text, size_text

_OPPOSITE = {"==": "!=", "in": "not in"}
_FUNCTIONS = {"count": "size", "bytes": "size"}
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def spell(core: Json, levels: Sequence[str] = ()) -> str:
    """Return a core condition as an author would write it; `levels` are the names of the ranks in it."""
    return _Speller(levels).condition(core)


def spell_operand(core: Json, levels: Sequence[str] = ()) -> str:
    """Return a core operand as an author would write it."""
    return _Speller(levels).operand(core)


class _Speller:
    """Spells cores of one policy, whose levels have these names."""

    def __init__(self, levels: Sequence[str]) -> None:
        self._levels = levels

    def condition(self, core: Json) -> str:
        match core[0]:
            case "always" | "true":
                return "always"
            case "false":
                return "never"
            case "and" | "or" as word:
                return f" {word} ".join(self._part(part) for part in core[1:])
            case "not":
                return self._negated(core[1])
            case "true?":
                return self.operand(core[1])
            case "present":
                return f"{self.operand(core[1])} is present"
            case "matches":
                slash = chr(92) + "/"
                return f"{self.operand(core[1])} matches /{core[2].replace('/', slash)}/"
            case "every" | "some" as word:
                return f"{word} {core[1]} in {self.operand(core[2])} satisfies ({self.condition(core[3])})"
            case "after":
                return f"after {self._event(core[1])}{_extent(core[2])}"
            case "since":
                since = self._event(core[3])
                return f"after {self._event(core[1])}{_extent(core[2])} with no {since} since"
            case "ordered":
                return self._ordered(core)
            case "carries":
                return f"{self.operand(core[1])} carries {self._level(core[2])}"
            case "comes_from":
                return f"{self.operand(core[1])} comes from {_origins(core[2])}"
            case "comes_only_from":
                return f"{self.operand(core[1])} comes only from {_origins(core[2])}"
            case "during":
                return _during(core[1])
        return self._pair(core, core[0])

    def operand(self, core: Json) -> str:
        match core[0]:
            case "const":
                return json.dumps(core[1], ensure_ascii=False)
            case "arg" | "var":
                return str(core[1])
            case "principal":
                return f"principal.{core[1]}"
            case "calls":
                return f"calls to {self._event(core[1])}{_extent(core[2])}"
            case "call":
                return f"{core[1]}({', '.join(self.operand(argument) for argument in core[2])})"
            case "field":
                return ".".join((self.operand(core[1]), *core[2]))
            case "as":
                return self.operand(core[2])
        return f"{_FUNCTIONS.get(core[0], core[0])}({self.operand(core[1])})"

    def _pair(self, core: Json, word: str) -> str:
        _, left, right = core
        if left[0] == "bytes" and right[0] == "const" and isinstance(right[1], int):
            return f"{self.operand(left)} {word} {size_text(right[1])}"
        return f"{self.operand(left)} {word} {self.operand(right)}"

    def _part(self, core: Json) -> str:
        return f"({self.condition(core)})" if core[0] in ("and", "or") else self.condition(core)

    def _negated(self, core: Json) -> str:
        if core[0] == "present":
            return f"{self.operand(core[1])} is missing"
        if core[0] in _OPPOSITE:
            return self._pair(core, _OPPOSITE[core[0]])
        return f"not ({self.condition(core)})"

    def _level(self, rank: int) -> str:
        return self._levels[rank] if rank < len(self._levels) else f"level {rank}"

    def _ordered(self, core: Json) -> str:
        _, name, events, same = core
        steps = " then ".join(self._event(event) for event in events)
        return f"in order {name} ({steps}{f', with the same {same}' if same else ''})"

    def _event(self, event: Json) -> str:
        if event[0] == "reading":
            return f"reading {self._level(event[1])}"
        kind, name = event[1]
        named = {"tool": str(name), "either": " or ".join(name)}.get(kind, f"any tool that needs {name}")
        wheres = [] if len(event) < 3 else [where for where, _ in event[2] if where is not None]
        if not wheres:
            return str(named)
        return f"{named} where ({' or '.join(dict.fromkeys(self.condition(where) for where in wheres))})"


def _extent(extent: Json) -> str:
    if extent[0] == "session":
        return ""
    return " within this run" if extent[0] == "run" else f" within {duration_text(extent[1] * 1_000_000)}"


def _origins(origins: Json) -> str:
    named = [_origin(origin) for origin in origins]
    return named[0] if len(named) == 1 else f"[{', '.join(named)}]"


def _origin(origin: Json) -> str:
    match origin[0]:
        case "set":
            return json.dumps(origin[1], ensure_ascii=False)
        case "tool":
            return str(origin[1])
        case "field":
            return ".".join((origin[1], *origin[2]))
    return str(origin[0])


def _during(hours: Json) -> str:
    days = hours["days"]
    # Days follow each other around the week, so the first is the one whose day before is not among them.
    first = next((day for day in days if (day - 1) % 7 not in days), days[0])
    last = _DAYS[(first + len(days) - 1) % 7]
    return f'during {_DAYS[first]} to {last} {hours["from"]} to {hours["to"]} in "{hours["zone"]}"'
