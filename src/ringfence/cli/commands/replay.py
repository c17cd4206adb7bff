"""Decide every call of a run again, with the recorded clock and facts: identical, or the first divergence.

With --policy, every decision that another policy would have made otherwise.  Nothing is executed.
"""

from argparse import ArgumentParser, Namespace

from ringfence.cli.exits import FINE, REFUSED
from ringfence.cli.say import Say


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""
    command.add_argument("run", metavar="RUN", help="a run's id, the beginning of one, or `last`")
    command.add_argument("--policy", metavar="FILE", help="decide by this policy instead")


def run(asked: Namespace, say: Say) -> int:
    """Replay one run; 2 if a decision comes out differently."""
    if asked.policy is not None:
        return _what_if(asked, say)
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


def _what_if(asked: Namespace, say: Say) -> int:
    from dataclasses import asdict

    from ringfence.cli.desk import desk
    from ringfence.cli.exits import POLICY_INVALID
    from ringfence.cli.find import find_run
    from ringfence.cli.history import history, unreadable
    from ringfence.cli.policy import read_policy
    from ringfence.dsl.diagnostic import draw
    from ringfence.engine.retrospect.record import RecordError
    from ringfence.engine.retrospect.whatif import what_if
    from ringfence.engine.seams.escape import escaped

    with desk(asked) as here:
        row = find_run(here, asked.run)
        loaded = read_policy(asked.policy, here.settings)
        if loaded.plan is None:
            say.note(draw(loaded.diagnostics))
            return POLICY_INVALID
        try:
            found = what_if(history(here, row.run), loaded.plan)
        except RecordError as error:
            raise unreadable(row.run, error) from error
    if say.json:
        say.data({**asdict(found), "policy": loaded.plan.policy, "digest": loaded.plan.digest})
        return REFUSED if found.changes else FINE
    for skipped in found.not_replayable:
        say.note(f"call {escaped(skipped.call)}: not replayable, its arguments are {skipped.because}")
    for change in found.changes:
        asks = f" asks {', '.join(change.asks)}" if change.asks else ""
        rules = f" by {escaped(', '.join(change.rules))}" if change.rules else ""
        say.line(
            f"event {change.seq}, {escaped(change.tool)}: {escaped(change.recorded)} then, ",
            (f"{change.verdict}{asks}", "bold"), rules,
        )  # fmt: skip
    say.line(f"{len(found.changes)} of {found.decisions} decisions would have been different: {row.run}")
    return REFUSED if found.changes else FINE
