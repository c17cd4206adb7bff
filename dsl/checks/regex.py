"""Patterns are RE2's, whatever else Python could run (LANGUAGE, "Patterns")."""

import re
from collections.abc import Callable
from functools import lru_cache

import re2  # type: ignore[import-untyped]  # the binding ships no types

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.max_mem = 1 << 20
_OPTIONS.never_capture = True  # only whether it matches is asked


@lru_cache(maxsize=4096)
def pattern_mistake(text: str) -> str | None:
    """Return why RE2 refuses a pattern, or None."""
    try:
        re2.compile(text, _OPTIONS)
    except re2.error as error:
        reason = error.args[0] if error.args else "not a pattern"
        return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
    return None


@lru_cache(maxsize=4096)
def full_match(text: str) -> Callable[[str], bool]:
    """Return a test whether a pattern matches a whole text: no line break before the end slips through.

    `never_nl` stays off: it would let RE2 stop at a line break and call the rest matched.
    """
    matches, quick = _matching(text), ascii_match(text)
    if quick is None:
        return matches

    def test(subject: str) -> bool:
        return quick(subject) is not None if subject.isascii() else matches(subject)

    return test


@lru_cache(maxsize=4096)
def ascii_match(text: str) -> Callable[[str], object] | None:
    """Return what gives something true of a text of ASCII that a plain pattern matches, and None of another.

    A text that has other characters it never matches.  None: the pattern is not plain.
    """
    return None if _PLAIN.fullmatch(text) is None else re.compile(text).fullmatch


def _matching(text: str) -> Callable[[str], bool]:
    """Return what asks RE2."""
    compiled = re2.compile(text, _OPTIONS)
    native = getattr(getattr(compiled, "_regexp", None), "Match", None)
    if native is None or _WHOLE is None:
        return lambda subject: compiled.fullmatch(subject.encode()) is not None

    def matches(subject: str) -> bool:
        # Bytes spare the binding its table of character offsets, which nobody asks for here.
        encoded = subject.encode()
        return bool(native(_WHOLE, encoded, 0, len(encoded))[0] != _NOWHERE)

    return matches


_WHOLE = getattr(getattr(re2, "_Anchor", None), "ANCHOR_BOTH", None)
"""With it, RE2 is asked what `fullmatch` asks it, without the generator and the objects that the binding
makes around the answer, which are half of the time.  It is no public part of the binding: where it is not
there, the public way is taken."""
_NOWHERE = (-1, -1)

_ONE = r"(?:[A-Za-z0-9 _/@:=,-]|\\[/.+*?@:_-]|\[(?:[A-Za-z0-9]-[A-Za-z0-9]|[A-Za-z0-9_.@/ ])+\])"
_TIMES = r"(?:\{[0-9]{1,2}\})?"
_PLAIN = re.compile(f"(?:{_ONE}{_TIMES})*(?:{_ONE}[+*?])?(?:{_ONE}{_TIMES})*")
"""Patterns that say the same to Python's `re`, which answers in a third of the time: letters, escaped signs
and classes of ASCII, in a row.

SECURITY: at most one of them is repeated without a fixed number, so that going back takes no more than linear
time; and only texts of ASCII are matched so, for which the two cannot differ in what a letter is.
"""
