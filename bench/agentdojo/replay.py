"""One recorded run with a guard at every call.

The recording is what happened; the guard only takes away.  A call that is denied, or that a person is asked
about and nobody answers, is dropped from the environment and from the trace, and its result is not shown to
the fold.
"""

from collections.abc import Callable, Mapping

from bench.agentdojo.guards import Standing
from bench.agentdojo.outcomes import Outcome, Passage
from bench.agentdojo.recordings import Recording
from bench.agentdojo.suites import judged, tools_of

Make = Callable[[Recording], Standing]


def outcomes(recording: Recording, guards: Mapping[str, Make]) -> dict[str, Outcome]:
    """Replay one run under each guard; what keeps the same calls is judged once."""
    passages = {name: passage(recording, make) for name, make in guards.items()}
    verdicts: dict[tuple[bool | None, ...], bool] = {}
    for one in passages.values():
        if one.kept not in verdicts:
            left = zip(recording.calls, one.kept, strict=True)
            verdicts[one.kept] = judged(
                recording, [(call, bool(kept)) for call, kept in left if kept is not False]
            )
    return {name: Outcome(one, verdicts[one.kept]) for name, one in passages.items()}


def passage(recording: Recording, make: Make) -> Passage:
    """Put a guard at every call of a run."""
    tools = tools_of(recording.version, recording.suite)
    guard = make(recording)
    denied: list[tuple[str, str]] = []
    asked: list[tuple[str, str]] = []
    kept: list[bool | None] = []
    for call in recording.calls:
        arguments = tools.validated(call)
        if arguments is None:  # the framework refuses it before any guard, and did so in the recording
            kept.append(None)
            continue
        verdict, why = guard.decide(call.tool, arguments)
        if verdict == "deny":
            denied.append((call.tool, why))
        if verdict == "ask":
            asked.append((call.tool, why))
        runs = verdict == "allow" or (verdict == "ask" and guard.approve)
        kept.append(runs)
        if runs:
            guard.ended(tools.result(call), failed=call.failed or call.result is None)
    reached = sum(one is not None for one in kept)
    return Passage(reached, tuple(denied), tuple(asked), tuple(kept))
