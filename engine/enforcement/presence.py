"""Presence: a guard in a process says that it lives, and lets calls start only while that holds.

It attends from its first live run to its last.  Leases of sessions and the kill switch are told by a
heartbeat; either validity counts from before the request, on the real clock.  When one has lapsed, or the
orders to stop could not be read for as long, nothing starts: another process may have taken the sessions
over, and an operator may believe that everything has stopped.
"""

import asyncio
import contextlib
import math
import os
import secrets
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, Protocol

from ringfence.engine.enforcement.drive import Steps
from ringfence.engine.enforcement.opening import Opening
from ringfence.engine.seams.bounded import bounded
from ringfence.engine.seams.errors import EngineError, StoreAwayError

LOOK_WITHIN_S: Final = 15.0
"""How long ago the orders to stop may have been read while calls start."""

LINGER_S: Final = 1.0
"""How long a guard without a live run attends on: the next one often begins at once."""

RETRY_S: Final = 0.5
_OF_VALIDITY: Final = 0.9
"""The share of a validity that is used: clocks run apart, and a body starts a moment after the check."""

_BEATS: Final = 3
"""How often it says so within one validity."""


alive_ns: Final[Callable[[], int]] = (
    partial(time.clock_gettime_ns, time.CLOCK_BOOTTIME)
    if hasattr(time, "CLOCK_BOOTTIME")
    else time.monotonic_ns
)
"""The real clock, on which validity counts: it never steps, and goes on while the host sleeps."""


class Holder:
    """Who leases and attends: a guard in a process, as a person can find it."""

    def __init__(self) -> None:
        self._word = secrets.token_hex(6)
        self.now_ns: Callable[[], int] = alive_ns
        """The clock on which its validity counts; tests bring their own."""
        self._host = "".join(c if c.isalnum() or c in "-._" else "-" for c in socket.gethostname())

    @property
    def name(self) -> str:
        """Return `HOST/PID-WORD`.  A forked child is another one."""
        return f"{self._host}/{os.getpid()}-{self._word}"


class Watch(Protocol):
    """Orders to stop, as presence needs them; on the engine's loop."""

    @property
    def busy(self) -> bool:
        """True while an order was obeyed here and not acknowledged."""
        ...

    async def arrive(self) -> None:
        """Begin with the orders that come from now on."""
        ...

    async def look(self) -> None:
        """Read and obey what came since; raises if they cannot be read."""
        ...

    def begin(self) -> None:
        """Look by itself from now on."""
        ...

    def end(self) -> None:
        """Look no more."""
        ...


class Presence:
    """One per guard.  `attend` and `leave` count what needs it; in between `check` says whether it stands.

    Args:
        fence: Awaited after a lapse, before it stands again: gives up the runs whose session is lost.
    """

    def __init__(
        self,
        opening: Opening,
        holder: Holder,
        watch: Watch,
        fence: Callable[[], Awaitable[None]],
        *,
        look_within_s: float = LOOK_WITHIN_S,
        linger_s: float = LINGER_S,
    ) -> None:
        self.look_within_s = look_within_s
        self.linger_s = linger_s
        self._opening = opening
        self._holder = holder
        self._watch = watch
        self._fence = fence
        self._lock = threading.Lock()
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._needed = 0
        self._turns = 0
        self._left_ns = 0
        """When nobody needed it any more, the last time."""
        self._sleeps_until_ns: float = math.inf
        """When the heart looks again by itself; infinity while it is awake."""
        self._here = False
        """True from the first word to the stores until they were told that it is gone."""
        self._leased_until: float = 0
        self._attends_until: float = 0
        self._looked_until: float = 0
        self._until: float = 0
        """The earliest of the three."""
        self._next_ns: float = 0
        self._failure: BaseException | None = None
        self._door = asyncio.Lock()
        self._stirred = asyncio.Event()
        self._beating: asyncio.Task[None] | None = None

    # ---- from any thread ---------------------------------------------------------------------------

    @property
    def lapsed(self) -> bool:
        """True while nothing may start."""
        return self._holder.now_ns() >= self._until

    def check(self, run: str | None = None) -> None:
        """Raise EngineError if it has lapsed."""
        if self._holder.now_ns() >= self._until:
            raise self._error(run)

    def attend(self) -> Steps[None]:
        """Need it, and be there; whoever did must `leave`.

        Raises:
            EngineError: The stores cannot be told that this process lives.
        """
        with self._lock:
            if self._pid != os.getpid():  # a forked child attends by itself
                self._reset()
            self._needed += 1
            self._turns += 1
        try:
            trouble = yield from self.trouble()
            if trouble is not None:
                raise trouble
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        """Need it once less."""
        with self._lock:
            self._needed -= 1
            stir = False
            if self._needed == 0 and self._beating is not None:
                self._left_ns = self._holder.now_ns()
                # One that looks soon enough sleeps on: where runs follow each other, it looks now and then.
                stir = self._sleeps_until_ns > self._left_ns + self.linger_s * 1e9
        if stir:
            self._opening.loop.call_soon(self._stirred.set)

    def trouble(self, run: str | None = None) -> Steps[EngineError | None]:
        """Return why nothing may start, after one attempt to mend it; None: it stands."""
        if not self.lapsed:
            return None
        try:
            yield self._opening.submit(self._arrive())
        except EngineError as error:  # closed meanwhile
            return error
        except Exception as error:  # fails closed: told below
            self._failure = self._failure or error
        return self._error(run) if self.lapsed else None

    def _error(self, run: str | None) -> EngineError:
        now_ns = self._holder.now_ns()
        if self._here and min(self._leased_until, self._attends_until) > now_ns:
            what = f"the orders to stop could not be read for {self.look_within_s:g} s"
        else:
            what = "the store could not be told in time that this process lives"
        why = f": {self._failure}" if self._failure is not None and str(self._failure) else ""
        return StoreAwayError(
            f"{what}{why}",
            run=run,
            help="nothing starts until it answers again: see `ringfence doctor`",
        )

    # ---- on the engine's loop ----------------------------------------------------------------------

    def looked(self, asked_ns: int) -> None:
        """Take in that the orders to stop were read, asked for at this moment."""
        self._looked_until = asked_ns + self.look_within_s * 1e9
        self._recount()

    async def close(self) -> None:
        """Attend no more, whoever still needs it."""
        async with self._door:
            if self._here:
                beating = self._beating
                await self._go()
                if beating is not None:
                    beating.cancel()

    async def _arrive(self) -> None:
        async with self._door:
            if not self.lapsed:
                return
            if self._failure is not None and self._holder.now_ns() < self._next_ns:
                return  # another caller has just found that it cannot be mended
            try:
                await self._renew()
            finally:
                if self._here and self._beating is None:
                    self._beating = asyncio.ensure_future(self._beat())
                    self._watch.begin()

    async def _beat(self) -> None:
        """Renew in time, and say that it is gone when nobody has needed it for a moment."""
        quiet_ns: int | None = None
        turns = -1
        while True:
            self._sleeps_until_ns = math.inf
            now_ns = self._holder.now_ns()
            if not self._idle():
                quiet_ns = None
            elif quiet_ns is None or turns != self._turns:
                quiet_ns, turns = self._left_ns, self._turns
            gone_ns = math.inf if quiet_ns is None else quiet_ns + self.linger_s * 1e9
            if now_ns >= gone_ns:
                async with self._door:
                    if self._idle() and turns == self._turns:
                        await self._go()
                        return
            elif now_ns >= self._next_ns:
                async with self._door:
                    with contextlib.suppress(Exception):  # fails closed: what is not renewed lapses
                        await self._renew()
            else:
                self._stirred.clear()
                with contextlib.suppress(TimeoutError):
                    self._sleeps_until_ns = min(self._next_ns, gone_ns)
                    await asyncio.wait_for(self._stirred.wait(), (self._sleeps_until_ns - now_ns) / 1e9)

    def _idle(self) -> bool:
        return self._needed == 0 and not self._watch.busy

    async def _renew(self) -> None:
        """Tell both stores; the door is held."""
        try:
            await self._tell()
        except Exception as error:  # fails closed, and is tried again
            self._failure = error.__cause__ or error
            self._next_ns = self._holder.now_ns() + RETRY_S * 1e9
            raise

    async def _tell(self) -> None:
        """Each validity counts from before it was asked for."""
        opened, holder = self._opening.ready, self._holder.name
        asked_ns = self._holder.now_ns()
        first = not self._here
        if first:
            await self._watch.arrive()
            self._here = True
        leased, attends = await asyncio.gather(
            self._told(lambda: opened.leases.keep_alive(holder)),
            self._told(lambda: opened.kill_switch.keep_alive(holder)),
            return_exceptions=True,
        )
        beat_s = self.look_within_s / _BEATS
        if not isinstance(leased, BaseException):
            # SECURITY: answered after it had lapsed, somebody may have had a session in between.
            if not first and self._holder.now_ns() >= self._leased_until:
                await self._fence()
            self._leased_until = asked_ns + leased * _OF_VALIDITY * 1e9
            beat_s = min(beat_s, leased / _BEATS)
        if not isinstance(attends, BaseException):
            # SECURITY: whoever fell out counts as having obeyed all that it has not even read.
            now_ns, until = self._holder.now_ns(), asked_ns + attends * _OF_VALIDITY * 1e9
            if now_ns < self._attends_until:
                self._attends_until = until
            if not first and now_ns >= min(self._attends_until, self._looked_until):
                await self._watch.look()
            self._attends_until = until
            beat_s = min(beat_s, attends / _BEATS)
        self._recount()
        for answer in (leased, attends):
            if isinstance(answer, BaseException):
                raise answer
        self._failure = None
        self._next_ns = asked_ns + beat_s * 1e9

    async def _told(self, tell: Callable[[], Awaitable[float]]) -> float:
        return await bounded(tell, seconds=self.patience_s)

    @property
    def patience_s(self) -> float:
        """How long one word to a store may take."""
        return min(self._opening.patience_s, self.look_within_s / _BEATS)

    def _recount(self) -> None:
        self._until = min(self._leased_until, self._attends_until, self._looked_until) if self._here else 0

    async def _go(self) -> None:
        """Say that it is gone; the door is held."""
        opened, holder = self._opening.ready, self._holder.name
        self._here, self._beating = False, None
        self._recount()
        self._watch.end()
        goes: tuple[Callable[[], Awaitable[Any]], ...] = (
            lambda: opened.kill_switch.gone(holder),
            lambda: opened.leases.gone(holder),
        )
        for go in goes:
            # Fails closed: who cannot say that it is gone is waited for until its word has lapsed.
            with contextlib.suppress(Exception):
                await bounded(go, seconds=self.patience_s)
