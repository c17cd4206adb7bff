"""How a failed policy test looks: at the step that failed, what was expected, what came, and why."""

from ringfence.dsl.draw import drawing
from ringfence.dsl.plan import Json, Reason
from ringfence.dsl.source import Source
from ringfence.engine.retrospect.rehearsal import Failure, Rehearsed


def drawn(rehearsed: Rehearsed, source: Source) -> str:
    """Return the failure of a test as people read it; the empty text if it passed."""
    failure = rehearsed.failure
    if failure is None:
        return ""
    notes = [f"expected: {failure.expected}", f"got: {failure.got}"]
    notes += [f"reason: {_words(reason)}" for reason in failure.reasons]
    if failure.help:
        notes.append(f"help: {failure.help}")
    return drawing(f"failed: {rehearsed.test.name.value}", source, failure.span, "", notes)


def record(failure: Failure, source: Source) -> dict[str, Json]:
    """Return a failure for programs; lines and columns count from 1."""
    place = source.place(failure.span)
    return {
        "file": place.file,
        "line": place.line,
        "column": place.column,
        "expected": failure.expected,
        "got": failure.got,
        "reasons": [
            {
                "name": reason.name,
                "effect": reason.effect,
                "place": str(reason.place) if reason.place else None,
                "because": reason.because,
                "detail": reason.detail,
            }
            for reason in failure.reasons
        ],
        "help": failure.help,
    }


def _words(reason: Reason) -> str:
    said = f"{reason.effect} by `{reason.name}`"
    if reason.place is not None:
        said += f" ({reason.place})"
    if reason.detail:
        said += f", {reason.detail}"
    if reason.because:
        said += f": {reason.because}"
    return said
