"""Calls that are asked about before the framework makes them, and the calls made later that are these.

A framework that puts a turn away as one whole wants to know beforehand what its people are to be asked.  What
is asked then is a call like any other, under a key of its own; when the framework makes it, it goes on under
that key: its reservation, its tickets and their answers.
"""

from ringfence.dsl.canonical import canonical
from ringfence.dsl.plan import Verdict
from ringfence.engine.decision.calls import Decision, Facts, ToolCall, call_digest
from ringfence.engine.decision.decide import assess, conclude
from ringfence.engine.decision.known import KnownCall
from ringfence.engine.enforcement.drive import Steps
from ringfence.engine.enforcement.informing import assessed_now, informed
from ringfence.engine.enforcement.opening import store_error
from ringfence.engine.enforcement.requests import UNSAID, Given
from ringfence.engine.enforcement.runs import Held, Run


def key_of(run: Run, given: Given, made: str, shown: str | None) -> str:
    """Return the key under which a call goes on: that of the call asked about ahead which it is, or `made`.

    SECURITY: each is adopted once, in its own run, and neither if it was started nor if it was refused.

    Args:
        made: The key under which it would be decided otherwise.
        shown: What `shown_as` said.
    """
    state = run.state
    goes_on = state.adopted.get(made)
    if goes_on is not None:  # it was made before the run was resumed
        return goes_on
    if made in state.calls or not state.ahead:
        return made
    same = [known for known in state.ahead.values() if _is_open(known) and _is(known, given)]
    if not same:
        asked = state.ahead.get(shown) if shown is not None else None
        return made if asked is None or not _is_open(asked) else asked.key
    # Equal calls of one turn are equal; answers stay with the model's own ids where those tell them apart.
    own = given.call.call_id
    return next((one for one in same if own is not None and _asked_id(one) == own), same[0]).key


def _is_open(known: KnownCall) -> bool:
    decided = known.verdict in (Verdict.ASK, Verdict.ALLOW)
    return decided and known.started_ns is None and not known.adopted and not known.given_back


def _is(known: KnownCall, given: Given) -> bool:
    asked, call = known.asked_as, given.call
    if asked is None or asked.tool != call.tool or asked.withheld != given.withheld:
        return False
    names = None if call.schema_names is None else tuple(sorted(call.schema_names))
    if asked.schema_names != names:
        return False
    if given.withheld is not None:  # of `audit minimal`, while one process has the run: else see `shown_as`
        return given.withheld in UNSAID and asked.arguments == given.shown
    return given.said is not None and canonical(asked.arguments) == given.said


def shown_as(run: Run, given: Given) -> Steps[str | None]:
    """Return the key of the call, asked about ahead before a resume, that people were shown as this one.

    For calls whose arguments are withheld: of those the record has digests that no other process can compare;
    the tickets have the call as it was decided.
    """
    call, state = given.call, run.state
    if call.call_id is None:
        return None
    digest: str | None = None
    for known in tuple(state.ahead.values()):
        asked = known.asked_as
        if asked is None or not _is_open(known) or known.epoch == state.epoch or asked.withheld not in UNSAID:
            continue
        if (asked.tool, asked.call_id) != (call.tool, call.call_id):
            continue
        if digest is None:
            digest = yield from _decided_digest(run, known.key, call)
        try:
            tickets = yield run.opening.submit(run.opening.ready.tickets.of_call(run.id, known.key))
        except Exception as error:  # fails closed: without its ticket nothing is approved
            raise store_error("could not say what was asked", error, run=run.id) from error
        # SECURITY: its id is the model's word; that it is the call that was shown, the ticket says.
        if any((one.digest, one.policy_digest) == (digest, run.plan.digest) for one in tickets):
            return known.key
    return None


def _decided_digest(run: Run, key: str, call: ToolCall) -> Steps[str]:
    """Return the digest of the call with the arguments that it is decided on: as people are shown it."""
    with run.lock:
        assessed = assessed_now(run, key, call, Facts(), run.now_ns())
    if assessed.wanted:
        _, assessed, _, _ = yield from informed(run, key, call, Facts(), assessed)
    return call_digest(call.tool, assessed.arguments)


def _asked_id(known: KnownCall) -> str | None:
    return known.asked_as.call_id if known.asked_as is not None else None


def refused_before(run: Run, key: str, call: ToolCall) -> Held | None:
    """Return the refusal of a call that was asked about ahead, if it was refused: it stays so.

    Without it, a task that looks again would count the same denial twice, or ask about it anew.
    """
    known = run.state.calls.get(key)
    if known is None or known.asked_as is None or known.verdict is None or known.started_ns is not None:
        return None
    refused = known.verdict <= Verdict.DENY
    if not refused and not (known.verdict is Verdict.ASK and known.given_back):
        return None
    verdict = known.verdict if refused else Verdict.DENY
    return Held(key, call, Decision(verdict, (), call.arguments), None, over=True)


def would_ask(run: Run, given: Given) -> Steps[bool]:
    """Say whether a call would ask people if it were made now; nothing is recorded or reserved.

    Plugins are asked what the conditions want to know, and asked again when the call is decided.  A call that
    was asked about ahead by the same task, and was not made since, asks.
    """
    state, call = run.state, given.call
    with run.lock:
        if run.ended or run.suspended or run.stopped is not None or state.halted is not None:
            return False
        key = f"{given.base}.{state.next_ordinal(given.base, call.attempt)}"
        known = state.calls.get(key)
        if known is not None and known.asked_as is not None:
            return known.started_ns is None and not known.adopted
        tool = run.plan.by_bound_name.get(call.tool)
        if tool is None or not tool.asks:
            return False
        facts = Facts(reserved=(), attempted=())
        assessed = assessed_now(run, key, call, facts, run.now_ns())
    if assessed.wanted:
        facts, assessed, _, _ = yield from informed(run, key, call, facts, assessed)
    return conclude(assessed, facts).verdict is Verdict.ASK


def stands(run: Run, held: Held) -> bool:
    """Say whether a call that was decided a while ago would be decided the same now.

    SECURITY: the session may have read something since, or the time of day may have come.
    """
    was = held.decision
    if was.verdict is not Verdict.ALLOW:
        return True  # a refusal stays, and who is asked is asked anew
    with run.lock:
        facts = Facts(reserved=(), attempted=(), approved_by=approvals(held))
        assessed = assess(run.plan, run.state, held.call, facts, now_ns=run.now_ns(), key=held.key)
        if assessed.wanted:  # what plugins say now cannot be seen from here
            return False
        now = conclude(assessed, facts)
    same = (now.verdict, now.obligations, now.label) == (was.verdict, was.obligations, was.label)
    return same and dict(now.arguments) == dict(was.arguments)


def approvals(held: Held) -> dict[str, tuple[str, ...]]:
    """Return approver -> the people whose approvals the call rests on."""
    return {
        ticket.approver: tuple(who for who, verdict, _ in ticket.answers if verdict == "approve")
        for ticket in held.tickets
    }
