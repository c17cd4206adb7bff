"""What a run remembers of the runs before it: those of its session, and the one around it, folded again.

A run begins with the joined memories of the runs that its `RunStarted.continues` names, each up to an event;
a `SubrunJoined` joins one more.  So runs make a graph of prefixes, which is folded here in an order that does
to each memory what was done to it when it was lived: what a run remembers is the same in this process, in
another one, and in a replay.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ringfence.dsl.plan import Plan
from ringfence.engine.decision.decide import assess
from ringfence.engine.decision.events import CallDecided, RunStarted, Stamped, SubrunJoined
from ringfence.engine.decision.recall.recall import Recall
from ringfence.engine.decision.records import facts_of
from ringfence.engine.decision.retold import call_again
from ringfence.engine.decision.state import State, apply, start

Point = tuple[str, int]
"""A run, and the number of an event of it: that one included."""

UNKNOWN = "unknown"
"""The third member of a point whose memory could not be read."""


class LineageError(ValueError):
    """The runs that are named cannot have come about: one would have to follow itself."""


@dataclass(frozen=True, slots=True)
class Tale:
    """What the log has of a run."""

    events: tuple[Stamped, ...] = ()
    gaps: frozenset[int] = frozenset()
    """Numbers of the events whose bodies are gone and may have been remembered."""

    @property
    def last(self) -> int:
        """The number of the last event there is."""
        return max([self.events[-1].seq if self.events else 0, *self.gaps])


def points_of(event: object) -> Iterator[Point]:
    """Return the points that an event rests on."""
    if isinstance(event, RunStarted):
        for run, seq, *unread in event.continues:
            if not unread:
                yield run, seq
    elif isinstance(event, SubrunJoined):
        yield event.run, event.seq


_NAMING = frozenset({RunStarted, SubrunJoined})
"""The events that name points."""


class Family:
    """The runs that some points rest on, and how far of each: found by asking for one after another."""

    def __init__(self, points: Iterable[Point] = ()) -> None:
        self.upto: dict[str, int] = {}
        self.tales: dict[str, Tale] = {}
        self._missing: dict[str, None] = {}
        for run, seq in points:
            self.want(run, seq)

    def want(self, run: str, seq: int) -> None:
        """Say that a run is needed up to an event."""
        todo = [(run, seq)]
        while todo:
            run, seq = todo.pop()
            had = self.upto.get(run, 0)
            if seq <= had:
                continue
            self.upto[run] = seq
            tale = self.tales.get(run)
            if tale is None:
                self._missing[run] = None
            else:
                todo += _between(tale, had, seq)

    def missing(self) -> str | None:
        """Return a run that must be told yet, or None."""
        return next(iter(self._missing), None)

    def tell(self, run: str, tale: Tale) -> None:
        """Say what the log has of a run; of one that it has not, an empty tale."""
        self._missing.pop(run, None)
        self.tales[run] = tale
        for point in _between(tale, 0, self.upto.get(run, 0)):
            self.want(*point)


def _between(tale: Tale, after: int, upto: int) -> list[Point]:
    return [point for one in tale.events if after < one.seq <= upto for point in points_of(one.event)]


class _Walk:
    """One run on the way."""

    __slots__ = ("at", "began", "elsewhere", "recall", "root", "seen", "seq", "state", "tale")

    def __init__(self, tale: Tale) -> None:
        self.tale = tale
        self.seq = 0
        self.at = 0
        """The index of the next event."""
        self.state: State | None = None
        self.recall: Recall | None = None
        self.seen: dict[str, int] = {}
        """Every run that it remembers, and how far."""
        self.began: Mapping[str, int] = {}
        """The same at its beginning."""
        self.root = True
        self.elsewhere = False
        """It was decided under another plan."""

    @property
    def memory(self) -> Recall:
        """What it remembers, once it has begun."""
        assert self.recall is not None
        return self.recall


@dataclass(slots=True)
class Leaf:
    """A run whose memory somebody may go on with."""

    run: str
    seq: int
    recall: Recall
    seen: Mapping[str, int]
    """Every run that it remembers, itself too, and how far."""
    began: Mapping[str, int]
    """The same at its beginning: what it was forked from."""
    joined: int = 0
    """Up to which of its events others remember it by; 0: none does, or a fork of it."""
    root: bool = True
    """It is no sub-run."""


def fresh(plan: Plan) -> Recall:
    """Return a memory of nothing, which can be joined to another."""
    return Recall(plan).fork(child=True)


def settle(recall: Recall) -> None:
    """Have a memory that was forked here give no more than what comes from now on, when it is joined."""
    recall.fork(child=True).join(recall)


def arranged(leaves: Sequence[Leaf], *, first: Leaf | None = None) -> list[Leaf] | None:
    """Return the leaves in an order in which the first can be forked and the others joined to it.

    A memory can be joined to one that holds all that it was forked from, and of its own exactly what was
    joined before.  None: there is no such order (with this one first).
    """
    for root in leaves if first is None else (first,):
        seen = dict(root.seen)
        for other in leaves:
            if other is root:
                continue
            holds = all(seen.get(run, 0) >= seq for run, seq in other.began.items())
            if not holds or seen.get(other.run, 0) != other.joined:
                break
            add(seen, other.seen)
        else:
            return [root, *(other for other in leaves if other is not root)]
    return None


def uncovered(leaves: Iterable[Leaf]) -> list[Leaf]:
    """Return those that no other one of them remembers whole."""
    every = list(leaves)
    return [
        one
        for one in every
        if not any(other.seen.get(one.run, 0) >= one.seq for other in every if other.run != one.run)
    ]


Deciding = Callable[[str, State, Stamped], None]
"""Is told of each decision of a run, with the run's state as it stood before."""


class Lineage:
    """Folds the runs of a family, each as far as it is needed.

    Args:
        deciding: Told of each decision, once; it changes nothing.
    """

    def __init__(self, plan: Plan, family: Family, *, deciding: Deciding | None = None) -> None:
        self._plan = plan
        self._deciding = deciding
        self._blind = not remembers(plan)
        self._family = family
        self._walks: dict[str, _Walk] = {}
        self._kept: dict[Point, tuple[Recall, dict[str, int]]] = {}
        """Memories that somebody goes on with."""
        self._wanted: set[Point] = set()
        self._settled: set[Point] = set()
        """Of those, the ones with which a later run of the session goes on."""
        self._joined: dict[Point, Point] = {}
        """A point, and the event at which it is joined: before it may go on."""
        for run, tale in family.tales.items():
            for one in tale.events:
                if one.seq > family.upto.get(run, 0):
                    break
                self._note(run, one)

    def _note(self, run: str, one: Stamped) -> None:
        if type(one.event) not in _NAMING:
            return
        points = list(points_of(one.event))
        if isinstance(one.event, SubrunJoined):
            self._joined[points[0]] = (run, one.seq)
        elif points:
            self._wanted.add(points[0])
            if isinstance(one.event, RunStarted) and one.event.parent is None:
                self._settled.add(points[0])
            for point in points[1:]:
                self._joined[point] = (run, one.seq)

    # ---- asking ------------------------------------------------------------------------------------

    def _begun(self, begun: RunStarted) -> tuple[Recall, dict[str, int]]:
        if self._blind:
            return Recall(self._plan), {}
        for point in points_of(begun):
            self._wanted.add(point)
        recall: Recall | None = None
        seen: dict[str, int] = {}
        for run, seq, *unread in begun.continues:
            if unread:
                recall = recall or fresh(self._plan)
                recall.forget()
                seen[run] = max(seen.get(run, 0), seq)
                continue
            self._reach(run, seq)
            if recall is None:
                kept, its = self._kept[run, seq]
                recall = kept.fork(child=True)
            else:
                its = self._walks[run].seen
                recall.join(self._walks[run].memory)
            add(seen, its)
        if recall is None:
            return fresh(self._plan), seen
        return recall, seen

    def state(self, run: str, seq: int) -> State:
        """Return the state of a run as it stands at that event; its memory is `State.recall`.

        Raises:
            LineageError: Its beginning is gone, or the runs cannot have come about as they are told.
        """
        self._reach(run, seq)
        state = self._walks[run].state
        if state is None:
            raise LineageError(f"the beginning of run `{run}` is gone")
        return state

    def leaf(self, run: str, seq: int) -> Leaf:
        """Return a run at that event; what of it is gone leaves everything undecided."""
        self._reach(run, seq)
        return self._leaf(run, self._walks[run])

    def _leaf(self, run: str, walk: _Walk) -> Leaf:
        taken = [seq for other, seq in self._joined if other == run]
        if walk.root:
            taken += [seq for other, seq in self._settled if other == run]
        return Leaf(run, walk.seq, walk.memory, walk.seen, walk.began, max(taken, default=0), walk.root)

    # ---- walking -----------------------------------------------------------------------------------

    def _reach(self, run: str, seq: int) -> None:
        ready = self._walks.get(run)
        if ready is not None and ready.seq + 1 == seq and self._before(run, ready) is None:
            self._step(run, ready, seq)  # the usual case: nothing is on the way
            return
        stack: list[Point] = [(run, seq)]
        on_the_way = {run}
        while stack:
            run, seq = stack[-1]
            walk = self._walks.get(run)
            if walk is None:
                walk = self._walks[run] = _Walk(self._family.tales.get(run, Tale()))
            if walk.seq >= seq:
                stack.pop()
                if all(run != other for other, _ in stack):
                    on_the_way.discard(run)
                continue
            first = self._before(run, walk)
            if first is None:
                self._step(run, walk, seq)
            elif first[0] in on_the_way and first in stack:
                raise LineageError(f"run `{first[0]}` would follow itself")
            else:
                stack.append(first)
                on_the_way.add(first[0])
                if len(stack) > 4 * len(self._family.upto) + 64:
                    raise LineageError(f"run `{first[0]}` would follow itself")

    def _before(self, run: str, walk: _Walk) -> Point | None:
        """Return a point that must be reached before this run may take its next event."""
        joiner = self._joined.get((run, walk.seq))
        if joiner is not None and self._at(joiner[0]) < joiner[1]:
            return joiner
        if walk.at < len(walk.tale.events) and not self._blind:
            for point in points_of(walk.tale.events[walk.at].event):
                if self._at(point[0]) < point[1]:
                    return point
        return None

    def _at(self, run: str) -> int:
        walk = self._walks.get(run)
        return 0 if walk is None else walk.seq

    def _step(self, run: str, walk: _Walk, seq: int) -> None:
        """Take the next event; of what is gone, only that it is gone."""
        events = walk.tale.events
        if walk.at < len(events) and events[walk.at].seq == walk.seq + 1:
            stamped = events[walk.at]
            walk.at += 1
            self._take(run, walk, stamped)
        else:
            if walk.recall is None:
                walk.recall = Recall(self._plan)
            beyond = walk.seq >= walk.tale.last
            if beyond or walk.seq + 1 in walk.tale.gaps:
                walk.recall.forget()
            walk.seq = seq if beyond else walk.seq + 1
        walk.seen[run] = walk.seq
        if (run, walk.seq) in self._wanted:
            assert walk.recall is not None
            self._kept[run, walk.seq] = (walk.recall.fork(child=True), dict(walk.seen))
            if walk.root and (run, walk.seq) in self._settled:
                settle(walk.recall)

    def _take(self, run: str, walk: _Walk, stamped: Stamped) -> None:
        event = stamped.event
        if isinstance(event, RunStarted) and walk.state is None:
            recall, walk.seen = self._begun(event)
            walk.began, walk.root = dict(walk.seen), event.parent is None
            walk.elsewhere = event.policy_digest != self._plan.digest
            walk.state = start(self._plan, stamped, recall)
            walk.recall = recall
        elif walk.state is not None and walk.recall is not None:
            if self._deciding is not None and isinstance(event, CallDecided):
                self._deciding(run, walk.state, stamped)
            if walk.elsewhere and isinstance(event, CallDecided):
                stamped = replace(stamped, event=relabelled(self._plan, walk.state, stamped, event))
            if isinstance(event, SubrunJoined):
                other = None if self._blind else self._walks[event.run]
                walk.state.joining[event.run] = walk.recall if other is None else other.memory
                add(walk.seen, {} if other is None else other.seen)
            apply(walk.state, stamped)
        elif walk.recall is None:  # its beginning is gone
            walk.recall = Recall(self._plan)
            walk.recall.forget()
        walk.seq = stamped.seq


def relabelled(plan: Plan, state: State, stamped: Stamped, event: CallDecided) -> CallDecided:
    """Return the decision with the label that this plan gives its result: it was made under another."""
    known = state.calls.get(event.call)
    if known is None or not plan.levels:
        return event
    tool = plan.by_bound_name.get(known.tool)
    # SECURITY: a result that this plan knows nothing of is as secret as can be, and one of a tool that labels
    # its results is labelled: it was shown, though this plan would have denied the call that gave it.
    label = len(plan.levels) - 1 if tool is None else max((one.rank for one in tool.labels), default=None)
    if tool is not None and tool.labels:
        try:
            again, facts = call_again(known, event, tool), facts_of(event.facts)
            call = known.request if isinstance(again, str) else again
            now_ns = max(stamped.at_ns, state.latest_ns)
            made = assess(plan, state, call, facts, now_ns=now_ns, key=event.call, labelled=True)
            label = label if made.label is None else made.label
        except Exception:  # fails closed: the highest
            label = len(plan.levels) - 1
    return replace(event, label=None if label is None else plan.levels[label])


def add(seen: dict[str, int], more: Mapping[str, int]) -> None:
    """Add what else is remembered, and how far."""
    for run, seq in more.items():
        if seen.get(run, 0) < seq:
            seen[run] = seq


def remembers(plan: Plan) -> bool:
    """Say whether the plan asks anything of history, labels or provenance."""
    return bool(plan.watches or plan.levels or plan.traces)
