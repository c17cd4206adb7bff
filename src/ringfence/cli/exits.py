"""What the exit code of a command says."""

FINE = 0
"""The command did its work and found nothing wrong."""
CANNOT_RUN = 1
"""The command could not do its work: a wrong word, a missing file, a store that does not open."""
REFUSED = 2
"""Denied; tests failed; a replay diverged; the log was changed."""
POLICY_INVALID = 3
"""The policy has mistakes and loads nothing."""
PENDING = 4
"""People have still to answer."""


class CommandError(Exception):
    """A command cannot go on: one clear sentence, and how to mend it."""

    def __init__(self, message: str, *, help: str = "", code: int = CANNOT_RUN) -> None:
        super().__init__(message)
        self.help = help
        self.code = code
