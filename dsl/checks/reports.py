"""Reports that several checks make in the same words."""

from collections.abc import Iterable

from ringfence.dsl import syntax
from ringfence.dsl.checks.regex import pattern_mistake
from ringfence.dsl.draft import Draft
from ringfence.dsl.source import Span
from ringfence.dsl.suggest import did_you_mean
from ringfence.dsl.types import LARGEST


def wrong_word(
    draft: Draft, kind: str, name: syntax.Name, legal: Iterable[str], *, code: str = "E112"
) -> None:
    """Report a word that is none of those that are legal here."""
    words = list(legal)
    help = did_you_mean(name.text, words) or "one of " + ", ".join(f"`{word}`" for word in words)
    draft.report(code, f"unknown {kind} `{name.text}`", name.span, f"no {kind} has this name", help)


def too_large(draft: Draft, count: syntax.Count) -> None:
    """Report a number that JSON does not carry exactly."""
    if count.value > LARGEST:
        draft.report("E110", "this number is too large", count.span, "beyond 2^53-1", "write a smaller bound")


def once(draft: Draft, what: str, seen: set[str], span: Span) -> None:
    """Report the second of something that is said once."""
    if what in seen:
        draft.report("E115", f"`{what}` is said twice", span, "the second one", "keep one of them")
    seen.add(what)


def nothing(draft: Draft, span: Span) -> None:
    """Warn about a bound of 0."""
    draft.report("W205", "a bound of 0 allows nothing", span, "no call will pass", "raise the bound")


def refused(draft: Draft, pattern: syntax.Pattern) -> bool:
    """Report a pattern that RE2 does not take; say whether it is one."""
    mistake = pattern_mistake(pattern.text)
    if mistake:
        draft.report(
            "E130",
            f"this pattern cannot be used: {mistake}",
            pattern.span,
            "patterns are of RE2's dialect, which never runs long",
            "look-around and back-references are not known: write an exception as `and not (…)`",
        )
    return bool(mistake)
