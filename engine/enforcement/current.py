"""Which run the code at hand belongs to: set inside tool bodies and `with guard.run(...)`."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from ringfence.engine.seams.errors import EngineError

if TYPE_CHECKING:
    from ringfence.engine.enforcement.runs import Run

_RUN: ContextVar["Run | None"] = ContextVar("ringfence_run", default=None)
_CALL: ContextVar["tuple[Run, str] | None"] = ContextVar("ringfence_call", default=None)


def current_run() -> "Run | None":
    """Return the run around the caller, or None outside of any."""
    return _RUN.get()


@contextmanager
def inside(run: "Run") -> Iterator["Run"]:
    """Make `run` the current one for the block, in this task or thread and what it starts."""
    token = _RUN.set(run)
    try:
        yield run
    finally:
        _RUN.reset(token)


@contextmanager
def inside_call(run: "Run", call: str) -> Iterator[None]:
    """Make `run` and its `call` the current ones for the block: a body that runs in its caller's context."""
    tokens = _RUN.set(run), _CALL.set((run, call))
    try:
        yield
    finally:
        _CALL.reset(tokens[1])
        _RUN.reset(tokens[0])


def set_current(run: "Run", call: str) -> None:
    """Make `run` and its `call` the current ones for the rest of this context (a body's own)."""
    _RUN.set(run)
    _CALL.set((run, call))


current_call: Final = _CALL.get
"""Returns the run and the key of the call whose body the caller is in, or None."""


_ASKED: ContextVar[bool] = ContextVar("ringfence_asked", default=False)


@contextmanager
def inside_function() -> Iterator[None]:
    """Say, for the block, that a plugin is being asked: it may not use a guard from there."""
    token = _ASKED.set(True)
    try:
        yield
    finally:
        _ASKED.reset(token)


def refuse_plugins() -> None:
    """Raise EngineError inside a plugin's function: the call that asks it would wait for itself."""
    if _ASKED.get():
        raise EngineError(
            "a policy function called the guard while it was being asked",
            help="a policy function only reads: let it ask its own source, not an agent's tools",
        )
