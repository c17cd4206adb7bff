"""Who waits for which ticket: woken by this process at once, by others through the store's news."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from typing import Final

from ringfence.engine.enforcement.opening import Opening, store_error
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.bounded import PluginError, bounded, is_away
from ringfence.engine.seams.ports import Ticket

LOOK_AT_LEAST_EVERY_S: Final = 1.0
"""News is a hint that may be lost; this is how late an answer is noticed then."""

LOOK_AT_MOST_EVERY_S: Final = 0.05
"""News may come without end, where others write to the store."""


class Waits:
    """Waiters by ticket; while there are any, the engine's loop looks at their tickets in the store."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._lock = threading.Lock()
        self._waiting: dict[Future[None], tuple[Ticket, ...]] = {}
        self._looking = False

    def enter(self, run: Run, seen: Sequence[Ticket]) -> "Future[None]":
        """Return a future that comes when a ticket differs from `seen`, expires, or the run ends."""
        news: Future[None] = Future()
        with self._lock:
            self._waiting[news] = tuple(seen)
            look, self._looking = not self._looking, True
        with run.lock:
            run.waiting[news] = lambda: _ring(news)
            if run.state.halted is not None or run.ended:
                _ring(news)
        # A look that is under way may be past these, and they may have changed since they were seen.
        self._opening.loop.submit(self._look() if look else self._ring_if_changed(news, tuple(seen)))
        return news

    def leave(self, run: Run, news: "Future[None]") -> None:
        """Wait no more."""
        with self._lock:
            self._waiting.pop(news, None)
        with run.lock:
            run.waiting.pop(news, None)

    def wake(self, ticket_id: str) -> None:
        """Say that the ticket has changed."""
        with self._lock:
            woken = [news for news, seen in self._waiting.items() if any(t.id == ticket_id for t in seen)]
        for news in woken:
            _ring(news)

    async def _look(self) -> None:
        while True:
            with self._lock:
                waiting = [(news, seen) for news, seen in self._waiting.items() if not news.done()]
                if not self._waiting:
                    self._looking = False
                    return
            for news, seen in waiting:
                await self._ring_if_changed(news, seen)
            await self._news([ticket for _, seen in waiting for ticket in seen])

    async def _news(self, waited: Sequence[Ticket]) -> None:
        """Return when it is time to look again."""
        now_ns = self._opening.clock.now_ns()
        left = [(ticket.expires_ns - now_ns) / 1e9 for ticket in waited if ticket.expires_ns is not None]
        seconds = min([LOOK_AT_LEAST_EVERY_S, *(one for one in left if one > 0)])
        try:
            tickets = self._opening.ready.tickets
            await bounded(lambda: tickets.news(seconds=seconds), seconds=seconds + LOOK_AT_LEAST_EVERY_S)
        except Exception:  # the next look says whether the store answers, and tells whoever waits
            await asyncio.sleep(seconds)
        await asyncio.sleep(LOOK_AT_MOST_EVERY_S)

    async def _ring_if_changed(self, news: "Future[None]", seen: Sequence[Ticket]) -> None:
        try:
            changed = await bounded(lambda: self._changed(seen), seconds=self._opening.patience_s)
        except PluginError as error:
            if is_away(error):  # nothing is approved by it: an answer is seen when it is back
                return
            # Fails closed: whoever waits is told, and its call is not run.
            _ring(news, store_error("could not say who approved", error.__cause__ or error))
        else:
            if changed:
                _ring(news)

    async def _changed(self, seen: Sequence[Ticket]) -> bool:
        now_ns = self._opening.clock.now_ns()
        for ticket in seen:
            if ticket.expires_ns is not None and now_ns >= ticket.expires_ns:
                return True
            if await self._opening.ready.tickets.get(ticket.id) != ticket:
                return True
        return False


def _ring(news: "Future[None]", error: BaseException | None = None) -> None:
    try:
        if error is not None:
            news.set_exception(error)
        else:
            news.set_result(None)
    except InvalidStateError:  # rung already: one piece of news is enough
        pass
