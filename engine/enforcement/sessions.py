"""Sessions held by this process: leased before a run decides in them, given back after its last run."""

import asyncio
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from ringfence.engine.enforcement.drive import Steps
from ringfence.engine.enforcement.opening import Opening, store_error
from ringfence.engine.enforcement.presence import Holder
from ringfence.engine.seams.bounded import bounded
from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.wakes import arrival

T = TypeVar("T")

_PAUSE_S: Final = 0.05
_PAUSE_AT_MOST_S: Final = 1.0
"""Between two attempts to give a session back: doubled from the first to this."""


@dataclass(slots=True, eq=False)
class Holding:
    """One session as it is held from its first run here to its last, or until it is taken over."""

    runs: int = 0


class Sessions:
    """Counts the runs of each session, so that one that ends does not take the lease from the next."""

    def __init__(self, opening: Opening, holder: Holder) -> None:
        self._opening = opening
        self._holder = holder
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._held: dict[str, Holding] = {}
        self._asked: dict[str, Future[Any]] = {}
        """What the store was asked last about a session, until it has answered."""

    @property
    def holder(self) -> str:
        """Who leases: this guard in this process."""
        return self._holder.name

    def lease(self, session: str, then: Callable[[], Awaitable[None]] | None = None) -> Steps[Holding]:
        """Take the session, or take it once more; whoever did must `let_go`.

        Args:
            then: Awaited on the engine's loop once it is taken, before this returns; it never raises.

        Raises:
            EngineError: Another living process has it, or the store could not say.
        """
        holding = yield from self.try_lease(session, then)
        if isinstance(holding, str):
            raise EngineError(
                f"another living process holds the session `{session}`: {holding}",
                help="one process decides for a session at a time: end or suspend its run there",
            )
        return holding

    def try_lease(
        self, session: str, then: Callable[[], Awaitable[None]] | None = None
    ) -> Steps[Holding | str]:
        """Like `lease`; return the name of the living holder if another process has it."""
        with self._lock:
            if self._pid != os.getpid():  # a forked child holds nothing of what its parent does
                self._pid, self._held, self._asked = os.getpid(), {}, {}
            holding = self._held.setdefault(session, Holding())
            holding.runs += 1
        try:
            with self._lock:
                leases = self._opening.ready.leases
                leased = self._in_turn(session, lambda: leases.lease(session, self.holder), then)
            other: str | None = yield leased
        except BaseException as error:  # fails closed: two processes must never decide for one session
            self.let_go(session, holding)
            if isinstance(error, EngineError) or not isinstance(error, Exception):
                raise
            raise store_error("could not lease the session", error) from error
        if other is not None:
            self.let_go(session, holding)
            return other
        return holding

    def let_go(self, session: str, holding: Holding) -> "Future[Any] | None":
        """Need the session once less; return the future of giving it back if nobody here needs it."""
        with self._lock:
            holding.runs -= 1
            if holding.runs > 0 or self._held.get(session) is not holding:
                return None
            del self._held[session]
            # Inside the lock, so that it stands before the lease of a run that begins now.
            return self._release(session, _PAUSE_S)

    def holds(self, session: str, holding: Holding | None) -> bool:
        """Say whether the session is held still, as far as is known here."""
        with self._lock:
            return self._held.get(session) is holding

    async def lost(self, *, patience_s: float) -> frozenset[str]:
        """Ask which sessions another process has had meanwhile, and hold those no more."""
        with self._lock:
            held = dict(self._held)
        leases, lost = self._opening.ready.leases, set()
        for session in held:
            if not await bounded(partial(leases.holds, session, self.holder), seconds=patience_s):
                lost.add(session)
        with self._lock:
            for session in lost:
                if self._held.get(session) is held[session]:
                    del self._held[session]
        return frozenset(lost)

    # ---- one after another -------------------------------------------------------------------------

    def _in_turn(
        self, session: str, ask: Callable[[], Awaitable[T]], then: Callable[[], Awaitable[None]] | None = None
    ) -> "Future[T]":
        """Ask the store once it has answered what it was asked about this session before; under the lock.

        SECURITY: a store has many connections: a release that comes after the next lease would take it away,
        and another process could decide for the session while this one believes that it holds it.
        """
        asking = self._opening.in_time(_after(self._asked.get(session), ask))
        work = asking if then is None else _followed(asking, then)
        asked = self._asked[session] = self._opening.loop.submit(work)
        # What is told is the future itself: a callback that held it would be a reference cycle.
        asked.add_done_callback(lambda done: self._answered(session, done))
        return asked

    def _answered(self, session: str, asked: "Future[Any]") -> None:
        with self._lock:
            if self._asked.get(session) is asked:
                del self._asked[session]

    def _release(self, session: str, pause_s: float) -> "Future[None]":
        """Give the session back, and again while that fails and nobody here needs it; under the lock."""
        leases = self._opening.ready.leases
        released = self._in_turn(session, lambda: leases.release(session, self.holder))

        def look(done: "Future[Any]") -> None:
            # Else the session stood still everywhere for as long as this guard lives.
            if (done.cancelled() or done.exception() is not None) and self._opening.is_open:
                self._opening.loop.submit(self._release_again(session, pause_s))

        released.add_done_callback(look)
        return released

    async def _release_again(self, session: str, pause_s: float) -> None:
        await asyncio.sleep(pause_s)
        with self._lock:
            if session not in self._held and session not in self._asked and self._opening.is_open:
                self._release(session, min(2 * pause_s, _PAUSE_AT_MOST_S))


async def _followed(asking: Awaitable[T], then: Callable[[], Awaitable[None]]) -> T:
    other = await asking
    if other is None:
        await then()
    return other


async def _after(before: "Future[Any] | None", ask: Callable[[], Awaitable[T]]) -> T:
    if before is not None:
        with contextlib.suppress(Exception):  # whoever asked that was told
            await arrival(before)
    return await ask()
