"""Decide a recorded run again: the same fold, the same `decide`, the recorded clock and facts.

A verdict is made anew and compared, never read back.  So a log whose arguments or whose policy were changed
does not replay, and a decision that this version would make otherwise is shown with both sides.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ringfence.dsl.canonical import canonical, same
from ringfence.dsl.plan import Json, Plan, Verdict
from ringfence.engine.decision.calls import Decision, Facts, ToolCall, digest_of
from ringfence.engine.decision.decide import decide
from ringfence.engine.decision.events import (
    CallDecided,
    CallStarted,
    RunStarted,
    Stamped,
    SubrunJoined,
    body_of,
)
from ringfence.engine.decision.lineage import Family, Lineage, LineageError, remembers
from ringfence.engine.decision.recall.recall import Recall
from ringfence.engine.decision.records import decided, facts_of, facts_record, texts_of, untouched
from ringfence.engine.decision.retold import call_again
from ringfence.engine.decision.state import KnownCall, State, apply, start
from ringfence.engine.decision.written import decided_body
from ringfence.engine.retrospect.record import RecordError, RunRecord
from ringfence.engine.seams.escape import escaped

_UNDECIDING = frozenset({"SubrunStarted", "IsolateStarted", "IsolateEnded"})
"""Kinds of events that every fold passes over: a purged one is no obstacle."""

_REMEMBERED = frozenset({"PromptGiven", "SubrunJoined"})
"""The same, where the policy asks nothing of history, labels or provenance."""

_SHOWN_AT_MOST = 2000
"""Characters of one value in the text of a divergence; its fields hold all of it."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first event that does not follow from what stands before it."""

    seq: int
    call: str | None
    """None: it is the policy itself that is not the recorded one."""
    differs: tuple[str, ...]
    """The names of the fields below that are not equal."""
    recorded: Mapping[str, Json]
    recomputed: Mapping[str, Json]

    def __str__(self) -> str:
        what = f"call {escaped(self.call)}" if self.call else "the policy"
        lines = [f"event {self.seq}, {what}: " + ", ".join(self.differs) + " differ"]
        for name in self.differs:
            lines.append(f"  {name} recorded:   {_shown(self.recorded.get(name))}")
            lines.append(f"  {name} recomputed: {_shown(self.recomputed.get(name))}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Unreplayable:
    """A decision that cannot be made again, because its arguments are not in the record."""

    seq: int
    call: str
    because: str


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of deciding a run again."""

    run: str
    decisions: int
    """How many were made again, the one that diverges included."""
    divergence: Divergence | None = None
    not_replayable: tuple[Unreplayable, ...] = ()

    @property
    def identical(self) -> bool:
        """True if every decision that could be made again came out the same."""
        return self.divergence is None


def replay(record: RunRecord, plan: Plan | None = None) -> Replay:
    """Decide every call of the run again, up to the first that comes out differently.

    Args:
        plan: Decide by this policy; None: by the recorded text, compiled anew.
    Raises:
        RecordError: The run cannot be decided again: events that decide were purged, recorded facts are
            unreadable, or the recorded policy does not load in this version.
    """
    begun = record.started
    own = plan is None
    if plan is None:
        plan = compiled(begun, record.run)
    idle = _UNDECIDING if remembers(plan) else _UNDECIDING | _REMEMBERED
    missing = [f"{seq} ({kind})" for seq, kind in record.purged.items() if kind not in idle]
    if missing:
        raise RecordError(f"run `{record.run}` cannot be replayed, purged: event {missing[0]}")
    if own and plan.digest != begun.policy_digest:
        return Replay(record.run, 0, policy_changed(begun, plan))
    fold = Fold(record, plan)
    state = fold.state
    decisions = 0
    skipped: list[Unreplayable] = []
    for stamped in record.events[1:]:
        event = stamped.event
        divergence: Divergence | None = None
        if isinstance(event, CallDecided):
            if event.call not in state.calls:
                decisions += 1
                divergence = _never_requested(stamped, event)
            elif isinstance(
                made := decided_again(plan, state, stamped, event, record.body_of(stamped)), Unreplayable
            ):
                skipped.append(made)
            else:
                decisions += 1
                _, divergence = made
        elif isinstance(event, CallStarted):
            divergence = _started_rightly(state, stamped, event)
        if divergence is not None:
            return Replay(record.run, decisions, divergence, tuple(skipped))
        fold.take(stamped)
    return Replay(record.run, decisions, None, tuple(skipped))


def policy_changed(begun: RunStarted, plan: Plan) -> Divergence:
    """Return the divergence of a policy whose recorded texts are not those that the run began with."""
    name = "policy_digest"
    return Divergence(1, None, (name,), {name: begun.policy_digest}, {name: plan.digest})


def _never_requested(stamped: Stamped, event: CallDecided) -> Divergence:
    return Divergence(stamped.seq, event.call, ("requested",), {"requested": "no"}, {"requested": "yes"})


def decided_again(
    plan: Plan, state: State, stamped: Stamped, event: CallDecided, body: bytes | None = None
) -> tuple[Decision, Divergence | None] | Unreplayable:
    """Decide a recorded call again, in the state before it, which knows it: the decision, and how it differs.

    Args:
        body: What the event was read from, where that is at hand.

    Raises:
        RecordError: Its facts are of another shape than a guard writes.
    """
    known = state.calls[event.call]
    try:
        call = call_again(known, event, plan.by_bound_name.get(known.tool))
        if isinstance(call, str):
            return Unreplayable(stamped.seq, event.call, call)
        facts = facts_of(event.facts)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordError(f"the facts of event {stamped.seq} cannot be read: {error}") from error
    now_ns = max(stamped.at_ns, state.latest_ns)
    decision = decide(plan, state, call, facts, now_ns=now_ns, key=event.call)
    if body is not None and known.withheld is None and _would_be(body, event, call, decision, facts, plan):
        return decision, None
    # The facts are given, not made again: an older record says less of them.
    recorded = {**body_of(event), "facts": facts_record(facts)}
    recomputed = body_of(decided(event.call, call, decision, facts, levels=plan.levels, edited=event.edited))
    if known.withheld is not None:  # then the decision has all of them
        recomputed["arguments"] = dict(decision.arguments)
    if same(recorded, recomputed):
        return decision, None
    differs = tuple(name for name in recorded if not same(recorded[name], recomputed[name]))
    return decision, Divergence(stamped.seq, event.call, differs, recorded, recomputed)


_VERDICTS = {verdict: str(verdict) for verdict in Verdict}


def _would_be(
    body: bytes, event: CallDecided, call: ToolCall, decision: Decision, facts: Facts, plan: Plan
) -> bool:
    """Say whether the decision would be recorded in the very same bytes: the usual case, and a quick look."""
    label = None if decision.label is None else plan.levels[decision.label]
    if (
        event.verdict != _VERDICTS[decision.verdict]
        or event.asks != decision.asks
        or event.label != label
        or not untouched(decision.arguments, call.arguments)
    ):
        return False
    try:
        digest = digest_of(call.tool, canonical(dict(call.arguments)))
    except (ValueError, TypeError, RecursionError):  # no JSON: it is compared field by field
        return False
    # What the event says itself is what the decision says; all else of its body is made anew.
    return event.digest == digest and decided_body(event, decision, facts) == body


def _started_rightly(state: State, stamped: Stamped, event: CallStarted) -> Divergence | None:
    """Return a divergence if a call was started that had no allow left to use."""
    known = state.calls.get(event.call)
    if known is None or known.verdict is not Verdict.ALLOW:
        why = "it was not allowed"
    elif known.started_ns is not None and not _goes_on(state, known):
        why = "its allow was used before"
    elif not known.takes_place:
        why = "its allow was given back"
    else:
        return None
    return Divergence(stamped.seq, event.call, ("started",), {"started": "yes"}, {"started": f"no: {why}"})


def _goes_on(state: State, known: KnownCall) -> bool:
    """Say whether a call that the framework had interrupted was made again after a resume."""
    interrupted = known.outcome is not None and known.outcome.failure == "interrupted"
    return interrupted and known.started_epoch < state.epoch == known.epoch


def _shown(value: Json) -> str:
    try:
        text = canonical(value).decode("utf-8")
    except ValueError:
        text = repr(value)
    left = len(text) - _SHOWN_AT_MOST
    return text if left <= 0 else f"{text[:_SHOWN_AT_MOST]} [cut: {left} characters are not shown]"


class Fold:
    """The fold of one run under a plan, with what it remembers of others, event by event.

    A run that is whole is folded by itself if the plan asks nothing of memory: all that others would add is
    asked about by nobody.

    Raises:
        RecordError: A run that this one goes on from is not in the log, or not whole.
    """

    def __init__(self, record: RunRecord, plan: Plan) -> None:
        self._run = record.run
        self._events, self._taken = record.events, 1
        self._lineage: Lineage | None = None
        blind = not remembers(plan)
        if blind and not record.purged and record.events and type(record.events[0].event) is RunStarted:
            self.state = start(plan, record.events[0], Recall(plan))
            return
        if blind:
            family = Family()
            family.tell(record.run, record.tale)
            family.upto[record.run] = record.tale.last
        else:
            family = record.family()
        self._lineage = Lineage(plan, family)
        self.state = self._lineage_at(self._lineage, 1)

    def take(self, stamped: Stamped) -> None:
        """Take the next event."""
        self.reach(stamped.seq)

    def reach(self, seq: int) -> None:
        """Take everything up to an event; of what was purged, that it is not known."""
        if self._lineage is not None:
            self._lineage_at(self._lineage, seq)
            return
        events, state = self._events, self.state
        while self._taken < len(events) and (stamped := events[self._taken]).seq <= seq:
            self._taken += 1
            if type(stamped.event) is SubrunJoined:
                state.joining[stamped.event.run] = state.recall
            apply(state, stamped)

    def _lineage_at(self, lineage: Lineage, seq: int) -> State:
        try:
            return lineage.state(self._run, seq)
        except LineageError as error:
            raise RecordError(f"event {seq} of run `{self._run}` cannot be folded: {error}") from error


def compiled(begun: RunStarted, run: str) -> Plan:
    """Return the plan that a run began with, made again from its record.

    Raises:
        RecordError: It does not load in this version.
    """
    # The parser is needed only here: a replay under a given plan starts without it.
    from ringfence.dsl.load import load_files

    try:
        loaded = load_files(texts_of(begun))
    except (KeyError, TypeError, ValueError, AttributeError, LookupError) as error:
        raise RecordError(f"the texts of the policy of run `{run}` cannot be read: {error}") from error
    if loaded.plan is None:
        errors = "; ".join(f"{d.code} {d.message}" for d in loaded.diagnostics if d.is_error)
        raise RecordError(f"the policy of run `{run}` does not load in this version: {errors}")
    return loaded.plan
