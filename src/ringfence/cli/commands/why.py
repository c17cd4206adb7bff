"""Say why a call was decided as it was: every rule that spoke, with its line of the policy.

CALL is the call's number in `ringfence show`, its key, the beginning of its key, or its tool if only one
call used it.
"""

from argparse import ArgumentParser, Namespace

from ringfence.cli import selecting
from ringfence.cli.exits import FINE
from ringfence.cli.say import Say


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""
    selecting.run_word(command)
    command.add_argument("call", metavar="CALL", help="the call's number, key or tool")


def run(asked: Namespace, say: Say) -> int:
    """Explain the decision of one call."""
    from dataclasses import asdict

    from ringfence.cli.desk import desk
    from ringfence.cli.find import find_call, find_run
    from ringfence.cli.grounds import ground_lines, policy_lines
    from ringfence.cli.history import history, readable, refuse_purged
    from ringfence.cli.records import call_record
    from ringfence.engine.decision.events import RunStarted
    from ringfence.engine.decision.records import texts_of
    from ringfence.engine.retrospect.grounds import Grounds, grounds
    from ringfence.engine.retrospect.record import RecordError
    from ringfence.engine.seams.escape import escaped

    known: list[Grounds] = []
    missing = ""
    with desk(asked, reads=True) as here:
        row = find_run(here, asked.run)
        record = history(here, row.run)
        with readable(row.run):
            steps = record.steps
        refuse_purged(record)
        call = find_call(steps, asked.call)
        try:
            known = grounds(record, call.call)
        except (RecordError, AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
            missing = str(error)  # what the record itself says is shown all the same
    first = record.events[0].event if record.events else None
    with readable(row.run):
        texts = {one.name: one.text for one in texts_of(first)} if isinstance(first, RunStarted) else {}
        data = {
            "run": row.run,
            **call_record(call, policy_lines(call, texts)),
            "known": [asdict(one) for one in known],
        }
        lines = list(ground_lines(call, texts, start_ns=row.started_ns, known=known))
    if missing:
        say.note(f"what was known then cannot be told: {escaped(missing)}")
    if say.json:
        say.data(data)
        return FINE
    for line in lines:
        say.line(*line)
    return FINE
