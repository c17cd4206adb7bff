"""Constant folding of core conditions, sound in Kleene's logic: nothing undecided is folded away wrongly."""

from ringfence.dsl.plan import Json

TRUE: Json = ["true"]
FALSE: Json = ["false"]


def negate(core: Json) -> Json:
    """Return `not core`; double negation and constants fold."""
    if core == TRUE:
        return FALSE
    if core == FALSE:
        return TRUE
    if core[0] == "not":
        return core[1]
    return ["not", core]


def both(parts: list[Json]) -> Json:
    """Return the conjunction, flat: a false part makes it false, true parts vanish."""
    return _join("and", parts, neutral=TRUE, dominant=FALSE)


def either(parts: list[Json]) -> Json:
    """Return the disjunction, flat: a true part makes it true, false parts vanish."""
    return _join("or", parts, neutral=FALSE, dominant=TRUE)


def _join(word: str, parts: list[Json], *, neutral: Json, dominant: Json) -> Json:
    flat: list[Json] = []
    for part in parts:
        flat.extend(part[1:] if part[0] == word else [part])
    kept = [part for part in flat if part != neutral]
    if dominant in kept:
        return dominant
    if not kept:
        return neutral
    return kept[0] if len(kept) == 1 else [word, *kept]
