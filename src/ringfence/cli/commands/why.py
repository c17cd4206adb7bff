"""Say why a call was decided as it was: every rule that spoke, with its line of the policy.

CALL is the call's number in `ringfence show`, its key, the beginning of its key, or its tool if only one
call used it.
"""

from argparse import ArgumentParser, Namespace

from ringfence.cli.exits import FINE
from ringfence.cli.say import Say


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""
    command.add_argument("run", metavar="RUN", help="a run's id, the beginning of one, or `last`")
    command.add_argument("call", metavar="CALL", help="the call's number, key or tool")


def run(asked: Namespace, say: Say) -> int:
    """Explain the decision of one call."""
    from ringfence.cli.desk import desk
    from ringfence.cli.find import find_call, find_run
    from ringfence.cli.grounds import ground_lines, policy_lines
    from ringfence.cli.history import history, readable
    from ringfence.cli.records import call_record
    from ringfence.engine.decision.events import RunStarted
    from ringfence.engine.retrospect.timeline import timeline

    with desk(asked) as here:
        row = find_run(here, asked.run)
        record = history(here, row.run)
    with readable(row.run):
        steps = timeline(record.events)
    call = find_call(steps, asked.call)
    first = record.events[0].event if record.events else None
    text = first.policy_text if isinstance(first, RunStarted) else ""
    with readable(row.run):
        data = {"run": row.run, **call_record(call, policy_lines(call, text))}
        lines = list(ground_lines(call, text, start_ns=row.started_ns))
    if say.json:
        say.data(data)
        return FINE
    for line in lines:
        say.line(*line)
    return FINE
