"""One after another, in the order of arrival, for threads and tasks alike.

The calls of a run are decided one at a time.  A waiter that gives up, by cancellation or interrupt,
never keeps the turn: either it leaves the queue, or it passes on the turn that had just reached it.
"""

import asyncio
import threading
from collections import deque
from concurrent.futures import Future

from ringfence.engine.enforcement.drive import Steps


class Place(Future[None]):
    """A place in the queue; done when its turn has come."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None, before: "frozenset[object]") -> None:
        super().__init__()
        self.loop = loop
        """The event loop that runs in the thread of who waits here, if one does."""
        self.before = before
        """The event loops that must go on before this turn can come."""


class Turnstile:
    """A first-in-first-out lock whose waiting is a future."""

    __slots__ = ("_busy", "_lock", "_loop", "_waiting")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Place] | None = None
        """None until somebody has waited: in most runs nobody does."""
        self._busy = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def enter(self) -> Place | None:
        """Take the turn and return None if it is free; else return the future that brings it."""
        loop = asyncio._get_running_loop()
        with self._lock:
            if not self._busy:
                self._busy, self._loop = True, loop
                return None
            waiting = self._waiting
            if waiting is None:
                waiting = self._waiting = deque()
            place = Place(loop, frozenset((self._loop, *(one.loop for one in waiting))) - {None})
            waiting.append(place)
            return place

    @property
    def busy(self) -> bool:
        """True while somebody has the turn."""
        return self._busy

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that runs in the thread of who has the turn, if one does."""
        return self._loop

    def leave(self) -> None:
        """Pass the turn on to the longest waiter that still wants it."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._busy = False
                    return
                place = self._waiting.popleft()
            # Between these two lines nobody holds the turn and `_busy` is still set: it is not lost.
            self._loop = place.loop
            if place.set_running_or_notify_cancel():
                place.set_result(None)
                return

    def give_up(self, place: Place) -> None:
        """Stop waiting at `place`; a turn that has already come is passed on."""
        if not place.cancel():
            self.leave()

    def turn(self) -> Steps[None]:
        """Wait for the turn; whoever gets it must `leave`."""
        place = self.enter()
        if place is not None:
            yield from self.reached(place)

    def reached(self, place: Place) -> Steps[None]:
        """Wait until the turn comes to this place; whoever gets it must `leave`."""
        try:
            yield place
        except BaseException:
            self.give_up(place)
            raise
