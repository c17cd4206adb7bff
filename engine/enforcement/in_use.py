"""The guards in use: kept until they are closed, so that what they queued is written.

They are closed when the other threads that Python waits for have ended: until then these may use them.
"""

import atexit
import logging
import os
import time
from typing import Final, Protocol

EXIT_S: Final = 30.0
"""How long the end of the process waits for all guards: a plugin that hangs must not keep it alive."""


class Closable(Protocol):
    """A guard, as far as this module goes."""

    def close(self, *, within_s: float | None = None) -> None:
        """Write what is queued and close the store, and wait no longer than `within_s` for it."""
        ...


GUARDS: set[Closable] = set()
"""Those that have opened and are not closed."""


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=GUARDS.clear)  # the parent's runs are the parent's to end


@atexit.register
def _close_guards() -> None:
    """Write what is queued at the normal end of the interpreter."""
    until_s = time.monotonic() + EXIT_S
    for guard in tuple(GUARDS):
        try:
            guard.close(within_s=max(0.0, until_s - time.monotonic()))
        except Exception as error:  # the process ends anyway; the log says what it has
            logging.getLogger("ringfence").error("closing the guard failed: %s", error)
