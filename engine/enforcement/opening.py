"""Everything a guard works with, opened at its first use on the engine's loop."""

import asyncio
import os
import secrets
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from ringfence.engine.enforcement.drive import Steps
from ringfence.engine.enforcement.overdue import Overdue
from ringfence.engine.enforcement.questions import Questions
from ringfence.engine.enforcement.refunds import Refunds
from ringfence.engine.journal.hiding import Hiding
from ringfence.engine.journal.journal import Journal
from ringfence.engine.journal.remembered import Sessions
from ringfence.engine.journal.secrets import Secrets
from ringfence.engine.seams.composed import open_one
from ringfence.engine.seams.dispatch import Extensions
from ringfence.engine.seams.errors import EngineError, RingfenceError, StoreAwayError, TakenOverError
from ringfence.engine.seams.loop import EngineLoop
from ringfence.engine.seams.parts import lacking
from ringfence.engine.seams.ports import Clock, EventLog, KillSwitch, Leases, Ledger, Store, TicketStore
from ringfence.engine.seams.settings import Settings

T = TypeVar("T")

PATIENCE_S = 10.0
"""How long the guard waits for one answer of a store before it denies."""

_NAMED: Final = 5
"""Runs whose lost events an error counts one by one."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The store's parts and the journal over them; a store that lacks one cannot be used alone."""

    journal: Journal
    log: EventLog
    ledger: Ledger
    tickets: TicketStore
    leases: Leases
    kill_switch: KillSwitch
    durable: bool
    """False: lost when the process ends."""


class Opening:
    """Opens the store once; a failure is told to whoever asked, and tried again when asked again."""

    def __init__(
        self,
        *,
        loop: EngineLoop,
        clock: Clock,
        settings: Settings,
        extensions: Extensions,
        store: Callable[[], Store],
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.loop = loop
        self.clock = clock
        self.settings = settings
        self.extensions = extensions
        self.questions = Questions(loop, extensions)
        self.refunds = Refunds(loop)
        self.patience_s = patience_s
        self.overdue = Overdue(loop)
        self.secrets = Secrets(settings.secrets.patterns, settings.secrets.names)
        self.hidden = Sessions()
        """Values that were hidden, by session."""
        self.owners_key = secrets.token_bytes(32)
        """Makes the owners of jobs in isolates this guard's own, and nobody's to choose."""
        self._make_store = store
        self._lock = threading.Lock()
        self._future: Future[Opened] | None = None
        self._opened: Opened | None = None
        self._store: Store | None = None
        self._pid = os.getpid()
        self._closed = False

    def submit(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Run `work` on the engine's loop, for as long as the guard is patient."""
        return self.loop.submit(self.in_time(work))

    def handed(self, answer: "Future[T]") -> "Future[T]":
        """Return what a store's own thread answers, waited for as long as the guard is patient."""
        return self.overdue.bounded(answer, within_s=self.patience_s)

    async def in_time(self, work: Awaitable[T]) -> T:
        """Await one answer of a store on the engine's loop, for as long as the guard is patient."""
        async with asyncio.timeout(self.patience_s):
            return await work

    def durable(self, *, run: str | None = None) -> Steps[None]:
        """Wait until all that was recorded is durable; raise EngineError if that fails or takes too long.

        Args:
            run: Raise TakenOverError, too, if another process has this run.
        """
        flushed = self.ready.journal.flush(run, bounded=True)
        yield from self.within_patience(flushed, "did not take the events", run=run, bounded=True)

    def within_patience(
        self, future: "Future[Any]", what: str, *, run: str | None = None, bounded: bool = False
    ) -> Steps[Any]:
        """Wait for `future`, but no longer than the guard is patient.

        Args:
            bounded: It ends by itself in that time.
        """
        try:
            return (yield future if bounded or future.done() else self.submit(_wrapped(future)))
        except RingfenceError:
            raise
        except Exception as error:  # fails closed: a late store is a failed one
            away = self._opened.journal.away if self._opened is not None else None
            raise (store_error(what, error, run=run) if away is None else away) from error

    @property
    def is_open(self) -> bool:
        """True between the first use and the close; False in a forked child until it uses it itself."""
        return self._opened is not None and self._pid == os.getpid()

    @property
    def ready(self) -> Opened:
        """What has been opened; a run exists only after that."""
        opened = self._opened
        if opened is None:
            raise EngineError("the guard is closed", help="load a new guard")
        return opened

    def opened(self) -> Steps[Opened]:
        """Open what is not open yet.

        Raises:
            EngineError: With what could not be opened and how to mend it.  Nothing runs then.
        """
        if self._opened is not None and self._pid == os.getpid():
            return self._opened
        with self._lock:
            if self._closed:
                raise EngineError("the guard is closed", help="load a new guard")
            if self._pid != os.getpid():  # a forked child shares no connection with its parent
                self._future, self._opened, self._pid = None, None, os.getpid()
                self.refunds = Refunds(self.loop)
                self.overdue = Overdue(self.loop)
            if self._future is None:
                self._future = self.submit(self._open())
            future = self._future
        try:
            self._opened = yield future
        except BaseException as error:  # fails closed: nothing runs without a store
            if not future.done():
                raise  # the caller gave up; the opening goes on for the next one
            with self._lock:
                if self._future is future:
                    self._future = None
            if isinstance(error, RingfenceError) or not isinstance(error, Exception):
                raise
            raise store_error("cannot be opened", error) from error
        return self._opened

    async def _open(self) -> Opened:
        store = self._make_store()
        try:
            await open_one(store)
            if (lacks := lacking(store)) is not None:
                raise lacks
            events, ledger, tickets = store.events, store.ledger, store.tickets
            leases, kill_switch = store.leases, store.kill_switch
            assert events is not None and ledger is not None and tickets is not None
            assert leases is not None and kill_switch is not None
            if (now_ns := await store.now_ns()) is not None:
                # Before anything is recorded or reserved: what this process says goes by the store's clock.
                self.clock.anchor(now_ns)
            self.extensions.take_log(events)
            await self.extensions.open()
        except BaseException:  # fails closed, and leaves nothing half open
            await store.close()
            raise
        feed = self.extensions.write if self.extensions.wants_events else None
        journal = Journal(
            events,
            self.loop,
            self.clock,
            feed=feed,
            limit=self.settings.limits.queue_events,
            patience_s=self.patience_s,
            hiding=Hiding(self.secrets) if self.secrets else None,
        )
        self._store = store
        return Opened(journal, events, ledger, tickets, leases, kill_switch, store.durable)

    def close(self) -> Steps[None]:
        """Write what is queued, close everything; safe to call twice.  Raises what could not be written."""
        with self._lock:
            closed, self._closed = self._closed, True
            opened, store = self._opened, self._store
        if closed or opened is None or store is None or self._pid != os.getpid():
            return
        try:
            yield from self.within_patience(opened.journal.close(), "did not take the last events")
        except EngineError as error:
            if not (lost := opened.journal.unwritten()):
                raise
            raise _unwritten(lost, error) from error
        finally:
            self._opened = None
            yield from self.within_patience(self.loop.submit(self._shut(store)), "did not close")

    async def _shut(self, store: Store) -> None:
        try:
            await self.extensions.close()
        finally:
            await store.close()


async def _wrapped(future: "Future[Any]") -> Any:
    inner = asyncio.wrap_future(future)
    inner.add_done_callback(lambda done: done.cancelled() or done.exception())  # looked at, even if too late
    return await asyncio.shield(inner)


def store_error(what: str, error: BaseException, *, run: str | None = None) -> EngineError:
    """Return the error that says that the store failed, and what to do; a late store counts as away."""
    said = str(error) or type(error).__name__
    kind = EngineError
    if isinstance(error, TimeoutError):
        said, kind = "it did not answer in time", StoreAwayError
    elif isinstance(error, StoreAwayError | TakenOverError):
        kind = type(error)
    return kind(
        f"the store {what}: {said}",
        run=run,
        help=getattr(error, "help", None)
        or "nothing runs without it: check its URL, its folder and its rights with `ringfence doctor`",
    )


def _unwritten(lost: Mapping[str, int], error: EngineError) -> EngineError:
    """Return the error of a guard that is closed while its log cannot be written."""
    few = ", ".join(f"`{run}` ({count})" for run, count in tuple(lost.items())[:_NAMED])
    more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
    return type(error)(
        f"{sum(lost.values())} events could not be written before the guard was closed and are lost, "
        f"of the runs {few}{more}: {error}",
        help="whoever opens the store next records these runs as ended uncleanly",
    )
