"""Reading a whole log to verify it, and heads as people note them down."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ringfence.cli.desk import Desk
from ringfence.cli.exits import REFUSED, CommandError
from ringfence.cli.say import Say
from ringfence.engine.retrospect.verify import Fault, row_fault, verify_run
from ringfence.engine.retrospect.walk import FIRST, Part, Walk, counted
from ringfence.engine.seams.escape import escaped
from ringfence.engine.seams.ports import Entry, EventLog, Inspected, Link

if TYPE_CHECKING:
    from ringfence.plugins.witness.reading import Seeing, Witness

_PAGE = 2_000
"""So many events are held at once."""


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
    for path in map(Path, (file, key)):
        if path.exists() and not path.is_file():  # a pipe, or a device, may keep whoever reads it for ever
            raise CommandError(f"{escaped(str(path))} is no file", help="name the witness and the public key")
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
    if row is not None and counted(row) > len(entries):
        entries = [*entries, *_read(desk, run)[len(entries) : row.events]]
    fault = verify_run(entries, head=head)
    if fault is None and row is not None:
        fault = row_fault(row, entries)
    seen = _Seen()
    if witness is not None:
        seeing = witness.only(run).seeing()
        for entry in entries:
            seeing.take(entry)
        seen = _seen(seeing)
    last = entries[-1].hash if entries else None
    noted = last.hex() if isinstance(last, bytes) else None
    purged = sum(entry.body is None for entry in entries)
    return Checked(fault or seen.fault, len(entries), 1, run, noted, purged, seen.lines, seen.later)


def verify_whole(desk: Desk, say: Say, *, head: Link | None, witness: "Witness | None" = None) -> Checked:
    """Verify every run's chain, the chain over all of them, the list of runs, and what was witnessed.

    Agents may write meanwhile, so where the log ends is settled first, and once more after the list of runs.
    """
    purged = 0
    seeing = None if witness is None else witness.seeing()

    def each(entry: Entry) -> None:
        nonlocal purged
        purged += entry.body is None
        if seeing is not None:
            seeing.take(entry)

    walk = Walk(lambda parts: desk.ask(_parts(desk.events, parts)), head=head, each=each)
    end = desk.ask(desk.events.head())
    after = FIRST
    with say.progress("verify", _position(end) or 0) as advance:
        for links in _links(desk, after=FIRST, upto=_position(end)):
            walk.take(links)
            if walk.fault is not None:
                break
            after = links[-1].position
            advance(len(links))
    if walk.fault is None:
        rows = desk.ask(desk.events.runs())
        walk.rest(rows=rows)
        end = desk.ask(desk.events.head())
        for links in _links(desk, after=after, upto=_position(end)):
            walk.take(links)
    verified = walk.end()
    told = _Seen() if seeing is None else _seen(seeing)
    last = verified.head
    noted = f"{last.position}:{last.hash.hex()}" if last else None
    return Checked(
        verified.fault or told.fault or _damage(desk),
        verified.events,
        verified.runs,
        None,
        noted,
        purged,
        told.lines,
        told.later,
    )


async def _parts(events: EventLog, parts: Sequence[Part]) -> list[list[Entry]]:
    """Read parts of runs, all with one hop to the store's loop."""
    return [await events.read(part.run, after_seq=part.after_seq, limit=part.limit) for part in parts]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a witness says of a log."""

    fault: Fault | None = None
    lines: int | None = None
    later: int | None = None


def _seen(seeing: "Seeing") -> _Seen:
    named = seeing.fault
    return _Seen(None if named is None else Fault(*named), seeing.witness.lines, seeing.later)


def _damage(desk: Desk) -> Fault | None:
    """Return in what a store contradicts itself, though all that was read of it holds."""
    said = desk.ask(desk.events.damage()) if isinstance(desk.events, Inspected) else None
    return None if said is None else Fault("", f"the store contradicts itself: {said}")


def _read(desk: Desk, run: str) -> list[Entry]:
    return desk.ask(desk.events.read(run, after_seq=FIRST))


def _position(link: Link | None) -> int | None:
    """Return where a link says that it stands; None: it says no place."""
    return link.position if link is not None and type(link.position) is int else None


def _links(desk: Desk, *, after: int, upto: int | None) -> Iterator[list[Link]]:
    """Yield the links after one, at least up to another, a page at a time."""
    while (upto is None or after < upto) and (page := desk.ask(desk.events.links(after=after, limit=_PAGE))):
        yield page
        last = page[-1].position
        if not isinstance(last, int) or last <= after:
            return  # verifying names the link that does not stand at its place
        after = last
