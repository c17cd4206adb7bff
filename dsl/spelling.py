"""Core conditions spelt in the words of the language again, for `explain` and for people who debug."""

import json

from ringfence.dsl.plan import Json
from ringfence.dsl.types import DAYS, duration_text, size_text

_OPPOSITE = {"==": "!=", "in": "not in"}
_FUNCTIONS = {"count": "size", "bytes": "size"}


def spell(core: Json) -> str:
    """Return a core condition as an author would write it."""
    match core[0]:
        case "always" | "true":
            return "always"
        case "false":
            return "never"
        case "and" | "or" as word:
            return f" {word} ".join(_part(part) for part in core[1:])
        case "not":
            return _negated(core[1])
        case "true?":
            return _operand(core[1])
        case "present":
            return f"{_operand(core[1])} is present"
        case "matches":
            return f"{_operand(core[1])} matches /{core[2].replace('/', chr(92) + '/')}/"
        case "every" | "some" as word:
            return f"{word} {core[1]} in {_operand(core[2])} satisfies ({spell(core[3])})"
        case "after":
            return f"after {_event(core[1])}{_extent(core[2])}"
        case "since":
            return f"after {_event(core[1])}{_extent(core[2])} with no {_event(core[3])} since"
        case "ordered":
            same = f" (same {core[3]})" if core[3] is not None else ""
            return f"in order after {' then '.join(_event(event) for event in core[2])}{same}"
        case "carries":
            return f"{_operand(core[1])} carries level {core[2]}"
        case "comes_from" | "comes_only_from" as word:
            sources = ", ".join(_origin(origin) for origin in core[2])
            return f"{_operand(core[1])} {word.replace('_', ' ')} [{sources}]"
        case "during":
            return _hours(core[1])
    return _pair(core, core[0])


def _pair(core: Json, word: str) -> str:
    _, left, right = core
    if left[0] == "bytes" and right[0] == "const" and isinstance(right[1], int):
        return f"{_operand(left)} {word} {size_text(right[1])}"
    return f"{_operand(left)} {word} {_operand(right)}"


def _event(event: Json) -> str:
    if event[0] == "reading":
        return f"reading level {event[1]}"
    kind, name = event[1]
    target = name if kind == "tool" else f"any tool that needs {name}"
    if len(event) == 2:
        return target
    groups = [
        (f"{', '.join(tools)} " if len(event[2]) > 1 else "", spell(where or ["always"]))
        for where, tools in event[2]
    ]
    return f"{target} where ({'; '.join(f'{tools}{where}' for tools, where in groups)})"


def _extent(extent: Json) -> str:
    match extent:
        case ["within", ms]:
            return f" within {duration_text(ms * 1_000_000)}"
        case ["run"]:
            return " within this run"
    return ""


def _origin(origin: Json) -> str:
    match origin:
        case ["set", values]:
            return json.dumps(values, ensure_ascii=False)
        case ["tool", tool]:
            return str(tool)
        case ["field", tool, path]:
            return ".".join((tool, *path))
    return str(origin[0])


def _hours(hours: Json) -> str:
    days = ", ".join(DAYS[day] for day in hours["days"])
    return f"during {days} {hours['from']} to {hours['to']} in {json.dumps(hours['zone'])}"


def _part(core: Json) -> str:
    return f"({spell(core)})" if core[0] in ("and", "or") else spell(core)


def _negated(core: Json) -> str:
    if core[0] == "present":
        return f"{_operand(core[1])} is missing"
    if core[0] in _OPPOSITE:
        return _pair(core, _OPPOSITE[core[0]])
    return f"not ({spell(core)})"


def _operand(core: Json) -> str:
    match core[0]:
        case "const":
            return json.dumps(core[1], ensure_ascii=False)
        case "arg" | "var":
            return str(core[1])
        case "principal":
            return f"principal.{core[1]}"
        case "field":
            return ".".join((_operand(core[1]), *core[2]))
        case "as":
            return _operand(core[2])
        case "call":
            return f"{core[1]}({', '.join(map(_operand, core[2]))})"
        case "calls":
            return f"calls to {_event(core[1])}{_extent(core[2])}"
    return f"{_FUNCTIONS.get(core[0], core[0])}({_operand(core[1])})"
