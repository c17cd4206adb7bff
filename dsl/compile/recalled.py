"""Atoms about the history and the label of the session: asked of `Scope.memory`, by the key of a watch."""

from ringfence.dsl.canonical import canonical
from ringfence.dsl.plan import Condition, Json, Scope, Truth


def watch_key(core: Json) -> str:
    """Return the name under which the session remembers what a core atom asks."""
    return canonical(core).decode()


def after(core: Json) -> Condition:
    """Return the closure of `after E` and of `after E with no F since`."""
    key = watch_key(core)

    def happened(scope: Scope) -> Truth:
        try:
            return certain(scope.memory.after(key, now_ns=scope.now_ns))  # type: ignore[union-attr]  # None raises
        except Exception:  # fails closed: undecided counts against the caller
            return None

    return happened


def ordered(core: Json) -> Condition:
    """Return the closure of an order: whether all steps but the last came, with the same value."""
    key, same = watch_key(core), core[3]

    def in_order(scope: Scope) -> Truth:
        try:
            value = None if same is None else scope.arguments[same]
            return certain(scope.memory.ordered(key, value))  # type: ignore[union-attr]  # None raises
        except Exception:  # fails closed: undecided counts against the caller
            return None

    return in_order


def carries(core: Json) -> Condition:
    """Return the closure of `x carries LEVEL`: what the model writes carries the session's label."""
    rank = core[2]

    def carried(scope: Scope) -> Truth:
        try:
            return certain(scope.memory.carries(rank))  # type: ignore[union-attr]  # None raises
        except Exception:  # fails closed: undecided counts against the caller
            return None

    return carried


def certain(answer: object) -> Truth:
    """Return an answer that is True or False; anything else is undecided."""
    return answer if answer is True or answer is False else None
