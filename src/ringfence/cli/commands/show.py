"""Show a run: each prompt, model answer and tool call, its decision, rule and place, latency and error.

RUN is a run's id, the beginning of one, or `last`.
"""

from argparse import ArgumentParser, Namespace

from ringfence.cli.exits import FINE
from ringfence.cli.say import COLOURS, Say


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""
    command.add_argument("run", metavar="RUN", help="a run's id, the beginning of one, or `last`")


def run(asked: Namespace, say: Say) -> int:
    """Show one run."""
    from ringfence.cli.desk import desk
    from ringfence.cli.drawing import duration, moment, step_lines
    from ringfence.cli.find import find_run
    from ringfence.cli.history import history, readable
    from ringfence.cli.records import run_record, step_record
    from ringfence.engine.seams.escape import escaped

    with desk(asked, reads=True) as here:
        row = find_run(here, asked.run)
        record = history(here, row.run)
    with readable(row.run):
        steps = record.steps
        lines = [line for step in steps for line in step_lines(step, start_ns=row.started_ns)]
        began, took = moment(row.started_ns), f"{duration(row.last_ns - row.started_ns)}, "
    if record.purged:
        took = ""  # the purge is the last event of the run, and no part of what it did
    if say.json:
        say.data(
            {"run": run_record(row), "gone": record.gone, "steps": [step_record(step) for step in steps]}
        )
        return FINE
    user = f", user {escaped(row.user)}" if row.user else ""
    workspace = f", workspace {escaped(row.workspace)}" if row.workspace else ""
    say.line(
        (row.run, "bold"), f": agent {escaped(row.agent)}{user}{workspace}, ",
        (row.status, COLOURS.get(row.status, "")),
    )  # fmt: skip
    say.line(
        (
            f"policy {escaped(row.policy)}, session {escaped(row.session)}, {began}, "
            f"{took}{row.events} events",
            "dim",
        )
    )
    say.line()
    for line in lines:
        say.line(*line)
    if record.gone:
        say.note("its process is gone, and so is what it had not yet recorded: what it did last is not known")
    if record.purged:
        say.note(f"{len(record.purged)} events were purged")
    return FINE
