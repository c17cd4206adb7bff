"""A plain function as a tool: its arguments are bound, decided, and only then is it run."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any, TypeVar, cast

from ringfence.adapters.callables.binding import Binding, name_of
from ringfence.engine.enforcement.catalogue import undeclared
from ringfence.engine.enforcement.current import current_run
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import EngineError

F = TypeVar("F", bound=Callable[..., Any])

_SCAFFOLD = "python:MODULE:NAMES"
"""What `ringfence init --tools` reads plain functions from."""
_GUARDED = "ringfence_guarded"
"""Under this a guarded function keeps what it guards."""


@dataclass(frozen=True, slots=True)
class _Guarded:
    guard: Guard
    function: Callable[..., Any]
    wrapper: Callable[..., Any]


def guarded(guard: Guard, *, name: str | None = None, wait: bool = True) -> Callable[[F], F]:
    """Return a decorator that puts the guard before a function.

    The tool is called as the function (an object that can be called, as its class), unless `name` says
    otherwise; arguments are decided by the names of the parameters, defaults and what a `functools.partial`
    holds included, and the function gets the canonical ones.  Of a method, `self` is no argument.  Calls
    belong to the run around them (`with guard.run(…)`).

    Args:
        wait: Wait in place for people; False: raise PendingError instead.

    Raises:
        TypeError: The function is a generator, or takes `*args`, which have no names to be decided by.
        ValueError: It is guarded already.
    """

    def decorate(function: F) -> F:
        binding = Binding(function, name)
        tool = binding.tool
        if _mark_of(function) is not None or _mark_of(binding.function) is not None:
            raise ValueError(f"`{tool}` is guarded already: a call would be decided and charged twice")
        undeclared(guard, [tool], _SCAFFOLD)
        run_around = current  # a name of its own: the wrapper's globals are not those of this module

        async def aguarded(*args: Any, **kwargs: Any) -> Any:
            run = run_around(tool)
            call, body = binding.call(args, kwargs)
            return await guard.aexecute(run, call, body, wait=wait)

        def sguarded(*args: Any, **kwargs: Any) -> Any:
            run = run_around(tool)
            call, body = binding.call(args, kwargs)
            return guard.execute(run, call, body, wait=wait)

        made = _looking_like(function, cast(FunctionType, aguarded if binding.is_async else sguarded))
        made.__dict__[_GUARDED] = _Guarded(guard, function, made)
        return cast(F, made)

    return decorate


def _looking_like(function: Callable[..., Any], wrapper: FunctionType) -> FunctionType:
    """Return the wrapper with the function's names and signature; its types are those of its module."""
    names = getattr(function, "__globals__", wrapper.__globals__)
    made = FunctionType(wrapper.__code__, names, wrapper.__name__, None, wrapper.__closure__)
    copied = ("__dict__",) if inspect.isroutine(function) else ()  # an object's state is its own
    functools.update_wrapper(made, function, updated=copied)
    # SECURITY: who unwraps a function to call it (`inspect.unwrap`) must not come to the bare one.
    del made.__wrapped__  # type: ignore[attr-defined]
    made.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    return made


def original_of(guard: Guard, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that `guarded` was put on, or the function itself.

    Raises:
        ValueError: It is guarded by another guard, or something is wrapped around its guard.
        TypeError: It is nothing that can be called.
    """
    if not callable(function):
        raise TypeError(f"a {type(function).__name__} is no function")
    known = _mark_of(function)
    if known is None:
        return function
    name = name_of(function)
    if known.guard is not guard:
        raise ValueError(f"`{name}` is guarded by another guard")
    if known.wrapper is not function:  # `functools.wraps` has handed the mark on
        raise ValueError(f"`{name}` is wrapped around a guarded function: wrap the function, then guard it")
    return known.function


def current(tool: str) -> Run:
    """Return the run around the call; raise EngineError if there is none."""
    run = current_run()
    if run is None:
        raise EngineError(
            f"`{tool}` was called outside of any run",
            help="call it inside `with guard.run(principal=…)`",
        )
    return run


def _mark_of(function: object) -> _Guarded | None:
    known: _Guarded | None = getattr(function, "__dict__", {}).get(_GUARDED)
    return known
