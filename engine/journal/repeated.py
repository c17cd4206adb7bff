"""What comes again in a record: a model is given the whole conversation at each turn.

A part that was recorded a turn ago, and is the same still, is written as it was then.  Whether it is the same
is asked of all that it holds, not of its identity: messages may be changed in place.
"""

import marshal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from ringfence.dsl.canonical import canonical
from ringfence.dsl.plan import Json
from ringfence.engine.decision.events import ModelAsked

T = TypeVar("T")

_SCALARS: Final = frozenset({str, int, float, bool, type(None)})
_VERSION: Final = 2
"""Of `marshal`: later ones write the same value in more than one way."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an event, and its canonical form."""

    said: Json
    written: bytes


class Repeated:
    """The parts of the last two requests of a run; any thread may ask."""

    def __init__(self) -> None:
        self._last: dict[bytes, Part] = {}
        self._before: dict[bytes, Part] = {}

    def parts(
        self, sources: Iterable[T], state: Callable[[T], object] | None, say: Callable[[T], Json]
    ) -> list[Part]:
        """Return what is said of each source.

        Args:
            state: Returns all of a source that `say` looks at; None: it may look at more, and is always
                asked.  No function: that holds of every source.
            say: What the log keeps of a source: JSON that `canonical` can write.
        """
        used: dict[bytes, Part] = {}
        found = []
        for source in sources:
            seen = None if state is None else state(source)
            key = _key(seen)
            part = None if key is None else self._last.get(key) or self._before.get(key)
            if part is None:
                said = say(source)
                part = Part(said, canonical(said))
                if key is not None and not _is_plain(seen):
                    key = None
            if key is not None:
                used[key] = part
            found.append(part)
        self._before, self._last = self._last, used
        return found


def asked_body(
    asked: ModelAsked, messages: Iterable[Part], tools: Part | None = None, parameters: Part | None = None
) -> bytes | None:
    """Return the body of a request, made from its parts; None: the general way describes what is odd."""
    try:
        offered = canonical(asked.tools) if tools is None else tools.written
        settings = canonical(asked.parameters) if parameters is None else parameters.written
        model, parent, request = map(canonical, (asked.model, asked.parent, asked.request))
    except ValueError:
        return None
    return b"".join(
        (
            b'{"messages":[', b",".join([part.written for part in messages]), b'],"model":', model,
            b',"parameters":', settings, b',"parent":', parent, b',"request":', request,
            b',"tools":', offered, b"}",
        )
    )  # fmt: skip


def _key(state: Any) -> bytes | None:
    """Return what is the same for equal values of the same types alone, where `_is_plain` says yes to one."""
    if state is None:
        return None
    try:
        return marshal.dumps(state, _VERSION)
    except ValueError:  # it holds more than plain values, or itself
        return None


def _is_plain(value: Any) -> bool:
    """Say whether a value is made of JSON's types alone, compared exactly, and of tuples.

    Else two different values could have one key: `marshal` writes the bytes of whatever has a buffer.  It has
    written the value, so that no part holds itself.
    """
    compounds = [(value,)]
    for compound in compounds:  # it grows as it is gone through
        for part in compound:
            kind = type(part)
            if kind in _SCALARS:
                continue
            if kind is dict:
                compounds += (tuple(part), tuple(part.values()))
            elif kind is list or kind is tuple:
                compounds.append(part)
            else:
                return False
    return True
