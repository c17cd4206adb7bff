"""After a load: does the log verify, and does it say what the processes counted?

Both are asked of the command line, in a process that has seen nothing of the load.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from bench.load.mix import STEPS
from bench.load.reports import Report


@dataclass(frozen=True, slots=True)
class Checked:
    """What the log says."""

    intact: bool
    events: int
    runs: int
    faults: tuple[str, ...]


def checked(store: str, report: Report) -> Checked:
    """Verify the log, and compare it with what was counted."""
    verified = _told("verify", store)
    counted = _told("stats", store)
    faults = [] if verified["intact"] else [f"the log does not verify: {verified['fault']}"]
    if verified["purged"]:
        faults.append(f"the bodies of {verified['purged']:,} events are gone")
    faults += _differences(verified, counted, report)
    return Checked(verified["intact"], verified["events"], verified["runs"], tuple(faults))


def _differences(verified: dict[str, Any], counted: dict[str, Any], report: Report) -> list[str]:
    """Return in what the log says something else than the processes."""
    statuses = {name: runs for name, runs in counted["statuses"].items() if runs}
    pairs: list[tuple[str, object, object]] = [
        ("runs in the chain", verified["runs"], report.runs),
        ("runs by how they ended", statuses, {"done": report.runs}),
        ("runs that cannot be read", counted["runs_unread"], 0),
        ("calls", counted["calls"], report.calls),
    ]
    tools = {tool["tool"]: tool for tool in counted["tools"]}
    for name in dict.fromkeys(step.tool for step in STEPS):
        tool = tools.get(name, {"ran": 0, "finished": 0, "unknown": 0})
        pairs += [
            (f"bodies of {name} that were started", tool["ran"], report.ran_of(name)),
            (f"bodies of {name} that finished", tool["finished"], report.ran_of(name)),
            (f"bodies of {name} of which nothing more is known", tool["unknown"], 0),
        ]
    return [f"{what}: the log says {log}, the processes {own}" for what, log, own in pairs if log != own]


def _told(command: str, store: str) -> dict[str, Any]:
    """Return what a command says with `--json`.

    Raises:
        RuntimeError: It says nothing that can be read.
    """
    words = [sys.executable, "-m", "ringfence", command, "--json", "--store", store]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    try:
        told: dict[str, Any] = json.loads(done.stdout)
    except ValueError:  # the load fails: nobody knows what its log says
        raise RuntimeError(f"`ringfence {command}` ended with {done.returncode}: {done.stderr}") from None
    return told
