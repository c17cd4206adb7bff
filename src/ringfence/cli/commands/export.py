"""Write the log as JSON Lines, or send it to a collector as OpenTelemetry spans.

One event a line, in the order in which the log was written.
The same log gives the same lines, and a log that has grown gives more of them at the end.  What each line
holds: `ringfence schema`.
"""

from argparse import ArgumentParser, Namespace

from ringfence.cli import selecting
from ringfence.cli.exits import FINE, CommandError
from ringfence.cli.say import Say
from ringfence.cli.since import MOMENT
from ringfence.dsl.plan import Json


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""
    selecting.only_run_word(command, "--run")
    selecting.agent_word(command)
    command.add_argument("--since", metavar="TIME", help=f"only events recorded since: {MOMENT}")
    command.add_argument(
        "--otel", metavar="URL", help="send spans to this collector (OTLP over HTTP) instead; extra `otel`"
    )
    command.add_argument(
        "--content", action="store_true", help="with --otel: prompts, arguments, results and errors, too"
    )


def run(asked: Namespace, say: Say) -> int:
    """Export; an event that cannot be read ends it."""
    if asked.content and asked.otel is None:
        raise CommandError("--content belongs to --otel", help="lines hold the whole event")
    import time

    from ringfence.cli.desk import desk
    from ringfence.cli.drawing import count
    from ringfence.cli.exporting import Wanted, exported
    from ringfence.cli.find import find_run
    from ringfence.cli.since import since_ns

    since = None if asked.since is None else since_ns(asked.since, now_ns=time.time_ns())
    events = purged = 0
    with desk(asked, reads=True) as here:
        row = find_run(here, asked.run) if asked.run is not None else None
        if asked.otel is not None:
            from ringfence.cli.span_export import send_spans

            wanted = Wanted(row, asked.agent, since)
            _tell(send_spans(here, say, wanted, asked.otel, content=asked.content), say)
            return FINE
        for event, line in exported(here, say, Wanted(row, asked.agent, since)):
            say.record(line)
            events += 1
            purged += event.body is None
    say.note(count(events, "event"))
    if purged:
        say.note(f"of {purged:,} of them the body was purged")
    return FINE


def _tell(sent: dict[str, Json], say: Say) -> None:
    """Say how many spans were sent, and that more will come."""
    if say.json:
        say.data(sent)
        return
    from ringfence.cli.drawing import count

    say.line(f"{count(sent['spans'], 'span')} sent to {sent['endpoint']}")
    if going := sent["open_runs"]:
        what = count(going, "run has not ended: its span comes", "runs have not ended: theirs come")
        say.note(f"{what} with a later export")
