"""What is seen while tests run, written down at once: a process that dies takes nothing of it along."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

_write = os.write  # before the suites' own plugins watch for calls that block an event loop


class Tally:
    """The lines of one of pytest's processes, each about the test that runs."""

    def __init__(self, file: Path) -> None:
        self.test = ""
        # Appended to by one descriptor: each line is whole, from whichever thread it comes.
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._say(seen="beginning")

    def body(self, tools: Iterable[str], *, through: bool) -> None:
        """A tool's body begins to run.

        Args:
            tools: The names of the tools whose body it is.
            through: A guard has let this call of the tool through.
        """
        self._say(seen="body", tools=sorted(tools), through=through)

    def call(self, tool: str) -> None:
        """A call comes to a guard."""
        self._say(seen="call", tools=[tool])

    def last_step(self) -> None:
        """An agent is at the last step that its graph may take."""
        self._say(seen="last step")

    def blind(self) -> None:
        """The test has taken away what sees bodies."""
        self._say(seen="blindness")

    def _say(self, **what: object) -> None:
        _write(self._file, json.dumps({"test": self.test, **what}).encode() + b"\n")
