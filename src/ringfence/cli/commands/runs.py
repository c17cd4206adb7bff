"""List the runs in the log, newest first.

Several words mean runs of which all of them hold; `--tool`, `--verdict` and `--rule` together mean one
decision of one call.
"""

from argparse import ArgumentParser, Namespace

from ringfence.cli import selecting
from ringfence.cli.exits import FINE, CommandError
from ringfence.cli.say import COLOURS, Say


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""
    selecting.words(command)
    selecting.call_words(command)
    command.add_argument("--limit", metavar="N", type=int, default=20, help="at most N runs (20); 0 for all")


def run(asked: Namespace, say: Say) -> int:
    """List runs."""
    from itertools import islice

    from ringfence.cli.desk import desk
    from ringfence.cli.drawing import moment, short
    from ringfence.cli.records import run_record
    from ringfence.engine.retrospect.survey.gathered import Unread
    from ringfence.engine.retrospect.survey.search import found

    if asked.limit < 0:
        raise CommandError("--limit must not be negative", help="say 0 for all runs")
    wanted = selecting.wanted_of(asked)
    unread: list[Unread] = []
    with desk(asked, reads=True) as here:
        reader = selecting.Reader(here)
        if wanted.reads:
            with say.progress("reading", reader.events, counted=False) as advance:
                looked = found(
                    wanted, reader.rows, reader.pages, unread=unread.append, each=lambda row: advance()
                )
                rows = [*islice(looked, asked.limit or None)]
        else:
            rows = reader.rows(wanted.row, asked.limit or None)
    if say.json:
        say.data([run_record(row) for row in rows])
    elif rows:
        say.table(
            [
                (
                    row.run,
                    moment(row.started_ns),
                    (row.status, COLOURS.get(row.status, "")),
                    short(row.agent, _NAME),
                    short(row.user or "-", _NAME),
                    str(row.events),
                    short(row.policy, _NAME),
                )
                for row in rows
            ],
            head=("RUN", "STARTED", "STATUS", "AGENT", "USER", "EVENTS", "POLICY"),
            fit=True,
        )
    else:
        say.note("no runs")
    selecting.note_unread(unread, len(unread), say)
    return FINE


_NAME = 40
"""A longer name is cut in the table."""
