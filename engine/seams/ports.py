"""What the engine needs from outside, as protocols.  Stores are plugins that offer some or all of them.

All methods of a store are coroutines and run on the engine's own loop (`engine.seams.loop`), one store
object per guard.  Times are nanoseconds since the Unix epoch on the engine's clock.
"""

import concurrent.futures
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from ringfence.dsl.plan import Json
from ringfence.engine.decision.calls import Charge, Refusal


class Clock(Protocol):
    """Where time comes from; tests bring a frozen one (`ringfence.testing.FakeClock`)."""

    def now_ns(self) -> int:
        """Return nanoseconds since the epoch; anchored once, then monotonic: never steps back."""
        ...

    def monotonic_ns(self) -> int:
        """Return the monotonic clock in nanoseconds, for durations."""
        ...

    def sleep_until(self, mono_ns: int) -> None:
        """Return when the monotonic clock has reached `mono_ns`; the caller's thread waits."""
        ...

    async def asleep_until(self, mono_ns: int) -> None:
        """Like `sleep_until`, in the caller's event loop."""
        ...

    def anchor(self, now_ns: int) -> None:
        """Go on from this time, the store's, if it is later: hosts that share a store share its clock."""
        ...


# ---- the audit log -------------------------------------------------------------------------------


class Entry(NamedTuple):
    """One event as it is stored: header, body bytes, and its links in the chain of its run.

    `digest = sha256(salt || body)`, `hash = sha256(prev || header || digest)`, where header is the
    canonical JSON of id, run, seq, kind, schema, at_ns, mono_ns (the times as strings of digits).
    `body` is None once purged, and its salt with it empty.
    """

    run: str
    seq: int
    kind: str
    schema: int
    at_ns: int
    mono_ns: int
    salt: bytes
    body: bytes | None
    """RFC 8785 JSON, UTF-8."""
    digest: bytes
    prev: bytes
    """Hash of the run's previous event; 32 zero bytes for the first."""
    hash: bytes

    @property
    def id(self) -> str:
        """The event's id, unique in the log: sinks dedupe on it."""
        return f"{self.run}:{self.seq}"


@dataclass(frozen=True, slots=True)
class Link:
    """One link of the log's own chain over all runs: `hash = sha256(prev || entry.hash)`."""

    position: int
    """From 1, without gaps."""
    run: str
    seq: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class RunRow:
    """What a list of runs shows; kept by the store as events are appended."""

    run: str
    session: str
    agent: str
    user: str | None
    workspace: str | None
    policy: str
    status: str
    """`running`, `suspended`, `halted`, `done`, `failed`, from the kinds of the events appended."""
    started_ns: int
    last_ns: int
    events: int
    head: bytes
    """Hash of the run's last event."""
    parent: str | None = None


def newest(rows: Sequence[RunRow]) -> RunRow:
    """Return the newest run that no other run started, of rows newest first; else the newest of all."""
    return next((row for row in rows if row.parent is None), rows[0])


class EventLog(Protocol):
    """The audit log."""

    async def append(self, batch: Sequence[Entry]) -> None:
        """Store the entries, all or none, each linked to the log's chain; durable when it returns.

        Idempotent on `Entry.id` with the same hash.  Another hash under a known id raises a
        `TakenOverError` that names the run: another process has written in it.
        """
        ...

    async def purge(self, entry: Entry, *, upto: int) -> int:
        """Append the entry that says so, and remove body and salt of its run's events 1 to `upto`.

        Both or neither.  Bodies of the entry's own kind, `BodiesPurged`, stay.  Durable when it returns, with
        the number of bodies that were removed; the same entry again changes nothing.  Raise TakenOverError,
        and change nothing, if the entry is not the run's next.
        """
        ...

    async def scrub(self) -> None:
        """Have what purges and forgotten tickets have removed leave the store's files, as far as it can.

        Raise StoreAwayError if somebody keeps it from that now: asked again later, it may succeed.
        """
        ...

    async def read(self, run: str, *, after_seq: int = 0, limit: int | None = None) -> list[Entry]:
        """Return the run's entries in order, at most `limit` of them; empty for an unknown run."""
        ...

    async def runs(
        self,
        *,
        session: str | None = None,
        status: str | None = None,
        agent: str | None = None,
        user: str | None = None,
        workspace: str | None = None,
        since_ns: int | None = None,
        until_ns: int | None = None,
        limit: int | None = None,
    ) -> list[RunRow]:
        """Return runs, newest first, at most `limit`: those whose row holds all that is said.

        Args:
            since_ns: Only runs that began then or later.
            until_ns: Only runs that began before.
        """
        ...

    async def run(self, run: str) -> RunRow | None:
        """Return one run, or None."""
        ...

    async def links(self, *, after: int = 0, limit: int = 10_000) -> list[Link]:
        """Return links of the log's chain with a position above `after`, in order."""
        ...

    async def head(self) -> Link | None:
        """Return the log's last link; None if the log is empty."""
        ...


@runtime_checkable
class Inspected(Protocol):
    """An `EventLog` that keeps some things twice, and can say whether they agree; no store need be one."""

    async def damage(self) -> str | None:
        """Say in what the store contradicts itself; None: in nothing.

        A list that is filtered may be read from an index.  One that leaves out a run hides it, though every
        chain holds.
        """
        ...


# ---- the ledger ----------------------------------------------------------------------------------


class Reservation(NamedTuple):
    """All wider-than-run charges of one call: reserved together or not at all.

    Reserving the same `id` again is the same reservation as long as it stands: it answers as before, charges
    nothing, and its lease goes on as it was.  A dispatched one stands while it counts in any of its windows;
    one that is not dispatched stands until it has left the first of them, by a lease that ran out.  One that
    was refused or given back, or stands no more, is asked anew, in the place of whatever is left of it.

    A named tuple because one is made per call: a frozen dataclass takes twice as long.
    """

    id: str
    """`run/call`; `run/call/attempt` and `run/call/success` for what is kept or given back by itself."""
    charges: tuple[Charge, ...]
    """In the fixed order (budget, key).  Those with members count different members, the others amounts
    (up to 2^53 units of a budget); both kinds of one call are reserved together."""
    lease_ns: int | None = None
    """How long it may be held, from its reservation on, by the ledger's clock.  Whoever has neither stamped
    nor given it back by then is lost: it is kept as if it had been dispatched at that moment, and leaves
    each window one period later.  None: held without end."""


class Ledger(Protocol):
    """Where budgets wider than a run are kept: exact sliding windows, atomic over all keys of a call.

    A charge with members takes places for those that the window does not hold yet.  Touching one again is
    free and renews its time: it leaves one period after its last touch.  A refund takes back the touches
    of its own reservation and no others.

    For a refusal's `free_ns`, what is held under a lease leaves when that says: one period after its end.
    What is held without end, or never leaves, tells no time.

    `now_ns` is the caller's clock.  A ledger that several hosts share goes by its own (the server's) and
    never looks at it; either way the largest time seen stays.  A ledger that is away raises `StoreAwayError`.
    """

    async def reserve(self, reservation: Reservation, *, now_ns: int) -> tuple[Refusal, ...]:
        """Reserve all charges, or none and say which had no room (empty: reserved)."""
        ...

    async def dispatched(self, reservation_id: str, *, now_ns: int) -> bool:
        """Stamp a held reservation with the moment of its dispatch; from then on it is kept.

        Return False if it stands no more, so that nothing may be dispatched on it: it was given back, or its
        lease ran out and it has left one of its windows since; that changes nothing.  One whose lease ran out
        and that still counts in all of them is stamped anew; stamping twice changes nothing, and is True.
        """
        ...

    async def refund(self, reservation_id: str) -> None:
        """Give a reservation back; unknown or already given back: nothing happens."""
        ...

    async def settle(self, run: str, *, now_ns: int) -> None:
        """Stamp all that the calls of a killed run still hold: their fate is unknown, so they are kept.

        What a lease has ended already leaves as it did.
        """
        ...


@runtime_checkable
class InlineLedger(Protocol):
    """A ledger in this process's memory: the same, at once, from any thread."""

    def reserve_now(self, reservation: Reservation, *, now_ns: int) -> tuple[Refusal, ...]:
        """Like `Ledger.reserve`."""
        ...

    def dispatched_now(self, reservation_id: str, *, now_ns: int) -> bool:
        """Like `Ledger.dispatched`."""
        ...

    def refund_now(self, reservation_id: str) -> None:
        """Like `Ledger.refund`."""
        ...

    def settle_now(self, run: str, *, now_ns: int) -> None:
        """Like `Ledger.settle`."""
        ...


@runtime_checkable
class DirectLedger(Protocol):
    """A ledger that takes work from any thread, and does it in the order in which it was handed over.

    The answers come later.  A future that is done before the ledger has begun with it, since whoever waited
    gave up, is passed over.  The thread that answers wakes event loops: see `gathered`.
    """

    def reserve_soon(
        self, reservation: Reservation, *, now_ns: int
    ) -> "concurrent.futures.Future[tuple[Refusal, ...]]":
        """Like `Ledger.reserve`."""
        ...

    def dispatched_soon(self, reservation_id: str, *, now_ns: int) -> "concurrent.futures.Future[bool]":
        """Like `Ledger.dispatched`."""
        ...

    def refund_soon(self, reservation_id: str) -> "concurrent.futures.Future[None]":
        """Like `Ledger.refund`."""
        ...


# ---- tickets -------------------------------------------------------------------------------------


TicketStatus = Literal["open", "approved", "rejected", "expired", "withdrawn", "used"]


@dataclass(frozen=True, slots=True)
class Ticket:
    """One question to people, bound to one call; used once."""

    id: str
    """`T-` and eight characters of Crockford's base 32: short enough to say, too long to guess by hand."""
    run: str
    call: str
    tool: str
    arguments: Mapping[str, Json]
    """Canonical."""
    digest: str
    """Of tool and canonical arguments: an answer is for exactly these."""
    policy_digest: str
    approver: str
    group: str | None
    quorum: int
    never: str | None
    """The user who may not answer (`never the requester`); None: anyone in the group."""
    because: str | None
    asked_ns: int
    expires_ns: int | None
    status: TicketStatus = "open"
    answers: tuple[tuple[str, str, str | None], ...] = ()
    """(who, `approve`, `reject` or `ignored`, why), in order; who counts once."""
    edited: Mapping[str, Json] | None = None
    """The arguments that the approver put in the place of the asked ones: the call is decided anew."""
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Parameter -> where its value was found: `user`, `model` (nowhere), a tool, `TOOL.FIELD`, ...; empty: it
    cannot be told.  Parts of one value may come from different ones."""


class TicketStore(Protocol):
    """Where tickets are kept: durable before they are shown, changed only by compare-and-set."""

    async def open(self, ticket: Ticket) -> None:
        """Store a new ticket; durable when it returns."""
        ...

    async def get(self, ticket_id: str) -> Ticket | None:
        """Return the ticket, or None."""
        ...

    async def those(self, ids: Collection[str]) -> list[Ticket]:
        """Return those of these tickets that there are, in any order."""
        ...

    async def of_call(self, run: str, call: str) -> list[Ticket]:
        """Return the tickets of one call, oldest first."""
        ...

    async def pending(self) -> list[Ticket]:
        """Return the open tickets, oldest first."""
        ...

    async def swap(self, old: Ticket, new: Ticket) -> bool:
        """Replace `old` by `new` (one id) if the store still holds exactly `old`; say whether it did."""
        ...

    async def closed(self, runs: Collection[str]) -> dict[str, list[str]]:
        """Return the ids of the tickets that are not open, by run, of those of these runs that have any."""
        ...

    async def forget(self, tickets: Collection[str]) -> int:
        """Remove these tickets, durably, but for those that are open; return how many were removed."""
        ...

    async def news(self, *, seconds: float) -> None:
        """Return when others may have changed a ticket since this was called last, or after `seconds`.

        What was changed by this object need not be told.  A hint and no more: it may come without reason, and
        whoever waits looks at the tickets again.
        """
        ...


# ---- leases of sessions --------------------------------------------------------------------------


class Leases(Protocol):
    """Who may decide for a session: one living holder at a time.

    A holder is a guard in a process; its name is drawn anew by each.  It lives as long as it says so in time
    (`keep_alive`), or, where the kernel can tell, as long as its process does.
    """

    async def keep_alive(self, holder: str) -> float:
        """Say that `holder` lives; return for how many seconds that holds (infinity: until its process dies).

        Counted from before the call.  Whoever was silent for longer counts as dead: it must not decide any
        more before it has said so again and seen that it `holds` its sessions still.
        """
        ...

    async def gone(self, holder: str) -> None:
        """Say that `holder` lives no more; its sessions fall to whoever asks next."""
        ...

    async def lease(self, session: str, holder: str) -> str | None:
        """Take the session for `holder`, or return the living holder that has it.

        Whoever leases is alive by that (as after `keep_alive`).  The lease of a dead holder is taken over.
        """
        ...

    async def holds(self, session: str, holder: str) -> bool:
        """Say whether `holder` has the session, and nobody has had it since it took it."""
        ...

    async def holder(self, session: str) -> str | None:
        """Return the holder that has the session, one that is known to be dead left out; changes nothing."""
        ...

    async def release(self, session: str, holder: str) -> None:
        """Give the session back, if `holder` has it."""
        ...


# ---- the kill switch -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KillOrder:
    """An operator's order to stop: one run, one agent's runs, or all (both None)."""

    id: int
    """Rising, below 2^53: a run obeys the orders after the last one that was given before it began."""
    run: str | None
    agent: str | None
    by: str | None
    at_ns: int


@dataclass(frozen=True, slots=True)
class Attendant:
    """A guard with live runs, as the kill switch knows it."""

    holder: str
    """`HOST/PID-WORD`: what a person can find."""
    obeyed: int
    """The last order that it has acknowledged: nothing that those name starts there any more."""
    in_flight: int
    """Bodies of halted runs that had not ended when it acknowledged: they could not be stopped."""
    silent_s: float
    """Seconds since it last said that it is there."""


class KillSwitch(Protocol):
    """Orders to stop, and who has obeyed them."""

    async def keep_alive(self, holder: str) -> float:
        """Say that `holder` attends, as `Leases.keep_alive`: who is silent for longer has fallen out.

        One that comes anew counts as having obeyed every order given until now: it has no run yet.
        """
        ...

    async def gone(self, holder: str) -> None:
        """Say that `holder` attends no more: it has no live run."""
        ...

    async def order(self, *, run: str | None, agent: str | None, by: str | None, at_ns: int) -> KillOrder:
        """Store an order to stop; durable when it returns."""
        ...

    async def orders(self, *, after: int = 0) -> list[KillOrder]:
        """Return the orders with an id above `after`, in order."""
        ...

    async def latest(self) -> int:
        """Return the id of the last order; 0 if there is none."""
        ...

    async def obeyed(self, holder: str, order: int, *, in_flight: int) -> None:
        """Acknowledge every order up to this one; durable when it returns.  An older one changes no more."""
        ...

    async def attendants(self) -> list[Attendant]:
        """Return the guards that attend, those that have fallen out left out."""
        ...

    async def news(self, *, seconds: float) -> None:
        """Return when an order or an acknowledgement may have come, or after `seconds`; a hint, as in
        `TicketStore.news`."""
        ...


class Store(Protocol):
    """What one store URL opens.  A store may leave out what it does not keep."""

    @property
    def url(self) -> str:
        """The URL that names it in the settings."""
        ...

    @property
    def durable(self) -> bool:
        """False for memory: it says so at start."""
        ...

    @property
    def events(self) -> EventLog | None:
        """The audit log."""
        ...

    @property
    def ledger(self) -> Ledger | None:
        """Budgets wider than a run; a guard uses it at once where it is an `InlineLedger` too."""
        ...

    @property
    def tickets(self) -> TicketStore | None:
        """Questions to people."""
        ...

    @property
    def leases(self) -> Leases | None:
        """Who may decide for which session; kept beside the log."""
        ...

    @property
    def kill_switch(self) -> KillSwitch | None:
        """Orders to stop."""
        ...

    async def now_ns(self) -> int | None:
        """Return the store's time: its server's, or the largest it has seen; None: the host's will do."""
        ...

    async def open(self) -> None:
        """Open or create; raise OSError or RuntimeError with a message that says how to mend."""
        ...

    async def close(self) -> None:
        """Flush and close; safe to call twice."""
        ...


@runtime_checkable
class ReadableStore(Protocol):
    """A store that can be opened where nothing of it may be written: commands that only read use it so."""

    async def open_to_read(self) -> None:
        """Open as `open` where it may be written; else make and change nothing, and offer what can be read.

        Raise as `open`.  Whatever would write raises an EngineError then.
        """
        ...


@dataclass(frozen=True, slots=True)
class StoreNote:
    """One thing that a store says of itself to `ringfence doctor`."""

    found: str
    """Its version, or a setting of its server; never a password."""
    help: str = ""
    """How to mend it; empty: nothing is wrong with it."""


@runtime_checkable
class Examined(Protocol):
    """An opened store that knows what is risky in how its server is set up."""

    async def examined(self) -> Sequence[StoreNote]:
        """Return the server's version, and each of its settings that could lose or let through something."""
        ...
