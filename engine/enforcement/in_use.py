"""The guards in use: kept until they are closed, so that what they queued is written."""

import atexit
import logging
import os
from typing import Protocol


class Closable(Protocol):
    """A guard, as far as this module goes."""

    def close(self) -> None:
        """Write what is queued and close the store."""
        ...


GUARDS: set[Closable] = set()
"""Those that have opened and are not closed."""


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=GUARDS.clear)  # the parent's runs are the parent's to end


@atexit.register
def _close_guards() -> None:
    """Write what is queued at the normal end of the interpreter."""
    for guard in tuple(GUARDS):
        try:
            guard.close()
        except Exception as error:  # the process ends anyway; the log says what it has
            logging.getLogger("ringfence").error("closing the guard failed: %s", error)
