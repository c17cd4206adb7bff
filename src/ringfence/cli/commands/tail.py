"""Tell what happens now, in every process that writes the log: one line a step, until it is stopped.

It begins a few lines before the end of the log.  A log that is away for a while is waited for.
"""

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from ringfence.cli import selecting
from ringfence.cli.exits import CommandError
from ringfence.cli.say import Say

if TYPE_CHECKING:
    from collections.abc import Callable


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""
    selecting.only_run_word(command, "--run")
    selecting.agent_word(command)
    command.add_argument(
        "--verdict", metavar="VERDICT", choices=selecting.VERDICTS, help="only decisions that came out so"
    )
    command.add_argument(
        "-n", metavar="N", dest="lines", type=int, default=10, help="begin N lines before the end (10)"
    )
    command.add_argument("--from-start", action="store_true", help="begin at the log's first event")


def run(asked: Namespace, say: Say, *, wait: "Callable[[float], None] | None" = None) -> int:
    """Tell without end.

    Args:
        wait: Returns after so many seconds.
    """
    from ringfence.cli.following import before_the_end, follow, from_start, sleep
    from ringfence.cli.picking import Picked
    from ringfence.cli.telling import Teller

    if asked.lines < 0:
        raise CommandError("-n must not be negative", help="say 0 to begin at the end")
    picked = Picked(asked.run, asked.agent, asked.verdict, steps=not say.json)
    begin = from_start if asked.from_start else before_the_end(asked.lines, picked.has, say)
    if say.json:
        for lines in follow(asked, say, picked.first(begin), picked.records(say), wait=wait or sleep):
            for text in lines:
                say.record(text)
            say.flush()
    else:
        for told in follow(asked, say, picked.first(begin), picked.lines(Teller()), wait=wait or sleep):
            for line in told:
                say.line(*line, fit=True)
            say.flush()
    raise AssertionError("a log has no last line")
