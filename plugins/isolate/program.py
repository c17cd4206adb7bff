"""How the worker's program is started: alone, with what it is told on its command line."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from ringfence.plugins.isolate.installed import Installed
from ringfence.plugins.isolate.starting import Kind, Program

LAYERS = frozenset(
    {
        "process",
        "no new privileges",
        "namespaces",
        "no capabilities",
        "dies with parent",
        "not dumpable",
        "limits",
        "Landlock",
        "seccomp",
        "V8 flags",
    }
)
"""The walls of `lockdown full`, by the names that the worker reports them under."""


def program(found: Installed, *, cpu_seconds: int) -> Program:
    """Return the command for workers with this V8.

    Args:
        cpu_seconds: Of a worker's whole life: what ends it should the parent not.
    """
    folder = Path(__file__).resolve().parent / "worker"

    def command(kind: Kind, descriptor: int) -> Sequence[str]:
        options = {"memory_bytes": kind.memory_bytes, "cpu_seconds": cpu_seconds}
        # `-I -S -B`: nothing of the environment, no site packages, nothing written.
        return [
            sys.executable,
            "-I",
            "-S",
            "-B",
            str(folder / "entry.py"),
            str(descriptor),
            str(found.folder),
            str(folder),
            json.dumps(options),
        ]

    return command
