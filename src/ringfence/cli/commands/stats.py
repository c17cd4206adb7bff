"""Count what happened in many runs: calls, verdicts, denials by rule, people, durations, models, halts.

Several words mean runs of which all of them hold.  A run that cannot be read is named, and nothing of it
counts.
"""

from argparse import ArgumentParser, Namespace

from ringfence.cli import selecting
from ringfence.cli.exits import FINE
from ringfence.cli.say import Say


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""
    selecting.words(command)


def run(asked: Namespace, say: Say) -> int:
    """Count."""
    from ringfence.cli.counted import document, tell
    from ringfence.cli.desk import desk
    from ringfence.engine.retrospect.survey.search import Wanted
    from ringfence.engine.retrospect.survey.stats import stats

    wanted = selecting.wanted_of(asked)
    with desk(asked, reads=True) as here:
        reader = selecting.Reader(here)
        # Of some runs only, nobody knows beforehand how many events they have.
        with say.progress("counting", reader.events, counted=wanted == Wanted()) as advance:
            found = stats(
                wanted, reader.rows, reader.pages,
                each=lambda row: advance(row.events if isinstance(row.events, int) else 0),
            )  # fmt: skip
    if say.json:
        say.data(document(found))
    elif found.runs:
        tell(found, say)
    else:
        say.note("no runs")
    selecting.note_unread(found.unread, found.runs_unread, say)
    return FINE
