"""Which run the code at hand belongs to: set inside tool bodies and `with guard.run(...)`."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ringfence.engine.enforcement.runs import Run

_RUN: ContextVar["Run | None"] = ContextVar("ringfence_run", default=None)


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


def set_current(run: "Run") -> None:
    """Make `run` the current one for the rest of this context (a task or thread of its own)."""
    _RUN.set(run)
