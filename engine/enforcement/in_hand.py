"""One thing at a time is done with a run in this process: it begins, is resumed, or is looked after.

The session's lease tells processes apart, and not the threads of one.
"""

import threading
from concurrent.futures import Future

from ringfence.engine.enforcement.drive import Steps


class InHand:
    """The runs that somebody has in hand just now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: dict[str, Future[None]] = {}

    def take(self, run: str) -> Steps[None]:
        """Take the run, once whoever has it has given it back."""
        while (given_back := self._take(run)) is not None:
            yield given_back

    def try_take(self, run: str) -> bool:
        """Take the run, or return False if somebody has it."""
        return self._take(run) is None

    def give_back(self, run: str) -> None:
        """Be done with it."""
        with self._lock:
            given_back = self._taken.pop(run)
        given_back.set_result(None)

    def forget(self) -> None:
        """Forget what the parent of a forked child had in hand."""
        self._lock, self._taken = threading.Lock(), {}

    def __contains__(self, run: str) -> bool:
        with self._lock:
            return run in self._taken

    def _take(self, run: str) -> "Future[None] | None":
        """Take the run, or return what comes when it is given back."""
        with self._lock:
            other = self._taken.get(run)
            if other is None:
                mine = self._taken[run] = Future()
                mine.set_running_or_notify_cancel()
            return other
