"""Connections on threads of their own, on which whole functions run, and a door that commits many at once.

A function of several statements costs one hop to the connection's thread instead of one per statement.
"""

import asyncio
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from ringfence.plugin import EngineError, StoreAwayError, arrival, gathered
from ringfence.plugins.sqlite.faults import fault_of, read_only
from ringfence.plugins.sqlite.opening import in_snapshot

T = TypeVar("T")


def identity(path: Path) -> tuple[int, int] | None:
    """Return what stays the same of a file as long as it is neither deleted nor replaced."""
    try:
        found = os.stat(path)
    except OSError:  # fails closed: what cannot be looked at is not the file that was opened
        return None
    return found.st_dev, found.st_ino


Work = Callable[[sqlite3.Connection], T]
"""Runs on the connection's thread, inside a transaction that it neither begins nor ends."""

GROUP: Final = 256
"""The most functions of one commit."""

_ATTEMPTS: Final = 40
_PAUSE_S: Final = 0.1
_PATIENCE_MS: Final = 100
"""Of emptying the write-ahead log: how often, with what pause, and how long readers are waited for."""


class Connection:
    """One connection and its thread, which does what it is handed, in that order.

    The thread never keeps a process alive.
    """

    def __init__(self) -> None:
        self._work: SimpleQueue[Work[None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._over = False

    @classmethod
    async def opened(cls, connector: Callable[[], sqlite3.Connection]) -> "Connection":
        """Return an open connection, or raise what `connector` raised, with no thread left behind."""
        made, opened = cls(), Future[None]()
        serve = partial(_serve, connector, opened, made._work)
        threading.Thread(target=serve, name="ringfence-sqlite", daemon=True).start()
        try:
            await arrival(opened)
        except BaseException:  # given up: what it opens all the same is closed at once
            made._work.put(None)
            raise
        return made

    def put(self, work: Work[None]) -> None:
        """Run `work`, which must not raise, on the connection's thread; from any thread."""
        with self._lock:
            if self._over:
                raise ValueError("the connection is closed")
            self._work.put(work)

    async def call(self, work: Work[T]) -> T:
        """Run `work` on the connection's thread."""
        answer = Future[T]()
        self.put(partial(_answer, answer, work))
        return await arrival(answer)

    async def close(self) -> None:
        """Finish what was handed over and close; safe to call twice."""
        closed = Future[None]()
        with self._lock:
            if self._over:
                return
            self._over = True
            self._work.put(lambda db: _answer(closed, sqlite3.Connection.close, db))
            self._work.put(None)
        await arrival(closed)


def _serve(
    connector: Callable[[], sqlite3.Connection],
    opened: "Future[None]",
    queue: "SimpleQueue[Work[None] | None]",
) -> None:
    try:
        db = connector()
    except BaseException as error:  # it belongs to whoever opens
        opened.set_exception(error)
        return
    with closing(db):
        opened.set_result(None)
        while (work := queue.get()) is not None:
            with suppress(Exception):  # fails closed: who waits for it gives up in time, the others go on
                work(db)
            del work  # nothing is kept alive while this thread waits


def _answer(answer: "Future[T]", work: Work[T], db: sqlite3.Connection) -> None:
    try:
        found = work(db)
    except BaseException as error:  # it belongs to whoever waits
        answer.set_exception(error)
    else:
        answer.set_result(found)


@dataclass(slots=True)
class _Job:
    work: Work[Any]
    lasting: bool
    answer: "Future[Any]"


class Door:
    """The way to one file: a writer with group commit, and a reader that never waits for it.

    Args:
        writer: None: the file may only be read.
        seen: What must stay as it is while the door is open.
        after: True: it is looked at after each reading too, since no lock keeps others from writing.
    """

    def __init__(
        self,
        path: Path,
        writer: Connection | None,
        reader: Connection,
        *,
        busy_s: float,
        seen: Callable[[Path], object] = identity,
        after: bool = False,
    ) -> None:
        self._path = path
        self._writer = writer
        self._reader = reader
        self._busy_s = busy_s
        self._seen = seen
        self._after = after
        self._file = seen(path)
        self._pid = os.getpid()
        self._flushes = True
        """What the writer was told last: to flush each commit to the disk."""
        self._jobs: deque[_Job] = deque()
        self._asked = False
        """True from when the writer is asked to look for jobs until it does."""
        self._asks = False
        """True while the event loop is about to ask it."""
        self._gate = threading.Lock()
        self._closing = False

    async def write(self, work: Work[T], *, lasting: bool = True) -> T:
        """Run `work` in a write transaction, shared with what is queued meanwhile; durable when it returns.

        An error of `work` undoes it alone; if the commit fails, all that shared it fail.

        Args:
            lasting: False: a loss of power may undo it, unless something lasting was written after it.
        """
        answer = self._queued(work, lasting)
        if not self._asks:
            self._asks = True
            asyncio.get_running_loop().call_soon(self._ask)  # with whatever else is queued by then
        try:
            return await arrival(answer)
        except asyncio.CancelledError:
            answer.cancel()  # if it has not begun it is not done
            raise

    def hand_over(self, work: Work[T], *, lasting: bool = True) -> "Future[T]":
        """Write as `write` does, from any thread, in the order of what is handed over.

        A future that somebody gives up, or answers, before its work has begun keeps it from being done.
        """
        answer = self._queued(work, lasting)
        self._ask()
        return answer

    async def read(self, work: Work[T]) -> T:
        """Run `work` on a snapshot of what is committed."""
        self._same_process()
        try:
            return await self._reader.call(lambda db: in_snapshot(db, self._checked(work)))
        except Exception as error:  # fails closed: the caller gets no answer
            raise self._explained(error) from error

    async def others(self) -> int:
        """Return a number that is another one whenever others have written to the file."""
        self._same_process()
        # Of the connection that writes: its own commits do not count there.
        connection = self._reader if self._writer is None else self._writer
        try:
            return await connection.call(
                self._checked(lambda db: int(db.execute("PRAGMA data_version").fetchone()[0]))
            )
        except Exception as error:  # fails closed: the caller gets no answer
            raise self._explained(error) from error

    async def checkpoint(self) -> None:
        """Empty the write-ahead log: what it held stands in the file, and its own bytes are gone.

        Each attempt waits for readers of other processes only briefly: no writer gets through meanwhile.
        """
        self._same_process()
        if self._writer is None:
            raise read_only(self._path).as_engine_error(PermissionError())
        for attempt in range(_ATTEMPTS):
            if attempt:
                await asyncio.sleep(_PAUSE_S)
            try:
                if await self._writer.call(self._checked(lambda db: _emptied(db, self._busy_s))):
                    return
            except Exception as error:  # fails closed: the caller is told that it was not done
                raise self._explained(error) from error
        raise StoreAwayError(
            f"other processes read `{self._path}` all the time, so its write-ahead log could not be emptied",
            help="what was removed may still stand there: run the command again",
        )

    async def close(self) -> None:
        """Finish what is queued and close both connections."""
        if self._pid != os.getpid():
            return  # they belong to the parent process
        with self._gate:
            self._closing = True
        if self._writer is not None:
            with suppress(ValueError):  # it is closed already
                self._writer.put(self._finish)
            await self._writer.close()
        await self._reader.close()

    def _queued(self, work: Work[T], lasting: bool) -> "Future[T]":
        self._same_process()
        if self._writer is None:
            raise read_only(self._path).as_engine_error(PermissionError())
        answer = Future[T]()
        with self._gate:
            if not self._closing:
                # INVARIANT: it is queued before `_finish` looks, so it is answered in any case.
                self._jobs.append(_Job(work, lasting, answer))
                return answer
        answer.set_exception(self._explained(ValueError("the connection is closed")))
        return answer

    def _ask(self) -> None:
        """Have the writer's thread look for jobs; from any thread."""
        self._asks = False
        if self._asked:
            return
        assert self._writer is not None
        try:
            self._asked = True
            self._writer.put(self._serve)
        except ValueError:  # it is closing, and `_finish` has come or comes
            pass
        except BaseException:  # an interrupt: the work waits for whoever asks next, and that one must ask
            self._asked = False
            raise

    # ---- on the writer's thread ---------------------------------------------------------------------

    def _serve(self, db: sqlite3.Connection) -> None:
        """Commit the next group; whatever else was asked of the thread meanwhile has its turn in between."""
        self._asked = False  # INVARIANT: before it looks, so that what comes from now on asks anew
        self._commit_next(db)
        if self._jobs and not self._asked:
            assert self._writer is not None
            with suppress(ValueError):  # it is closing, and `_finish` comes
                self._writer.put(self._serve)
                self._asked = True

    def _finish(self, db: sqlite3.Connection) -> None:
        while self._jobs:
            self._commit_next(db)

    def _commit_next(self, db: sqlite3.Connection) -> None:
        group = self._group()
        if not group:
            return
        try:
            outcomes = self._checked(lambda db: self._commit(db, group))(db)
        except BaseException as error:  # fails closed: nothing of the group was committed
            outcomes = [error] * len(group)
        self._tell(group, outcomes)

    def _group(self) -> list[_Job]:
        """Return the jobs of the next commit, without those that nobody waits for any more."""
        group: list[_Job] = []
        with suppress(IndexError):  # no more are queued
            while len(group) < GROUP:
                job = self._jobs.popleft()
                if not job.answer.done():
                    group.append(job)
        return group

    def _tell(self, group: list[_Job], outcomes: Sequence[Any]) -> None:
        """Tell each how it ended; whoever waits in the same event loop is woken with the others."""
        with gathered():
            for job, outcome in zip(group, outcomes, strict=True):
                with suppress(InvalidStateError):  # given up meanwhile
                    if isinstance(outcome, BaseException):
                        job.answer.set_exception(self._explained(outcome))
                    else:
                        job.answer.set_result(outcome)

    def _commit(self, db: sqlite3.Connection, group: list[_Job]) -> list[Any]:
        """Run the jobs; what is flushed to the disk takes all with it that was written before."""
        flushes = any(job.lasting for job in group)
        if flushes is not self._flushes:
            db.execute("PRAGMA synchronous = FULL" if flushes else "PRAGMA synchronous = NORMAL")
            self._flushes = flushes
        return _commit(db, group)

    def _explained(self, error: BaseException) -> BaseException:
        if isinstance(error, EngineError) or not isinstance(error, Exception):
            return error
        return fault_of(error, self._path, busy_s=self._busy_s).as_engine_error(error)

    def _checked(self, work: Work[T]) -> Work[T]:
        """Return `work`, refused once the file is not the one that was opened.

        SECURITY: SQLite goes on writing to a file that was deleted: a log that nobody will ever read.
        """

        def check_first(db: sqlite3.Connection) -> T:
            if self._seen(self._path) != self._file:
                raise EngineError(
                    f"the store `{self._path}` was deleted or replaced while it was in use",
                    help="bring the file back if you can, then start the process again",
                )
            found = work(db)
            if self._after and self._seen(self._path) != self._file:
                raise EngineError(
                    f"the store `{self._path}` was written while it was read without a lock",
                    help="run the command again",
                )
            return found

        return check_first

    def _same_process(self) -> None:
        if self._pid != os.getpid():
            raise EngineError(
                f"the store `{self._path}` was opened before the process forked",
                help="load a guard of its own in the child process",
            )


def _commit(db: sqlite3.Connection, group: list[_Job]) -> list[Any]:
    """Run the jobs in one transaction; return what each returned or raised.

    All of them plainly first; should one raise, all are undone and run again, each by itself.
    """
    try:
        return _transaction(db, lambda: [_plainly(db, job) for job in group])
    except _JobError:  # fails closed: what fails the second time too is not committed
        return _transaction(db, lambda: [_alone(db, job) for job in group])


class _JobError(Exception):
    """A job raised, as opposed to the transaction itself."""


def _transaction(db: sqlite3.Connection, run: Callable[[], T]) -> T:
    db.execute("BEGIN IMMEDIATE")
    try:
        outcome = run()
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return outcome


def _plainly(db: sqlite3.Connection, job: _Job) -> Any:
    try:
        return job.work(db)
    except Exception as error:
        raise _JobError from error


def _alone(db: sqlite3.Connection, job: _Job) -> Any:
    db.execute("SAVEPOINT job")
    try:
        outcome = job.work(db)
    except Exception as error:  # fails closed: this job is undone, the others stand
        if not db.in_transaction:
            raise  # SQLite undid the whole transaction itself (disk full, damage)
        db.execute("ROLLBACK TO job")
        outcome = error
    db.execute("RELEASE job")
    return outcome


def _emptied(db: sqlite3.Connection, busy_s: float) -> bool:
    """Empty the write-ahead log, or say that somebody reads from it."""
    db.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}")
    try:
        busy: int = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        return busy == 0
    finally:
        db.execute(f"PRAGMA busy_timeout = {int(busy_s * 1000)}")
