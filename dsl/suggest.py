"""`did you mean …?`: the nearest legal word to the one that was written."""

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches

LONGEST = 64  # nobody misspells longer words than this; comparing them only costs time
SHORTEST = 3  # beginning of a word that is taken for it


def closest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that `word` most likely stands for, or None if none is near.

    Of several that are as near, the one that begins with the same letter: the first is seldom wrong.
    """
    if len(word) > LONGEST:
        return None
    written = word.casefold()
    folded: dict[str, str] = {}
    for candidate in sorted(candidates):
        folded.setdefault(candidate.casefold(), candidate)
    near = get_close_matches(written, folded, n=3, cutoff=0.65)
    if not near:
        return _begun(written, folded)
    nearest = [it for it in near if _likeness(it, written) == _likeness(near[0], written)]
    return folded[next((it for it in nearest if it[:1] == written[:1]), nearest[0])]


def _begun(word: str, folded: dict[str, str]) -> str | None:
    """Return the one candidate that begins with a shortened word: `int` for `integer`."""
    longer = [it for it in folded if it.startswith(word)] if len(word) >= SHORTEST else []
    return folded[longer[0]] if len(longer) == 1 else None


def _likeness(candidate: str, word: str) -> float:
    return SequenceMatcher(None, candidate, word).ratio()


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Return the help line "did you mean `allow`?", or an empty string if no candidate is near."""
    found = closest(word, candidates)
    return f"did you mean `{found}`?" if found is not None else ""
