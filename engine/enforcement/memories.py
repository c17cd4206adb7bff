"""What the sessions of this process remember: kept while they are here, folded anew from the log elsewhere.

A run begins with a fork of what its session remembers, and `RunStarted.continues` says of which runs that is,
and how far of each.  What is kept here counts only as long as nobody else wrote to the session: whoever
takes its lease anew compares the list of its runs.
"""

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ringfence.dsl.plan import Json, Plan
from ringfence.engine.decision.events import SubrunJoined, SubrunStarted
from ringfence.engine.decision.lineage import (
    UNKNOWN,
    Family,
    Leaf,
    Lineage,
    LineageError,
    add,
    arranged,
    fresh,
    remembers,
    settle,
    uncovered,
)
from ringfence.engine.decision.recall.recall import Recall
from ringfence.engine.decision.state import State
from ringfence.engine.enforcement.drive import Steps
from ringfence.engine.enforcement.opening import Opening
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.journal.tales import tale_of
from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.ports import Entry, RunRow

MOST_SESSIONS: Final = 256
"""Sessions without a live run whose memory is kept, those whose last run was over last."""

COMPARED: Final = 32
"""How many of a session's newest runs are compared before what is kept of it is believed."""


@dataclass(slots=True)
class Beginning:
    """What a run begins with."""

    recall: Recall
    continues: tuple[list[Json], ...] = ()
    seen: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest runs of a session, as the log has them."""

    rows: Sequence[RunRow] = ()
    enough: bool = True
    """True: there are no others, or as many as are compared."""

    @property
    def first(self) -> RunRow | None:
        """Return the newest run of all."""
        return self.rows[0] if self.rows else None


@dataclass(slots=True)
class _Kept:
    """One session."""

    leaves: dict[str, Leaf] = field(default_factory=dict)
    live: dict[str, Run] = field(default_factory=dict)
    known: dict[str, int] = field(default_factory=dict)
    """Runs that are put away or over, and how many events they have."""


class Memories:
    """Begins runs with what their session remembers."""

    def __init__(self, plan: Plan, opening: Opening) -> None:
        self._plan = plan
        self._opening = opening
        self._lock = threading.Lock()
        self._sessions: dict[str, _Kept] = {}
        self._idle: OrderedDict[str, None] = OrderedDict()
        """Those of them without a live run, the one that has been so for longest first."""

    # ---- a run begins ------------------------------------------------------------------------------

    async def newest(self, session: str) -> Newest:
        """Read what must be known of a session before a run begins in it; on the engine's loop."""
        with self._lock:
            kept = self._sessions.get(session)
            limit = 1 if kept is None or kept.live else COMPARED
        rows = await self._opening.in_time(self._opening.ready.log.runs(session=session, limit=limit))
        return Newest(rows, limit == COMPARED or len(rows) < limit)

    def beginning(self, session: str | None, around: Run | None, newest: Newest) -> Steps[Beginning]:
        """Return what a run begins with; whoever calls holds the session's lease.

        Args:
            session: None: a session of its own, in which nothing has happened.
            newest: What the log has of the session.
        """
        leaves: list[Leaf] = []
        if session is not None and (around is None or around.session != session):
            leaves = yield from self._leaves(session, newest)
        if around is not None:
            return self._inside(around, session, leaves)
        with contextlib.ExitStack() as held:
            for leaf in leaves:
                run = self._live(session, leaf.run)
                if run is not None:
                    held.enter_context(run.lock)
                    leaf.seq, leaf.recall, leaf.seen = run.state.seq, run.state.recall, run.remembered()
            return self._of(uncovered(leaves))

    def _of(self, leaves: list[Leaf], *, first: Leaf | None = None, unread: bool = False) -> Beginning:
        seen: dict[str, int] = {}
        for leaf in leaves:
            add(seen, leaf.seen)
        if not remembers(self._plan) or not leaves:
            return Beginning(fresh(self._plan), tuple([leaf.run, leaf.seq] for leaf in leaves), seen)
        unread = unread or any(leaf.recall.unknown for leaf in leaves)
        order = None if unread else arranged(leaves, first=first)
        if order is None:  # fails closed: what cannot be put together leaves everything undecided
            recall = fresh(self._plan)
            recall.forget()
            return Beginning(recall, tuple([leaf.run, leaf.seq, UNKNOWN] for leaf in leaves), seen)
        recall = order[0].recall.fork(child=True)
        if first is None and order[0].root:
            settle(order[0].recall)
            order[0].joined = order[0].seq
        for other in order[1:]:
            recall.join(other.recall)
            other.joined = other.seq
        return Beginning(recall, tuple([leaf.run, leaf.seq] for leaf in order), seen)

    def _inside(self, around: Run, session: str | None, leaves: list[Leaf]) -> Beginning:
        """Begin with what the run around knows, and with what else its own session does."""
        with around.lock:
            known = Leaf(around.id, around.state.seq, around.state.recall, around.remembered(), {})
            more = [leaf for leaf in leaves if known.seen.get(leaf.run, 0) < leaf.seq]
            # Fails closed: of a run that goes on elsewhere meanwhile, nothing can be joined here.
            going = any(self._live(session, leaf.run) is not None for leaf in more)
            return self._of([known, *more], first=known, unread=going)

    # ---- what is kept ------------------------------------------------------------------------------

    def live(self, run: Run, began: Mapping[str, int], joined: int = 0) -> None:
        """Remember that a run of this process goes on; sub-runs are remembered by the run around them.

        Args:
            began: The runs that it remembered at its beginning, and how far.
        """
        if run.parent is not None and run.parent.session == run.session:
            return
        with self._lock:
            kept = self._sessions.setdefault(run.session, _Kept())
            self._idle.pop(run.session, None)
            kept.live[run.id] = run
            kept.known.pop(run.id, None)
            seen = run.remembered()
            state, root = run.state, run.parent is None
            kept.leaves[run.id] = Leaf(run.id, state.seq, state.recall, seen, began, joined, root)
            # SECURITY: not before it lives, or what they know would be lost with a run that does not begin.
            for other, leaf in tuple(kept.leaves.items()):
                if other not in kept.live and began.get(other, 0) >= leaf.seq:
                    del kept.leaves[other]

    def left(self, run: Run) -> None:
        """Remember how far a run came that is over or put away."""
        with self._lock:
            kept = self._sessions.get(run.session)
            if kept is None:
                return
            kept.known[run.id] = run.state.seq
            kept.live.pop(run.id, None)
            leaf = kept.leaves.get(run.id)
            if leaf is not None:
                leaf.seq, leaf.recall, leaf.seen = run.state.seq, run.state.recall, run.remembered()
            if not kept.live:
                self._idle[run.session] = None
                self._idle.move_to_end(run.session)
                if len(self._idle) > MOST_SESSIONS:
                    del self._sessions[self._idle.popitem(last=False)[0]]

    def forget(self, session: str) -> None:
        """Believe nothing of a session any more, which is another process's now: it is folded anew."""
        with self._lock:
            self._sessions.pop(session, None)
            self._idle.pop(session, None)

    def _live(self, session: str | None, run: str) -> Run | None:
        with self._lock:
            kept = self._sessions.get(session) if session is not None else None
            return kept.live.get(run) if kept is not None else None

    # ---- the runs of a session ---------------------------------------------------------------------

    def _leaves(self, session: str, newest: Newest) -> Steps[list[Leaf]]:
        with self._lock:
            kept = self._sessions.get(session)
            leaves = list(kept.leaves.values()) if kept is not None else []
        own = all(leaf.recall.plan.digest == self._plan.digest for leaf in leaves)
        if kept is not None and own and (kept.live or (yield from self._unchanged(session, kept, newest))):
            return leaves
        if newest.first is None:
            return []
        if not remembers(self._plan):
            return [_unread(newest.first.run, newest.first.events, self._plan)]
        rows: list[RunRow] = yield self._opening.submit(self._opening.ready.log.runs(session=session))
        rows.reverse()
        if kept is not None and kept.live:
            return [_unread(row.run, row.events, self._plan, forgotten=True) for row in rows]
        return (yield from self._folded(rows))

    def _unchanged(self, session: str, kept: _Kept, newest: Newest) -> Steps[bool]:
        """Say whether the log has of the session what this process knows of it, and nothing else."""
        log, rows = self._opening.ready.log, newest.rows
        if not newest.enough:  # its last run here was over only after they were read
            rows = yield self._opening.submit(log.runs(session=session, limit=COMPARED))
        if any(row.parent is None and kept.known.get(row.run) != row.events for row in rows):
            return False
        read = {row.run: row for row in rows}
        for leaf in kept.leaves.values():
            row = read.get(leaf.run)
            if row is None:
                row = yield self._opening.submit(log.run(leaf.run))
            if row is None or row.events != leaf.seq:
                return False
        return True

    def _folded(self, rows: list[RunRow]) -> Steps[list[Leaf]]:
        """Fold the runs from the log, and those that they started and never joined."""
        family = Family((row.run, row.events) for row in rows)
        looked: set[str] = {row.run for row in rows}
        while True:
            yield from self.told(family)
            more: list[RunRow] = []
            for run in _unjoined(family) - looked:
                looked.add(run)
                row: RunRow | None = yield self._opening.submit(self._opening.ready.log.run(run))
                if row is not None:
                    family.want(row.run, row.events)
                    more.append(row)
            if not more:
                break
            rows = [*rows, *more]
        lineage = Lineage(self._plan, family)
        try:
            return [lineage.leaf(row.run, row.events) for row in rows]
        except LineageError:  # fails closed: a log that cannot have come about leaves everything undecided
            return [_unread(row.run, row.events, self._plan, forgotten=True) for row in rows]

    def told(self, family: Family) -> Steps[None]:
        """Read the runs that a family still needs."""
        while (run := family.missing()) is not None:
            entries: list[Entry] = yield self._opening.submit(self._opening.ready.log.read(run))
            family.tell(run, tale_of(entries))

    def rebuilt(self, run: str, plan: Plan, entries: list[Entry]) -> Steps[tuple[State, Leaf]]:
        """Fold a run again from its entries, with what it remembers of others."""
        seq = entries[-1].seq if entries else 0
        tale = tale_of(entries)
        if any(entry.body is None for entry in entries):
            raise EngineError("the record of the run was purged", run=run, help="start a new run")
        if tale.gaps:
            raise EngineError(f"the record of the run `{run}` cannot be read", run=run)
        family = Family()
        family.tell(run, tale)
        if remembers(plan):
            family.want(run, seq)
            yield from self.told(family)
        else:
            family.upto[run] = seq
        try:
            lineage = Lineage(plan, family)
            return lineage.state(run, seq), lineage.leaf(run, seq)
        except LineageError as error:
            raise EngineError(f"the record of the run `{run}` has no beginning: {error}", run=run) from error


def _unjoined(family: Family) -> set[str]:
    """Return the sub-runs of which something may not have been joined."""
    found: set[str] = set()
    for tale in family.tales.values():
        started = {one.event.run for one in tale.events if isinstance(one.event, SubrunStarted)}
        joined = {one.event.run for one in tale.events if isinstance(one.event, SubrunJoined)}
        found |= started - joined
    return found


def _unread(run: str, seq: int, plan: Plan, *, forgotten: bool = False) -> Leaf:
    """Return a leaf that was not read: of a plan that remembers nothing, or nothing that can be told."""
    recall = Recall(plan)
    if forgotten:
        recall.forget()
    return Leaf(run, seq, recall, {run: seq}, {})
