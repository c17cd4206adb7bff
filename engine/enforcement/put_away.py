"""Runs that are put away and that nobody lives: taken up for a moment, under their session's lease."""

from collections.abc import Callable

from ringfence.engine.enforcement.drive import Steps
from ringfence.engine.enforcement.in_hand import InHand
from ringfence.engine.enforcement.kills import Kills, names
from ringfence.engine.enforcement.opening import Opening
from ringfence.engine.enforcement.presence import Presence
from ringfence.engine.enforcement.recorded import Around, RecordedRuns
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.enforcement.sessions import Sessions
from ringfence.engine.seams.ports import Entry, RunRow

Work = Callable[[Run, bool], Steps[None]]
"""What is done with the run; True: the run around it is over, so that it will never go on."""


Finish = Callable[[Run], Steps[object]]


class PutAway:
    """Rebuilds runs that are put away, and leaves them put away.

    Args:
        around: Finds a run that this guard lives.
    """

    def __init__(
        self,
        opening: Opening,
        sessions: Sessions,
        presence: Presence,
        in_hand: InHand,
        kills: Kills,
        recorded: RecordedRuns,
        around: Around,
    ) -> None:
        self._opening = opening
        self._sessions = sessions
        self._presence = presence
        self._in_hand = in_hand
        self._kills = kills
        self._recorded = recorded
        self._around = around

    def look_after(self, run_id: str, work: Work, finish: Finish) -> Steps[bool]:
        """Do `work` with a run that is put away, and leave it put away; False: not now.

        It is rebuilt from its record, under its session's lease, and what `work` records is durable when this
        returns.  Nothing says in the record that it went on, for it did not.

        Args:
            work: Given the run, and whether the run around it is over, so that it will never go on.
            finish: Ends a run that was halted meanwhile.
        """
        if not self._in_hand.try_take(run_id):
            return False
        try:
            if self._around(run_id) is not None:
                return False
            yield from self._opening.durable(run=run_id)
            row: RunRow = yield from self._recorded.row(run_id)
            if row.status != "suspended":
                return False
            if row.parent is None:
                return (yield from self._looked_after(row, None, work, finish))
            around = self._around(row.parent)
            if around is not None:
                return (yield from self._looked_after(row, around, work, finish))
            parent: RunRow = yield from self._recorded.row(row.parent)
            if parent.status in ("done", "failed", "halted"):
                return (yield from self._looked_after(row, None, work, finish, alone=True))
            done = False

            def inside(outer: Run, over: bool) -> Steps[None]:
                nonlocal done
                over = over or outer.state.halted is not None
                around = None if over else outer
                done = yield from self._looked_after(row, around, work, finish, alone=over)

            # SECURITY: what is `per run` counts the whole tree, so the run around takes it in, too.
            yield from self.look_after(row.parent, inside, finish)
            return done
        finally:
            self._in_hand.give_back(run_id)

    def _looked_after(
        self, row: RunRow, around: Run | None, work: Work, finish: Finish, *, alone: bool = False
    ) -> Steps[bool]:
        yield from self._presence.attend()  # it must not be taken for a dead one meanwhile
        try:
            holding = yield from self._sessions.try_lease(row.session)
        except BaseException:  # fails closed: it is looked after the next time
            self._presence.leave()
            raise
        if isinstance(holding, str):  # somebody lives in its session, and looks after it
            self._presence.leave()
            return False
        journal, recorded = self._opening.ready.journal, False
        try:
            row = yield from self._recorded.row(row.run)  # read under the lease: somebody may have been here
            if row.status != "suspended":
                return False
            entries: list[Entry] = yield self._opening.submit(self._opening.ready.log.read(row.run))
            run, _ = yield from self._recorded.run(row.run, entries, around=lambda _: around, alone=alone)
            journal.open_run(row.run, seq=row.events, head=row.head, hiding=run.hiding)
            recorded = True
            run.holding = holding
            for order in (yield from self._kills.given(after=run.orders)):
                if names(order, run):
                    run.halt("killed", by=order.by, detail="an operator gave the order")
            self._presence.check(row.run)
            if run.state.halted is None:
                yield from work(run, alone)
            if around is not None and around.state.halted is not None:
                run.halt(around.state.halted.name, by=None, detail="the run around it is over")
            if run.state.halted is not None:
                yield from finish(run)
            yield from self._opening.durable(run=row.run)
            return True
        finally:
            if recorded:
                journal.close_run(row.run)
            self._sessions.let_go(row.session, holding)
            self._presence.leave()
