"""What a server's process left behind in sessions of its own, found by a mark in its environment.

The process group of a server ends with it; a child that made itself a daemon is in another one.  It still has
the environment that it was started with, unless it took care to lose that too.
"""

import os
import secrets
import signal
from pathlib import Path
from typing import Final

MARK: Final = "MCP_BEHIND_RINGFENCE"
"""The variable that marks a server's processes; its value is known to nobody else."""


def mark() -> str:
    """Return a value that no other server's processes have."""
    return secrets.token_hex(16)


def kill_survivors(value: str) -> None:
    """Kill every process of ours that has the mark.  Where there is no /proc, none is found."""
    wanted = f"{MARK}={value}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)
        except OSError:  # it has gone, or is somebody else's
            continue
