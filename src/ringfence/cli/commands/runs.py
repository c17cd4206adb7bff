"""List the runs in the log, newest first."""

from argparse import ArgumentParser, Namespace

from ringfence.cli.exits import FINE, CommandError
from ringfence.cli.say import COLOURS, Say


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""
    command.add_argument("--session", metavar="ID", help="only runs of this session")
    command.add_argument("--agent", metavar="NAME", help="only runs of this agent")
    command.add_argument("--limit", metavar="N", type=int, default=20, help="at most N runs (20); 0 for all")


def run(asked: Namespace, say: Say) -> int:
    """List runs."""
    from ringfence.cli.desk import desk
    from ringfence.cli.drawing import moment
    from ringfence.cli.records import run_record
    from ringfence.engine.seams.escape import escaped

    if asked.limit < 0:
        raise CommandError("--limit must not be negative", help="say 0 for all runs")
    with desk(asked, reads=True) as here:
        few = None if asked.agent else asked.limit or None
        rows = here.ask(here.events.runs(session=asked.session, limit=few))
    rows = [row for row in rows if asked.agent in (None, row.agent)][: asked.limit or None]
    if say.json:
        say.data([run_record(row) for row in rows])
        return FINE
    if not rows:
        say.note("no runs")
        return FINE
    say.table(
        [
            (
                row.run,
                moment(row.started_ns),
                (row.status, COLOURS.get(row.status, "")),
                escaped(row.agent),
                escaped(row.user or "-"),
                str(row.events),
                escaped(row.policy),
            )
            for row in rows
        ],
        head=("RUN", "STARTED", "STATUS", "AGENT", "USER", "EVENTS", "POLICY"),
    )
    return FINE
