"""Sessions held by this process: leased before a run decides in them, given back after its last run."""

import os
import secrets
import threading
from concurrent.futures import Future
from typing import Any

from ringfence.engine.enforcement.drive import Steps
from ringfence.engine.enforcement.opening import Opening, store_error
from ringfence.engine.seams.errors import EngineError


class Sessions:
    """Counts the runs of each session, so that one that ends does not take the lease from the next."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._lock = threading.Lock()
        self._word = secrets.token_hex(12)
        self._pid = os.getpid()
        self._runs: dict[str, int] = {}

    @property
    def holder(self) -> str:
        """Who leases: this guard in this process.  A forked child is another one."""
        return f"{os.getpid()}-{self._word}"

    def lease(self, session: str) -> Steps[None]:
        """Take the session, or take it once more; whoever did must `let_go`.

        Raises:
            EngineError: Another living process has it, or the store could not say.
        """
        if not (yield from self.try_lease(session)):
            raise EngineError(
                f"another living process holds the session `{session}`",
                help="one process decides for a session at a time: end or suspend its run there",
            )

    def try_lease(self, session: str) -> Steps[bool]:
        """Like `lease`; return False if another living process has it."""
        with self._lock:
            if self._pid != os.getpid():  # a forked child holds nothing of what its parent does
                self._pid, self._runs = os.getpid(), {}
            self._runs[session] = self._runs.get(session, 0) + 1
        try:
            other: str | None = yield self._opening.submit(
                self._opening.ready.leases.lease(session, self.holder)
            )
        except BaseException as error:  # fails closed: two processes must never decide for one session
            self.let_go(session)
            if isinstance(error, EngineError) or not isinstance(error, Exception):
                raise
            raise store_error("could not lease the session", error) from error
        if other is not None:
            self.let_go(session)
        return other is None

    def let_go(self, session: str) -> "Future[Any] | None":
        """Need the session once less; return the future of giving it back if nobody here needs it."""
        with self._lock:
            left = self._runs.get(session, 0) - 1
            if left > 0:
                self._runs[session] = left
                return None
            self._runs.pop(session, None)
            # SECURITY: inside the lock, so that it stands before the lease of a run that begins now.
            return self._opening.submit(self._opening.ready.leases.release(session, self.holder))
