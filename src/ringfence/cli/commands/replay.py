"""Decide every call of a run again, with the recorded clock and facts: identical, or the first divergence.

Nothing is executed.
"""

from argparse import ArgumentParser, Namespace

from ringfence.cli.exits import FINE, REFUSED
from ringfence.cli.say import Say


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""
    command.add_argument("run", metavar="RUN", help="a run's id, the beginning of one, or `last`")


def run(asked: Namespace, say: Say) -> int:
    """Replay one run; 2 if a decision comes out differently."""
    from dataclasses import asdict

    from ringfence.cli.desk import desk
    from ringfence.cli.find import find_run
    from ringfence.cli.history import history, unreadable
    from ringfence.engine.retrospect.record import RecordError
    from ringfence.engine.seams.escape import escaped

    with desk(asked) as here:
        row = find_run(here, asked.run)
        record = history(here, row.run)
        try:
            with say.progress("replay", len(record.events), counted=False):
                replay = record.replay()
        except RecordError as error:
            raise unreadable(row.run, error) from error
    if say.json:
        say.data({**asdict(replay), "identical": replay.identical})
    else:
        for skipped in replay.not_replayable:
            say.note(f"call {escaped(skipped.call)}: not replayable, its arguments are {skipped.because}")
        if replay.divergence is None:
            decisions = "decision" if replay.decisions == 1 else "decisions"
            say.line(("identical", "green"), f": {row.run}, {replay.decisions} {decisions} made again")
        else:
            say.line(("diverges", "bold red"), f": {row.run}, decision {replay.decisions}")
            say.lines(str(replay.divergence))
    return FINE if replay.identical else REFUSED
