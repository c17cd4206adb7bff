"""What a session remembers, folded from its events: history, the label, and where values came from.

Only what some clause of the plan mentions is kept.  `State` feeds it; conditions ask it through
`dsl.plan.Recalled`.  A later run of the session goes on with a fork, and so does a sub-run, whose memory is
joined to its parent's as its result arrives.
"""

from collections.abc import Mapping
from typing import NamedTuple

from ringfence.dsl.plan import Condition, Json, Origin, Plan, Scope, ToolPlan, Truth
from ringfence.engine.decision.recall.provenance import Provenance
from ringfence.engine.decision.recall.watches import After, Calls, Mark, Memory, Order, Since, memory_of


class Mention(NamedTuple):
    """A step of a watch that calls of one tool may be."""

    watch: str
    step: int
    where: Condition | None


class Reading(NamedTuple):
    """A step of a watch that results at or above a level are."""

    watch: str
    step: int
    rank: int


class Flight:
    """A call that was decided `allow` and has not ended."""

    __slots__ = ("label", "marks", "readings", "tool", "withheld")

    def __init__(self, tool: str, label: int | None, withheld: bool) -> None:
        self.tool = tool
        self.label = label
        """The rank of its result; None: the tool says none, so it carries the session's at dispatch."""
        self.withheld = withheld
        self.marks: list[tuple[Memory, Mark]] = []
        self.readings: dict[int, tuple[Memory, Mark]] = {}
        """Index of the reading -> its mark."""


class Recall:
    """The memory of one session, as one run sees it.  Read it freely; change it through `State` alone."""

    __slots__ = (
        "_flights",
        "_forked_at",
        "_memories",
        "_mentions",
        "_readings",
        "active",
        "label",
        "plan",
        "position",
        "traces",
        "unknown",
    )

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.active = bool(plan.watches or plan.levels or plan.traces)
        """False: no clause asks anything, and nothing is kept."""
        self.label = 0
        """The rank of the session's label: the join of all results shown; it never falls."""
        self.position = 0
        """Rises with each thing remembered: an order in time where a clock stands still."""
        self.unknown = False
        """True if something that happened is not in the record any more: then everything is undecided."""
        self.traces: Provenance | None = Provenance() if plan.traces else None
        self._memories: dict[str, Memory] = {key: memory_of(watch) for key, watch in plan.watches.items()}
        self._mentions: Mapping[str, tuple[Mention, ...]] = _mentions(plan)
        self._readings: tuple[Reading, ...] = tuple(
            Reading(key, step, event.rank)
            for key, watch in plan.watches.items()
            for step, event in enumerate(watch.events)
            if event.rank is not None
        )
        self._flights: dict[str, Flight] = {}
        self._forked_at: int | None = None
        """The position at which a child was forked from its parent; None: it is no child."""

    # ---- what conditions ask -----------------------------------------------------------------------

    def after(self, watch: str, *, now_ns: int) -> Truth:
        """See `Recalled.after`."""
        memory = self._memories.get(watch)
        if self.unknown or not isinstance(memory, After | Since):
            return None
        return memory.truth(now_ns)

    def counted(self, watch: str, *, now_ns: int) -> tuple[int, int | None]:
        """See `Recalled.counted`."""
        memory = self._memories.get(watch)
        if self.unknown or not isinstance(memory, Calls):
            return 0, None
        return memory.counted(now_ns)

    def ordered(self, watch: str, value: Json) -> Truth:
        """See `Recalled.ordered`."""
        memory = self._memories.get(watch)
        if self.unknown or not isinstance(memory, Order):
            return None
        return memory.truth(value)

    def carries(self, rank: int) -> Truth:
        """See `Recalled.carries`."""
        return None if self.unknown else self.label >= rank

    def comes_from(self, value: Json, source: Origin) -> Truth:
        """See `Recalled.comes_from`."""
        if self.unknown or self.traces is None:
            return None
        position = self.position + 1
        if source.only:
            return self.traces.comes_only_from(value, (source,), position=position)
        return self.traces.comes_from(value, source, position=position)

    def sources_of(self, value: Json) -> list[Origin]:
        """Return every source in which a part of the value is found, for people; empty: it cannot be told."""
        if self.unknown or self.traces is None:
            return []
        return self.traces.sources_of(value, position=self.position + 1)

    @property
    def overflow(self) -> bool:
        """True if more text was shown than is kept: what matches nothing is then undecided."""
        return self.traces is not None and self.traces.overflow

    # ---- what happens ------------------------------------------------------------------------------

    def prompt(self, source: str, text: Json, *, at_ns: int) -> None:
        """Take a text that reached the model from outside; that of `host` is of the highest level."""
        self.position += 1
        if source != "host":
            if self.traces is not None:
                self.traces.prompt(self.position, source, text)
            return
        if self.plan.levels:
            self._shown(len(self.plan.levels) - 1, at_ns)

    def requested(self, arguments: Json, *, withheld: bool) -> None:
        """Take what the model wrote in a call's arguments, whatever becomes of the call."""
        self.position += 1
        if self.traces is not None:
            self.traces.written(self.position, None if withheld else arguments)

    def rewritten(self, arguments: Json, *, withheld: bool) -> None:
        """Take the arguments that a call has once its policy has redacted some of them."""
        self.position += 1
        if self.traces is not None:
            self.traces.written(self.position, None if withheld else arguments)

    def allowed(
        self,
        key: str,
        tool: ToolPlan,
        arguments: Mapping[str, Json] | None,
        principal: Mapping[str, Json],
        *,
        label: str | None,
    ) -> None:
        """Take a call that was decided `allow`: it is in flight.

        Args:
            arguments: Those that were decided; None: they are not in the record.
            label: The level that its result will have; None: the tool says none.
        """
        self.dropped(key)
        flight = self._flights[key] = Flight(tool.name, self._rank(label), arguments is None)
        for watch, step, where in self._mentions.get(tool.name, ()):
            truth: Truth = True
            if where is not None:
                truth = None if arguments is None else _asked(where, arguments, principal)
            if truth is False:
                continue
            memory = self._memories[watch]
            mark = memory.mark(step, truth is True, arguments)
            if mark is not None:
                flight.marks.append((memory, mark))
        self._may_show(flight, self.label if flight.label is None else flight.label)

    def dropped(self, key: str) -> None:
        """Take that a call was never dispatched."""
        flight = self._flights.pop(key, None)
        if flight is not None:
            self._land(flight)

    def started(self, key: str) -> None:
        """Take that a call was dispatched: a result without a level of its own carries the session's now."""
        flight = self._flights.get(key)
        if flight is not None and flight.label is None and self.plan.levels:
            flight.label = self.label
            self._may_show(flight, self.label)

    def finished(
        self, key: str, result: Json, *, at_ns: int, into: str | None = None, withheld: bool = False
    ) -> None:
        """Take a result that was shown to the model.

        Args:
            into: The call in whose isolate it arrived: what that gives is at this level, at least.
            withheld: `result` is not all that was shown.
        """
        self.position += 1
        flight = self._flights.pop(key, None)
        if flight is None:  # fails closed: what this call was is not in the record
            self.forget()
            return
        self._land(flight)
        for memory, mark in flight.marks:
            if mark.sure:
                memory.succeed(mark, at_ns, self.position)
            else:
                memory.doubt(mark, at_ns, self.position)
        if self.plan.levels:
            label = self.label if flight.label is None else flight.label
            self._shown(label, at_ns)
            around = self._flights.get(into) if into is not None else None
            if around is not None and around.label is not None and around.label < label:
                around.label = label
                self._may_show(around, label)
        if self.traces is not None:
            if flight.withheld or withheld:
                self.traces.withheld(flight.tool, position=self.position)
            else:
                self.traces.result(self.position, flight.tool, result)

    def failed(self, key: str, *, at_ns: int) -> None:
        """Take that a call failed: it may have had its effect; it showed nothing."""
        self.position += 1
        flight = self._flights.pop(key, None)
        if flight is not None:
            self._land(flight)
            for memory, mark in flight.marks:
                memory.doubt(mark, at_ns, self.position)

    def ended(self, *, at_ns: int) -> None:
        """Take the end of the run: the fate of what is in flight stays unknown, and its result may be known.

        A process may die after the model has read a result and before the log has it.
        """
        for key, flight in tuple(self._flights.items()):
            self.failed(key, at_ns=at_ns)
            for memory, mark in flight.readings.values():
                memory.doubt(mark, at_ns, self.position)
            if self.plan.levels and flight.label is not None:
                self.label = max(self.label, flight.label)
            if self.traces is not None:
                self.traces.withheld(flight.tool, position=self.position)

    def new_run(self) -> None:
        """Begin the next run of the session."""
        self.position += 1
        self._flights = {}
        for memory in self._memories.values():
            memory.begin_run()

    def forget(self) -> None:
        """Take that something is not in the record: everything is undecided from now on."""
        self.unknown = True
        self.label = max(len(self.plan.levels) - 1, 0)

    # ---- runs that go on with it -------------------------------------------------------------------

    def fork(self, *, child: bool) -> "Recall":
        """Return a copy for the next run of the session, or for a sub-run, which can be joined."""
        copy: Recall = object.__new__(Recall)
        copy.plan, copy.active = self.plan, self.active
        copy.label, copy.position, copy.unknown = self.label, self.position, self.unknown
        copy.traces = None if self.traces is None else self.traces.fork()
        copy._memories = {key: memory.fork(child=child) for key, memory in self._memories.items()}
        copy._mentions, copy._readings = self._mentions, self._readings
        copy._flights = {}
        copy._forked_at = self.position if child else None
        return copy

    def join(self, child: "Recall") -> None:
        """Take in what a sub-run has seen and done since it was forked from here, or joined before."""
        forked_at = child._forked_at
        if forked_at is None or child.unknown or child.plan.digest != self.plan.digest:
            self.forget()  # fails closed: what it did cannot be told
            return
        self.position = max(self.position, child.position) + 1
        self.label = max(self.label, child.label)
        for key, memory in self._memories.items():
            memory.join(child._memories[key], forked_at=forked_at, position=self.position)
        if self.traces is not None and child.traces is not None:
            self.position = self.traces.join(child.traces, position=self.position)

    # ---- one flight --------------------------------------------------------------------------------

    def _land(self, flight: Flight) -> None:
        for memory, mark in flight.marks:
            memory.drop(mark)
        for memory, mark in flight.readings.values():
            memory.drop(mark)

    def _may_show(self, flight: Flight, label: int) -> None:
        for index, (watch, step, rank) in enumerate(self._readings):
            if label >= rank and index not in flight.readings:
                memory = self._memories[watch]
                mark = memory.mark(step, True, None)
                if mark is not None:
                    flight.readings[index] = (memory, mark)

    def _shown(self, label: int, at_ns: int) -> None:
        for watch, step, rank in self._readings:
            if label >= rank:
                self._memories[watch].succeed(Mark(step, True), at_ns, self.position)
        self.label = max(self.label, label)

    def _rank(self, label: str | None) -> int | None:
        if label is None:
            return None
        try:
            return self.plan.levels.index(label)
        except ValueError:  # fails closed: a level that this plan does not have is its highest
            return max(len(self.plan.levels) - 1, 0)


def _mentions(plan: Plan) -> Mapping[str, tuple[Mention, ...]]:
    mentions: dict[str, list[Mention]] = {}
    for key, watch in plan.watches.items():
        for step, event in enumerate(watch.events):
            for tool, where in event.tools.items():
                mentions.setdefault(tool, []).append(Mention(key, step, where))
    # One call is not two steps of one order: later steps are marked first, when it has not come yet.
    return {
        tool: tuple(sorted(found, key=lambda one: (one.watch, -one.step))) for tool, found in mentions.items()
    }


def _asked(where: Condition, arguments: Mapping[str, Json], principal: Mapping[str, Json]) -> Truth:
    try:
        return where(Scope(arguments, principal))
    except Exception:  # fails closed: it may have been such a call
        return None
