"""A run as the log has it, and whether its process still lives to record the rest."""

from typing import Final

from ringfence.engine.journal.rows import OVER
from ringfence.engine.seams.ports import Entry, EventLog, Leases

_GOING: Final = frozenset({"running", "halted"})
"""The status of a run whose end somebody has still to record; a suspended one waits for nobody's process."""


async def read_living(log: EventLog, leases: Leases | None, run: str) -> tuple[list[Entry], bool]:
    """Return the run's entries, and True if its process died before it recorded the run's end.

    Args:
        leases: None: nobody can say who lives, so nobody is called dead.
    """
    while True:
        entries = await log.read(run)
        if leases is None or not entries or entries[-1].kind in OVER:
            return entries, False
        row = await log.run(run)
        if row is None or row.status not in _GOING or await _lives(leases, row.session):
            return entries, False
        # Nobody lives it now.  It ended in order if that was recorded between the two questions.
        last = entries[-1].seq
        if type(last) is not int or not await log.read(run, after_seq=last, limit=1):
            return entries, True


async def _lives(leases: Leases, session: str) -> bool:
    try:
        return await leases.holder(session) is not None
    except Exception:  # the record is told all the same: who cannot be asked about counts as alive
        return True
