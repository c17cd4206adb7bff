"""Which walls workers have proved, as far as is known now."""

import asyncio

from ringfence.plugins.isolate.starting import Ready, UnavailableError

_LOOKED_AT_AGAIN_S = 30.0
"""A report of a wall that is missing is old after so long: somebody may have mended the machine."""


class Walls:
    """What the last worker that started has said of itself, and who waits to hear it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ready: Ready | None = None
        self._until_s: float | None = None
        self._waiting: list[asyncio.Future[Ready]] = []

    def proved(self) -> Ready | None:
        """Return the report; None: there is none, or none that still counts."""
        if self._until_s is not None and self._loop.time() >= self._until_s:
            self._ready = self._until_s = None
        return self._ready

    def next(self) -> "asyncio.Future[Ready]":
        """Return the next report to come."""
        asked: asyncio.Future[Ready] = self._loop.create_future()
        self._waiting.append(asked)
        return asked

    def heard(self, ready: Ready) -> None:
        """Take in what a worker has said that no job has run in yet: nothing but our own program has."""
        whole = all(layer.holds for layer in ready.layers)
        self._ready, self._until_s = ready, None if whole else self._loop.time() + _LOOKED_AT_AGAIN_S
        self._tell(ready)

    def failed(self, error: UnavailableError) -> None:
        """Take in that a worker did not start: what is known of others counts no more."""
        self._ready = self._until_s = None
        self._tell(error)

    def _tell(self, news: Ready | UnavailableError) -> None:
        waiting, self._waiting = self._waiting, []
        for asked in waiting:
            if asked.done():  # whoever asked has given up
                continue
            if isinstance(news, UnavailableError):
                asked.set_exception(news)
            else:
                asked.set_result(news)
