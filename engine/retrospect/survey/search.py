"""Runs found by who began them and when, and by what one of their calls was and how it was decided.

What the row of a run says is asked of the store; for the rest the runs are read, newest first, until there
are enough of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypedDict

from ringfence.engine.retrospect.record import RecordError
from ringfence.engine.retrospect.survey.gathered import CALLS, CallFacts, Pages, RunFacts, Unread, gathered
from ringfence.engine.seams.ports import RunRow

PAGE = 1_000
"""So many rows are held at once."""


class RowWords(TypedDict, total=False):
    """What `EventLog.runs` is asked by."""

    session: str | None
    status: str | None
    agent: str | None
    user: str | None
    workspace: str | None
    since_ns: int | None
    until_ns: int | None


class RunWords(RowWords, total=False):
    """What `guard.runs.list` is asked by."""

    tool: str | None
    verdict: str | None
    rule: str | None
    limit: int | None
    unread: Callable[[Unread], None] | None


Rows = Callable[[RowWords, int | None], list[RunRow]]
"""Asks a store for rows, newest first, at most so many."""

Each = Callable[[RunRow], None]
"""Is told of each run that was looked at."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which runs are looked for: those that everything that is said here holds of."""

    session: str | None = None
    status: str | None = None
    agent: str | None = None
    user: str | None = None
    workspace: str | None = None
    since_ns: int | None = None
    """Runs that began then or later."""
    until_ns: int | None = None
    """Runs that began before."""
    tool: str | None = None
    """As the policy names it, or as the framework does."""
    verdict: str | None = None
    rule: str | None = None
    """A rule that the decision rests on: of an allow one that spoke, else one that did not allow.

    Tool, verdict and rule are those of one decision of one call."""

    @property
    def row(self) -> RowWords:
        """What the row of a run answers."""
        return {
            "session": self.session,
            "status": self.status,
            "agent": self.agent,
            "user": self.user,
            "workspace": self.workspace,
            "since_ns": self.since_ns,
            "until_ns": self.until_ns,
        }

    @property
    def reads(self) -> bool:
        """True if runs have to be read."""
        return not self.tool is self.verdict is self.rule is None

    def of(self, facts: RunFacts) -> bool:
        """Say whether a call of the run is such a one; raise RecordError if nobody can know."""
        asked = [call for call in facts.calls.values() if self._decided(call)]
        if self.tool is None or not asked:
            return bool(asked)
        if any(call.tool == self.tool for call in asked):
            return True
        plan = facts.policy
        if plan is None:
            raise RecordError("its policy cannot be read: nobody knows how that names the tools")
        named = {bound for bound, tool in plan.by_bound_name.items() if tool.name == self.tool}
        return any(call.tool in named for call in asked)

    def _decided(self, call: CallFacts) -> bool:
        if self.verdict is self.rule is None:
            return True
        return any(
            self.verdict in (None, said.verdict)
            and (self.rule is None or any(rule.name == self.rule for rule in said.rules))
            for said in call.said
        )


def rows_of(wanted: Wanted, rows: Rows) -> Iterator[RunRow]:
    """Yield the rows that fit, newest first, however many: no more than a page of them is held.

    Runs that begin meanwhile are left out.
    """
    asked, size, seen = wanted.row, PAGE, frozenset[str]()
    while page := rows(asked, size):
        yield from (row for row in page if row.run not in seen)
        if len(page) < size:
            return
        last = page[-1].started_ns
        if type(last) is not int or seen.issuperset(row.run for row in page):
            # A row that no guard wrote, or so many of one moment: only a larger page gets past them.
            size *= 8
            seen |= {row.run for row in page}
        else:
            asked = replace(wanted, until_ns=last + 1).row
            seen = frozenset(row.run for row in page if row.started_ns == last)


def found(
    wanted: Wanted,
    rows: Rows,
    pages: Pages,
    *,
    unread: Callable[[Unread], None],
    each: Each = lambda row: None,
) -> Iterator[RunRow]:
    """Yield the runs that are looked for, newest first.

    Args:
        unread: Is told of each run that cannot be read, and is not yielded.
        each: Is told of each run that was looked at.
    """
    for row in rows_of(wanted, rows):
        if wanted.reads:
            try:
                fits = wanted.of(gathered(row.run, pages, CALLS))
            except RecordError as error:  # left out, and said so: nobody knows what was called in it
                unread(Unread(row.run, str(error)))
                fits = False
            each(row)
            if not fits:
                continue
        yield row
