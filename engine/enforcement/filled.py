"""Defaults of the host's functions, filled in before a call that code makes is decided.

Any other call is decided on what its function would really receive; one from an isolate arrives as the text
that the code wrote, before any framework has looked at it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ringfence.dsl.canonical import loads_strict
from ringfence.dsl.plan import Json
from ringfence.engine.decision.arguments import MOST_BYTES


@dataclass(frozen=True, slots=True)
class FillingBody:
    """A body of `inner` whose function fills in what a call leaves out."""

    body: Callable[[Mapping[str, Json]], Any]
    defaults: Mapping[str, Json]

    def __call__(self, arguments: Mapping[str, Json]) -> Any:
        """Run the body."""
        return self.body(arguments)


def filled(body: Callable[..., Any] | None, text: str) -> tuple[Any, tuple[str, ...]]:
    """Return the arguments that are decided, and the names of those that the code did not give.

    Without defaults it is the text as the code wrote it; so is what no tool takes, or what is too
    large for any, and it is refused.
    """
    if not isinstance(body, FillingBody) or not body.defaults or len(text) > MOST_BYTES:
        return text, ()
    try:
        given = loads_strict(text)
    except (ValueError, RecursionError):
        return text, ()
    if type(given) is not dict:
        return text, ()
    missing = {name: value for name, value in body.defaults.items() if given.get(name) is None}
    return {**given, **missing}, tuple(sorted(missing))
