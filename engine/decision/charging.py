"""What one call is charged: a unit, an amount, or the different members that it touches."""

from fractions import Fraction
from hashlib import sha256
from math import ceil, isfinite

from ringfence.dsl.canonical import LARGEST_INTEGER, canonical
from ringfence.dsl.plan import Budget, Json, Scope
from ringfence.engine.decision.calls import Charge


class UnchargedError(ValueError):
    """It cannot be said what the call is charged; such a call is denied."""


def charge_of(budget: Budget, key: str, scope: Scope) -> Charge | None:
    """Return what the call is charged under this key; None: it touches nothing.

    Raises:
        UnchargedError: The amount could not be decided, or it is no amount.
    """
    if budget.kind == "calls":
        return Charge(budget.id, key, 1, budget.limit, budget.period_ns, (), budget.counting)
    if budget.kind == "amount":
        return Charge(
            budget.id, key, _amount(budget, scope), budget.limit, budget.period_ns, (), budget.counting
        )
    members = _members(budget, scope)
    if not members:
        return None
    return Charge(budget.id, key, len(members), budget.limit, budget.period_ns, members, budget.counting)


def _amount(budget: Budget, scope: Scope) -> int:
    """Return the amount in the ledger's units, rounded up."""
    try:
        value = None if budget.amount is None else budget.amount(scope)
    except Exception as error:  # fails closed: what cannot be told is not let through uncharged
        raise UnchargedError(type(error).__name__) from None
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
        raise UnchargedError("it is no amount")
    units = ceil(Fraction(value) * budget.scale)
    if units > LARGEST_INTEGER:
        raise UnchargedError("it is more than can be counted")
    return units


def _members(budget: Budget, scope: Scope) -> tuple[str, ...]:
    """Return the different resources that the call touches, in the order of their texts."""
    members: set[str] = set()
    for name in budget.resources:
        value = scope.arguments.get(name)
        if value is None:
            continue  # an optional parameter that was not given touches nothing
        members.update(key_of(one) for one in (value if isinstance(value, list) else [value]))
    return tuple(sorted(members))


def key_of(value: Json) -> str:
    """Return the text under which a value is counted."""
    return bounded(value if isinstance(value, str) else canonical(value).decode("utf-8"))


def bounded(key: str) -> str:
    """Return the key, or its digest where it is long: keys stand in every ledger row and record."""
    if len(key) <= 200 and not key.startswith("sha256:"):  # a short key may not pass for a long one
        return key
    return "sha256:" + sha256(key.encode("utf-8")).hexdigest()
