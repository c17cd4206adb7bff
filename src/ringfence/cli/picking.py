"""Which events of a log are told, and in which form."""

from collections.abc import Callable, Sequence
from functools import partial

from ringfence.cli.desk import Desk
from ringfence.cli.drawing import Line
from ringfence.cli.find import find_run
from ringfence.cli.following import Place
from ringfence.cli.say import Say
from ringfence.cli.telling import QUIET, Latest, Teller
from ringfence.engine.retrospect.record import RecordError, stamped
from ringfence.engine.seams.hookspecs import Event
from ringfence.engine.seams.ports import Entry

_RUNS = 10_000
"""Of so many runs it is remembered whose they are."""


class Picked:
    """The events that every filter lets through.

    Args:
        run: As people type it; it is looked for when the log is opened.
        steps: Events that are no step of their own are left out.
    """

    def __init__(self, run: str | None, agent: str | None, verdict: str | None, *, steps: bool) -> None:
        self._said = run
        self._run: str | None = None
        self._agent = agent
        self._verdict = verdict
        self._steps = steps
        self._agents: Latest[str, str] = Latest(_RUNS)

    def first(self, begin: Callable[[Desk], Place]) -> Callable[[Desk], Place]:
        """Return `begin`, with the run found before."""

        def found(here: Desk) -> Place:
            if self._said is not None:
                self._run = find_run(here, self._said).run
            return begin(here)

        return found

    def has(self, here: Desk, entry: Entry) -> bool:
        """Say whether an event is told."""
        if self._run not in (None, entry.run) or (self._steps and entry.kind in QUIET):
            return False
        if self._agent is not None and self._agent_of(here, entry.run) != self._agent:
            return False
        return self._verdict is None or self._verdict == _verdict(entry)

    def lines(self, teller: Teller) -> Callable[[Desk, Sequence[Entry]], Sequence[Line]]:
        """Return what makes lines of a page."""

        def made(here: Desk, entries: Sequence[Entry]) -> Sequence[Line]:
            told: list[Line] = []
            for entry in entries:
                teller.learn(entry)
                if self.has(here, entry):
                    told += teller.lines(here, [entry])
            return told

        return made

    def records(self, say: Say) -> Callable[[Desk, Sequence[Entry]], Sequence[str]]:
        """Return what makes JSON Lines of a page: those of `ringfence export`."""
        return partial(self._records, say)

    def _records(self, say: Say, here: Desk, entries: Sequence[Entry]) -> Sequence[str]:
        made: list[str] = []
        for entry in entries:
            if not self.has(here, entry):
                continue
            try:
                made.append(Event.of(entry).line())
            except (ValueError, TypeError, AttributeError, RecursionError):  # left out, and said so
                say.note(f"event {entry.id} cannot be read: the log was changed, see `ringfence verify`")
        return made

    def _agent_of(self, here: Desk, run: str) -> str | None:
        agent = self._agents.get(run)
        if agent is None:
            row = here.run(run)
            if row is not None:
                agent = self._agents[run] = row.agent
        return agent


def _verdict(entry: Entry) -> str | None:
    """Return what a decision came to; None for what is none, or cannot be read."""
    if entry.kind != "CallDecided" or entry.body is None:
        return None
    try:
        return str(getattr(stamped(entry, entry.body).event, "verdict", None))
    except RecordError:  # nobody knows what it came to: a filter by verdict leaves it out
        return None
