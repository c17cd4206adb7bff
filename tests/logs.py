"""Runs as they stand in the log, made by hand: events in, chained entries out."""

from collections.abc import Iterable, Sequence

from ringfence.dsl.canonical import canonical
from ringfence.dsl.plan import Plan
from ringfence.engine.decision.calls import NO_FACTS, Decision, Facts, ToolCall
from ringfence.engine.decision.decide import decide
from ringfence.engine.decision.events import (
    SCHEMA,
    CallFinished,
    CallStarted,
    RunEvent,
    RunHalted,
    Stamped,
    body_of,
)
from ringfence.engine.decision.records import decided, requested
from ringfence.engine.decision.state import apply, start
from ringfence.engine.journal.chain import SALT_BYTES, ZERO, chained, link_hash
from ringfence.engine.seams.ports import Entry, Link
from tests.plans import T0, run_started


def entries_of(run: str, events: Iterable[Stamped]) -> list[Entry]:
    """Return the events as the journal stores them."""
    prev, entries = ZERO, []
    for stamped in events:
        entry = chained(
            prev,
            run=run,
            seq=stamped.seq,
            kind=stamped.event.kind,
            schema=SCHEMA,
            at_ns=stamped.at_ns,
            mono_ns=stamped.at_ns,
            salt=bytes([stamped.seq % 256]) * SALT_BYTES,
            body=canonical(body_of(stamped.event)),
        )
        entries.append(entry)
        prev = entry.hash
    return entries


def links_of(entries: Sequence[Entry]) -> list[Link]:
    """Return the log's own chain over entries in the order in which they were written."""
    prev, links = ZERO, []
    for position, entry in enumerate(entries, start=1):
        prev = link_hash(prev, entry.hash)
        links.append(Link(position, entry.run, entry.seq, prev))
    return links


class Recorder:
    """A run under way without a guard: decides, folds and keeps the events."""

    def __init__(self, of: Plan, *, at_ns: int = T0) -> None:
        self.plan = of
        began = run_started(of, at_ns=at_ns)
        self.events: list[Stamped] = [began]
        self.state = start(of, began)
        self.now_ns = at_ns

    def record(self, event: RunEvent) -> None:
        stamped = Stamped(len(self.events) + 1, self.now_ns, event)
        self.events.append(stamped)
        apply(self.state, stamped)

    def call(
        self, key: str, arguments: dict[str, object], *, name: str = "t", facts: Facts = NO_FACTS
    ) -> Decision:
        """Ask, decide and, if it is allowed, run one call; each takes one nanosecond."""
        self.now_ns += 1
        call = ToolCall(name, arguments)
        self.record(requested(key, call))
        return self.decide(key, facts=facts)

    def decide(self, key: str, *, facts: Facts = NO_FACTS) -> Decision:
        call = self.state.calls[key].request
        made = decide(self.plan, self.state, call, facts, now_ns=self.now_ns, key=key)
        self.record(decided(key, call, made, facts))
        if made.halt is not None:
            self.record(RunHalted(made.halt.name, None, None))
        if made.allowed:
            self.record(CallStarted(key))
            self.record(CallFinished(key, {"of": key}, None, 1))
        return made

    def entries(self, run: str = "r1") -> list[Entry]:
        return entries_of(run, self.events)
