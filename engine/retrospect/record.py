"""A run as it was recorded: the stored entries read back as stamped events."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ringfence.dsl.plan import Plan
from ringfence.engine.decision.events import KINDS, SCHEMA, CallDecided, RunStarted, Stamped, event_of
from ringfence.engine.decision.lineage import Family, Tale
from ringfence.engine.journal.tales import FORGOTTEN, NewerEventError, decode
from ringfence.engine.seams.isolates import IsolateExecutor, Lockdown
from ringfence.engine.seams.ports import Entry

if TYPE_CHECKING:
    from ringfence.engine.retrospect.replay import Replay
    from ringfence.engine.retrospect.rerun import Each, Rerun
    from ringfence.engine.retrospect.timeline import CallStep, Step
    from ringfence.engine.retrospect.whatif import WhatIf

Others = Callable[[str], Sequence[Entry]]

Isolates = Callable[[Callable[[IsolateExecutor], "Awaitable[Rerun]"]], "Future[Rerun]"]
"""Has some work done with what runs isolates, where that lives."""


class RecordError(ValueError):
    """A stored run cannot be read, or not be decided again; the message says which event and why."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run's events, in order."""

    run: str
    events: tuple[Stamped, ...] = field(repr=False)
    """Those whose bodies are still there."""
    purged: Mapping[int, str] = field(default_factory=dict)
    """Sequence number -> kind of the events whose bodies were purged."""
    others: "Others | None" = field(default=None, repr=False, compare=False)
    """Reads another run of the same log, for what this one remembers of it; None: there is no log at hand."""
    isolates: "Isolates | None" = field(default=None, repr=False, compare=False)
    """Runs isolates; None: there is nothing at hand that does."""
    gone: bool = field(default=False, compare=False)
    """True if its process is dead and it has not ended: what it did last is not known."""
    bodies: "Mapping[int, tuple[CallDecided, bytes]]" = field(default_factory=dict, repr=False, compare=False)
    """Sequence number -> a decision, and the very bytes that it was read from."""

    @classmethod
    def read(
        cls,
        entries: Iterable[Entry],
        *,
        others: "Others | None" = None,
        isolates: "Isolates | None" = None,
        gone: bool = False,
    ) -> "RunRecord":
        """Read a run's entries, in order.

        Args:
            others: Returns the entries of another run of the log; empty for one that it has not.
            isolates: What a rerun runs in; it is asked for nothing before.
            gone: The run's process is known to be dead.

        Raises:
            RecordError: There are none, one is missing or out of order, one was written by a newer version,
                or its body is not one of its kind.
        """
        run: str | None = None
        events: list[Stamped] = []
        purged: dict[int, str] = {}
        bodies: dict[int, tuple[CallDecided, bytes]] = {}
        for number, entry in enumerate(entries, start=1):
            run = entry.run if run is None else run
            if entry.run != run:
                raise RecordError(f"event {entry.id} is of another run than `{run}`")
            if entry.seq != number:
                raise RecordError(f"event {run}:{number} is missing: {entry.id} stands in its place")
            if entry.body is None:
                purged[entry.seq] = entry.kind
            else:
                one = stamped(entry, entry.body)
                events.append(one)
                if type(one.event) is CallDecided:
                    bodies[number] = one.event, entry.body
        if run is None:
            raise RecordError("there is no such run: the log has no event of it")
        return cls(run, tuple(events), purged, others, isolates, gone, bodies)

    def body_of(self, stamped: Stamped) -> bytes | None:
        """Return the bytes that a decision was read from; None: it is no decision, or was made by hand."""
        event, body = self.bodies.get(stamped.seq, (None, None))
        return body if event is stamped.event else None

    @property
    def started(self) -> RunStarted:
        """The run's first event; raise RecordError if it was purged."""
        first = self.events[0].event if self.events else None
        if not isinstance(first, RunStarted) or self.events[0].seq != 1:
            raise RecordError(f"the beginning of run `{self.run}` is not there: it was purged")
        return first

    @property
    def steps(self) -> "tuple[Step, ...]":
        """The run told in order: prompts, answers and calls; see `ringfence.engine.retrospect.timeline`."""
        from ringfence.engine.retrospect.timeline import timeline

        return tuple(timeline(self.events, gone=self.gone))

    @property
    def calls(self) -> "tuple[CallStep, ...]":
        """The run's tool calls, in the order in which they were requested."""
        from ringfence.engine.retrospect.timeline import CallStep

        return tuple(step for step in self.steps if isinstance(step, CallStep))

    def replay(self, plan: Plan | None = None) -> "Replay":
        """Decide every call again; see `ringfence.engine.retrospect.replay`."""
        from ringfence.engine.retrospect.replay import replay

        return replay(self, plan)

    def what_if(self, plan: Plan) -> "WhatIf":
        """Decide every call by another policy; see `ringfence.engine.retrospect.whatif`.

        Raises:
            RecordError: The run, or one that it goes on from, is not whole.
        """
        from ringfence.engine.retrospect.whatif import what_if

        return what_if(self, plan)

    def rerun(self, *, each: "Each | None" = None, lockdown: Lockdown = "process") -> "Rerun":
        """Run the JavaScript of the run again, each call answered from the record; nothing else is executed.

        Args:
            each: Called whenever one more run in an isolate is done; in another thread.
            lockdown: What must hold here at least, whatever the recorded policy is content with.

        Raises:
            RecordError: What was run cannot be read from the record.
            EngineError: Nothing here runs isolates.
        """
        started = self._rerun(each, lockdown)
        return started.result() if isinstance(started, Future) else started

    async def arerun(self, *, each: "Each | None" = None, lockdown: Lockdown = "process") -> "Rerun":
        """Like `rerun`."""
        started = self._rerun(each, lockdown)
        return await asyncio.wrap_future(started) if isinstance(started, Future) else started

    def _rerun(self, each: "Each | None", lockdown: Lockdown) -> "Future[Rerun] | Rerun":
        from ringfence.engine.retrospect.rerun import Rerun, prepared, rerun

        ready = prepared(self)
        if isinstance(ready, Rerun):
            return ready
        if self.isolates is None:
            raise RecordError(f"the isolates of run `{self.run}` cannot be run again: none are at hand here")
        return self.isolates(lambda executor: rerun(ready, executor, each=each, lockdown=lockdown))

    @property
    def tale(self) -> Tale:
        """What the run made its session remember."""
        gaps = frozenset(seq for seq, kind in self.purged.items() if kind not in FORGOTTEN)
        return Tale(self.events, gaps)

    def family(self) -> Family:
        """Return the runs that this one continues or joined, each as far as it did.

        Raises:
            RecordError: One is not in the log, or not whole.
        """
        family = Family()
        family.tell(self.run, self.tale)
        family.want(self.run, self.tale.last)
        while (run := family.missing()) is not None:
            family.tell(run, self._other(run, family.upto[run]))
        return family

    def other(self, run: str) -> "RunRecord":
        """Return a run that this one goes on from.

        Raises:
            RecordError: It is not in the log, or not whole.
        """
        if self.others is None:
            raise RecordError(f"run `{self.run}` goes on from run `{run}`, and no log is at hand to read it")
        entries = self.others(run)
        if not entries:
            raise RecordError(f"run `{self.run}` goes on from run `{run}`, which is not in the log")
        return RunRecord.read(entries)

    def _other(self, run: str, upto: int) -> Tale:
        record = self.other(run)
        tale = record.tale
        purged = min((seq for seq in tale.gaps if seq <= upto), default=None)
        if purged is not None:
            raise RecordError(
                f"run `{self.run}` goes on from run `{run}`, whose event {purged} "
                f"({record.purged[purged]}) was purged"
            )
        if tale.last < upto and max(record.purged, default=0) < upto:
            raise RecordError(
                f"run `{self.run}` goes on from event {upto} of run `{run}`, which is not there"
            )
        return tale


def refuse_unknown(entry: Entry) -> None:
    """Raise RecordError for an entry of a kind, or from a version, that this one does not know."""
    if not (type(entry.schema) is type(entry.at_ns) is int):
        raise RecordError(f"event {entry.id} holds other types than were recorded")
    if entry.schema > SCHEMA:
        raise RecordError(f"{NewerEventError(entry)}: read it with that version")
    if entry.kind not in KINDS:
        raise RecordError(f"event {entry.id} is of the unknown kind `{entry.kind}`")


def stamped(entry: Entry, body: bytes) -> Stamped:
    """Return the event of an entry; raise RecordError for one that no guard of this version wrote."""
    if not isinstance(body, bytes):
        raise RecordError(f"event {entry.id} holds other types than were recorded")
    refuse_unknown(entry)
    seq, kind = entry.seq, entry.kind
    if (seq == 1) != (kind == "RunStarted"):
        raise RecordError(f"event {entry.id} is `{kind}`: a run begins with RunStarted, once")
    try:
        return Stamped(seq, entry.at_ns, event_of(kind, decode(body.decode())))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RecordError(f"the body of event {entry.id} is no {kind}: {error}") from error
