"""Sees every call that comes to a guard, and marks the body that the guard lets it through to."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from inspect import iscoroutinefunction
from typing import Any

from inserted.tally import Tally
from ringfence import Guard

_INNERMOST: ContextVar[str | None] = ContextVar("inserted_innermost", default=None)


def innermost() -> str | None:
    """Return the tool whose body a guard let the code at hand through to, the innermost of several."""
    return _INNERMOST.get()


def at_the_guard(tally: Tally) -> None:
    """Write down every call of every guard."""
    for name in ("execute", "aexecute"):
        setattr(Guard, name, _executing(getattr(Guard, name), tally))
    for name in ("refuse", "arefuse"):
        setattr(Guard, name, _refusing(getattr(Guard, name), tally))


def _executing(method: Callable[..., Any], tally: Tally) -> Callable[..., Any]:
    @functools.wraps(method)
    def seen(self: Guard, run: Any, call: Any, body: Any, **options: Any) -> Any:
        tally.call(call.tool)
        return method(self, run, call, marked(call.tool, body), **options)

    return seen


def _refusing(method: Callable[..., Any], tally: Tally) -> Callable[..., Any]:
    @functools.wraps(method)
    def seen(self: Guard, run: Any, call: Any, why: str) -> Any:
        tally.call(call.tool)
        return method(self, run, call, why)

    return seen


def marked(tool: str, body: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the body of a call of this tool; `innermost` names the tool in all that it runs."""
    if iscoroutinefunction(body):

        async def awaited(arguments: Any) -> Any:
            with _inside(tool):
                return await body(arguments)

        return awaited

    def called(arguments: Any) -> Any:
        with _inside(tool):
            return body(arguments)

    return called


@contextmanager
def _inside(tool: str) -> Iterator[None]:
    token = _INNERMOST.set(tool)
    try:
        yield
    finally:
        _INNERMOST.reset(token)
