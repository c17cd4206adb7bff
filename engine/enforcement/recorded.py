"""Runs as their record has them: found in the log, and folded again from it."""

import secrets
from collections.abc import Callable

from ringfence.dsl.plan import Plan
from ringfence.engine.decision.calls import Principal
from ringfence.engine.decision.events import RunStarted, Stamped
from ringfence.engine.decision.lineage import Leaf
from ringfence.engine.enforcement.drive import Steps
from ringfence.engine.enforcement.memories import Memories
from ringfence.engine.enforcement.opening import Opening, store_error
from ringfence.engine.enforcement.presence import Presence
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.journal.tales import NewerEventError, stamped_of
from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.ports import Entry, RunRow

Around = Callable[[str | None], Run | None]
"""Returns the run with this id if it is at hand."""


class RecordedRuns:
    """Makes runs again from the log."""

    def __init__(
        self,
        plan: Plan,
        opening: Opening,
        replan: Callable[[RunStarted], Plan],
        memories: Memories,
        presence: Presence,
    ) -> None:
        self._plan = plan
        self._opening = opening
        self._replan = replan
        self._memories = memories
        self._presence = presence

    def row(self, run_id: str) -> Steps[RunRow]:
        """Return the run's row; raise EngineError if there is none."""
        try:
            row: RunRow | None = yield self._opening.submit(self._opening.ready.log.run(run_id))
        except Exception as error:  # fails closed
            raise store_error("could not find the run", error, run=run_id) from error
        if row is None:
            raise EngineError(
                f"there is no run `{run_id}` in the log",
                run=run_id,
                help="the log it stood in was lost, or is another store's: begin a new run, in a new session",
            )
        return row

    def run(
        self, run_id: str, entries: list[Entry], *, around: Around, alone: bool = False
    ) -> Steps[tuple[Run, Leaf]]:
        """Fold the run's events again, under the policy that it began with, and with what it remembers.

        Args:
            around: Finds the run around it, if that is at hand.
            alone: True for a run that will not go on, though it began inside of another.
        """
        events = [stamped(entry) for entry in entries]
        first = events[0].event if events else None
        if not isinstance(first, RunStarted):
            raise EngineError(f"the record of the run `{run_id}` has no beginning", run=run_id)
        plan = self._plan if self._is_same(first) else self._replan(first)
        if plan.digest != first.policy_digest:
            raise EngineError(
                f"the policy of the run `{run_id}` cannot be made again from its record",
                run=run_id,
                help="resume it with the version of Ringfence that began it, or start a new run",
            )
        run = Run(run_id, plan, Principal(**first.principal), self._opening, self._presence)
        run.reserved = True  # perhaps, before it was put away
        run.secret = secrets.token_bytes(32)
        # SECURITY: what bounds and halts the run around this one bounds and halts it again.
        run.parent = None if alone else around(first.parent)
        if run.parent is not None:
            run.lock = run.parent.lock
        run.hides_with(run.parent, first.session)
        state, leaf = yield from self._memories.rebuilt(run_id, plan, entries)
        run.seen = dict(leaf.seen)
        run.rebuild(state, events)
        if first.parent is not None and run.parent is None and not alone and state.status == "suspended":
            raise EngineError(
                f"the run `{first.parent}` around `{run_id}` does not go on here",
                run=run_id,
                help="go on with that one first: what is `per run` counts the whole tree",
            )
        return run, leaf

    def _is_same(self, begun: RunStarted) -> bool:
        """Say whether the run began with this very plan.

        The same texts from another place would be the same policy, but reasons name their file: the run's
        record would have two of each, and its replay, which knows the first, would not agree.
        """
        named = begun.policy_digest, begun.policy_file, tuple(one.get("name") for one in begun.files)
        return named == (self._plan.digest, self._plan.file, tuple(one.name for one in self._plan.files[1:]))


def stamped(entry: Entry) -> Stamped:
    """Return the event of an entry; raise EngineError if its body was purged, or a newer version wrote it."""
    if entry.body is None:
        raise EngineError("the record of the run was purged", run=entry.run, help="start a new run")
    try:
        return stamped_of(entry)
    except NewerEventError as error:  # fails closed: nobody goes on from what cannot be understood
        raise EngineError(
            str(error), run=entry.run, help="go on with it in that version, or start a new run"
        ) from error
