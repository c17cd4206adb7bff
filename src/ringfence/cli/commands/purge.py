"""Remove what old runs said: the bodies of their events, for good; that they were there still verifies.

A run goes if it is over and its last event is older than DATE; the purge is an event of its own.  A run
that a newer one may remember stays, unless --remembered is said.
"""

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from ringfence.cli.exits import CANNOT_RUN, FINE, REFUSED, CommandError
from ringfence.cli.say import Say
from ringfence.cli.since import MOMENT

if TYPE_CHECKING:
    from ringfence.cli.purging import Purged, Wish
    from ringfence.dsl.plan import Json

_NAME_AT_MOST = 200


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""
    command.add_argument(
        "--before", metavar="DATE", required=True, help=f"runs whose last event is older: {MOMENT}"
    )
    command.add_argument(
        "--remembered",
        action="store_true",
        help="runs that newer ones remember as well; these are denied more",
    )
    command.add_argument("--dry-run", action="store_true", help="remove nothing; say what would go")
    command.add_argument("--by", metavar="NAME", help="who orders it; the login name if not said")


def run(asked: Namespace, say: Say) -> int:
    """Purge; 2 if a run stays because it was changed."""
    import time

    from ringfence.cli.desk import desk, login
    from ringfence.cli.purging import Wish, purge
    from ringfence.cli.since import since_ns
    from ringfence.engine.seams.errors import StoreAwayError
    from ringfence.engine.seams.escape import escaped

    now_ns = time.time_ns()
    before_ns = since_ns(asked.before, now_ns=now_ns)
    if not 0 <= before_ns <= now_ns:
        raise CommandError(
            f"`{escaped(asked.before)}` is no moment of the past",
            help="what is removed does not come back: say 0s for all runs that are over",
        )
    if asked.by is not None and len(asked.by) > _NAME_AT_MOST:
        raise CommandError("--by is too long for a name", help=f"say at most {_NAME_AT_MOST} characters")
    name = login() if asked.by is None else asked.by
    by = None if name is None else escaped(name)
    wish = Wish(before_ns, by, asked.remembered, asked.dry_run)
    with desk(asked, reads=wish.dry) as here:
        done = purge(here, say, wish)
        kept_in_files: StoreAwayError | None = None
        if not wish.dry:
            try:
                here.ask(here.events.scrub())
            except StoreAwayError as error:  # said below, and never exit code 0
                kept_in_files = error
    if say.json:
        say.data({**_record(done, wish), "scrubbed": kept_in_files is None and not wish.dry})
    else:
        _tell(done, wish, say)
    if kept_in_files is not None:
        say.note(f"{kept_in_files}\n{kept_in_files.help or ''}")
        return CANNOT_RUN
    return REFUSED if done.changed else FINE


def _tell(done: "Purged", wish: "Wish", say: Say) -> None:
    from ringfence.cli.drawing import count
    from ringfence.engine.seams.escape import escaped

    runs, tickets = count(len(done.runs), "run"), count(done.tickets, "ticket")
    what = f"{runs}: {count(done.bodies, 'body', 'bodies')}, {tickets}"
    say.line(f"would purge {what}" if wish.dry else f"purged {what}")
    for _, fault in done.changed:
        say.line(("kept, since it was changed", "bold red"), f": {escaped(str(fault))}")
    remembered, unfinished = len(done.due.remembered), len(done.due.unfinished)
    if remembered and wish.remembered:
        say.note(
            f"{count(remembered, 'run')} of them may be remembered by runs that are newer or not over: what "
            "the policy asks there of history, labels or provenance is undecided from now on, and so denied"
        )
    elif remembered:
        say.note(
            f"kept {count(remembered, 'older run')}: runs that are newer, or not over, may remember them (of "
            "one session, or one inside of the other) and would be denied whatever asks for that; "
            "--remembered purges them too"
        )
    if unfinished:
        say.note(
            f"kept {count(unfinished, 'older run')} that never ended: `ringfence kill RUN` stops one for good"
        )
    if done.busy:
        say.note(f"kept {count(len(done.busy), 'run')} whose session somebody used just now: purge again")


def _record(done: "Purged", wish: "Wish") -> "dict[str, Json]":
    kept: list[Json] = [
        {"run": run, "because": "changed", "event": fault.event, "fault": fault.because}
        for run, fault in done.changed
    ]
    kept += [{"run": row.run, "because": "not over"} for row in done.due.unfinished]
    kept += [{"run": run, "because": "written meanwhile"} for run in done.busy]
    remembered: list[Json] = [row.run for row in done.due.remembered]
    if not wish.remembered:
        kept += [{"run": run, "because": "remembered"} for run in remembered]
    return {
        "before_ns": wish.before_ns,
        "by": wish.by,
        "dry_run": wish.dry,
        "runs": list(done.runs),
        "bodies": done.bodies,
        "tickets": done.tickets,
        "remembered": remembered,
        "kept": kept,
    }
