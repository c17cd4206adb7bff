"""The terminal that a person sits at: lines in, text out, and never in the engine loop's way."""

import asyncio
import os
import sys
from collections.abc import Callable
from typing import TextIO

Heard = Callable[[str | None], None]
"""Called on the loop with one typed line; None: the terminal will say no more."""


class Console:
    """Standard input and standard error, both of one terminal.

    Reading waits for the loop's readiness events, so it blocks nothing; writing happens on a thread,
    because a stopped terminal (Ctrl-S) blocks whoever writes to it.
    """

    def __init__(self, typed: TextIO, screen: TextIO) -> None:
        self._typed = typed.fileno()
        self._screen = screen
        self._buffer = b""
        self._listening: asyncio.AbstractEventLoop | None = None

    @classmethod
    def find(cls) -> "Console | None":
        """Return the terminal if there is one, and this process may read from it."""
        if sys.platform == "win32" or sys.stdin is None or sys.stderr is None:
            return None
        try:
            there = sys.stdin.isatty() and sys.stderr.isatty()
        except ValueError:  # closed: nobody can answer there
            return None
        return cls(sys.stdin, sys.stderr) if there and _in_foreground(sys.stdin.fileno()) else None

    async def write(self, text: str) -> None:
        """Show `text`; raise OSError or ValueError if the terminal is gone."""
        await asyncio.to_thread(write_to, self._screen, text)

    def discard_typed(self) -> None:
        """Forget what was typed so far: it was typed at something else."""
        # SECURITY: a `y` typed at the last question must not approve the next one.
        import termios

        self._buffer = b""
        termios.tcflush(self._typed, termios.TCIFLUSH)

    def listen(self, heard: Heard) -> None:
        """Call `heard` once, with the next line."""
        self._listening = asyncio.get_running_loop()
        self._listening.add_reader(self._typed, self._ready, heard)

    def hush(self) -> None:
        """Stop listening."""
        if self._listening is not None:
            self._listening.remove_reader(self._typed)
            self._listening = None

    def _ready(self, heard: Heard) -> None:
        try:
            # A background process that reads its terminal would be stopped by SIGTTIN.
            data = os.read(self._typed, 65_536) if _in_foreground(self._typed) else b""
        except OSError:  # the terminal is gone: nobody answers here, and nothing is approved
            data = b""
        if not data:
            self.hush()
            heard(None)
            return
        self._buffer += data
        line, newline, _ = self._buffer.replace(b"\r", b"\n").partition(b"\n")
        if newline:
            self.hush()
            self._buffer = b""
            heard(line.decode("utf-8", errors="replace"))


def write_to(screen: TextIO, text: str) -> None:
    """Write and flush; characters that the terminal's encoding lacks are written as escapes."""
    encoding = screen.encoding or "utf-8"
    screen.write(text.encode(encoding, errors="backslashreplace").decode(encoding))
    screen.flush()


def _in_foreground(terminal: int) -> bool:
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:  # not this process's controlling terminal: no job control, reading cannot stop us
        return True
