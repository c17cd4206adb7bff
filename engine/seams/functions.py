"""What plugins answer for conditions: policy functions, and redactors of text.

Both are plain functions, marked by a decorator that reads their types.  They run on threads of the guard,
never on an event loop, each within its time limit; whatever they do wrong leaves the question unanswered,
which never helps the caller.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import FunctionType
from typing import Any, Final, Literal, NewType, TypeVar, get_args, get_origin, get_type_hints

Line = NewType("Line", str)
"""A text without line breaks: `line` in a policy."""
Email = NewType("Email", str)
"""One address, canonical: `email` in a policy."""
Url = NewType("Url", str)
"""An http or https address, canonical: `url` in a policy."""
Date = NewType("Date", str)
"""A day as `2026-11-23`: `date` in a policy."""

_TYPES: Final[dict[Any, str]] = {
    str: "text",
    Line: "line",
    int: "integer",
    float: "number",
    bool: "boolean",
    Email: "email",
    Url: "url",
    Date: "date",
}

LONGEST_MS: Final = 10_000
"""The longest time limit that a function may ask for."""

_MARK: Final = "__ringfence_function__"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class PolicyFunction:
    """A function of a plugin, with its types as a policy writes them."""

    kind: Literal["function", "redactor"]
    name: str
    takes: tuple[tuple[str, str], ...]
    """Parameter and type, in order."""
    gives: str
    timeout_ms: int
    call: Callable[..., Any]
    plugin: str = ""
    """The plugin that offers it; empty until it is registered."""

    @property
    def signature(self) -> str:
        """It, as a policy declares it: `is_customer(address: email) gives boolean`."""
        if self.kind == "redactor":
            return f"redactor {self.name}"
        return f"{self.name}({', '.join(f'{name}: {kind}' for name, kind in self.takes)}) gives {self.gives}"


def policy_function(*, timeout_ms: int = 50) -> Callable[[F], F]:
    """Offer a function to policies, that declare it: `function NAME(…) gives TYPE from "PLUGIN"`.

    Its annotations are its types: str, int, float, bool, `Line`, `Email`, `Url`, `Date`, and lists of these.
    It should only read.  It is asked at most once per decision and argument, on a thread, perhaps on several
    at once; its answers are recorded with the decision.

    Args:
        timeout_ms: After so many milliseconds there is no answer; at most 10,000.

    Raises:
        TypeError: A type is missing or none of a policy's, or it is no plain function.
    """
    return _marking("function", None, timeout_ms)


def redactor(name: str | None = None, *, timeout_ms: int = 250) -> Callable[[F], F]:
    """Offer a function from text to text to policies, that name it: `redact body with NAME`.

    Args:
        name: The NAME; None: the function's own.
        timeout_ms: After so many milliseconds there is no answer, and the call is denied; at most 10,000.

    Raises:
        TypeError: It is not a plain function from one text to a text.
    """
    return _marking("redactor", name, timeout_ms)


def offered(plugin: object) -> Iterator[PolicyFunction]:
    """Return what a plugin's marked functions offer, bound to it where they are methods."""
    for name in dir(plugin):
        mark = getattr(inspect.getattr_static(plugin, name, None), _MARK, None)
        if isinstance(mark, PolicyFunction):
            yield replace(mark, call=getattr(plugin, name))


def described(function: Callable[..., Any]) -> PolicyFunction:
    """Return what a marked function offers; raise TypeError for one that is not marked."""
    mark = getattr(function, _MARK, None)
    if not isinstance(mark, PolicyFunction):
        raise TypeError("the function is marked with neither `@policy_function` nor `@redactor`")
    return replace(mark, call=function)


def _marking(kind: Literal["function", "redactor"], name: str | None, timeout_ms: int) -> Callable[[F], F]:
    if isinstance(timeout_ms, bool) or not isinstance(timeout_ms, int) or not 1 <= timeout_ms <= LONGEST_MS:
        raise TypeError(f"`timeout_ms` is a whole number from 1 to {LONGEST_MS}")

    def mark(function: F) -> F:
        if not isinstance(function, FunctionType) or inspect.iscoroutinefunction(function):
            raise TypeError("a policy function is a plain `def`: it runs on a thread of its own")
        takes, gives = _types(function)
        if kind == "redactor" and ([one for _, one in takes] != ["text"] or gives != "text"):
            raise TypeError(f"the redactor `{function.__name__}` takes one `str` and gives a `str`")
        found = PolicyFunction(kind, name or function.__name__, takes, gives, timeout_ms, function)
        setattr(function, _MARK, found)
        return function

    return mark


def _types(function: FunctionType) -> tuple[tuple[tuple[str, str], ...], str]:
    hints = get_type_hints(function)
    takes = []
    for position, (name, parameter) in enumerate(inspect.signature(function).parameters.items()):
        if position == 0 and name == "self":
            continue
        if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            raise TypeError(f"`{function.__name__}` takes its arguments by position")
        takes.append((name, _written(hints.get(name), f"`{name}` of `{function.__name__}`")))
    return tuple(takes), _written(hints.get("return"), f"what `{function.__name__}` gives")


def _written(hint: Any, what: str) -> str:
    if get_origin(hint) is list:
        (element,) = get_args(hint)
        return f"list of {_written(element, what)}"
    kind = _TYPES.get(hint) if hint.__hash__ is not None else None
    if kind is None:
        raise TypeError(
            f"{what} has no type that a policy knows: "
            "str, int, float, bool, Line, Email, Url, Date, or a list of one of these"
        )
    return kind


def agrees(written: str, offered: str) -> bool:
    """Say whether a declared type is the offered one; bounds are the policy's own business."""
    return written.partition(" at most ")[0].strip() == offered
