"""`did you mean …?`: the nearest legal word to the one that was written."""

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST = 64  # nobody misspells longer words than this; comparing them only costs time


def closest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that `word` most likely stands for, or None if none is near."""
    if len(word) > LONGEST:
        return None
    folded: dict[str, str] = {}
    for candidate in sorted(candidates):
        folded.setdefault(candidate.casefold(), candidate)
    near = get_close_matches(word.casefold(), folded, n=1, cutoff=0.65)
    return folded[near[0]] if near else None


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Return the help line "did you mean `allow`?", or an empty string if no candidate is near."""
    found = closest(word, candidates)
    return f"did you mean `{found}`?" if found is not None else ""
