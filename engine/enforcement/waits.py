"""Who waits for which answers: woken by this process at once, by others through the store's news.

What is known of a call's tickets is kept while somebody deals with it, so that the store is not asked for
what this process has just written there.  Whoever uses an answer up compares it with the store's.
"""

import asyncio
import os
import threading
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import replace
from typing import Final

from ringfence.engine.enforcement.opening import Opening, store_error
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.bounded import PluginError, bounded, is_away
from ringfence.engine.seams.ports import Ticket

LOOK_AT_LEAST_EVERY_S: Final = 1.0
"""News is a hint that may be lost; this is how late an answer is noticed then."""

LOOK_AT_MOST_EVERY_S: Final = 0.05
"""News may come without end, where others write to the store."""

LOOKED_AT_A_SECOND: Final = 1_000
"""So many tickets at most: where many are waited for, they are looked at less often."""

LOOKED_AT_ONCE: Final = 500
"""The most tickets that one reading of the store returns."""


class Followed:
    """The tickets of one call, while this process deals with it."""

    __slots__ = ("call", "changes", "news", "run", "tickets", "waited")

    def __init__(self, run: str, call: str, tickets: list[Ticket] | None) -> None:
        self.run = run
        self.call = call
        self.tickets = tickets
        """As the store had them last, oldest first; None: it must be asked."""
        self.changes: list[Ticket] | None = None
        """How this process has left one of them since the store is asked; None: it is not."""
        self.news: Future[None] | None = None
        """Comes when they have changed; None: nobody waits."""
        self.waited: tuple[Ticket, ...] = ()
        """Those whose answers are waited for."""

    def changed(self, ticket: Ticket) -> None:
        """Take in what this process has written."""
        if self.changes is not None:
            self.changes.append(ticket)
        self.tickets = _after(self.tickets, ticket)

    def read(self, found: list[Ticket]) -> None:
        """Take in what the store said."""
        self.tickets = found
        for ticket in self.changes or ():
            self.tickets = _after(self.tickets, ticket)
        self.changes = None


class Waits:
    """What is followed, by run and call; while anybody waits, the engine's loop looks at the store."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._lock = threading.Lock()
        self._followed: dict[tuple[str, str], list[Followed]] = {}
        self._waiting: dict[Followed, None] = {}
        self._look_goes_on: Future[None] | None = None
        """None: it has ended, since nobody waited."""
        self._pid = os.getpid()

    def follow(self, run: str, call: str, tickets: list[Ticket] | None) -> Followed:
        """Keep what is known of a call's tickets from now on; whoever asked for it must `leave`."""
        followed = Followed(run, call, tickets)
        with self._lock:
            self._followed.setdefault((run, call), []).append(followed)
        return followed

    def leave(self, followed: Followed) -> None:
        """Follow them no more."""
        name = (followed.run, followed.call)
        with self._lock:
            left = [one for one in self._followed[name] if one is not followed]
            if left:
                self._followed[name] = left
            else:
                del self._followed[name]

    def asks(self, followed: Followed) -> None:
        """Note from now on what this process changes: the store is about to be asked."""
        with self._lock:
            followed.changes = []

    def read(self, followed: Followed, found: list[Ticket]) -> list[Ticket]:
        """Take in what the store said; return it with what this process has changed since it was asked."""
        with self._lock:
            followed.read(found)
            return found if followed.tickets is None else followed.tickets

    def opened(self, followed: Followed, ticket: Ticket) -> None:
        """Take in that this process has put a question."""
        with self._lock:
            if followed.tickets is not None:
                followed.tickets = [*followed.tickets, ticket]

    async def swap(self, old: Ticket, new: Ticket) -> bool:
        """Change a ticket in the store, and tell whoever follows it; False: it is another by now.

        On the engine's loop, at once, and not when whoever changes it goes on: a look that comes between
        would have it read again.
        """
        swapped = await self._opening.ready.tickets.swap(old, new)
        if swapped:
            self.changed(new)
        return swapped

    def changed(self, ticket: Ticket) -> None:
        """Take in how this process has left a ticket in the store."""
        with self._lock:
            followed = self._followed.get((ticket.run, ticket.call), ())
            for one in followed:
                one.changed(ticket)
            rung = [one.news for one in followed if one.news is not None]
        for news in rung:
            _ring(news)

    def enter(self, run: Run, followed: Followed, waited: Sequence[Ticket]) -> "Future[None]":
        """Return a future that comes when one that is `waited` for has changed, expires, or the run ends."""
        news: Future[None] = Future()
        with self._lock:
            if self._pid != os.getpid():  # who waits in the parent does not wait in a forked child
                self._pid, self._look_goes_on = os.getpid(), None
                self._waiting.clear()
            followed.news, followed.waited = news, tuple(waited)
            self._waiting[followed] = None
            # One may have changed since the caller looked, and nobody was there to be told.
            known = followed.tickets is not None and all(one in followed.tickets for one in waited)
            if self._look_goes_on is None or self._look_goes_on.done():
                self._look_goes_on = self._opening.loop.submit(self._look())
        with run.lock:
            run.waiting[news] = lambda: _ring(news)
            over = run.state.halted is not None or run.ended
        if over or not known:
            _ring(news)
        return news

    def go_on(self, run: Run, followed: Followed) -> None:
        """Wait no more."""
        with self._lock:
            self._waiting.pop(followed, None)
            news, followed.news = followed.news, None
        if news is not None:
            with run.lock:
                run.waiting.pop(news, None)

    # ---- on the engine's loop ----------------------------------------------------------------------

    async def _look(self) -> None:
        while True:
            with self._lock:
                waiting = tuple(self._waiting)
                if not waiting:
                    self._look_goes_on = None
                    return
                waits = ((one, one.news, one.waited) for one in waiting)
                seen = [(one, news, tickets) for one, news, tickets in waits if news and not news.done()]
            for some in _parts(seen):
                await self._ring_changed(some)
            waited = [ticket for _, _, tickets in seen for ticket in tickets]
            await self._news(waited)
            pause_s = max(LOOK_AT_MOST_EVERY_S, len(waited) / LOOKED_AT_A_SECOND)
            await asyncio.sleep(min(pause_s, LOOK_AT_LEAST_EVERY_S))

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

    async def _ring_changed(self, some: Sequence["_Seen"]) -> None:
        """Ring those of whose tickets the store, or the clock, says otherwise than is known here."""
        ids = [ticket.id for _, _, seen in some for ticket in seen]
        try:
            stored = await bounded(lambda: self._stored(ids), seconds=self._opening.patience_s)
        except PluginError as error:
            if is_away(error):  # nothing is approved by it: an answer is seen when it is back
                self._ring_late(some)
                return
            if len(some) > 1:  # what is wrong with one ticket is nothing to the others
                for one in some:
                    await self._ring_changed([one])
                return
            # Fails closed: whoever waits is told, and its call is not run.
            for _, news, _ in some:
                _ring(news, store_error("could not say who approved", error.__cause__ or error))
            return
        for followed, news, seen in some:
            if news.done():  # told meanwhile, and by whoever knows what has changed
                continue
            if any(stored.get(ticket.id) != ticket for ticket in seen):
                with self._lock:
                    followed.tickets = None
                _ring(news)
        self._ring_late(some)

    async def _stored(self, ids: Collection[str]) -> dict[str, Ticket]:
        # Within the plugin's bounds: nonsense for an answer would end the look, and nobody would look again.
        return {ticket.id: ticket for ticket in await self._opening.ready.tickets.those(ids)}

    def _ring_late(self, some: Sequence["_Seen"]) -> None:
        """Ring those one of whose tickets is past its time, which needs no store to be known."""
        now_ns = self._opening.clock.now_ns()
        for _, news, seen in some:
            if any(ticket.expires_ns is not None and now_ns >= ticket.expires_ns for ticket in seen):
                _ring(news)


def _after(known: list[Ticket] | None, ticket: Ticket) -> list[Ticket] | None:
    """Return the tickets of a call once one was left like this; None: that can only be read."""
    old = next((one for one in known or () if one.id == ticket.id), None)
    if known is None or old is None or ticket.edited is not None:
        return None
    if (ticket.status, ticket.answers) == (old.status, old.answers):
        return known
    # Each answer adds one; else writers have overtaken each other on the way here.
    if len(ticket.answers) != len(old.answers) + 1:
        return None
    # SECURITY: the rest stays as it was stored: whoever answered may have changed its own copy since.
    new = replace(old, status=ticket.status, answers=ticket.answers)
    return [new if one is old else one for one in known]


_Seen = tuple[Followed, "Future[None]", tuple[Ticket, ...]]
"""What is followed, who is told, and the tickets that are waited for, as they are known."""


def _parts(seen: Sequence[_Seen]) -> Iterator[Sequence[_Seen]]:
    """Yield them in parts of so many tickets as are looked at once, or of one call."""
    some: list[_Seen] = []
    count = 0
    for one in seen:
        if some and count + len(one[2]) > LOOKED_AT_ONCE:
            yield some
            some, count = [], 0
        some.append(one)
        count += len(one[2])
    if some:
        yield some


def _ring(news: "Future[None]", error: BaseException | None = None) -> None:
    try:
        if error is not None:
            news.set_exception(error)
        else:
            news.set_result(None)
    except InvalidStateError:  # rung already: one piece of news is enough
        pass
