"""One aiosqlite connection on which whole functions run, and a writer that commits many of them at once.

A function of several statements costs one hop to the connection's thread instead of one per statement.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import aiosqlite

from ringfence.plugin import EngineError, StoreAwayError
from ringfence.plugins.sqlite.faults import fault_of, read_only

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


class Connection(aiosqlite.Connection):
    """An aiosqlite connection that runs functions; its thread never keeps a process alive."""

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, iter_chunk_size=64)
        # Up to 0.21 the connection is its thread, later it has one.
        thread: Any = getattr(self, "_thread", self)
        thread.daemon = True

    @classmethod
    async def opened(cls, connector: Callable[[], sqlite3.Connection]) -> "Connection":
        """Return an open connection, or raise what `connector` raised, with no thread left behind.

        (aiosqlite does not wait for its thread when connecting fails, and the thread then outlives the
        event loop that it answers to; so it is given a connection to nothing, and closed in order.)
        """
        errors: list[Exception] = []

        def connect() -> sqlite3.Connection:
            try:
                return connector()
            except Exception as error:  # raised below, once the thread has ended
                errors.append(error)
                return sqlite3.connect(":memory:", check_same_thread=False)

        connection = cls(connect)
        await connection
        if errors:
            await connection.close()
            raise errors[0]
        return connection

    async def call(self, work: Work[T]) -> T:
        """Run `work` on the connection's thread."""
        return await self._execute(_on, self, work)  # type: ignore[no-any-return, no-untyped-call]

    def begin(self, work: Work[Any], ended: "Ended") -> None:
        """Run `work` on the connection's thread, and have `ended` told on its own loop: no task waits."""
        if not self._running or not self._connection:
            raise ValueError("Connection closed")
        queue: Any = self._tx
        queue.put_nowait((ended, partial(_on, self, work)))


class Ended:
    """What is told of a work that ended, in the place of the future that aiosqlite would tell."""

    def __init__(self, tell: Callable[[Any, BaseException | None], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._tell = tell

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop on which it is told."""
        return self._loop

    def done(self) -> bool:
        """Return False: it is told once."""
        return False

    def set_result(self, result: Any) -> None:
        """Take in what the work returned."""
        self._tell(result, None)

    def set_exception(self, error: BaseException) -> None:
        """Take in what it raised."""
        self._tell(None, error)


def _on(connection: Connection, work: Work[T]) -> T:
    return work(connection._conn)


@dataclass(slots=True)
class _Job:
    work: Work[Any]
    lasting: bool
    answer: "asyncio.Future[Any]"


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
        self._jobs: list[_Job] = []
        self._busy = False
        """True from the first job that is queued until all are done."""
        self._idle = asyncio.Event()
        self._idle.set()

    async def write(self, work: Work[T], *, lasting: bool = True) -> T:
        """Run `work` in a write transaction, shared with what is queued meanwhile; durable when it returns.

        An error of `work` undoes it alone; if the commit fails, all that shared it fail.

        Args:
            lasting: False: a loss of power may undo it, unless something lasting was written after it.
        """
        self._same_process()
        if self._writer is None:
            raise read_only(self._path).as_engine_error(PermissionError())
        job = _Job(work, lasting, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        if not self._busy:
            self._busy = True
            self._idle.clear()
            asyncio.get_running_loop().call_soon(self._next)  # with whatever else is queued by then
        return await job.answer  # type: ignore[no-any-return]

    async def read(self, work: Work[T]) -> T:
        """Run `work` on a snapshot of what is committed."""
        self._same_process()
        try:
            return await self._reader.call(lambda db: _in_snapshot(db, self._checked(work)))
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
        await self._idle.wait()
        await self._reader.close()
        if self._writer is not None:
            await self._writer.close()

    def _next(self) -> None:
        """Hand the next group to the writer's thread."""
        assert self._writer is not None
        while self._jobs:
            group, self._jobs = self._jobs[:GROUP], self._jobs[GROUP:]
            group = [job for job in group if not job.answer.cancelled()]
            if not group:
                continue
            try:
                self._writer.begin(
                    self._checked(lambda db, group=group: self._commit(db, group)),  # type: ignore[misc]
                    Ended(partial(self._answer, group)),
                )
                return
            except Exception as error:  # fails closed: nothing of the group was committed
                self._tell(group, [error] * len(group))
        self._busy = False
        self._idle.set()

    def _answer(self, group: list[_Job], outcomes: list[Any] | None, error: BaseException | None) -> None:
        # Fails closed: if the commit failed, nothing of the group was committed.
        self._tell(group, [error] * len(group) if outcomes is None else outcomes)
        self._next()

    def _tell(self, group: list[_Job], outcomes: Sequence[Any]) -> None:
        for job, outcome in zip(group, outcomes, strict=True):
            if job.answer.cancelled():
                continue
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


def _in_snapshot(db: sqlite3.Connection, work: Work[T]) -> T:
    db.execute("BEGIN")
    try:
        return work(db)
    finally:
        if db.in_transaction:
            db.execute("COMMIT")
