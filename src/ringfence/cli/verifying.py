"""Reading a whole log to verify it, and heads as people note them down."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ringfence.cli.desk import Desk
from ringfence.cli.exits import CommandError
from ringfence.cli.say import Say
from ringfence.engine.retrospect.verify import Fault, verify_log, verify_run
from ringfence.engine.seams.ports import Entry, Link

_PAGE = 10_000


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of verifying; `head` as the next `--head` takes it."""

    fault: Fault | None
    events: int
    runs: int
    run: str | None
    head: str | None


def head_of_log(text: str) -> Link:
    """Return the noted head of a log; refuse what is none."""
    position, _, hash = text.partition(":")
    if not (position.isascii() and position.isdecimal() and int(position) > 0 and _is_hash(hash)):
        raise CommandError(f"`{text}` is no head of a log", help="give it as it was printed: POSITION:HASH")
    return Link(int(position), "", 0, bytes.fromhex(hash))


def head_of_run(text: str) -> bytes:
    """Return the noted head of a run; refuse what is none."""
    if not _is_hash(text):
        raise CommandError(f"`{text}` is no head of a run", help="give it as it was printed: 64 hex digits")
    return bytes.fromhex(text)


def _is_hash(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{64}", text) is not None


def verify_one(desk: Desk, run: str, *, head: bytes | None) -> Checked:
    """Verify one run's own chain."""
    entries = desk.ask(desk.events.read(run))
    last = entries[-1].hash.hex() if entries else None
    return Checked(verify_run(entries, head=head), len(entries), 1, run, last)


def verify_whole(desk: Desk, say: Say, *, head: Link | None) -> Checked:
    """Verify every run's chain and the chain over all of them."""
    links = list(_links(desk))
    # SECURITY: the runs to read come from both, so that a run which either hides is missed by the other.
    runs = list(
        dict.fromkeys([*(link.run for link in links), *(row.run for row in desk.ask(desk.events.runs()))])
    )
    entries: list[Entry] = []
    with say.progress("verify", len(links)) as advance:
        for run in runs:
            found = desk.ask(desk.events.read(run))
            entries += found
            advance(len(found))
    verified = verify_log(links, entries, head=head)
    last = verified.head
    noted = f"{last.position}:{last.hash.hex()}" if last else None
    return Checked(verified.fault, verified.events, verified.runs, None, noted)


def _links(desk: Desk) -> Iterator[Link]:
    after = 0
    while page := desk.ask(desk.events.links(after=after, limit=_PAGE)):
        yield from page
        if page[-1].position <= after:
            raise CommandError("the log's chain does not rise", help="the log was changed", code=2)
        after = page[-1].position
