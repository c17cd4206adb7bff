"""A live run: its state, its turnstile, and what of it is in flight."""

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ringfence.dsl.plan import Json, Plan, Reason
from ringfence.engine.decision.calls import Decision, Principal, ToolCall
from ringfence.engine.decision.events import (
    ApprovalAnswered,
    CallFailed,
    CallFinished,
    ModelAnswered,
    ModelAsked,
    RunEnded,
    RunEvent,
    RunHalted,
    RunStarted,
    RunSuspended,
    Stamped,
    SubrunJoined,
)
from ringfence.engine.decision.recall.recall import Recall
from ringfence.engine.decision.records import Form
from ringfence.engine.decision.state import State, apply, start
from ringfence.engine.decision.tree import below, counted_above
from ringfence.engine.enforcement.bodies import Flight
from ringfence.engine.enforcement.ledger import at_once
from ringfence.engine.enforcement.opening import Opening
from ringfence.engine.enforcement.presence import Presence
from ringfence.engine.enforcement.sessions import Holding
from ringfence.engine.enforcement.turnstile import Turnstile
from ringfence.engine.journal.hiding import Hiding, hiding_of
from ringfence.engine.journal.journal import Journal
from ringfence.engine.journal.repeated import Repeated
from ringfence.engine.seams.errors import EngineError, RingfenceError, RunHaltedError, TakenOverError
from ringfence.engine.seams.ports import InlineLedger, Ticket

_NOTED = (RunEnded, ApprovalAnswered)
"""The events that a run keeps something of beside its state."""


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
    lapses_ns: int | None = None
    """When the lease of what it has reserved runs out; None: never, or it has reserved nothing."""
    answered: bool = False
    """True once nobody is left to answer: what they said counts when the call is made."""
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
    presence: Presence = field(repr=False)
    state: State = field(init=False, repr=False)
    journal: Journal = field(init=False, repr=False)
    """The one that it began, or goes on, in."""
    inline: InlineLedger | None = field(init=False, default=None, repr=False)
    """The ledger, if it answers at once; None: it must be waited for."""
    lock: Any = field(default_factory=threading.RLock, repr=False)
    turnstile: Turnstile = field(default_factory=Turnstile, repr=False)
    flights: set[Flight] = field(default_factory=set, repr=False)
    held: dict[Slot, list[Held]] = field(default_factory=dict, repr=False)
    """Decided calls that were not dispatched; equal calls that came at once stand in a row."""
    waiting: dict[object, Callable[[], None]] = field(default_factory=dict, repr=False)
    """Wakes whoever waits for people in this run."""
    children: "list[Run]" = field(default_factory=list, repr=False)
    """Runs inside of this one that are live."""
    parent: "Run | None" = field(default=None, repr=False)
    started: "dict[str, tuple[Run, str | None]]" = field(default_factory=dict, repr=False)
    """Runs inside of this one whose end it has not seen, and the call that began each."""
    seen: dict[str, int] = field(default_factory=dict, repr=False)
    """The runs that this one remembers, and how far."""
    answers_seen: dict[str, int] = field(default_factory=dict, repr=False)
    """Ticket -> how many of its answers are in the record."""
    secret: bytes = field(default=b"", repr=False)
    """Keys the digests that stand for values under `audit minimal`."""
    hiding: Hiding | None = field(init=False, default=None, repr=False)
    """What of it never reaches the disk; None: nothing is secret."""
    holding: Holding | None = field(default=None, repr=False)
    """How its session is held here."""
    orders: int = 0
    """The last order to stop when it began."""
    ended: bool = False
    taken: bool = False
    """True once another process has its session: it is over here, and nothing more is recorded."""
    stopped: Reason | None = None
    """Why nothing starts any more, even if the log could not take the halt."""
    reserved: bool = False
    """True if the ledger was asked for something: what it still holds is settled when the run ends."""
    unasked: dict[str, asyncio.AbstractEventLoop | None] = field(default_factory=dict)
    """Tickets that are recorded and not in the store yet: put away now, their calls would wait for nobody.

    With the event loop that runs in the thread of who asks, if one does.
    """
    session: str = ""
    agent: str = ""
    repeated: Repeated = field(default_factory=Repeated, repr=False)
    """What its models were asked last."""
    forms: dict[str, Form] = field(default_factory=dict, repr=False)
    """What the allows of a tool say alike, where nothing is hidden."""

    def __post_init__(self) -> None:
        self.hiding = hiding_of(self.opening.secrets, self.plan)

    def hides_with(self, around: "Run | None", session: str) -> None:
        """Have what was hidden in the run around it, or else in its session, hidden here, too."""
        if self.hiding is not None:
            found = None if around is None or around.hiding is None else around.hiding.remembered
            self.hiding.remembered = self.opening.hidden.of(session, found)

    def shown(self, value: Json, *, tool: str | None = None) -> Json:
        """Return a value as it may be kept.

        Args:
            tool: It is the arguments of a call of this tool.
        """
        return value if self.hiding is None else self.hiding.value(value, tool=tool)

    def take_note(self, values: Iterable[Json]) -> None:
        """Take in what the model has been shown, perhaps elsewhere: it is hidden from now on."""
        if self.hiding is not None:
            for value in values:
                self.hiding.value(value)

    def hide(self, text: str) -> str:
        """Return a text as it may be kept."""
        return text if self.hiding is None else self.hiding.text(text)

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

    def begin(self, event: RunStarted, recall: Recall) -> None:
        """Record the first event and start the fold, with what the session remembers."""
        self._open()
        stamped = self.journal.record(self.id, event)
        self.state = start(self.plan, stamped, recall)
        self.session, self.agent, self.orders = event.session, event.agent, event.orders

    def _open(self) -> None:
        self.journal = self.opening.ready.journal
        self.inline = at_once(self.opening)

    def rebuild(self, state: State, events: Iterable[Stamped]) -> None:
        """Take over the state that was folded from these events."""
        self._open()
        self.state = state
        for stamped in events:
            if isinstance(stamped.event, RunStarted):
                began = stamped.event
                self.session, self.agent, self.orders = began.session, began.agent, began.orders
            self._note(stamped.event)

    def append(self, event: RunEvent, *, at_ns: int | None = None, body: bytes | None = None) -> Stamped:
        """Record an event, whose canonical body may be known, and fold it in.

        Raises:
            EngineError: It cannot be recorded.
        """
        with self.lock:
            if self.taken:
                raise self.over()
            if self.ended:
                raise EngineError(f"the run `{self.id}` has ended and takes no more events", run=self.id)
            if self.started and isinstance(event, CallFinished | CallFailed):
                self._join_those(event.call)
            if self.parent is not None:
                self._count_above(self.parent, event)
            if at_ns is None:
                at_ns = self.now_ns()
            stamped = self.journal.record(self.id, event, at_ns=at_ns, body=body)
            apply(self.state, stamped)
            if type(event) in _NOTED:
                self._note(stamped.event)
            return stamped

    def append_all(self, events: Sequence[tuple[RunEvent, bytes]], *, at_ns: int) -> bool:
        """Record events of one moment with their canonical bodies, and fold them in; False: none is.

        All or none: none where the log would refuse one of them, or has no room for all.  They are such as a
        run keeps nothing of beside its state, in a run that is not over and not inside of another.
        """
        with self.lock:
            recorded = self.journal.record_all(self.id, events, at_ns=at_ns)
            if recorded is None:
                return False
            for stamped in recorded:
                apply(self.state, stamped)
            return True

    def note(self, event: ModelAsked | ModelAnswered, *, body: bytes | None = None) -> bool:
        """Record what a model was asked or answered; say whether it was: an ended run takes nothing more."""
        with self.lock:
            if self.ended:
                return False
            self.append(event, body=body)
            return True

    def fold(self, stamped: Stamped) -> None:
        """Take a recorded event in, live or from the log."""
        apply(self.state, stamped)
        if type(stamped.event) in _NOTED:
            self._note(stamped.event)

    def _note(self, event: RunEvent) -> None:
        if isinstance(event, RunEnded):
            self.ended = True
        elif isinstance(event, ApprovalAnswered) and event.by is not None:
            self.answers_seen[event.ticket] = self.answers_seen.get(event.ticket, 0) + 1

    # ---- the runs inside of this one ---------------------------------------------------------------

    def _count_above(self, around: "Run", event: RunEvent) -> None:
        """Have the run around count what is `per run`, before it is recorded here: it never counts less."""
        call = getattr(event, "call", None) or ""
        if isinstance(event, CallFailed):
            counted_there = below(around.state, self.id, call)
            if counted_there is None or not counted_there.successes:
                return
        known = self.state.calls.get(call)
        counted = counted_above(self.id, event, known.tool if known is not None else "")
        if counted is not None and not around.ended:
            around.append(counted)

    def remembered(self) -> dict[str, int]:
        """Return the runs that this one remembers, itself too, and how far."""
        return {**self.seen, self.id: self.state.seq}

    def join(self, child: "Run", call: str | None) -> None:
        """Remember what a run inside of this one does, up to now: whatever it gave is about to arrive."""
        with self.lock:
            if self.ended or child.state.seq <= self.seen.get(child.id, 0):
                return
            self.state.joining[child.id] = child.state.recall
            self.append(SubrunJoined(child.id, call, child.state.seq))
            for run, seq in child.remembered().items():
                self.seen[run] = max(self.seen.get(run, 0), seq)

    def _join_those(self, call: str) -> None:
        # SECURITY: before the outcome of the call is recorded, and so before the model sees it.
        for child, begun_by in tuple(self.started.values()):
            if begun_by == call:
                self.join(child, call)
                if child.ended or child.suspended:
                    del self.started[child.id]

    def let_go_of(self, child: "Run") -> None:
        """Forget a run inside of this one without what it did: that was lost."""
        with self.lock:
            if child in self.children:
                self.children.remove(child)
            self.started.pop(child.id, None)

    def over_inside(self, child: "Run") -> None:
        """Take in that a run inside of this one is over, or put away."""
        with self.lock:
            if child in self.children:
                self.children.remove(child)
            begun = self.started.get(child.id)
            if begun is None:
                return
            known = self.state.calls.get(begun[1]) if begun[1] is not None else None
            if known is None or not known.in_flight:  # else it is joined when that call ends
                self.join(child, begun[1])
                del self.started[child.id]

    # ---- live, or over -----------------------------------------------------------------------------

    def check_live(self, now_ns: int | None = None) -> int | None:
        """Raise RunHaltedError unless a call could start now; a deadline that has passed halts the run.

        Args:
            now_ns: What `now_ns` has just said.

        Returns:
            The time left; None: no bound.

        Raises:
            EngineError: It is suspended, another process has taken it over, or this one could not say in time
                that it lives.
        """
        with self.lock:
            state = self.state
            if self.stopped is not None:
                raise self.over()
            left: int | None = None
            if state.halted is None and not self.ended:
                left = self.remaining_ns(self.now_ns() if now_ns is None else now_ns)
                if left is not None and left <= 0:
                    self.time_is_up()
            if state.halted is not None or self.ended or state.status in ("halted", "done", "failed"):
                raise self.over()
            if state.suspended:
                raise EngineError(
                    f"the run `{self.id}` is suspended", run=self.id, help="go on with `resume_run`"
                )
            # SECURITY: the session may be another process's by now, and an order to stop unread.
            self.presence.check(self.id)
            return left

    def check_start(self) -> None:
        """Raise unless a body that was dispatched may still start.

        A limit that another call has passed since forbids nothing here: this one was within it.
        """
        with self.lock:
            why = self.stopped or self.state.halted
            if self.taken or self.ended or (why is not None and why.name == "killed"):
                raise self.over()
            left = self.remaining_ns(self.now_ns())
            if left is not None and left <= 0:
                self.time_is_up()
                raise self.over()
            self.presence.check(self.id)

    def over(self) -> RingfenceError:
        """Return the error that says why nothing runs any more."""
        if self.taken:
            return TakenOverError(
                f"another process has taken over the session of the run `{self.id}`",
                run=self.id,
                help="this process could not tell the store for too long that it lives: start a new run",
            )
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
        if self.parent is None:
            return left
        around = self.parent.remaining_ns(now_ns)
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

    def take_over(self) -> None:
        """Take in that another process has the session: it is over here, and records nothing more."""
        with self.lock:
            self.taken = self.ended = True
        self.stop_flights()

    @property
    def busy(self) -> bool:
        """True while something of it is under way, so that it cannot be put away."""
        return bool(self.flights or self.waiting or self.unasked or self.turnstile.busy or self.in_flight())

    def is_decided_elsewhere(self) -> bool:
        """Say whether a call is being decided, or a question put, by whom this thread does not hold up.

        A thread that waits for what its own event loop does waits for nothing.
        """
        here = asyncio._get_running_loop()
        by = [*self.unasked.values(), *([self.turnstile.loop] if self.turnstile.busy else ())]
        return any(loop is None or loop is not here for loop in by)

    def in_flight(self) -> list[str]:
        """Return the calls whose bodies have started and not ended."""
        return [key for key in sorted(self.state.in_flight) if self.state.calls[key].in_flight]

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
