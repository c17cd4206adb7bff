"""What a decision needs to know of its run: a fold over the run's events, and nothing else.

`start` makes the state from `RunStarted`, `apply` takes every later event.  No other code changes a
state, live or in replay, so the log cannot disagree with what was enforced.

What counts, and when:

- *calls*: a place is taken when a call is decided `allow` (otherwise parallel calls that are decided but
  not yet started would all pass) and given back if the call is refunded before it started.
- *denials*: each decision `deny` or `unknown`, unless a store that was away is all that caused it.
- *approval requests*: each approver of a decision `ask`, once per call, and each further ticket (a ticket
  that is passed on).  They are never given back.
- *deadline*: stands still only while nothing is in flight and a ticket is open, and no longer than the
  last of the open tickets may be answered.  In flight: a call decided `allow` that has not ended, a model
  that was asked and has not answered.

What the session remembers is folded in beside it, into `State.recall`.
"""

from collections.abc import Mapping
from typing import Any

from ringfence.dsl.plan import AgentPlan, Json, Plan, Reason, UnfitError
from ringfence.engine.decision.budgets import Members, Window
from ringfence.engine.decision.calls import Status
from ringfence.engine.decision.events import RunStarted, Stamped
from ringfence.engine.decision.known import KnownCall, OpenTicket, Outcome
from ringfence.engine.decision.recall.recall import Recall
from ringfence.engine.decision.steps import STEPS

__all__ = ["KnownCall", "OpenTicket", "Outcome", "State", "apply", "start"]


class State:
    """The fold over one run's events.  Read it freely; change it through `apply` alone."""

    __slots__ = (
        "adopted",
        "agent",
        "ahead",
        "attempts",
        "below",
        "calls",
        "deadline_ns",
        "denials",
        "epoch",
        "halted",
        "holds",
        "in_flight",
        "joining",
        "latest_ns",
        "models_in_flight",
        "open_tickets",
        "paused_since_ns",
        "places_taken",
        "plan",
        "prepared",
        "principal",
        "recall",
        "requests",
        "scope_keys",
        "seq",
        "session",
        "started_ns",
        "status",
        "suspended",
        "unfit",
        "windows",
    )

    def __init__(self, plan: Plan, event: RunStarted, recall: Recall, *, at_ns: int, seq: int) -> None:
        self.plan = plan
        agent = plan.agents.get(event.agent)
        self.agent: AgentPlan | None = agent
        """None: the plan has no such agent; such a run holds nothing."""
        self.holds = frozenset(event.capabilities) & (agent.holds if agent else frozenset())
        self.unfit: dict[str, str] = {}
        """Attributes of the principal that do not fit their declared type, and why."""
        self.principal: Mapping[str, Json] = _said(plan, event, self.unfit)
        """As conditions see it: only values that fit their declared type."""
        self.session = event.session
        self.scope_keys = {
            "session": event.session,
            "agent": event.agent,
            "user": self.principal.get("user"),
            "workspace": self.principal.get("workspace"),
        }
        self.seq = seq
        self.started_ns = at_ns
        self.latest_ns = at_ns
        """The largest time seen: a decision is never made at an earlier one."""
        stop = agent.stop if agent else None
        self.deadline_ns: int | None = at_ns + stop.at_most if stop else None
        """As it stands now; it moves on when a pause ends."""
        self.paused_since_ns: int | None = None
        self.status: Status = "running"
        self.suspended = False
        self.halted: Reason | None = None
        """What ended the run early; nothing is allowed after it."""
        self.places_taken = 0
        self.denials = 0
        self.requests = 0
        self.in_flight: set[str] = set()
        """Calls decided `allow` that have not ended."""
        self.models_in_flight: set[str] = set()
        self.open_tickets: dict[str, OpenTicket] = {}
        self.windows: dict[tuple[str, str], Window | Members] = {}
        """Run-wide budgets: (budget, key) -> window."""
        self.epoch = 0
        """Rises with each resume."""
        self.calls: dict[str, KnownCall] = {}
        self.below: dict[str, KnownCall] = {}
        """Calls of the runs inside of this one, by `run/call`: they count here too."""
        self.ahead: dict[str, KnownCall] = {}
        """Calls that were asked about ahead and not made yet, oldest first."""
        self.adopted: dict[str, str] = {}
        """Key under which a call would have been decided -> key of the call asked about ahead that it is."""
        self.attempts: dict[str, dict[tuple[int, str | None], int]] = {}
        """Base of the key -> (epoch, attempt) -> requests."""
        self.prepared: dict[str, Any] = {}
        """What `decide` has prepared for this run: a cache that changes no answer."""
        self.recall = recall
        """What the session remembers, as this run sees it."""
        self.joining: dict[str, Recall] = {}
        """Sub-run -> its memory, put here before its `SubrunJoined` is applied, which takes it out."""

    def next_ordinal(self, base: str, attempt: str | None) -> int:
        """Return the ordinal of the next request with this base.

        The nth request of an epoch is n.  After a resume counting begins at 0 again, except for requests
        of an attempt that had begun before it: that task was not started anew, it only comes late.
        """
        seen = self.attempts.get(base)
        if not seen:
            return 0
        return sum(
            count
            for (epoch, made_by), count in seen.items()
            if epoch == self.epoch or (attempt is not None and made_by == attempt)
        )

    def outcome_of(self, key: str) -> Outcome | None:
        """Return what the call gave if it ended in an earlier epoch: a resume returns that, no body runs."""
        known = self.calls.get(key)
        if known is None or known.outcome is None or known.outcome.epoch >= self.epoch:
            return None
        return known.outcome

    def fate_unknown(self, key: str) -> bool:
        """Say whether the call's body was started in an earlier epoch and no end was recorded."""
        known = self.calls.get(key)
        return known is not None and known.in_flight and known.started_epoch < self.epoch

    def approved_by(self, key: str) -> dict[str, tuple[str, ...]]:
        """Return approver -> the people who approved this call, from its recorded answers."""
        known = self.calls.get(key)
        people: dict[str, tuple[str, ...]] = {}
        for ticket in known.tickets if known else ():
            if ticket.answer in (None, "approve") and ticket.approved_by:
                people[ticket.approver] = ticket.approved_by
        return people

    def remaining_ns(self, now_ns: int) -> int | None:
        """Return nanoseconds until the deadline, 0 or less once it has passed; None: there is none."""
        if self.deadline_ns is None:
            return None
        if self.paused_since_ns is None:
            return self.deadline_ns - now_ns
        return self.deadline_ns + self._paused_ns(now_ns) - now_ns

    def _paused_ns(self, now_ns: int) -> int:
        """Return how long the clock has stood still up to now, in the pause that is on."""
        since = self.paused_since_ns
        if since is None:
            return 0
        expiries = [ticket.expires_ns for ticket in self.open_tickets.values()]
        until = now_ns
        if all(expiry is not None for expiry in expiries):
            until = min(now_ns, max((e for e in expiries if e is not None), default=since))
        return max(until - since, 0)


def _said(plan: Plan, event: RunStarted, unfit: dict[str, str]) -> dict[str, Json]:
    """Return the principal's values; one that is undeclared or does not fit its type was not said."""
    values: dict[str, Json] = {"agent": event.agent}
    for name, value in event.principal.items():
        if f"principal.{name}" in event.redacted or (
            "principal" in event.redacted and name not in plan.principal
        ):
            # SECURITY: the record has a stand-in, which must not be compared with anything.
            unfit[name] = "it is secret, so it is not in the record"
        elif name in ("user", "workspace"):
            if isinstance(value, str):
                values[name] = value
        elif (parameter := plan.principal.get(name)) is not None:
            try:
                values[name] = parameter.canonical(value)
            except Exception as error:  # fails closed: a value that was not said denies what needs it
                unfit[name] = str(error) if isinstance(error, UnfitError) else type(error).__name__
    return values


def start(plan: Plan, stamped: Stamped, recall: Recall | None = None) -> State:
    """Begin the fold with the run's first event; raise TypeError if that is no RunStarted.

    Args:
        recall: What the session remembers of its earlier runs, or a sub-run of its parent (then forked with
            `child=True`): a fork for this run alone, of the same plan.  None: nothing came before.
    """
    event = stamped.event
    if not isinstance(event, RunStarted):
        raise TypeError(f"a run begins with RunStarted, not {event.kind}")
    if recall is None:
        recall = Recall(plan)
    elif event.parent is None:
        recall.new_run()
    return State(plan, event, recall, at_ns=stamped.at_ns, seq=stamped.seq)


def apply(state: State, stamped: Stamped) -> None:
    """Take the next event of the run; total and deterministic."""
    at_ns = stamped.at_ns
    if at_ns > state.latest_ns:
        state.latest_ns = at_ns
    state.seq = stamped.seq
    step = STEPS.get(type(stamped.event))
    if step is None:
        return  # SubrunStarted, isolates and RunStarted itself change nothing that decides
    was_paused = state.paused_since_ns is not None
    if was_paused:
        # INVARIANT: what the pause has lasted is added before the event can change the open tickets.
        _add_pause(state)
    step(state, stamped.event, state.latest_ns)
    if state.open_tickets and not state.in_flight and not state.models_in_flight:
        state.paused_since_ns = state.latest_ns
    elif was_paused:
        state.paused_since_ns = None


def _add_pause(state: State) -> None:
    if state.deadline_ns is not None:
        state.deadline_ns += state._paused_ns(state.latest_ns)
    state.paused_since_ns = state.latest_ns
