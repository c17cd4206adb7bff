"""Write the log as JSON Lines: one event a line, in the order in which the log was written.

The same log gives the same lines, and a log that has grown gives more of them at the end.  What each line
holds: `ringfence schema`.
"""

from argparse import ArgumentParser, Namespace

from ringfence.cli.exits import FINE
from ringfence.cli.say import Say


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""
    command.add_argument("--run", metavar="RUN", help="only this run; the beginning of its id, or `last`")
    command.add_argument("--agent", metavar="NAME", help="only runs of this agent")
    command.add_argument(
        "--since",
        metavar="TIME",
        help="only events recorded since: 30s, 15m, 12h, 7d ago, or a date, 2026-11-23 or 2026-11-23T04:00Z",
    )


def run(asked: Namespace, say: Say) -> int:
    """Export; an event that cannot be read ends it."""
    import time

    from ringfence.cli.desk import desk
    from ringfence.cli.exporting import Wanted, exported
    from ringfence.cli.find import find_run
    from ringfence.cli.since import since_ns

    since = None if asked.since is None else since_ns(asked.since, now_ns=time.time_ns())
    events = purged = 0
    with desk(asked, reads=True) as here:
        row = find_run(here, asked.run) if asked.run is not None else None
        for event, line in exported(here, say, Wanted(row, asked.agent, since)):
            say.record(line)
            events += 1
            purged += event.body is None
    say.note(f"{events} event{'' if events == 1 else 's'}")
    if purged:
        say.note(f"of {purged} events the body was purged")
    return FINE
