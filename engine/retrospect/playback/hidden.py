"""Values compared with a record in which something was hidden: its mark fits whatever stood there."""

from collections.abc import Mapping, Sequence

from ringfence.dsl.canonical import same
from ringfence.dsl.plan import Json
from ringfence.engine.decision.events import MARK


def fits(recorded: Json, came: Json) -> bool:
    """Say whether a value is the recorded one, as far as the record says it."""
    if isinstance(recorded, str):
        if MARK not in recorded:
            return same(recorded, came)
        if recorded == MARK:
            return True
        return isinstance(came, str) and _around_marks(recorded, came)
    if isinstance(recorded, Mapping):
        return (
            isinstance(came, Mapping)
            and recorded.keys() == came.keys()
            and all(fits(value, came[name]) for name, value in recorded.items())
        )
    if isinstance(recorded, Sequence):
        return (
            isinstance(came, Sequence)
            and not isinstance(came, str)
            and len(recorded) == len(came)
            and all(map(fits, recorded, came))
        )
    return same(recorded, came)


def _around_marks(recorded: str, came: str) -> bool:
    """Say whether all that stands around the marks is there, in its order; without backtracking."""
    first, *others = recorded.split(MARK)
    *between, last = others
    if not came.startswith(first):
        return False
    at = len(first)
    for piece in between:
        found = came.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return len(came) - at >= len(last) and came.endswith(last)
