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

MOST_VALUES: Final = 1024
"""Values of one session that are remembered; once there are more, every text of it is hidden as a whole."""
SHORTEST_VALUE: Final = 8
"""A shorter one is hidden where it stands, and not looked for elsewhere."""
MOST_CHARACTERS: Final = 4 * 1024 * 1024
"""Of all values of one session together."""
_MOST_SESSIONS: Final = 1_000
_MOST_PARTS: Final = 1_000_000
"""Parts of a value that are looked at; the arguments of a call have fewer."""


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
        self.full = False
        """A value could not be remembered, so that any text may repeat it."""

    def take(self, values: Iterable[str], why: Why) -> bool:
        """Remember values; say whether more is looked for from now on than before."""
        before = self.values, self.full
        with self._lock:
            for value in values:
                if value in self._why:
                    self._why[value] = max(self._why[value], why)
                elif len(value) < SHORTEST_VALUE:
                    continue
                elif len(self._why) < MOST_VALUES and len(value) <= self._room:
                    self._why[value] = why
                    self._room -= len(value)
                else:
                    # SECURITY: whoever fills the memory first must not have the next value written out.
                    self.full = True
            self._settle()
            return (self.values, self.full) != before

    def settled(self, given: Mapping[str, Json], decided: Mapping[str, Json]) -> None:
        """Take what redactors made of each parameter's values: what all left as it was is hidden no longer.

        Args:
            given: The hidden parameters alone: what another one repeats says nothing about a redactor.
        """
        changed: dict[str, None] = {}
        left: dict[str, None] = {}
        for name, value in given.items():
            kept = set(texts_of(decided.get(name)))
            for text in texts_of(value):
                (left if text in kept else changed)[text] = None
        with self._lock:
            for text in left.keys() - changed.keys():
                if self._why.get(text) is Why.GIVEN:
                    del self._why[text]
                    self._room += len(text)
            self._settle()
        self.take(changed, Why.REDACTED)

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
    heap, looked = [value], 0
    while heap and looked < _MOST_PARTS:
        looked += 1
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
