"""Decide every call of a run again, with the recorded clock and facts: identical, or the first divergence.

With --isolates, the JavaScript of its isolated calls is run again as well, in isolates.  With --policy, every
decision that another policy would have made otherwise.  No tool is executed.
"""

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from ringfence.cli import selecting
from ringfence.cli.exits import CANNOT_RUN, FINE, REFUSED, CommandError
from ringfence.cli.say import Say

if TYPE_CHECKING:
    from ringfence.engine.retrospect.record import RunRecord
    from ringfence.engine.retrospect.rerun import Rerun
    from ringfence.engine.seams.isolates import Lockdown


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""
    selecting.run_word(command)
    other = command.add_mutually_exclusive_group()
    other.add_argument("--policy", metavar="FILE", help="decide by this policy instead")
    other.add_argument("--isolates", action="store_true", help="run what ran in isolates again, too")
    command.add_argument(
        "--lockdown",
        metavar="LOCKDOWN",
        choices=("full", "process"),
        default="full",
        help="with --isolates: the walls that must stand here, if the recorded policy is content with less",
    )


def run(asked: Namespace, say: Say) -> int:
    """Replay one run; 2 if a decision comes out differently."""
    if asked.policy is not None:
        return _what_if(asked, say)
    from dataclasses import asdict

    from ringfence.cli.desk import desk
    from ringfence.cli.drawing import count
    from ringfence.cli.find import find_run
    from ringfence.cli.history import history, unreadable
    from ringfence.engine.retrospect.record import RecordError
    from ringfence.engine.seams.escape import escaped

    with desk(asked, reads=True) as here:
        row = find_run(here, asked.run)
        record = history(here, row.run)
        try:
            with say.progress("replay", len(record.events), counted=False):
                replay = record.replay()
            rerun = _rerun(record, say, asked.lockdown) if asked.isolates else None
        except RecordError as error:
            raise unreadable(row.run, error) from error
    if say.json:
        found = {**asdict(replay), "identical": replay.identical}
        if rerun is not None:
            found["isolates"] = {**asdict(rerun), "identical": rerun.identical}
        say.data(found)
    else:
        for skipped in replay.not_replayable:
            say.note(f"call {escaped(skipped.call)}: not replayable, its arguments are {skipped.because}")
        if replay.divergence is None:
            say.line(("identical", "green"), f": {row.run}, {count(replay.decisions, 'decision')} made again")
        else:
            say.line(("diverges", "bold red"), f": {row.run}, decision {replay.decisions}")
            say.lines(str(replay.divergence))
        if rerun is not None:
            _tell(rerun, say)
    if not replay.identical or (rerun is not None and rerun.divergence is not None):
        return REFUSED
    return FINE if rerun is None or rerun.identical else CANNOT_RUN


def _rerun(record: "RunRecord", say: Say, lockdown: "Lockdown") -> "Rerun":
    """Run what ran in isolates again; a bar shows how far it is."""
    from ringfence.engine.decision.events import IsolateStarted
    from ringfence.engine.seams.errors import EngineError

    isolates = sum(isinstance(stamped.event, IsolateStarted) for stamped in record.events)
    try:
        with say.progress("isolates", isolates, worth=5) as advance:
            return record.rerun(each=advance, lockdown=lockdown)
    except EngineError as error:
        raise CommandError(str(error), help=error.help or "") from error


def _tell(rerun: "Rerun", say: Say) -> None:
    from ringfence.cli.drawing import count
    from ringfence.engine.seams.escape import escaped

    for why in rerun.only_calls:
        say.note(f"call {escaped(why.call)}: {escaped(why.because)}: only its inner calls were compared")
    for why in rerun.not_rerun:
        call = f"call {escaped(why.call)}" if why.call else f"event {why.seq}"
        say.note(f"{call}: cannot be run again: {escaped(why.because)}")
    if rerun.divergence is not None:
        say.line(("diverges", "bold red"), f": {rerun.run}, isolate {rerun.isolates}")
        say.lines(str(rerun.divergence))
        return
    done = f"{count(rerun.isolates, 'isolate')} run again"
    calls = f"{count(rerun.calls, 'inner call')} answered from the record"
    v8 = f", V8 {escaped(rerun.v8)}" if rerun.v8 else ""
    if rerun.not_rerun:
        say.line(("incomplete", "yellow"), f": {rerun.run}, {done}, {len(rerun.not_rerun)} not{v8}")
    elif rerun.isolates:
        say.line(("identical", "green"), f": {rerun.run}, {done}, {calls}{v8}")
    else:
        say.line(("identical", "green"), f": {rerun.run}, nothing ran in an isolate")


def _what_if(asked: Namespace, say: Say) -> int:
    from dataclasses import asdict

    from ringfence.cli.desk import desk
    from ringfence.cli.drawing import change_line, count
    from ringfence.cli.exits import POLICY_INVALID
    from ringfence.cli.find import find_run
    from ringfence.cli.history import history, unreadable
    from ringfence.cli.policy import read_policy
    from ringfence.dsl.diagnostic import draw
    from ringfence.engine.retrospect.record import RecordError
    from ringfence.engine.retrospect.whatif import what_if
    from ringfence.engine.seams.escape import escaped

    with desk(asked, reads=True) as here:
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
        worded = [f"{rule}: {rule.because}" if rule.because else str(rule) for rule in change.rules]
        say.line(*change_line(change), f" by {escaped('; '.join(worded))}" if worded else "")
    changes = len(found.changes)
    say.line(
        (f"{changes:,} of {found.decisions:,}", "bold" if changes else "green"),
        f" decisions would have been different: {row.run}",
    )
    if after := found.decisions - found.comparable:
        say.line(
            f"no longer comparable: {count(after, 'decision')} after the first change, "
            "told as things went then; with the other policy they might not have come at all"
        )
    return REFUSED if found.changes else FINE
