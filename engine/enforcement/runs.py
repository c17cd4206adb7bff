"""A live run: its state, its turnstile, and what of it is in flight."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ringfence.dsl.plan import Plan, Reason
from ringfence.engine.decision.calls import Decision, Principal, ToolCall
from ringfence.engine.decision.events import (
    ApprovalAnswered,
    ModelAnswered,
    ModelAsked,
    RunEnded,
    RunEvent,
    RunHalted,
    RunStarted,
    RunSuspended,
    Stamped,
)
from ringfence.engine.decision.state import State, apply, start
from ringfence.engine.enforcement.bodies import Flight
from ringfence.engine.enforcement.opening import Opening
from ringfence.engine.enforcement.turnstile import Turnstile
from ringfence.engine.seams.errors import EngineError, RunHaltedError
from ringfence.engine.seams.ports import Ticket


@dataclass(slots=True, eq=False)
class Held:
    """One decided call, until it is dispatched or refused."""

    key: str
    call: ToolCall
    decision: Decision
    reservation: str | None
    """The ledger's reservation that it holds."""
    success: str | None = None
    """Another one, of what counts successes: given back if the body fails."""
    tickets: tuple[Ticket, ...] = ()
    """The approvals it rests on: used up at dispatch."""
    edits: frozenset[str] = frozenset()
    """The tickets whose edited arguments have been taken."""
    over: bool = False
    """True once it was dispatched or given back: nothing is left to refund."""


Slot = tuple[str, str | None]
"""Base of the call key, and the framework's attempt: who asks again is answered as before."""


@dataclass(eq=False)
class Run:
    """One run as this process lives it.  `lock` guards the order of events: record and fold are one act."""

    id: str
    plan: Plan
    principal: Principal
    opening: Opening = field(repr=False)
    state: State = field(init=False, repr=False)
    lock: Any = field(default_factory=threading.RLock, repr=False)
    turnstile: Turnstile = field(default_factory=Turnstile, repr=False)
    flights: set[Flight] = field(default_factory=set, repr=False)
    held: dict[Slot, list[Held]] = field(default_factory=dict, repr=False)
    """Decided calls that were not dispatched; equal calls that came at once stand in a row."""
    waiting: dict[object, Callable[[], None]] = field(default_factory=dict, repr=False)
    """Wakes whoever waits for people in this run."""
    children: "list[Run]" = field(default_factory=list, repr=False)
    parent: "Run | None" = field(default=None, repr=False)
    answers_seen: dict[str, int] = field(default_factory=dict, repr=False)
    """Ticket -> how many of its answers are in the record."""
    secret: bytes = field(default=b"", repr=False)
    """Keys the digests that stand for values under `audit minimal`."""
    ended: bool = False
    stopped: Reason | None = None
    """Why nothing starts any more, even if the log could not take the halt."""
    reserved: bool = False
    """True if the ledger was asked for something: what it still holds is settled when the run ends."""
    session: str = ""
    agent: str = ""

    # ---- decided and not dispatched ----------------------------------------------------------------

    def keep(self, slot: Slot, held: Held) -> None:
        """Hold a decided call for whoever asks again."""
        with self.lock:
            self.held.setdefault(slot, []).append(held)

    def take(self, slot: Slot) -> Held | None:
        """Return the call that was decided first, for one caller alone; None: there is none."""
        with self.lock:
            row = self.held.get(slot)
            if not row:
                return None
            first = row.pop(0)
            if not row:
                del self.held[slot]
            return first

    def take_those(self, wanted: Callable[[Held], bool]) -> list[Held]:
        """Return the held calls that are `wanted`, and hold them no more."""
        with self.lock:
            taken = [held for row in self.held.values() for held in row if wanted(held)]
            left = {slot: [h for h in row if h not in taken] for slot, row in self.held.items()}
            self.held = {slot: row for slot, row in left.items() if row}
            return taken

    # ---- the record --------------------------------------------------------------------------------

    def now_ns(self) -> int:
        """Return the engine's time, never before the latest that the run has seen."""
        now_ns, latest_ns = self.opening.clock.now_ns(), self.state.latest_ns
        return now_ns if now_ns > latest_ns else latest_ns

    def begin(self, event: RunStarted) -> None:
        """Record the first event and start the fold."""
        self.begin_from(self.opening.ready.journal.record(self.id, event))

    def begin_from(self, stamped: Stamped) -> None:
        """Start the fold from the recorded first event."""
        self.state = start(self.plan, stamped)
        assert isinstance(stamped.event, RunStarted)
        self.session, self.agent = stamped.event.session, stamped.event.agent

    def append(self, event: RunEvent, *, at_ns: int | None = None, body: bytes | None = None) -> Stamped:
        """Record an event, whose canonical body may be known, and fold it in.

        Raises:
            EngineError: It cannot be recorded.
        """
        with self.lock:
            if self.ended:
                raise EngineError(f"the run `{self.id}` has ended and takes no more events", run=self.id)
            moment = self.now_ns() if at_ns is None else at_ns
            stamped = self.opening.ready.journal.record(self.id, event, at_ns=moment, body=body)
            self.fold(stamped)
            return stamped

    def note(self, event: ModelAsked | ModelAnswered) -> bool:
        """Record what a model was asked or answered; say whether it was: an ended run takes nothing more."""
        with self.lock:
            if self.ended:
                return False
            self.append(event)
            return True

    def fold(self, stamped: Stamped) -> None:
        """Take a recorded event in, live or from the log."""
        apply(self.state, stamped)
        event = stamped.event
        if isinstance(event, ApprovalAnswered):
            if event.by is not None:
                self.answers_seen[event.ticket] = self.answers_seen.get(event.ticket, 0) + 1
        elif isinstance(event, RunEnded):
            self.ended = True

    # ---- live, or over -----------------------------------------------------------------------------

    def check_live(self) -> None:
        """Raise RunHaltedError unless a call could start now; a deadline that has passed halts the run."""
        with self.lock:
            state = self.state
            if self.stopped is not None:
                raise self.over()
            if state.halted is None and not self.ended:
                left = self.remaining_ns(self.now_ns())
                if left is not None and left <= 0:
                    self.time_is_up()
            if state.halted is not None or self.ended or state.status in ("halted", "done", "failed"):
                raise self.over()
            if state.suspended:
                raise EngineError(
                    f"the run `{self.id}` is suspended", run=self.id, help="go on with `resume_run`"
                )

    def over(self) -> RunHaltedError:
        """Return the error that says why nothing runs any more."""
        reason = self.state.halted or self.stopped
        why = f"by {reason.name}" if reason else "it has ended"
        deny = self.plan.responses.deny
        return RunHaltedError(
            f"the run is over: {why}",
            reason=reason,
            run=self.id,
            model_text=deny if deny is not None else "the run is over",
            help="start a new run",
        )

    def remaining_ns(self, now_ns: int) -> int | None:
        """Return the time left to this run and the runs around it; None: no bound."""
        left = self.state.remaining_ns(now_ns)
        around = self.parent.remaining_ns(now_ns) if self.parent is not None else None
        return left if around is None else around if left is None else min(left, around)

    def time_is_up(self) -> None:
        """Halt this run, or the one around it, whichever has less time left."""
        with self.lock:
            now_ns = self.now_ns()
            own, left = self.state.remaining_ns(now_ns), self.remaining_ns(now_ns)
            agent = self.state.agent
            if own is not None and own == left and agent is not None and agent.stop is not None:
                self.halt(agent.stop.reason, by=None, detail="the time is up")
            elif self.parent is not None:
                self.parent.time_is_up()

    def halt(self, reason: str, *, by: str | None, detail: str | None) -> None:
        """Record the halt, once, and stop everything in flight, here and in the runs started from here.

        What is in flight is stopped even if the log cannot take the event, and nothing starts after it:
        that never fails open.
        """
        first: Exception | None = None
        with self.lock:
            if self.state.status not in ("halted", "done", "failed") and not self.ended:
                self.stopped = self.stopped or Reason(reason, "halt", None, None, detail)
                try:
                    self.append(RunHalted(reason, by, detail))
                except Exception as error:  # the log is broken; stopped below all the same
                    first = error
        self.stop_flights()
        for child in tuple(self.children):
            try:
                child.halt(reason, by=by, detail=detail)
            except Exception as error:  # its siblings must stop too
                first = first or error
        if first is not None:
            raise first

    def stop_flights(self) -> None:
        """Stop every body in flight and wake everyone who waits for people."""
        with self.lock:
            flights, waiting = tuple(self.flights), tuple(self.waiting.values())
        for flight in flights:
            flight.halt()
        for wake in waiting:
            wake()

    @property
    def suspended(self) -> bool:
        """True from RunSuspended to RunResumed."""
        return self.state.suspended

    def suspend(self, tickets: tuple[str, ...]) -> None:
        """Record that the framework has put the run away."""
        self.append(RunSuspended(tickets))
