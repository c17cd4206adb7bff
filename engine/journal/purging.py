"""The entry with which the bodies of a run go: made by whoever purges, checked by every store."""

import os
from hashlib import sha256
from typing import Final

from ringfence.dsl.canonical import canonical
from ringfence.engine.decision.events import SCHEMA, BodiesPurged, body_of
from ringfence.engine.journal.chain import SALT_BYTES, chained
from ringfence.engine.seams.errors import EngineError, TakenOverError
from ringfence.engine.seams.ports import Entry, RunRow

PURGED: Final = BodiesPurged.kind
"""The kind of the entry; bodies of this kind stay."""


def listed(row: RunRow) -> str:
    """Return the digest of what the list of runs has from a run's bodies: who, what, and how it ended.

    Raise ValueError or TypeError for what no guard writes there.
    """
    said = [row.session, row.agent, row.user, row.workspace, row.policy, row.status, row.parent]
    if not all(one is None or type(one) is str for one in said):
        raise TypeError("the list of runs holds another type where text was recorded")
    return f"sha256:{sha256(canonical(said)).hexdigest()}"


def purge_after(
    last: Entry, row: RunRow, *, before_ns: int, by: str | None, now_ns: int, mono_ns: int = 0
) -> Entry:
    """Return the entry that follows the last one of a run, and says that all until then is gone."""
    event = BodiesPurged(last.seq, before_ns, by, listed(row))
    return chained(
        last.hash,
        run=last.run,
        seq=last.seq + 1,
        kind=event.kind,
        schema=SCHEMA,
        at_ns=max(now_ns, last.at_ns),
        mono_ns=mono_ns,
        salt=os.urandom(SALT_BYTES),
        body=canonical(body_of(event)),
    )


def check_purge(entry: Entry, upto: int, *, row: RunRow | None, known: bytes | None) -> None:
    """Refuse a purge that may not be done to a run as a store has it; one that was done already may be again.

    Args:
        row: The run as it stands, before.
        known: The hash of the event that the store has under the entry's id; None: it has none.

    Raises:
        EngineError: It is no purge, or would name itself.
        TakenOverError: It is not what comes next in the run.
    """
    if entry.kind != PURGED or not 1 <= upto < entry.seq:
        raise EngineError(
            f"event `{entry.id}` is no purge of events 1 to {upto}",
            run=entry.run,
            help="the entry is a `BodiesPurged`, and names events before it",
        )
    fits = row is not None and (row.head, row.events + 1) == (entry.prev, entry.seq)
    if known != entry.hash if known is not None else not fits:
        raise TakenOverError(
            f"event `{entry.id}` is not the next of its run",
            run=entry.run,
            help="somebody has written in it meanwhile: purge again",
        )
