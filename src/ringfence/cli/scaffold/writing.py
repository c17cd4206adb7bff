"""The text of a first policy, from a live tool set.

Everything in it that a stranger wrote stands in a text, in a comment, or behind `is`; what cannot stand there
without harm is left out and counted.  The text is laid out by `fmt` and loaded before anybody gets it.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from urllib.parse import urlsplit

from ringfence.cli.scaffold.conditions import conditions_of
from ringfence.cli.scaffold.traits import CAPABILITIES, Guess, guess
from ringfence.cli.scaffold.words import NAME, Names, comment, name_like, quoted
from ringfence.dsl.diagnostic import draw
from ringfence.dsl.format import format_text
from ringfence.dsl.live import LiveTool, Parameters, Shape, parameters_of
from ringfence.dsl.live.takes import Untakable, said, type_of
from ringfence.dsl.load import Loaded, load_text
from ringfence.dsl.types import Type

AGENT = "main"
_SPECIAL = frozenset(
    {"true", "false", "not", "every", "some", "after", "during", "calls", "arg", "principal"}
)
"""At an operand these are words of the language: such a parameter is reached by `arg.NAME`."""
_DESCRIBED = 90
_SIGNED = frozenset({"destructive", "code", "money"})
"""Traits of what a person had better say yes to, each time."""
_APPROVER = (
    '#   approver lead { group "leads"  never the requester  answer within 15 minutes otherwise deny }'
)
_BY_WHOM = 'when principal.user in ["…"]'


@dataclass(slots=True)
class Written:
    """One tool as it was written."""

    name: str
    bound: str
    guess: Guess
    untaken: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Scaffold:
    """A first policy."""

    text: str
    loaded: Loaded
    tools: list[Written]
    unsayable: list[str]
    """Tools whose names no policy can say."""


def scaffold(
    policy: str, tools: Mapping[str, LiveTool], source: str, advance: Callable[[], None] = lambda: None
) -> Scaffold:
    """Write the policy.

    Args:
        policy: Its name.
        tools: By their names in the framework.
        source: Where they came from, in words for a person.
        advance: Told after each tool.
    """
    writer = _Writer(tools)
    laid = writer.text(policy, source, advance)
    loaded = load_text(laid, f"{policy}.fence", live=tools)
    if loaded.plan is None:
        wrong = draw([report for report in loaded.diagnostics if report.is_error])
        raise RuntimeError(f"the policy that was written has mistakes: a fault of the scaffold\n{wrong}")
    return Scaffold(laid, loaded, writer.written, writer.unsayable)


class _Writer:
    def __init__(self, tools: Mapping[str, LiveTool]) -> None:
        self._tools = tools
        self._names = Names()
        self._sets: list[str] = []
        self._set_names = Names()
        self.written: list[Written] = []
        self.unsayable: list[str] = []
        self._parameters = {name: parameters_of(tool) for name, tool in tools.items()}
        plain = {name for name in tools if NAME.fullmatch(name)}
        self._names.reserve(plain)
        # A name that could be a set, or a tool or parameter as well, does not load.
        parameters = {name for one in self._parameters.values() if one for name in one.shapes}
        self._set_names.reserve(plain | parameters)

    def text(self, policy: str, source: str, advance: Callable[[], None]) -> str:
        """Return the policy, laid out."""
        blocks = []
        for tool in self._tools.values():
            # One tool at a time: the trees of a large file all at once cost the collector twice the time.
            blocks.append(_laid(self._tool(tool)))
            advance()
        return "\n".join([_laid(self._head(policy, source)), *blocks])

    def _head(self, policy: str, source: str) -> Iterable[str]:
        needed = [name for name in CAPABILITIES if any(name in one.guess.needs for one in self.written)]
        open_ones = sum(one.guess.opens for one in self.written)
        lines = [
            "language 1",
            f"policy {policy}",
            "",
            comment(f"A first policy for {len(self._tools)} tools, by `ringfence init` from {source}"),
            comment("Read it whole. What a tool may do was guessed from its words, and words prove nothing."),
            comment(
                f"Open: {open_ones}. Closed: {len(self.written) - open_ones}; such a tool has no `allow`:"
            ),
            comment("the agent sees it, and every call of it is refused, until a person writes one."),
        ]
        if any(one.guess.traits & _SIGNED for one in self.written):
            lines += [
                "# Where a person must say yes, take these words in, with a group of yours, and `ask lead`:",
                _APPROVER,
            ]
        if self.unsayable:
            lines.append(comment(f"Left out, since no policy can say the name: {len(self.unsayable)}."))
        lines += ["", *(f"capability {name} is {', '.join(CAPABILITIES[name])}" for name in needed)]
        agent = self._names.take(AGENT)
        lines += ["", f"agent {agent} {{", *([f"holds {', '.join(needed)}"] if needed else [])]
        lines += ["stop after 5 minutes", "at most 100 calls", "at most 10 denials", "}", ""]
        return [*lines, *self._sets]

    # ---- one tool ----------------------------------------------------------------------------------

    def _tool(self, tool: LiveTool) -> Iterable[str]:
        bound = quoted(tool.name)
        if bound is None:
            self.unsayable.append(tool.name)
            yield comment(f"Left out, since no policy can say this name: {tool.name}", cut=_DESCRIBED)
            return
        name = tool.name if NAME.fullmatch(tool.name) else self._names.take(name_like(tool.name))
        parameters = self._parameters[tool.name] or Parameters({}, frozenset(), True)
        known = guess(tool, parameters.shapes)
        one = Written(name, tool.name, known)
        self.written.append(one)
        yield from _remarks(tool)
        yield f"tool {name} {'' if name == tool.name else f'is {bound} '}{{"
        yield f"needs {', '.join(known.needs)}"
        types = _types(parameters, one.untaken)
        if types:
            yield f"takes {', '.join(_takes(parameters, types))}"
        for remark in one.untaken:
            yield comment(f"Not in `takes`: {remark}; the schema alone types it.")
        for parameter, type in types.items():
            yield from self._conditions(name, parameter, type, parameters)
        example = _example(parameters, types) or ("always" if known.traits == {"read"} else _BY_WHOM)
        yield from _opened(known, example)
        yield "}"

    def _conditions(self, tool: str, name: str, type: Type, parameters: Parameters) -> Iterable[str]:
        reached, variable = _reached(name), _variable(parameters)

        def named(listed: str) -> str:
            chosen = self._set_names.take(f"{tool}_{name}"[:80])
            self._sets.append(f"set {chosen} = {listed}")
            return chosen

        told = conditions_of(reached, type, parameters.shapes[name], named, variable)
        for remark in told.unsaid:
            yield comment(f"Not written of `{name}`: {remark}.")
        if told.conditions:
            condition = " and ".join(told.conditions)
            is_optional = _is_optional(name, parameters)
            yield f"require {f'{reached} is missing or ({condition})' if is_optional else condition}"


def _laid(lines: Iterable[str]) -> str:
    """Return lines in the one layout."""
    laid = format_text("\n".join(lines)).text
    if laid is None:
        raise RuntimeError("the policy that was written cannot be read: a fault of the scaffold")
    return laid


def _remarks(tool: LiveTool) -> Iterable[str]:
    """Yield what the tool says of itself, as comments."""
    if tool.description.strip():
        yield comment(f"Its own words: {tool.description}", cut=_DESCRIBED)
    for hint, value in list(tool.annotations.items())[:10]:
        if isinstance(value, bool) and re.fullmatch(r"[A-Za-z]{1,40}", hint):
            yield comment(f"The server's own word, and not trusted: {hint} is {str(value).lower()}.")


def source_of(what: str) -> str:
    """Return where tools come from, fit for a file that others read: without what may be a secret."""
    kind, _, rest = what.partition(":")
    if kind != "mcp":
        return what
    if not rest.startswith(("http://", "https://")):
        return f"mcp:{rest.split(None, 1)[0]} …" if rest.split() else "mcp:"
    parts = urlsplit(rest)
    return f"mcp:{parts.scheme}://{parts.hostname}{parts.path}"


def _types(parameters: Parameters, untaken: list[str]) -> dict[str, Type]:
    types: dict[str, Type] = {}
    for name, shape in parameters.shapes.items():
        type = _type(shape)
        if not NAME.fullmatch(name):
            untaken.append(f"`{name[:40]}`, a name that no policy can say")
        elif isinstance(type, Untakable):
            untaken.append(f"`{name}`: {type.why}")
        else:
            types[name] = type
    return types


def _type(shape: Shape) -> Type | Untakable:
    """Return the type of a parameter; one that is enumerated is compared as the text that it is."""
    type = type_of(shape)
    if isinstance(type, Type) and shape.plain == "text" and shape.choices is not None:
        return Type("text", False, type.at_most, type.unit)
    return type


def _takes(parameters: Parameters, types: Mapping[str, Type]) -> Iterable[str]:
    for name, type in types.items():
        yield f"{name}: {said(type)}{' optional' if _is_optional(name, parameters) else ''}"


def _is_optional(name: str, parameters: Parameters) -> bool:
    return name not in parameters.required or "null" in parameters.shapes[name].kinds


# ---- open or closed --------------------------------------------------------------------------------


def _opened(known: Guess, example: str) -> Iterable[str]:
    if known.opens:
        yield comment(f"Open: {known.because}. Look whether it holds.")
        yield "allow always"
        yield "rate 60 per minute"
        return
    yield comment(f"Closed: {known.because}. To open it, write for example:")
    yield f"#   allow {example}"
    if known.traits & _SIGNED:
        yield "#   ask lead"
    if known.traits != {"read"}:
        yield "rate 10 per hour"
    else:
        yield "rate 60 per minute"


def _example(parameters: Parameters, types: Mapping[str, Type]) -> str | None:
    """Return a condition that a person may begin with: the most telling parameter, bounded by a list."""
    ordered = sorted(
        types, key=lambda name: _is_optional(name, parameters)
    )  # those that are always there first
    for kind, condition in _EXAMPLES:
        for name in ordered:
            type, reached = types[name], _reached(name)
            enumerated = parameters.shapes[name].choices is not None
            if type.kind != kind or enumerated or (type.is_list and kind in ("integer", "number")):
                continue
            variable = _variable(parameters)
            told = condition.format(variable if type.is_list else reached)
            if type.is_list:
                told = f"every {variable} in {reached} satisfies ({told})"
            return (
                f"when {reached} is present and {told}" if _is_optional(name, parameters) else f"when {told}"
            )
    return None


def _reached(name: str) -> str:
    return f"arg.{name}" if name in _SPECIAL else name


def _variable(parameters: Parameters) -> str:
    """Return what one element of a list is called: no parameter is."""
    return next(word for word in _variables() if word not in parameters.shapes)


def _variables() -> Iterable[str]:
    yield "one"
    yield from (f"one_{number}" for number in count(2))


_EXAMPLES: Sequence[tuple[str, str]] = (
    ("email", 'domain({}) == "your.example"'),
    ("url", 'host({}) in ["your.example"]'),
    ("text", '{} in ["…"]'),
    ("integer", "{} <= 100"),
    ("number", "{} <= 100"),
)
