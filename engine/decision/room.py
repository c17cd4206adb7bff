"""What a call takes of its budgets, and whether those of the run have room for it.

The wider ones are only named here, in the order in which the ledger reserves them.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ringfence.dsl.plan import Json, Scope, Verdict
from ringfence.engine.decision.assessment import Assessment
from ringfence.engine.decision.calls import Charge
from ringfence.engine.decision.charging import UnchargedError, charge_of, key_of
from ringfence.engine.decision.prepared import Prepared, PreparedBudget, in_order
from ringfence.engine.decision.state import State

_DENY, _ASK = Verdict.DENY, Verdict.ASK


def charge_call(result: Assessment, state: State, prepared: Prepared, scope: Scope, now_ns: int) -> None:
    """Find what the call is charged, and check what the run's own budgets have left."""
    charges = prepared.fixed
    if charges is not None:
        for entry in prepared.in_run:
            if entry.charge is not None:
                _check_room(result, state, entry, entry.charge, now_ns)
        if result.verdict >= _ASK:
            result.charges = charges
            result.wider = prepared.wider
        return
    found: list[Charge] = []
    wider: list[Charge] = []
    for entry in prepared.budgets:
        charge = _charged(result, entry, scope)
        if charge is None:
            continue
        found.append(charge)
        if entry.run_wide:
            _check_room(result, state, entry, charge, now_ns)
        else:
            wider.append(charge)
    if result.verdict >= _ASK:
        result.charges = tuple(found)
        result.wider = in_order(wider)


def _charged(result: Assessment, entry: PreparedBudget, scope: Scope) -> Charge | None:
    """Return what the call is charged to one budget; None: nothing, or it is denied for it."""
    if entry.charge is not None:
        return entry.charge
    key = entry.key
    if entry.parameter is not None:
        value = scope.arguments.get(entry.parameter)
        key = None if value is None else key_of(value)
    if key is None:
        result.verdict = _DENY
        result.reasons.append(entry.no_key)
        return None
    try:
        return charge_of(entry.budget, key, scope)
    except UnchargedError:  # fails closed: it is denied
        result.verdict = _DENY
        result.reasons.append(entry.undecided)
        return None


def deny_unsure_charges(
    result: Assessment, prepared: Prepared, scope: Scope, otherwise: Iterable[Mapping[str, Json]]
) -> None:
    """Deny a call whose charge depends on a redaction that is undecided: an undecided charge denies."""
    sent = scope.arguments
    for entry in prepared.budgets:
        if entry.charge is not None:
            continue
        scope.arguments = sent
        owed = _owed(entry, scope)
        for arguments in otherwise:
            scope.arguments = arguments
            if _owed(entry, scope) != owed:
                result.verdict = _DENY
                result.reasons.append(entry.undecided)
                break
    scope.arguments = sent


def _owed(entry: PreparedBudget, scope: Scope) -> Charge | None:
    """Return the charge of these arguments; None: none can be said, which denies when it is charged."""
    key = entry.key
    if entry.parameter is not None:
        value = scope.arguments.get(entry.parameter)
        key = None if value is None else key_of(value)
    try:
        return None if key is None else charge_of(entry.budget, key, scope)
    except UnchargedError:
        return None


def charge_attempt(
    result: Assessment, state: State, prepared: Prepared, scope: Scope, fit: bool, now_ns: int
) -> None:
    """Charge the attempt, all or nothing; of arguments that do not fit nothing can be measured."""
    found: list[Charge] = []
    wider: list[Charge] = []
    lacking = len(result.reasons)
    for entry in prepared.attempts:
        if not fit and entry.charge is None:
            continue
        charge = _charged(result, entry, scope)
        if charge is None:
            continue
        found.append(charge)
        if entry.run_wide:
            _check_room(result, state, entry, charge, now_ns)
        else:
            wider.append(charge)
    if len(result.reasons) == lacking:
        result.attempted = tuple(found)
        result.attempts = in_order(wider)


def has_room(state: State, charge: Charge, now_ns: int) -> bool:
    """Say whether a budget of the run has room for a charge."""
    window: Any = state.windows.get((charge.budget, charge.key))
    if window is None:
        return 0 < charge.limit >= charge.amount
    units = charge.members or charge.amount
    return bool(window.has_room(units, charge.limit, charge.period_ns, now_ns=now_ns))


def _check_room(result: Assessment, state: State, entry: PreparedBudget, charge: Charge, now_ns: int) -> None:
    if has_room(state, charge, now_ns):
        return
    if entry.budget.halts:
        result.deny_and_halt(entry.full_halts)
    else:
        result.verdict = _DENY
        result.reasons.append(entry.full)
