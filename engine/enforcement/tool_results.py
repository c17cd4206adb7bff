"""Where the value of a result sits inside what a framework's tool returns."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ringfence.dsl.plan import Json


@dataclass(frozen=True, slots=True)
class ResultLens:
    """Where the JSON value sits inside a framework's result: the content of (content, artifact)."""

    get: Callable[[Any], Json]
    set: Callable[[Any, Json], Any]
    """A result like the first argument, with this value in the place of its own."""
    make: Callable[[Json], Any] | None = None
    """A result from a recorded value alone, for a call that ran before the run was resumed."""


PLAIN = ResultLens(get=lambda result: result, set=lambda _, value: value)
"""The result is the value."""
