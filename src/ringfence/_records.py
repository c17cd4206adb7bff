"""The runs in a guard's log, as records that can be shown and replayed."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from ringfence.dsl.plan import Plan
from ringfence.engine.enforcement.drive import Steps, run_async, run_sync
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.opening import Opened, store_error
from ringfence.engine.retrospect.living import read_living
from ringfence.engine.retrospect.record import RunRecord
from ringfence.engine.seams.errors import EngineError, RingfenceError
from ringfence.engine.seams.isolates import IsolateExecutor
from ringfence.engine.seams.ports import Entry, RunRow, newest

if TYPE_CHECKING:
    from ringfence.engine.retrospect.backtest import Backtest
    from ringfence.engine.retrospect.survey.gathered import Unread
    from ringfence.engine.retrospect.survey.search import RowWords, RunWords
    from ringfence.engine.retrospect.survey.stats import Stats

T = TypeVar("T")
Rows = list[RunRow]
_FEW = 32
"""Rows among which the newest run that is no sub-run stands, but for a very wide tree."""


class Records:
    """`guard.runs`: what the log says, everything recorded so far included."""

    def __init__(self, guard: Guard) -> None:
        self._opening = guard.opening

    def latest(self, session: str | None = None) -> RunRecord:
        """Return the newest run, of one session or of all; raise EngineError if there is none.

        A sub-run is not meant, though it began later than the run that started it.
        """
        return run_sync(self._latest(session), self._opening.loop)

    async def alatest(self, session: str | None = None) -> RunRecord:
        """Like `latest`."""
        return await run_async(self._latest(session))

    def get(self, run_id: str) -> RunRecord:
        """Return one run; raise EngineError if there is none of this id."""
        return run_sync(self._get(run_id), self._opening.loop)

    async def aget(self, run_id: str) -> RunRecord:
        """Like `get`."""
        return await run_async(self._get(run_id))

    def list(
        self,
        *,
        session: str | None = None,
        status: str | None = None,
        agent: str | None = None,
        user: str | None = None,
        workspace: str | None = None,
        since_ns: int | None = None,
        until_ns: int | None = None,
        tool: str | None = None,
        verdict: str | None = None,
        rule: str | None = None,
        limit: int | None = None,
        unread: "Callable[[Unread], None] | None" = None,
    ) -> Rows:
        """Return rows of runs, newest first: those that everything that is said holds of.

        Args:
            since_ns: Only runs that began then or later, nanoseconds since the Unix epoch.
            until_ns: Only runs that began before.
            tool: Only runs that called it; as the policy names it, or as the framework does.
            verdict: Only runs with such a decision of a call: of that tool, by that rule.
            rule: Only runs with a decision that rests on this rule: of that tool, with that verdict.
            unread: Is told of each run that would have to be read and cannot be; such runs are left out.
        """
        from ringfence.engine.retrospect.survey.search import Wanted, found

        wanted = Wanted(session, status, agent, user, workspace, since_ns, until_ns, tool, verdict, rule)
        if not wanted.reads:
            return self._rows_of(wanted.row, limit)
        told = unread or (lambda _: None)
        return [*islice(found(wanted, self._rows_of, self._page, unread=told), limit)]

    async def alist(self, **asked: "Unpack[RunWords]") -> Rows:
        """Like `list`, in a thread of its own."""
        return await asyncio.to_thread(lambda: self.list(**asked))

    def stats(
        self,
        *,
        session: str | None = None,
        status: str | None = None,
        agent: str | None = None,
        user: str | None = None,
        workspace: str | None = None,
        since_ns: int | None = None,
        until_ns: int | None = None,
    ) -> "Stats":
        """Count what happened in the runs of which all that is said holds; see `list`.

        What is counted: `ringfence.engine.retrospect.survey.stats`.
        """
        from ringfence.engine.retrospect.survey.search import Wanted
        from ringfence.engine.retrospect.survey.stats import stats

        wanted = Wanted(session, status, agent, user, workspace, since_ns, until_ns)
        return stats(wanted, self._rows_of, self._page)

    async def astats(self, **asked: "Unpack[RowWords]") -> "Stats":
        """Like `stats`, in a thread of its own."""
        return await asyncio.to_thread(lambda: self.stats(**asked))

    def backtest(
        self, plan: Plan, *, since_ns: int | None = None, agent: str | None = None, processes: int = 1
    ) -> "Backtest":
        """Decide the recorded runs by another policy; see `ringfence.engine.retrospect.backtest`.

        Args:
            since_ns: Only runs that began then or later, nanoseconds since the Unix epoch.
            agent: Only runs of this agent.
            processes: In how many processes; the result is the same.  With more than one, a script must keep
                what it does under `if __name__ == "__main__"`, since each process imports it.

        Raises:
            EngineError: The log cannot be read, or a process died.
        """
        from ringfence.engine.retrospect.backtest import backtest, chosen
        from ringfence.engine.retrospect.shares import read_runs

        def read(runs: Sequence[str]) -> Sequence[Sequence[Entry]]:
            return run_sync(self._ask(lambda opened: read_runs(opened.log, runs)), self._opening.loop)

        rows = chosen(self.list(), since_ns=since_ns, agent=agent)
        return backtest(rows, read, plan, processes=processes)

    async def abacktest(
        self, plan: Plan, *, since_ns: int | None = None, agent: str | None = None, processes: int = 1
    ) -> "Backtest":
        """Like `backtest`, in a thread of its own."""
        return await asyncio.to_thread(
            self.backtest, plan, since_ns=since_ns, agent=agent, processes=processes
        )

    def _latest(self, session: str | None) -> Steps[RunRecord]:
        rows = yield from self._rows(session, _FEW)
        if len(rows) == _FEW and all(row.parent is not None for row in rows):
            rows = yield from self._rows(session, None)
        if not rows:
            raise EngineError("the log has no run", help="see `ringfence runs`")
        return (yield from self._get(newest(rows).run))

    def _get(self, run_id: str) -> Steps[RunRecord]:
        entries, gone = yield from self._ask(lambda opened: read_living(opened.log, opened.leases, run_id))
        if not entries:
            raise EngineError(f"there is no run `{run_id}`", help="see `ringfence runs`")
        return RunRecord.read(entries, others=self._entries, isolates=self._isolated, gone=gone)

    def _entries(self, run_id: str) -> Sequence[Entry]:
        """Read another run, when a replay asks for it."""
        return run_sync(self._ask(lambda opened: opened.log.read(run_id)), self._opening.loop)

    def _isolated(self, work: Callable[[IsolateExecutor], Awaitable[T]]) -> "Future[T]":
        """Have some work done with the guard's isolates, on the engine's loop."""
        opening = self._opening
        opening.ready  # noqa: B018 - a closed guard has no isolates any more, and raises
        if opening.loop.inside():
            raise EngineError("a rerun was asked for on the guard's own event loop", help="use `arerun`")

        async def done() -> T:
            return await work(opening.extensions.isolates())

        return opening.loop.submit(done())

    def _rows(self, session: str | None, limit: int | None) -> Steps[Rows]:
        return (yield from self._ask(lambda opened: opened.log.runs(session=session, limit=limit)))

    def _rows_of(self, asked: "RowWords", limit: int | None) -> Rows:
        return run_sync(self._ask(lambda opened: opened.log.runs(**asked, limit=limit)), self._opening.loop)

    def _page(self, run_id: str, after: int, limit: int) -> Sequence[Entry]:
        return run_sync(
            self._ask(lambda opened: opened.log.read(run_id, after_seq=after, limit=limit)),
            self._opening.loop,
        )

    def _ask(self, question: Callable[[Opened], Coroutine[Any, Any, T]]) -> Steps[T]:
        opened = yield from self._opening.opened()
        try:
            yield opened.journal.flush()
            answer: T = yield self._opening.submit(question(opened))
        except RingfenceError:
            raise
        except Exception as error:  # said as what it is: the store's failure
            raise store_error("could not be read", error) from error
        return answer
