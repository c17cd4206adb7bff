"""The quick way to most decisions: of a call that certainly passes, or that its clauses certainly deny.

Whatever is special (a limit that is met, a value of an unusual kind, an ask or a shadow that speaks, a clause
that is undecided, a charge that depends on the call, redactions, labels, attempts) sends the call the long
way.  This one only ever says what the long way would have said (a property tests it).
"""

from ringfence.dsl.plan import Json, Plan, Verdict
from ringfence.engine.decision.assessment import Assessment
from ringfence.engine.decision.calls import Decision, ToolCall
from ringfence.engine.decision.prepared import AtOnce, Prepared
from ringfence.engine.decision.room import has_room
from ringfence.engine.decision.state import State

_DENY, _ALLOW = Verdict.DENY, Verdict.ALLOW
_made = tuple.__new__
"""Makes a named tuple of its parts at once; its own constructor is a Python function."""


def at_once(plan: Plan, state: State, call: ToolCall, key: str | None, now_ns: int) -> Assessment | None:
    """Return the assessment of a call that certainly passes, or that its clauses certainly deny; None: it
    must be decided at length.
    """
    try:
        prepared: Prepared | None = state.prepared.get(call.tool)
        if prepared is None or (ready := prepared.at_once) is None or ready.plan is not plan:
            return None
        given, deadline_ns = call.arguments, state.deadline_ns
        if (
            type(given) is not dict
            or state.halted is not None
            or state.status != "running"
            or state.denials >= ready.denials
            or state.places_taken >= ready.calls
            or (deadline_ns is not None and now_ns >= deadline_ns)
        ):
            return None
        if key is not None:
            known = state.calls.get(key)
            if known is not None and (known.holds or known.parent is not None):
                return None
        told = ready.tells(given, state.principal, ready.objects)
        if type(told) is not dict:
            return _denied(prepared, ready, told) if type(told) is tuple else None
        for charge in ready.in_run:
            if not has_room(state, charge, now_ns):
                return None
    except Exception:  # fails closed: it is decided at length, where what breaks denies
        return None
    spoken, obligations, charges = ready.spoken, ready.obligations, ready.charges
    result = Assessment()
    result.verdict = _ALLOW
    result.reasons = [*spoken]
    result.arguments = told
    result.obligations = obligations
    result.charges = charges
    result.wider = ready.wider
    result.prepared = prepared
    result.decision = _made(Decision, (_ALLOW, spoken, told, obligations, charges, (), None, (), None))
    return result


def _denied(prepared: Prepared, ready: AtOnce, told: tuple[dict[str, Json], tuple[int, ...]]) -> Assessment:
    """Return the assessment of a call for which the clauses of these numbers speak: it is charged nothing."""
    arguments, numbers = told
    spoken = ready.denied.get(numbers)
    if spoken is None:
        spoken = ready.denied[numbers] = tuple([ready.reasons[number] for number in numbers])
    obligations = ready.obligations
    result = Assessment()
    result.verdict = _DENY
    result.reasons = [*spoken]
    result.arguments = arguments
    result.obligations = obligations
    result.prepared = prepared
    result.decision = _made(Decision, (_DENY, spoken, arguments, obligations, (), (), None, (), None))
    return result
