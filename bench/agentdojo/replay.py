"""One recorded run with a guard at every call.

The recording is what happened; the guard only takes away.  A call that is denied, or that a person would be
asked about, is dropped from the environment and from the trace, and its result is not shown to the fold.
"""

from collections.abc import Callable
from dataclasses import dataclass

from bench.agentdojo.guards import Standing
from bench.agentdojo.recordings import Recording
from bench.agentdojo.suites import Bench

Make = Callable[[Recording], Standing]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run came out under one guard."""

    useful: bool
    attacked: bool
    calls: int
    """Those that reached the guard."""
    denied: tuple[tuple[str, str], ...]
    """Tool and reason of each call that was denied."""
    asked: tuple[tuple[str, str], ...]
    kept: tuple[str, ...]
    """The tools whose calls ran."""


def replay(recording: Recording, make: Make) -> Outcome:
    """Replay one run."""
    bench = Bench(recording)
    guard = make(recording)
    denied: list[tuple[str, str]] = []
    asked: list[tuple[str, str]] = []
    kept: list[str] = []
    calls = 0
    for call in recording.calls:
        arguments = bench.validated(call)
        if arguments is None:  # the framework refuses it before any guard, and did so in the recording
            bench.keep(call, run=False)
            continue
        calls += 1
        verdict, why = guard.decide(call.tool, arguments)
        if verdict == "ask":
            asked.append((call.tool, why))
        if verdict == "allow" or (verdict == "ask" and guard.approve):
            bench.keep(call, run=True)
            guard.ended(bench.result(call), failed=call.failed or call.result is None)
            kept.append(call.tool)
        elif verdict == "deny":
            denied.append((call.tool, why))
    return Outcome(bench.useful(), bench.attacked(), calls, tuple(denied), tuple(asked), tuple(kept))
