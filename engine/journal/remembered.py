"""Values that were hidden, to be hidden again where they come back in later texts.

They live in this process alone, for a session and all runs inside of its runs: written down, they would be
what must not reach the disk.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any, Final

from ringfence.dsl.plan import Json

MOST_VALUES: Final = 256
"""Values of one session that are remembered; the first ones are kept."""
SHORTEST_VALUE: Final = 8
"""A shorter one is hidden where it stands, and not looked for elsewhere."""
MOST_CHARACTERS: Final = 4 * 1024 * 1024
"""Of all values of one session together."""
_MOST_SESSIONS: Final = 1_000


class Why(IntEnum):
    """Why a value is hidden; the higher reason stays."""

    GIVEN = 0
    """It was given for a parameter that a policy redacts; what the redactor leaves of it is not known yet."""
    REDACTED = 1
    """A redactor made something else of it."""
    NAMED = 2
    """It stood under a name of the settings."""


class Remembered:
    """The hidden values of one session; any thread may ask and tell."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._why: dict[str, Why] = {}
        self._room = MOST_CHARACTERS
        self.values: tuple[str, ...] = ()
        """All that are looked for."""
        self.named: tuple[str, ...] = ()
        """Those that stood under a name of the settings."""

    def take(self, values: Iterable[str], why: Why) -> bool:
        """Remember values; say whether one is looked for from now on that was not before."""
        before = self.values
        with self._lock:
            for value in values:
                if value in self._why:
                    self._why[value] = max(self._why[value], why)
                elif (
                    len(value) >= SHORTEST_VALUE and len(self._why) < MOST_VALUES and len(value) <= self._room
                ):
                    self._why[value] = why
                    self._room -= len(value)
            self._settle()
            return self.values != before

    def settled(self, given: Json, decided: Json) -> None:
        """Take what redactors made of values: what they left as it was is no longer hidden."""
        left = set(texts_of(decided))
        with self._lock:
            for value in texts_of(given):
                if value in left and self._why.get(value) is Why.GIVEN:
                    del self._why[value]
                    self._room += len(value)
            self._settle()
        self.take([one for one in texts_of(given) if one not in left], Why.REDACTED)

    def _settle(self) -> None:
        self.values = tuple(self._why)
        self.named = tuple(value for value, why in self._why.items() if why is Why.NAMED)


class Sessions:
    """What is remembered of each session; of the sessions used least lately, nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions: OrderedDict[str, Remembered] = OrderedDict()

    def of(self, session: str, around: Remembered | None = None) -> Remembered:
        """Return what is remembered of a session.

        Args:
            around: What is remembered of the run around one that begins: it is the session's from now on.
        """
        with self._lock:
            if around is not None:
                self._sessions[session] = around
            found = self._sessions.setdefault(session, Remembered())
            self._sessions.move_to_end(session)
            if len(self._sessions) > _MOST_SESSIONS:
                self._sessions.popitem(last=False)
            return found


def texts_of(value: Any) -> list[str]:
    """Return the texts and numbers in a value, as texts; not without end."""
    found: list[str] = []
    heap = [value]
    while heap and len(found) < MOST_VALUES:
        part = heap.pop()
        if isinstance(part, str):
            found.append(part)
        elif isinstance(part, Mapping):
            heap.extend(part.values())
        elif isinstance(part, list | tuple):
            heap.extend(part)
        elif isinstance(part, float) or (type(part) is int and part.bit_length() <= 1024):
            found.append(str(part))
    return found
