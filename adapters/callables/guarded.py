"""A plain function as a tool: its arguments are bound, decided, and only then is it run."""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.enforcement.current import current_run
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import EngineError

F = TypeVar("F", bound=Callable[..., Any])

_Kind = inspect.Parameter
_GUARDED = "ringfence_guarded"
"""Under this a guarded function keeps what it guards."""


@dataclass(frozen=True, slots=True)
class _Guarded:
    guard: Guard
    function: Callable[..., Any]
    wrapper: Callable[..., Any]


def guarded(guard: Guard, *, name: str | None = None, wait: bool = True) -> Callable[[F], F]:
    """Return a decorator that puts the guard before a function.

    The tool is called as the function, unless `name` says otherwise; arguments are decided by the names
    of the parameters, defaults applied, and the function gets the canonical ones.  Calls belong to the
    run around them (`with guard.run(…)`).

    Args:
        wait: Wait in place for people; False: raise PendingError instead.

    Raises:
        TypeError: The function is a generator, or takes `*args`, which have no names to be decided by.
    """

    def decorate(function: F) -> F:
        tool = name if name is not None else getattr(function, "__name__", type(function).__name__)
        signature = signature_of(function, tool)
        names = frozenset(
            one.name for one in signature.parameters.values() if one.kind is not _Kind.VAR_KEYWORD
        )
        open_ended = len(names) < len(signature.parameters)

        def call_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> ToolCall:
            arguments = _arguments(signature, args, kwargs)
            schema = names | arguments.keys() if open_ended else names
            return ToolCall(tool, arguments, schema_names=frozenset(schema))

        def body(arguments: Mapping[str, Any]) -> Any:
            return _run(function, signature, arguments)

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def aguarded(*args: Any, **kwargs: Any) -> Any:
                return await guard.aexecute(current(tool), call_of(args, kwargs), body, wait=wait)

            aguarded.__dict__[_GUARDED] = _Guarded(guard, function, aguarded)
            return cast(F, aguarded)

        @functools.wraps(function)
        def sguarded(*args: Any, **kwargs: Any) -> Any:
            return guard.execute(current(tool), call_of(args, kwargs), body, wait=wait)

        sguarded.__dict__[_GUARDED] = _Guarded(guard, function, sguarded)
        return cast(F, sguarded)

    return decorate


def original_of(guard: Guard, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that `guarded` was put on, or the function itself.

    Raises:
        ValueError: It is guarded by another guard, or something is wrapped around its guard.
        TypeError: It is nothing that can be called.
    """
    if not callable(function):
        raise TypeError(f"a {type(function).__name__} is no function")
    known: _Guarded | None = getattr(function, "__dict__", {}).get(_GUARDED)
    if known is None:
        return function
    name = getattr(function, "__name__", type(function).__name__)
    if known.guard is not guard:
        raise ValueError(f"`{name}` is guarded by another guard")
    if known.wrapper is not function:  # `functools.wraps` has handed the mark on
        raise ValueError(f"`{name}` is wrapped around a guarded function: wrap the function, then guard it")
    return known.function


def body_of(function: Callable[..., Any]) -> Callable[[Mapping[str, Any]], Any]:
    """Return what runs a function with canonical arguments."""
    signature = signature_of(function, getattr(function, "__name__", type(function).__name__))
    return lambda arguments: _run(function, signature, arguments)


def signature_of(function: Callable[..., Any], tool: str) -> inspect.Signature:
    """Return the signature by whose names a policy decides; raise TypeError where there are none."""
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"`{tool}` is a generator: its body runs after the call was decided; return a list instead"
        )
    signature = inspect.signature(function)
    for one in signature.parameters.values():
        if one.kind is _Kind.VAR_POSITIONAL:
            raise TypeError(
                f"`{tool}` takes *{one.name}: a policy decides arguments by name; take one list instead"
            )
    return signature


def _arguments(signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Bind as Python would; raise TypeError as Python would."""
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    arguments: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        if signature.parameters[name].kind is _Kind.VAR_KEYWORD:
            arguments |= value
        else:
            arguments[name] = value
    return arguments


def _run(function: Callable[..., Any], signature: inspect.Signature, arguments: Mapping[str, Any]) -> Any:
    """Call with the canonical arguments; an optional one that was decided as absent gets its default."""
    left = dict(arguments)
    args = [
        left.pop(one.name, one.default)
        for one in signature.parameters.values()
        if one.kind is _Kind.POSITIONAL_ONLY
    ]
    return function(*args, **left)


def current(tool: str) -> Run:
    """Return the run around the call; raise EngineError if there is none."""
    run = current_run()
    if run is None:
        raise EngineError(
            f"`{tool}` was called outside of any run",
            help="call it inside `with guard.run(principal=…)`",
        )
    return run
