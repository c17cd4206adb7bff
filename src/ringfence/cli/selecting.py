"""The words that say which runs are meant: the same in every command."""

from argparse import ArgumentParser, Namespace
from collections import deque
from itertools import takewhile
from typing import TYPE_CHECKING

from ringfence.cli.since import MOMENT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from ringfence.cli.desk import Desk
    from ringfence.cli.say import Say
    from ringfence.engine.retrospect.survey.gathered import Unread
    from ringfence.engine.retrospect.survey.search import RowWords, Wanted
    from ringfence.engine.seams.ports import Entry, RunRow

STATUSES = ("running", "suspended", "halted", "done", "failed")
VERDICTS = ("allow", "ask", "deny", "unknown")
RUN = "its id, the beginning of one, or `last`"
_NAMED = 3
_AHEAD = 8
"""So many runs are asked for before their turn: the store works while the last one is looked at."""


def run_word(command: ArgumentParser) -> None:
    """Add the one run that a command is about."""
    command.add_argument("run", metavar="RUN", help=f"a run: {RUN}")


def only_run_word(command: ArgumentParser, *flags: str) -> None:
    """Add the run that a command may be kept to; without flags it is said by its place."""
    said = flags or ("run",)
    command.add_argument(*said, metavar="RUN", nargs=None if flags else "?", help=f"only this run: {RUN}")


def agent_word(command: ArgumentParser) -> None:
    """Add the agent whose runs are meant."""
    command.add_argument("--agent", metavar="NAME", help="only runs of this agent")


def since_word(command: ArgumentParser) -> None:
    """Add the moment since which runs began."""
    command.add_argument("--since", metavar="TIME", help=f"only runs that began since: {MOMENT}")


def words(command: ArgumentParser) -> None:
    """Add the words that the row of a run answers."""
    agent_word(command)
    command.add_argument("--user", metavar="NAME", help="only runs on behalf of this user")
    command.add_argument("--workspace", metavar="NAME", help="only runs in this workspace")
    command.add_argument("--session", metavar="ID", help="only runs of this session")
    command.add_argument("--status", metavar="STATUS", choices=STATUSES, help="only runs that are so")
    since_word(command)
    command.add_argument("--until", metavar="TIME", help="only runs that began before: said likewise")


def call_words(command: ArgumentParser) -> None:
    """Add the words for which runs are read: several of them mean one decision of one call."""
    command.add_argument("--tool", metavar="NAME", help="only runs that called it, by either of its names")
    command.add_argument(
        "--verdict", metavar="VERDICT", choices=VERDICTS, help="only runs with a call decided so"
    )
    command.add_argument("--rule", metavar="NAME", help="only runs with a call decided so by this rule")


def wanted_of(asked: Namespace) -> "Wanted":
    """Return which runs are meant."""
    import time

    from ringfence.cli.since import since_ns
    from ringfence.engine.retrospect.survey.search import Wanted

    now_ns = time.time_ns()
    return Wanted(
        session=asked.session,
        status=asked.status,
        agent=asked.agent,
        user=asked.user,
        workspace=asked.workspace,
        since_ns=None if asked.since is None else since_ns(asked.since, now_ns=now_ns),
        until_ns=None if asked.until is None else since_ns(asked.until, now_ns=now_ns),
        tool=getattr(asked, "tool", None),
        verdict=getattr(asked, "verdict", None),
        rule=getattr(asked, "rule", None),
    )


class Reader:
    """The log of a desk, as what goes over runs asks for it; the next few runs are asked for ahead."""

    def __init__(self, desk: "Desk") -> None:
        self._desk = desk
        self._coming: deque[str] = deque()
        self._ahead: dict[str, Future[list[Entry]]] = {}

    def rows(self, asked: "RowWords", limit: int | None) -> "list[RunRow]":
        """Return rows of runs, newest first."""
        found = self._desk.runs(**asked, limit=limit)
        self._coming.extend(row.run for row in found)
        return found

    def pages(self, run: str, after: int, limit: int) -> "Sequence[Entry]":
        """Return some entries of a run; runs are asked for in the order of their rows."""
        events = self._desk.events
        if after or (run not in self._ahead and run not in self._coming):
            return self._desk.ask(events.read(run, after_seq=after, limit=limit))
        for passed in [*takewhile(lambda other: other != run, self._ahead)]:
            del self._ahead[passed]
        while run not in self._ahead or (self._coming and len(self._ahead) <= _AHEAD):
            coming = self._coming.popleft()
            if run in (coming, *self._ahead):
                self._ahead[coming] = self._desk.loop.submit(events.read(coming, limit=limit))
        return self._ahead.pop(run).result()

    @property
    def events(self) -> int:
        """How many events the log has."""
        head = self._desk.ask(self._desk.events.head())
        return 0 if head is None else head.position


def note_unread(unread: "Sequence[Unread]", runs: int, say: "Say") -> None:
    """Say how many runs could not be read, and why the first of them could not."""
    from ringfence.cli.drawing import short

    if not runs:
        return
    what, them = ("1 run", "it") if runs == 1 else (f"{runs:,} runs", "them")
    say.note(f"{what} could not be read, and nothing of {them} counts:")
    for one in unread[:_NAMED]:
        say.note(f"  {short(one.run, 40)}: {short(one.because, 200)}")
    if runs > _NAMED:
        say.note(f"  and {runs - _NAMED} more")
