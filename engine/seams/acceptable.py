"""Which texts settings take: what pydantic asks of them, and who reads settings without it."""

from collections.abc import Sequence

from ringfence.engine.seams.said import DEFAULT_STORE


def url_fault(url: str) -> str | None:
    """Return what is wrong with the URL of a store, or None."""
    scheme, colon, _ = url.partition(":")
    if not colon or not scheme.replace("+", "").replace("-", "").isalnum():
        return f"must be a URL, like `{DEFAULT_STORE}` or `memory:`"
    return None


def pattern_fault(patterns: Sequence[str]) -> str | None:
    """Return what is wrong with the patterns of secrets, or None."""
    if not patterns:
        return None
    from ringfence.dsl.checks.regex import full_match, pattern_mistake  # most settings name none
    from ringfence.engine.seams.own_words import own_word_in

    for number, pattern in enumerate(patterns, 1):
        # SECURITY: which one, not what it says: it may be the secret itself.
        if pattern_mistake(pattern) is not None:
            return f"pattern {number} is not of RE2's dialect"
        if full_match(pattern)(""):
            return f"pattern {number} matches the empty text, which stands everywhere"
        if (word := own_word_in(pattern)) is not None:
            return f"pattern {number} matches `{word}`, which Ringfence itself writes: make it narrower"
    return None


def name_fault(names: Sequence[str]) -> str | None:
    """Return what is wrong with the names of secrets, or None."""
    if all(any(sign.isalnum() for sign in name) for name in names):
        return None
    return "a name has letters or digits"
