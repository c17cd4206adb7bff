"""Ringfence's own words in events: a pattern that finds one would hide what decisions rest on."""

from ringfence.engine.decision.events import KINDS, MARK

_WORDS = (
    "unknown deny ask allow halt redact",  # verdicts and effects
    "user system attachment model host approver",  # where a prompt came from
    "enforce shadow running suspended done failed halted",
    "raised timeout cancelled abandoned interrupted refused",
    "approve reject expire withdraw ignored",
    "decided unanswered asked started refunded calls attempts successes",
    "name effect because detail place budget key amount counting members free_ns",  # parts of records
    "reserved attempted approved_by answers gave above",
)
OWN_WORDS = (MARK, *" ".join(_WORDS).split(), *KINDS)


def own_word_in(pattern: str) -> str | None:
    """Return a word of Ringfence's own that an RE2 pattern finds something in; None: there is none."""
    import re2  # type: ignore[import-untyped]  # most settings name no patterns

    options = re2.Options()
    options.never_capture = True
    compiled = re2.compile(pattern, options)
    return next((word for word in OWN_WORDS if compiled.search(word) is not None), None)
