"""Decide one tool call from a plan, a state, the call and facts: pure and total.

`assess` makes steps 1 to 5 of a decision and checks the budgets of the run; the guard then reserves the
wider budgets it names, and `conclude` folds the ledger's answer in.  `decide` is both, with recorded facts.

Order: is the run live; is the tool declared and held; do the arguments fit; has the host said what the
clauses name; denies; asks; allows; the limits of the run; budgets.  All that can be checked is checked and
all reasons are recorded, except that a call of an unknown tool is asked nothing more, arguments that do not
fit are shown to no condition, and a call that is denied already is charged nothing, so its budgets are not
asked.

Most calls pass as they are, or are denied by clauses that nothing is unclear of; `at_once` says so of them,
and all others are decided here, at length.

Limits of the run (`AGENT.calls`, `AGENT.requests`) are met only by a call that would pass otherwise: the one
that would be number n+1 is denied and halts the run.  A denial too many halts the run beside its own reasons.
"""

from collections.abc import Mapping
from dataclasses import replace

from ringfence.dsl.plan import Json, Plan, Question, Reason, Scope, ToolPlan, UnfitError, Verdict
from ringfence.engine.decision.arguments import canonical_arguments
from ringfence.engine.decision.assessment import Assessment
from ringfence.engine.decision.at_once import at_once
from ringfence.engine.decision.calls import NO_FACTS, RESERVED, Decision, Facts, Refusal, ToolCall
from ringfence.engine.decision.inside import isolate_around, isolate_of
from ringfence.engine.decision.labelling import label_of
from ringfence.engine.decision.outages import by_outage_alone
from ringfence.engine.decision.prepared import (
    LEVELS,
    Prepared,
    PreparedClause,
    refusal_reason,
)
from ringfence.engine.decision.redaction import Redacted, redacted
from ringfence.engine.decision.room import charge_attempt, charge_call, deny_unsure_charges
from ringfence.engine.decision.state import State

__all__ = ["ENGINE_CLOCK", "Assessment", "assess", "conclude", "decide"]

ENGINE_CLOCK = -1
"""As `wall_ns`: the engine's clock says the time of day."""
_NOTHING: frozenset[str] = frozenset()
_UNKNOWN, _DENY, _ASK = Verdict.UNKNOWN, Verdict.DENY, Verdict.ASK


def decide(
    plan: Plan,
    state: State,
    call: ToolCall,
    facts: Facts,
    *,
    now_ns: int,
    key: str | None = None,
    wall_ns: int | None = ENGINE_CLOCK,
) -> Decision:
    """Decide one tool call; pure and total.

    Verdicts combine by minimum.  A condition that cannot be decided counts against the caller, so a broken
    `deny` never opens the door.

    Args:
        now_ns: The engine's clock, never before `state.latest_ns`, as it will be recorded.
        key: The call's key; with it, a call that holds its reservation already is not charged again.
        wall_ns: The time of day that calendars see, since the epoch; None: they are undecided.
    Returns:
        The decision with one reason per rule that spoke, in the order of the steps and then of the source.
    """
    assessment = assess(plan, state, call, facts, now_ns=now_ns, key=key, wall_ns=wall_ns)
    return conclude(assessment, facts)


def assess(  # its defaults are not for keywords alone: those are looked up by name at every call
    plan: Plan,
    state: State,
    call: ToolCall,
    facts: Facts,
    now_ns: int,
    key: str | None = None,
    wall_ns: int | None = ENGINE_CLOCK,
    labelled: bool = False,
    at_length: bool = False,
) -> Assessment:
    """Make steps 1 to 5 and check the budgets of the run; total: what breaks denies.

    Args:
        labelled: Say which level its result has, though the call be denied.
        at_length: Go clause by clause, though it could be said at once what they say.
    """
    told = None if at_length else at_once(plan, state, call, key, now_ns)
    if told is not None:
        return told
    result = Assessment()
    result.arguments, result.reasons = call.arguments, []
    try:
        _assess(result, plan, state, call, facts, now_ns, key, wall_ns, labelled)
    except Exception as error:  # SECURITY: fails closed; whatever broke, the call is denied
        _break(result, error)
    return result


def _break(result: Assessment, error: Exception) -> None:
    if result.verdict > _DENY:
        result.verdict = _DENY
    result.reasons.append(Reason("engine!error", "deny", None, None, type(error).__name__))
    result.charges = result.wider = result.attempted = result.attempts = ()


def _assess(
    result: Assessment,
    plan: Plan,
    state: State,
    call: ToolCall,
    facts: Facts,
    now_ns: int,
    key: str | None,
    wall_ns: int | None,
    labelled: bool,
) -> None:
    agent = state.agent
    reasons = result.reasons

    # 1. Is the run live?
    if state.halted is not None:
        result.verdict = _DENY
        reasons.append(state.halted)
    elif state.status in ("halted", "done", "failed"):
        result.verdict = _DENY
        reasons.append(Reason("engine!error", "deny", None, None, "the run has ended"))
    elif agent is not None:
        if agent.denials is not None and state.denials >= agent.denials.at_most:
            denials = agent.denials
            result.denial_halts = Reason(denials.reason, "halt", denials.place)
        deadline_ns = state.deadline_ns
        if deadline_ns is not None and now_ns >= deadline_ns and agent.stop is not None:
            # A pause that is on moves the deadline further; nothing moves it nearer.
            remaining_ns = state.remaining_ns(now_ns)
            if remaining_ns is None or remaining_ns <= 0:
                result.deny_and_halt(Reason(agent.stop.reason, "halt", agent.stop.place))

    # 2. Is the tool declared, and held?
    tool = plan.by_bound_name.get(call.tool)
    known = state.calls.get(key) if key is not None else None
    inner = known is not None and known.parent is not None
    if inner and known is not None and tool is not None:
        isolate = isolate_of(plan, state, known)
        if isolate is not None and tool.name not in isolate.may_call:
            # SECURITY: for code in an isolate nothing exists but what it may call.
            result.verdict = _UNKNOWN
            said = f"`{isolate.name}` may not call it"
            reasons.append(Reason("unknown", "unknown", isolate.place, None, said))
            return
    if tool is None:
        result.verdict = _UNKNOWN
        reasons.append(Reason("unknown", "unknown", None, None, f"no tool {call.tool[:60]!r}"))
        return
    prepared = state.prepared.get(call.tool)
    if prepared is None or prepared.tool is not tool:
        prepared = state.prepared[call.tool] = Prepared(tool, state, plan)
    result.prepared = prepared
    result.obligations = tool.obligations
    if prepared.unheld is not None:
        result.verdict = _UNKNOWN
        reasons.append(prepared.unheld)
        return

    # 3. Do the arguments fit?  Has the host said what the clauses name?
    fit = _fit(result, prepared, tool, call)
    wanted: dict[str, Question] = {}
    result.wanted = wanted
    scope = Scope(
        result.arguments,
        state.principal,
        {},
        state.recall,
        now_ns,
        now_ns if wall_ns == ENGINE_CLOCK else wall_ns,
        _NOTHING if known is None else known.edited,
        facts.answers,
        wanted,
    )
    if prepared.missing:
        result.verdict = _DENY
        reasons.extend(prepared.missing)
    otherwise: tuple[Mapping[str, Json], ...] = ()
    if prepared.more:
        if fit and tool.redactions:
            fit, otherwise = _redact(result, tool, scope, call)
        # What counts attempts is charged now, whatever comes of the call.
        if prepared.attempts and not (known is not None and known.attempted):
            charge_attempt(result, state, prepared, scope, fit, now_ns)

    # 4 and 5. The clauses.
    if fit:
        _ask_clauses(result, plan, state, prepared, scope, facts)
        if prepared.more and (result.verdict >= _ASK or labelled):
            if prepared.labels:
                result.label = label_of(prepared.labels, scope)
            if prepared.audits:
                _ask_audits(result, prepared, scope)
        if otherwise:
            _ask_otherwise(result, plan, state, prepared, scope, facts, otherwise, labelled)
            deny_unsure_charges(result, prepared, scope, otherwise)

    if inner and known is not None and result.verdict is _ASK:
        isolate = isolate_around(plan, state, known)
        if isolate is not None:  # SECURITY: the code would wait for people in a worker, within its time
            result.verdict = _DENY
            said = f"inside the isolate `{isolate.name}` nobody is asked"
            reasons.append(Reason("ask!isolate", "deny", isolate.place, None, said))

    # The limits that only a call which would pass can meet.  6. The budgets.
    if result.verdict >= _ASK and agent is not None:
        calls, requests = agent.calls, agent.requests
        if (
            calls is not None
            and state.places_taken >= calls.at_most
            and not (known is not None and known.takes_place and known.started_ns is None)
        ):
            result.deny_and_halt(Reason(calls.reason, "halt", calls.place))
        elif requests is not None and result.verdict is _ASK:
            asked = known.approvers_asked if known is not None else ()
            more = sum(1 for approver in result.asks if approver not in asked)
            if state.requests + more > requests.at_most:
                result.deny_and_halt(Reason(requests.reason, "halt", requests.place))
    if result.verdict >= _ASK and not (known is not None and known.holds):
        charge_call(result, state, prepared, scope, now_ns)


def _fit(result: Assessment, prepared: Prepared, tool: ToolPlan, call: ToolCall) -> bool:
    try:
        result.arguments = canonical_arguments(
            prepared.takes, tool.required, call.arguments, call.schema_names
        )
    except UnfitError as error:
        detail = str(error)
    except Exception as error:  # fails closed: what cannot be canonicalised does not fit
        detail = f"could not be canonicalised ({type(error).__name__})"
    else:
        return True
    result.verdict = _DENY
    result.reasons.append(Reason(prepared.bad, "deny", tool.place, None, detail))
    return False


def _redact(
    result: Assessment, tool: ToolPlan, scope: Scope, call: ToolCall
) -> tuple[bool, tuple[Mapping[str, Json], ...]]:
    """Put the redacted values in the place of the given ones; from here on everyone sees those.

    Returns:
        Whether they fit, and the values that stand to decide on as well (`Redacted.otherwise`).
    """
    outcome: Redacted = redacted(tool, scope, call.schema_names)
    for reason in outcome.shadow:
        result.note_shadow(reason)
    if outcome.failures:
        result.verdict = _DENY
        result.reasons.extend(outcome.failures)
        return False, ()
    result.arguments = scope.arguments = outcome.arguments
    return True, outcome.otherwise


def _ask_otherwise(
    result: Assessment,
    plan: Plan,
    state: State,
    prepared: Prepared,
    scope: Scope,
    facts: Facts,
    otherwise: tuple[Mapping[str, Json], ...],
    labelled: bool,
) -> None:
    """Ask the clauses about values that may be the ones, too: the verdict is the minimum, duties join."""
    for arguments in otherwise:
        scope.arguments = arguments
        _ask_clauses(result, plan, state, prepared, scope, facts)
        if result.verdict >= _ASK or labelled:
            label = label_of(prepared.labels, scope) if prepared.labels else None
            if label is not None and (result.label is None or label > result.label):
                result.label = label
            if prepared.audits:
                _ask_audits(result, prepared, scope)
    scope.arguments = result.arguments
    result.reasons[:] = dict.fromkeys(result.reasons)
    if result.shadow:
        result.shadow[:] = dict.fromkeys(result.shadow)


def _ask_audits(result: Assessment, prepared: Prepared, scope: Scope) -> None:
    level = LEVELS.index(result.obligations.audit)
    for audit in prepared.audits:
        if audit.condition is None or audit.condition(scope) is not False:
            if audit.shadow:
                result.note_shadow(audit.spoken)
            else:
                level = max(level, audit.level)
    result.obligations = prepared.obligations[level]


def _ask_clauses(
    result: Assessment, plan: Plan, state: State, prepared: Prepared, scope: Scope, facts: Facts
) -> None:
    reasons = result.reasons
    for condition, spoken, not_decided, shadow, _ in prepared.denies:
        truth = True if condition is None else condition(scope)
        if truth is not False:
            reason = spoken if truth is True else _undecided(not_decided, state, prepared)
            if shadow:
                result.note_shadow(reason)
            else:
                result.verdict = _DENY
                reasons.append(reason)
    if prepared.asks:
        _ask_people(result, plan, state, prepared, scope, facts)
    allowed = False
    undecided: list[Reason] = []
    for condition, spoken, not_decided, shadow, _ in prepared.allows:
        truth = True if condition is None else condition(scope)
        if truth is True:
            if shadow:
                result.note_shadow(spoken)
            else:
                allowed = True
                reasons.append(spoken)
        elif truth is not False and not shadow:
            undecided.append(_undecided(not_decided, state, prepared))
    for reason in undecided:
        reasons.append(reason if allowed else replace(reason, effect="deny"))
    if not allowed:
        result.verdict = _DENY
        if not undecided:
            reasons.append(prepared.closed)


def _undecided(reason: Reason, state: State, prepared: Prepared) -> Reason:
    """Return the reason with what the session does not remember, where that may be why."""
    if prepared.tool.remembers:
        if state.recall.unknown:
            return replace(reason, detail="could not be decided: part of the session is not in the record")
        if state.recall.overflow:
            return replace(reason, detail="could not be decided: more was shown than provenance keeps")
    return reason


def _ask_people(
    result: Assessment,
    plan: Plan,
    state: State,
    prepared: Prepared,
    scope: Scope,
    facts: Facts,
) -> None:
    asks: list[str] = []
    clauses: tuple[PreparedClause, ...] = prepared.asks
    for clause in clauses:
        condition = clause.condition
        truth = True if condition is None else condition(scope)
        if truth is False:
            continue
        reason = clause.spoken if truth is True else _undecided(clause.undecided, state, prepared)
        if clause.shadow:
            result.note_shadow(reason)
            continue
        result.reasons.append(reason)
        approver = clause.approver
        if approver is None or approver not in plan.approvers:
            result.verdict = _DENY  # fails closed: nobody can be asked
        elif approver not in asks and not _has_approved(plan, state, approver, facts.approved_by):
            asks.append(approver)
    if asks:
        result.asks = tuple(dict.fromkeys((*result.asks, *asks)))
        if result.verdict > _ASK:
            result.verdict = _ASK


def _has_approved(plan: Plan, state: State, name: str, approved_by: Mapping[str, tuple[str, ...]]) -> bool:
    """Say whether enough different people of this approver, or of one it passes on to, have approved."""
    if not approved_by:
        return False
    seen: set[str] = set()
    following: str | None = name
    while following is not None and following not in seen:
        seen.add(following)
        approver = plan.approvers.get(following)
        if approver is None:
            return False
        people = set(approved_by.get(following, ()))
        if approver.never_requester:
            requester = state.principal.get("user")
            # SECURITY: of a requester whom the host did not name, nobody can be shown to differ.
            people = set() if requester is None else people - {requester}
        if len(people) >= max(approver.quorum, 1):
            return True
        following = approver.otherwise_ask
    return False


def conclude(assessment: Assessment, facts: Facts) -> Decision:
    """Fold the ledger's answer into an assessment; pure and total, and leaves the assessment as it was."""
    decision = assessment.decision
    if decision is not None and (facts is RESERVED or (facts is NO_FACTS and not assessment.wider)):
        return decision  # nothing is to be folded in, as with most calls
    verdict = assessment.verdict
    reasons = assessment.reasons
    halt = assessment.halt
    charges, attempted, label = assessment.charges, assessment.attempted, assessment.label
    if facts.above:
        reasons = [*reasons, *facts.above]
        verdict = min(verdict, _DENY)
        halt = halt or next((reason for reason in facts.above if reason.effect == "halt"), None)
    # A tool that does not exist is refused for that alone: nothing else was looked at.
    if facts.failed is not None and verdict is not _UNKNOWN:
        reasons = [*reasons, Reason("engine!error", "deny", None, None, facts.failed)]
        verdict = min(verdict, _DENY)
    if attempted and assessment.attempts and facts.attempted != ():
        attempted = ()
        reasons, halt = _refusals(assessment, facts.attempted, reasons, halt, facts)
        verdict = min(verdict, _DENY)
    if assessment.wider and facts.reserved != ():
        # A call that is denied for another reason by now was not to be reserved.
        if facts.reserved is not None or verdict >= _ASK:
            reasons, halt = _refusals(assessment, facts.reserved, reasons, halt, facts)
        verdict = min(verdict, _DENY)
    if verdict <= _DENY:
        charges, label = attempted, None
        if assessment.denial_halts is not None and not by_outage_alone(reasons):
            reasons = [*reasons, assessment.denial_halts]
            if halt is None:
                halt = assessment.denial_halts
    elif attempted:
        charges = attempted + charges
    return Decision(
        verdict,
        tuple(reasons),
        assessment.arguments,
        assessment.obligations,
        charges,
        assessment.asks if verdict is _ASK else (),
        halt,
        () if assessment.shadow is None else tuple(assessment.shadow),
        label,
    )


def _refusals(
    assessment: Assessment,
    refusals: tuple[Refusal, ...] | None,
    reasons: list[Reason],
    halt: Reason | None,
    facts: Facts,
) -> tuple[list[Reason], Reason | None]:
    """Return the reasons with those of the ledger, and what halts."""
    reasons = list(reasons)
    if refusals is None and facts.failed is None:
        reasons.append(Reason("engine!error", "deny", None, None, "the ledger was not asked"))
    for refusal in refusals or ():
        reason, halts = _refused(assessment, refusal)
        reasons.append(reason)
        if halts and halt is None:
            halt = reason
    return reasons, halt


def _refused(assessment: Assessment, refusal: Refusal) -> tuple[Reason, bool]:
    if assessment.prepared is None:
        return Reason("engine!error", "deny", None, None, "the ledger refused an unknown budget"), False
    return refusal_reason(assessment.prepared, refusal)
