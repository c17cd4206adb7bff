"""A run goes on in one invocation at a time: two from one saved state use up what the other was allowed."""

import threading
from weakref import WeakKeyDictionary

from ringfence.adapter import Guard

_LOCK = threading.Lock()
_TAKEN: WeakKeyDictionary[Guard, set[str]] = WeakKeyDictionary()
"""Runs that an invocation goes on with: a run has one at a time."""


def take(guard: Guard, run_id: str) -> bool:
    """Say that a run goes on here; False: it does elsewhere in this process."""
    with _LOCK:
        taken = _TAKEN.setdefault(guard, set())
        if run_id in taken:
            return False
        taken.add(run_id)
        return True


def let_go(guard: Guard, run_id: str) -> None:
    """Say that it no longer does."""
    with _LOCK:
        _TAKEN.get(guard, set()).discard(run_id)
