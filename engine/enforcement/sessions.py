"""Sessions held by this process: leased before a run decides in them, given back after its last run."""

import os
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

from ringfence.engine.enforcement.drive import Steps
from ringfence.engine.enforcement.opening import Opening, store_error
from ringfence.engine.enforcement.presence import Holder
from ringfence.engine.seams.bounded import bounded
from ringfence.engine.seams.errors import EngineError


@dataclass(slots=True, eq=False)
class Holding:
    """One session as it is held from its first run here to its last, or until it is taken over."""

    runs: int = 0


class Sessions:
    """Counts the runs of each session, so that one that ends does not take the lease from the next."""

    def __init__(self, opening: Opening, holder: Holder) -> None:
        self._opening = opening
        self._holder = holder
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._held: dict[str, Holding] = {}

    @property
    def holder(self) -> str:
        """Who leases: this guard in this process."""
        return self._holder.name

    def lease(self, session: str) -> Steps[Holding]:
        """Take the session, or take it once more; whoever did must `let_go`.

        Raises:
            EngineError: Another living process has it, or the store could not say.
        """
        holding = yield from self.try_lease(session)
        if isinstance(holding, str):
            raise EngineError(
                f"another living process holds the session `{session}`: {holding}",
                help="one process decides for a session at a time: end or suspend its run there",
            )
        return holding

    def try_lease(self, session: str) -> Steps[Holding | str]:
        """Like `lease`; return the name of the living holder if another process has it."""
        with self._lock:
            if self._pid != os.getpid():  # a forked child holds nothing of what its parent does
                self._pid, self._held = os.getpid(), {}
            holding = self._held.setdefault(session, Holding())
            holding.runs += 1
        try:
            other: str | None = yield self._opening.submit(
                self._opening.ready.leases.lease(session, self.holder)
            )
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
            # SECURITY: inside the lock, so that it stands before the lease of a run that begins now.
            return self._opening.submit(self._opening.ready.leases.release(session, self.holder))

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
