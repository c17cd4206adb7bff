"""Which level the result of a call has: the join of all clauses that hold, over all layers."""

from collections.abc import Iterable

from ringfence.dsl.plan import Condition, LabelClause, Scope

Labels = tuple[tuple[tuple[tuple[Condition | None, int], ...], tuple[int, ...]], ...]
"""One entry per layer: its clauses, as condition (None: always) and rank, and the ranks of `otherwise`."""


def labels_of(clauses: Iterable[LabelClause]) -> Labels:
    """Return the clauses by layer."""
    layers: dict[str | None, tuple[list[tuple[Condition | None, int]], list[int]]] = {}
    for clause in clauses:
        said, otherwise = layers.setdefault(clause.layer, ([], []))
        if clause.otherwise:
            otherwise.append(clause.rank)
        else:
            said.append((clause.condition, clause.rank))
    return tuple((tuple(said), tuple(otherwise)) for said, otherwise in layers.values())


def label_of(labels: Labels, scope: Scope) -> int | None:
    """Return the rank of the result; None: no clause says one.

    A clause holds on anything but false, and `otherwise` unless another clause of its layer is true: it is
    the negation of them all, undecided where they are (law 3).
    """
    rank = -1
    for said, otherwise in labels:
        decided = False
        for condition, own in said:
            truth = True if condition is None else condition(scope)
            if truth is not False and own > rank:
                rank = own
            decided = decided or truth is True
        if not decided:
            rank = max((rank, *otherwise))
    return None if rank < 0 else rank
