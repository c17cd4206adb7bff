"""Reading a whole log to verify it, and heads as people note them down."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ringfence.cli.desk import Desk
from ringfence.cli.exits import REFUSED, CommandError
from ringfence.cli.say import Say
from ringfence.engine.retrospect.verify import Fault, row_fault, verify_log, verify_run
from ringfence.engine.seams.escape import escaped
from ringfence.engine.seams.ports import Entry, Link, RunRow

if TYPE_CHECKING:
    from ringfence.plugins.witness.reading import Witness

_PAGE = 10_000
_FIRST = -(2**63)
"""Before every position and every number of an event, also before those that no guard would write."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of verifying; `head` as the next `--head` takes it."""

    fault: Fault | None
    events: int
    runs: int
    run: str | None
    head: str | None
    purged: int
    """Of the events, those whose bodies are gone: they verify, but what they said cannot be read."""
    witnessed: int | None = None
    """Lines of the witness that was compared; None: none was."""
    unwitnessed: int | None = None
    """Events after the last one of their run that it names: nobody has vouched for them yet."""


def head_of_log(text: str) -> Link:
    """Return the noted head of a log; refuse what is none."""
    position, _, hash = text.partition(":")
    if not (position.isascii() and position.isdecimal() and int(position) > 0 and _is_hash(hash)):
        raise CommandError(
            f"`{escaped(text)}` is no head of a log", help="give it as it was printed: POSITION:HASH"
        )
    return Link(int(position), "", 0, bytes.fromhex(hash))


def head_of_run(text: str) -> bytes:
    """Return the noted head of a run; refuse what is none."""
    if not _is_hash(text):
        raise CommandError(
            f"`{escaped(text)}` is no head of a run", help="give it as it was printed: 64 hex digits"
        )
    return bytes.fromhex(text)


def _is_hash(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{64}", text) is not None


def witness_of(file: str | None, key: str | None) -> "Witness | None":
    """Read the witness that the command line names, before the log: the log holds all that it names."""
    if file is None and key is None:
        return None
    if file is None or key is None:
        raise CommandError(
            "--witness and --key belong together", help="give both: --witness FILE --key PUBLIC"
        )
    try:
        from ringfence.plugins.witness.keys import KeyFileError, public_key
        from ringfence.plugins.witness.reading import WitnessError, witness_of

        return witness_of(Path(file), public_key(Path(key)))
    except ImportError as error:
        raise CommandError(
            "cryptography is not installed", help='install it with pip install "ringfence[sign]"'
        ) from error
    except KeyFileError as error:
        raise CommandError(error.message, help=error.help) from error
    except WitnessError as error:
        raise CommandError(
            f"{error}", help="it proves nothing: look for a copy, and for the key", code=REFUSED
        ) from error
    except OSError as error:
        raise CommandError(f"the witness {file} cannot be read: {error.strerror}") from error


def verify_one(desk: Desk, run: str, *, head: bytes | None, witness: "Witness | None" = None) -> Checked:
    """Verify one run's own chain, what the list of runs says of it, and what was witnessed of it."""
    entries = _read(desk, run)
    row = desk.ask(desk.events.run(run))  # read later: it tells of these events, or of more
    if row is not None and _counted(row) > len(entries):
        entries = [*entries, *_read(desk, run)[len(entries) : row.events]]
    fault = verify_run(entries, head=head)
    if fault is None and row is not None:
        fault = row_fault(row, entries)
    seen = _seen(witness.only(run) if witness else None, entries)
    last = entries[-1].hash if entries else None
    noted = last.hex() if isinstance(last, bytes) else None
    return Checked(fault or seen.fault, len(entries), 1, run, noted, _purged(entries), seen.lines, seen.later)


def verify_whole(desk: Desk, say: Say, *, head: Link | None, witness: "Witness | None" = None) -> Checked:
    """Verify every run's chain, the chain over all of them, the list of runs, and what was witnessed.

    Agents may write meanwhile, so links and rows are read before the events and again after them: each
    event read first must be named by then, and what came later is read up to there.
    """
    links = list(_links(desk, after=_FIRST))
    # SECURITY: the runs to read come from both, so that a run which either hides is missed by the other.
    runs = dict.fromkeys([*(link.run for link in links), *(row.run for row in _rows(desk))])
    events: dict[str, list[Entry]] = {}
    with say.progress("verify", len(links)) as advance:
        for run in runs:
            events[run] = _read(desk, run)
            advance(len(events[run]))
    before = {run: len(found) for run, found in events.items()}
    rows = _rows(desk)
    later = list(_links(desk, after=links[-1].position if links else _FIRST))
    named = {(link.run, link.seq) for link in later}
    for run in dict.fromkeys(link.run for link in later):
        seen = len(events.get(run, ()))
        grown = [entry for entry in _read(desk, run)[seen:] if (run, entry.seq) in named]
        events[run] = [*events.get(run, ()), *grown]
    entries = [entry for run in events.values() for entry in run]
    verified = verify_log([*links, *later], entries, head=head)
    told = _seen(witness, entries)
    fault = verified.fault or _listed_wrongly(rows, events, before) or told.fault
    last = verified.head
    noted = f"{last.position}:{last.hash.hex()}" if last else None
    return Checked(
        fault, verified.events, verified.runs, None, noted, _purged(entries), told.lines, told.later
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a witness says of a log."""

    fault: Fault | None = None
    lines: int | None = None
    later: int | None = None


def _seen(witness: "Witness | None", entries: list[Entry]) -> _Seen:
    if witness is None:
        return _Seen()
    named = witness.fault(entries)
    fault = None if named is None else Fault(*named)
    return _Seen(fault, witness.lines, witness.unwitnessed(entries))


def _listed_wrongly(
    rows: list[RunRow], events: dict[str, list[Entry]], before: dict[str, int]
) -> Fault | None:
    """Return the first fault of a row; of a run that grows, as many events count as its row says."""
    for row in rows:
        of_run = events.get(row.run, [])
        told = of_run[: max(_counted(row), before.get(row.run, 0))]
        if (fault := row_fault(row, told)) is not None:
            return fault
    return None


def _purged(entries: list[Entry]) -> int:
    return sum(entry.body is None for entry in entries)


def _counted(row: RunRow) -> int:
    return row.events if isinstance(row.events, int) else 0


def _read(desk: Desk, run: str) -> list[Entry]:
    return desk.ask(desk.events.read(run, after_seq=_FIRST))


def _rows(desk: Desk) -> list[RunRow]:
    return desk.ask(desk.events.runs())


def _links(desk: Desk, *, after: int) -> Iterator[Link]:
    while isinstance(after, int) and (page := desk.ask(desk.events.links(after=after, limit=_PAGE))):
        yield from page
        last = page[-1].position
        if not isinstance(last, int) or last <= after:
            return  # verifying names the link that does not stand at its place
        after = last
