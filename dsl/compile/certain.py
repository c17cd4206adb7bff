"""From a tool's plan to one function that says of most calls at once what its clauses say.

The tool's parameters, its denies, asks and its allow are put into one function, so that a call costs one
function call and not one for each clause and value.  The function knows *yes*, *no* and *cannot tell*.  Where
every value is of the usual kind and no clause is undecided, it gives the canonical arguments: alone if every
deny and ask is false and the allow is true, and with the clauses that speak if a deny is true or the allow is
false.  Otherwise, and where an ask or a shadow's deny speaks, it gives None, and the call is decided at
length, by the closures.

Tools of one shape share their function: what a policy says in it is handed in.

SECURITY: the source holds words of this file and numbers alone.  What a policy or a call says (names, texts,
constants) is an object that the function is given, and never stands in its source.
SECURITY: it never says yes where the closures would not, nor no for other clauses than they.  An atom is the
same operation on the same objects as in the closure that it stands for (`closures`, `operands`), and what is
undecided there raises here.  A text that must be one of the policy's for a yes is not looked through before
one: only before a no, which says nothing of one that is not ASCII.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import count
from typing import Any, NoReturn

from ringfence.dsl.checks.regex import ascii_match, full_match
from ringfence.dsl.compile.canonicalisers import declared_of
from ringfence.dsl.compile.operands import FUNCTIONS
from ringfence.dsl.plan import Certain, Condition, Json, Parameter, Told, ToolPlan
from ringfence.dsl.types import LARGEST, TEXTUAL, Type

MOST_CHARACTERS = 100_000
"""Calls with more text than this are decided at length, where their size is measured: six bytes for each
character, and what the names take, are less than a call may have."""

_MOST_OF_NAMES = 100_000
_MOST_SOURCE = 40_000
"""A longer function is not made: compiling it would take longer than it saves."""


class _AtLengthError(Exception):
    """Nothing of this shape is said at once."""


def certain(tool: ToolPlan) -> Certain | None:
    """Return what says at once what the clauses say of a call of this tool; None: of no known shape.

    It goes by the tool's own closures, which say what they were made of: where another condition was put in
    the place of a compiled one, nothing is said at once.
    """
    try:
        source = _Source(tool)
        function = _made(source.text())
    except Exception:  # fails closed: a shape that is not known here, or is too deep, is decided at length
        return None
    return Certain(function, tuple(source.objects))


@lru_cache(maxsize=1024)
def _made(text: str) -> Callable[[dict[str, Json], Mapping[str, Json], tuple[Any, ...]], Told]:
    if len(text) > _MOST_SOURCE:
        raise _AtLengthError
    names = dict(_WORDS)
    exec(compile(text, "<certain>", "exec"), names)  # SECURITY: no word of a policy is in it
    function: Callable[[dict[str, Json], Mapping[str, Json], tuple[Any, ...]], Told] = names["certain"]
    return function


def _undecided() -> NoReturn:
    raise _AtLengthError


def _truth(found: Json) -> bool:
    if found is True or found is False:
        return bool(found)
    raise _AtLengthError


_WORDS: dict[str, Any] = {
    "__builtins__": {},
    **{word.__name__: word for word in (all, any, bool, Exception, float, int, len, list, str, type)},
    "contains": str.__contains__,
    "ends": str.endswith,
    "starts": str.startswith,
    "truth": _truth,
    "undecided": _undecided,
}
"""All that a function may name beside its own variables."""


class _Source:
    """One function as it is written: its lines, and the objects that it is given."""

    def __init__(self, tool: ToolPlan) -> None:
        self.objects: list[object] = []
        self._arguments: dict[str, str] = {}
        """Parameter -> the expression that has its value, or raises."""
        self._ascii: set[str] = set()
        """Parameters whose value is a text of ASCII alone."""
        self._variables: dict[str, str] = {}
        self._numbers = count()
        self._sizes: list[str] = []
        self._characters = 0
        """What the texts that are not measured may have together."""
        self._unseen: list[str] = []
        """What looks through those texts, and adds what they have to `size`."""
        self._lines: list[str] = []
        if tool.parameters is None or len(tool.allows) != 1 or tool.allows[0].shadow:
            raise _AtLengthError
        if sum(100 + len(name) for name in tool.parameters) > _MOST_OF_NAMES:
            raise _AtLengthError
        self._equal: dict[str, int] = {}
        """Parameters of which a call that passes equals a text of the policy, or each element of a list does:
        all those texts are ASCII, and none is longer than this."""
        for clause in (*tool.denies, *tool.asks):
            self._learn(_core(clause.condition), False)
        if tool.allows[0].condition is not None:
            self._learn(_core(tool.allows[0].condition), True)
        for number, parameter in enumerate(tool.parameters.values()):
            self._take(parameter, f"a{number}")
        if self._characters > MOST_CHARACTERS:
            raise _AtLengthError
        required = sum(not one.optional for one in tool.parameters.values())
        more = " + more" if required < len(tool.parameters) else ""
        self._lines.append(f"if len(given) != {required}{more}: return None")
        if self._sizes:
            most = MOST_CHARACTERS - self._characters
            self._lines.append(f"if {' + '.join(self._sizes)} > {most}: return None")
        self._ask(tool)

    def _ask(self, tool: ToolPlan) -> None:
        """Write what the clauses say: a yes, or the numbers of those that speak (`Certain.tells`)."""
        numbers = count()
        for clause in tool.denies:
            # A shadow's deny or ask says nothing where it is false, as any other.
            speaks = "return None" if clause.shadow else f"spoken += ({next(numbers)},)"
            self._lines.append(f"if {self._condition(_core(clause.condition))}: {speaks}")
        for clause in tool.asks:
            self._lines.append(f"if {self._condition(_core(clause.condition))}: return None")
        allow = tool.allows[0].condition
        self._lines += [
            f"if {'True' if allow is None else self._condition(_core(allow))}:",
            "    if not spoken: return arguments",
            f"    spoken += ({next(numbers)},)",
            "else:",
            f"    spoken += ({next(numbers)},)",
        ]
        if self._unseen:
            self._count("size")
            self._lines += [*self._unseen, f"if {' + '.join(self._sizes)} > {MOST_CHARACTERS}: return None"]
        self._lines.append("return arguments, spoken")

    def text(self) -> str:
        """Return the source."""
        unpacked = "".join(f"{self._name(number)}, " for number in range(len(self.objects)))
        return "\n".join(
            [
                "def certain(given, principal, objects):",
                *([f"    ({unpacked}) = objects"] if unpacked else []),
                "    more = size = 0",
                "    spoken = ()",
                "    try:",
                "        arguments = given.copy()",
                *(f"        {line}" for line in self._lines),
                "    except Exception:",
                "        return None",
            ]
        )

    @staticmethod
    def _name(number: int) -> str:
        return f"o{number}"

    def _object(self, value: object) -> str:
        """Return the name under which the function has an object."""
        self.objects.append(_one(value) if type(value) in _SCALARS else value)
        return self._name(len(self.objects) - 1)

    def _learn(self, core: Json, truth: bool) -> None:
        """Note what is known of the parameters once a condition has this value."""
        match core:
            case ["not", inner]:
                self._learn(inner, not truth)
            case ["and" | "or" as word, *parts] if (word == "and") is truth:
                for part in parts:
                    self._learn(part, truth)
            case ["in", ["arg", name], ["const", [*values]]] if truth:
                self._note(name, values)
            case ["every", variable, ["arg", name], ["in", ["var", same], ["const", [*values]]]] if (
                truth and same == variable
            ):
                self._note(name, values)

    def _note(self, name: str, values: list[Json]) -> None:
        # A text of another class is no text here: its kind is looked at whatever is known.
        if values and all(type(value) is str and value.isascii() for value in values):
            longest = max(map(len, values))
            self._equal[name] = min(longest, self._equal.get(name, longest))

    # ---- parameters ----------------------------------------------------------------------------------------

    def _take(self, parameter: Parameter, value: str) -> None:
        """Write what makes sure that an argument is its own canonical value, or makes that of it."""
        name = self._object(parameter.name)
        lines = [*self._usual(parameter, name, value)]
        if parameter.optional:
            self._arguments[parameter.name] = f"arguments[{name}]"
            self._lines += [
                f"if {name} in arguments:",
                "    more += 1",
                f"    {value} = arguments[{name}]",
                f"    if {value} is None:",
                f"        del arguments[{name}]",
                "    else:",
                *(f"        {line}" for line in lines),
            ]
        else:
            self._arguments[parameter.name] = value
            self._lines += [f"{value} = arguments[{name}]", *lines]

    def _usual(self, parameter: Parameter, name: str, value: str) -> Iterable[str]:
        declared = declared_of(parameter.canonical)
        if declared is None:
            raise _AtLengthError
        kind, most = declared.kind, declared.at_most
        if declared.is_list and (kind in TEXTUAL or kind == "integer"):
            yield from self._elements(parameter, declared, name, value)
        elif kind == "text":
            self._ascii.add(parameter.name)
            within = "" if most is None else f" or len({value}) > {self._object(most)}"
            known = not parameter.optional and parameter.name in self._equal
            ascii_too = "" if known else f" or not {value}.isascii()"
            yield f"if type({value}) is not str{ascii_too}{within}: return None"
            if known:
                self._characters += self._equal[parameter.name]
                self._unseen += [f"if not {value}.isascii(): return None", f"size += len({value})"]
            else:
                yield from self._sized(parameter, value)
        elif kind in TEXTUAL:
            self._ascii.add(parameter.name)
            yield f"{value} = arguments[{name}] = {self._object(parameter.canonical)}({value})"
            yield f"if type({value}) is not str or not {value}.isascii(): return None"
            yield from self._sized(parameter, value)
        elif declared.is_list or most is not None:
            raise _AtLengthError
        elif kind == "integer":
            yield f"if type({value}) is not int or not {-LARGEST} <= {value} <= {LARGEST}: return None"
        elif kind == "number":
            # A float that is an integer becomes one: that is left to the closures.
            yield f"if type({value}) is float:"
            yield f"    if {value}.is_integer(): return None"
            yield f"elif type({value}) is not int: return None"
            yield f"if not {-LARGEST} <= {value} <= {LARGEST}: return None"
        elif kind == "boolean":
            yield f"if {value} is not True and {value} is not False: return None"
        else:
            raise _AtLengthError

    def _sized(self, parameter: Parameter, value: str) -> Iterable[str]:
        """Let a text count in the size of the call."""
        if parameter.optional:
            yield f"size += len({value})"
            self._count("size")
        else:
            self._count(f"len({value})")

    def _count(self, size: str) -> None:
        if size not in self._sizes:
            self._sizes.append(size)

    def _elements(self, parameter: Parameter, declared: Type, name: str, value: str) -> Iterable[str]:
        if declared.kind == "text":
            within = (
                "" if declared.at_most is None else f" or len({value}) > {self._object(declared.at_most)}"
            )
            yield f"if type({value}) is not list{within}: return None"
            yield f"{value} = arguments[{name}] = {value}.copy()"
        else:
            yield f"{value} = arguments[{name}] = {self._object(parameter.canonical)}({value})"
            yield f"if type({value}) is not list: return None"
        known = None if parameter.optional else self._equal.get(parameter.name)
        yield f"for element in {value}:"
        if declared.kind == "text" and known is not None:
            yield "    if type(element) is not str: return None"
            self._count(f"{known + 1} * len({value})")
            self._unseen += [
                f"for element in {value}:",
                "    if not element.isascii(): return None",
                "    size += len(element)",
            ]
            return
        if declared.kind == "integer":
            yield "    if type(element) is not int: return None"
            yield "    size += 4"
        else:
            yield "    if type(element) is not str or not element.isascii(): return None"
            yield "    size += len(element) + 1"
        self._count("size")

    # ---- conditions ----------------------------------------------------------------------------------------

    def _condition(self, core: Json) -> str:
        kind = core[0]
        match kind:
            case "true":
                return "True"
            case "false":
                return "False"
            case "not":
                return f"(not {self._condition(core[1])})"
            case "and" | "or":
                return "(" + f" {kind} ".join(self._condition(part) for part in core[1:]) + ")"
            case "true?":
                return f"truth({self._operand(core[1])})"
            case "==" | "<" | "<=" | ">" | ">=":
                return f"({self._operand(core[1])} {kind} {self._operand(core[2])})"
            case "in":
                among = _set(core[2]) if core[2][0] == "const" else None
                others = self._operand(core[2]) if among is None else self._object(among)
                return f"({self._operand(core[1])} in {others})"
            case "matches":
                # Of ASCII alone, the engine's answer need not be made a Boolean first.
                plain = ascii_match(core[2]) if core[1][0] == "arg" and core[1][1] in self._ascii else None
                matches = full_match(core[2]) if plain is None else plain
                return f"{self._object(matches)}({self._operand(core[1])})"
            case "starts with" | "ends with" | "contains":
                return f"{kind.split()[0]}({self._operand(core[1])}, {self._operand(core[2])})"
            case "present" if core[1][0] in ("arg", "principal"):
                return f"({self._object(core[1][1])} in {_HOLDERS[core[1][0]]})"
            case "every" | "some":
                return self._quantified(core)
        raise _AtLengthError

    def _quantified(self, core: Json) -> str:
        kind, variable, domain, body = core
        values = self._operand(domain)
        if kind == "every" and body[0] == "in" and body[1] == ["var", variable] and body[2][0] == "const":
            satisfied = f"{self._object(_set(body[2]))}.issuperset({values})"
        else:
            name = f"v{next(self._numbers)}"
            self._variables[variable] = name
            satisfied = f"{_OVER[kind]}({self._condition(body)} for {name} in {values})"
        # Of nothing, "for all" is undecided.
        return satisfied if kind == "some" else f"({satisfied} if {values} else undecided())"

    def _operand(self, core: Json) -> str:
        kind = core[0]
        match kind:
            case "const":
                return self._object(core[1])
            case "arg":
                return self._arguments[core[1]]
            case "principal":
                return f"principal[{self._object(core[1])}]"
            case "var":
                return self._variables[core[1]]
            case "count":
                return f"len({self._operand(core[1])})"
            case "bytes" if core[1][0] == "arg" and core[1][1] in self._ascii:
                return f"len({self._operand(core[1])})"
        if kind not in FUNCTIONS:
            raise _AtLengthError
        return f"{self._object(FUNCTIONS[kind])}({self._operand(core[1])})"


_SCALARS = (str, int, float)
_HOLDERS = {"arg": "arguments", "principal": "principal"}
_OVER = {"every": "all", "some": "any"}


def _core(condition: Condition | None) -> Json:
    """Return what a closure was made of; raise for one that does not say it, and where there is none."""
    core = getattr(condition, "core", None)
    if core is None:
        raise _AtLengthError
    return core


@lru_cache(maxsize=4096, typed=True)
def _one(value: object) -> object:
    """Return one object for all that are equal, so that what many tools name alike stays close at hand."""
    return value


def _set(core: Json) -> frozenset[Json]:
    return _shared(tuple(core[1]))


@lru_cache(maxsize=1024)
def _shared(values: tuple[Json, ...]) -> frozenset[Json]:
    """Return one set for all tools that name these values; 1 and true are the same to a set anyway."""
    return frozenset(values)
