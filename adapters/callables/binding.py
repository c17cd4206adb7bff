"""How a function is called as a tool: arguments by name, defaults applied, and back again.

What is decided is what the function at the bottom gets: a `functools.partial` is opened, so that the values
in it are decided with the others; of a method, the object that it is called on is no argument.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ringfence.engine.decision.calls import ToolCall

_Kind = inspect.Parameter
_RECEIVERS = ("self", "cls")
_BY_POSITION = (_Kind.POSITIONAL_ONLY, _Kind.POSITIONAL_OR_KEYWORD)
_BY_NAME = (*_BY_POSITION, _Kind.KEYWORD_ONLY)


class Binding:
    """Turns the arguments that a caller gives into a tool call and a body, and raises as Python would."""

    tool: str
    """The tool's name."""
    is_async: bool
    """The function is called with `await`."""
    function: Callable[..., Any]
    """What runs: the function in a partial."""
    code: Callable[..., Any]
    """The same, or of an object its `__call__`."""
    parameters: tuple[inspect.Parameter, ...]
    """Those that a policy decides, and `**more` if there is one."""

    def __init__(self, function: Callable[..., Any], tool: str | None = None) -> None:
        _refuse_descriptors(function)
        inner, self._args, self._kwargs = _opened(function)
        self.tool = tool if tool is not None else name_of(inner)
        self.function = inner
        self._signature = signature_of(inner, self.tool)
        self.code = _code_of(inner)
        self.is_async = inspect.iscoroutinefunction(self.code)
        self._has_receiver = _has_receiver(inner, self._signature)
        self.parameters = tuple(self._signature.parameters.values())[self._has_receiver :]
        self._names = frozenset(one.name for one in self.parameters if one.kind is not _Kind.VAR_KEYWORD)
        self._open_ended = len(self._names) < len(self.parameters)
        self._first = tuple(one.name for one in self.parameters if one.kind is _Kind.POSITIONAL_ONLY)
        by_position = all(one.kind in _BY_POSITION for one in self._signature.parameters.values())
        self._all_by_position = len(self._signature.parameters) if by_position else -1

    def call(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[ToolCall, Callable[[Mapping[str, Any]], Any]]:
        """Return the call, and what runs the function with its canonical arguments."""
        arguments, receiver = self._arguments((*self._args, *args), {**self._kwargs, **kwargs})
        schema = self._names | arguments.keys() if self._open_ended else self._names
        return ToolCall(self.tool, arguments, schema_names=schema), functools.partial(self.run, receiver)

    def run(self, receiver: tuple[Any, ...], arguments: Mapping[str, Any]) -> Any:
        """Call with the canonical arguments."""
        left = dict(arguments)
        first = [left.pop(name) for name in self._first]
        return self.function(*receiver, *first, **left)

    def _arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[dict[str, Any], tuple[Any, ...]]:
        """Bind as Python would; raise TypeError as Python would."""
        if not kwargs and len(args) == self._all_by_position:
            arguments = dict(zip(self._signature.parameters, args, strict=True))
        else:
            bound = self._signature.bind(*args, **kwargs)
            bound.apply_defaults()
            arguments = dict(bound.arguments)
        receiver: tuple[Any, ...] = ()
        if self._has_receiver:
            # SECURITY: what is not decided comes by position, from `object.method(…)`: no caller names it.
            if not args:
                raise TypeError(f"`{self.tool}` is a method: call it on an object")
            receiver = (arguments.pop(next(iter(self._signature.parameters))),)
        if self._open_ended:
            more = arguments.pop(self.parameters[-1].name)
            if twice := sorted(arguments.keys() & more.keys()):
                # SECURITY: by its name a policy decides one value, and the function would get two.
                raise TypeError(f"`{self.tool}` got two values for `{twice[0]}`")
            arguments |= more
        return arguments, receiver


def name_of(function: Callable[..., Any]) -> str:
    """Return what a tool is called that nobody has named: as its function, or its class."""
    name: str = getattr(_opened(function)[0], "__name__", type(function).__name__)
    return name


def body_of(function: Callable[..., Any]) -> Callable[[Mapping[str, Any]], Any]:
    """Return what runs a function with canonical arguments, and raises TypeError as Python would."""
    binding = Binding(function)
    needed = [one.name for one in binding.parameters if one.default is _Kind.empty and one.kind in _BY_NAME]

    def body(arguments: Mapping[str, Any]) -> Any:
        if missing := [name for name in needed if name not in arguments]:
            raise TypeError(f"`{missing[0]}` must be given")
        return binding.run((), arguments)

    return body


def signature_of(function: Callable[..., Any], tool: str) -> inspect.Signature:
    """Return the signature by whose names a policy decides; raise TypeError where there are none."""
    code = _code_of(function)
    if inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code):
        raise TypeError(
            f"`{tool}` is a generator: its body runs after the call was decided; return a list instead"
        )
    try:
        signature = inspect.signature(function)
    except ValueError:  # some functions written in C say nothing of themselves
        raise TypeError(
            f"`{tool}` has no signature: a policy decides arguments by name; guard a function around it"
        ) from None
    for one in signature.parameters.values():
        if one.kind is _Kind.VAR_POSITIONAL:
            raise TypeError(
                f"`{tool}` takes *{one.name}: a policy decides arguments by name; take one list instead"
            )
    return signature


def _opened(function: Callable[..., Any]) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """Return the function in a partial, and what the partial gives it."""
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    while isinstance(function, functools.partial):
        args, kwargs = (*function.args, *args), {**function.keywords, **kwargs}
        function = function.func
    return function, args, kwargs


def _code_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what runs when it is called: of an object, its `__call__`."""
    if inspect.isroutine(function) or inspect.isclass(function):
        return function
    called: Callable[..., Any] = type(function).__call__
    return called


def _has_receiver(function: Callable[..., Any], signature: inspect.Signature) -> bool:
    """Say whether it stands in the body of a class, for its objects: `self` or `cls` comes first."""
    around = getattr(function, "__qualname__", "").rpartition(".")[0]
    if not inspect.isfunction(function) or not around or around.endswith("<locals>"):
        return False
    first = next(iter(signature.parameters.values()), None)
    return first is not None and first.name in _RECEIVERS and first.default is _Kind.empty


def _refuse_descriptors(function: object) -> None:
    if isinstance(function, staticmethod | classmethod):
        kind = type(function).__name__
        raise TypeError(f"guard the function, then make it a {kind}: write `@{kind}` above `@guarded(…)`")
    if not callable(function):
        raise TypeError(f"a {type(function).__name__} is no function")
