"""The journal: events from any thread become one durable, hash-chained log, in the order of recording.

The caller only encodes its event (arguments may change the moment after) and queues it.  One task on
the engine's loop takes whatever is queued, links it, and appends it in one transaction, so an event is
on its way to the disk at once and many callers share one commit.
"""

import asyncio
import concurrent.futures
import contextlib
import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from ringfence.dsl.canonical import canonical
from ringfence.engine.decision.events import SCHEMA, RunEvent, Stamped, body_of
from ringfence.engine.decision.written import WRITERS
from ringfence.engine.journal.chain import SALT_BYTES, ZERO, chained
from ringfence.engine.journal.failures import log_error, sink_error
from ringfence.engine.journal.jsonable import jsonable
from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.loop import EngineLoop
from ringfence.engine.seams.ports import Clock, Entry, EventLog

Feed = Callable[[Sequence[Entry]], Awaitable[None]]
"""Takes durable events elsewhere; raises if a required sink could not take them (at least once)."""

BATCH: Final = 512
"""The most events of one commit: larger ones buy no speed, and make the first in line wait."""

LINGER_S: Final = 0.003
"""How long the writer lets events come together that nobody waits for."""

_LARGEST_BODY: Final = 8 * 1024 * 1024
"""Of a larger event each field that is too large is kept by digest and size."""

_STARTING: Final = frozenset({"RunStarted", "RunResumed", "CallRequested", "CallStarted"})
"""What is refused while a required sink fails; what has begun may still say how it ended."""


@dataclass(slots=True)
class _Run:
    """One run's place in the journal."""

    seq: int
    """Of the last event recorded."""
    head: bytes
    """Hash of the last event linked; touched by the writer alone."""
    latest_ns: int = 0


class _Queued(NamedTuple):
    run: str
    place: _Run
    stamped: Stamped
    mono_ns: int
    body: bytes


class Journal:
    """One per guard.  Once an append failed it is broken: every call is then denied by an EngineError.

    Args:
        feed: Awaited with each batch once it is durable in the log.
        limit: Events queued or being written; a caller that finds no room waits `patience_s` for it.
        limit_bytes: The same for the bytes of their bodies.
    """

    def __init__(
        self,
        log: EventLog,
        loop: EngineLoop,
        clock: Clock,
        *,
        feed: Feed | None = None,
        limit: int = 10_000,
        limit_bytes: int = 256 * 1024 * 1024,
        patience_s: float = 10.0,
    ) -> None:
        self._log = log
        self._loop = loop
        self._clock = clock
        self._feed = feed
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._patience_s = patience_s
        self._pid = 0
        """Of the process that uses it; 0 before its first use, so a guard may be loaded before a fork."""
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._runs: dict[str, _Run] = {}
        self._queue: deque[_Queued] = deque()
        self._unfed: list[Entry] = []
        """Durable in the log, not yet taken by the sinks; touched by the writer alone."""
        self._recorded = 0
        self._settled = 0
        """How many of the recorded events are durable everywhere."""
        self._bytes = 0
        self._waiting: list[tuple[int, concurrent.futures.Future[None]]] = []
        self._writing = False
        self._closed = False
        self._broken: BaseException | None = None
        self._sink_failure: BaseException | None = None
        self._task: asyncio.Task[None] | None = None
        self._lingers = False
        """True while the writer lets events come together."""
        self._hurry = asyncio.Event()

    # ---- called from any thread --------------------------------------------------------------------

    def open_run(self, run: str, *, seq: int = 0, head: bytes = ZERO) -> None:
        """Begin to record a run, or go on with one whose last event is number `seq` with the hash `head`."""
        with self._lock:
            if run in self._runs:
                raise EngineError(f"the run `{run}` is being recorded already", run=run)
            self._runs[run] = _Run(seq, head)

    def close_run(self, run: str) -> None:
        """Forget a run; what is queued of it is still written."""
        with self._lock:
            self._runs.pop(run, None)

    def record(
        self, run: str, event: RunEvent, *, at_ns: int | None = None, body: bytes | None = None
    ) -> Stamped:
        """Queue an event of an open run; it is encoded before this returns.

        Args:
            at_ns: The moment to stamp; None: now, and never before the run's previous event.
            body: The event's canonical body, where the caller has it already.

        Raises:
            EngineError: Broken, closed, the run is not open, a required sink fails, or no room in time.
        """
        if body is None or len(body) > _LARGEST_BODY:
            body = _encoded(event)
        size = len(body)
        with self._lock:
            if self._pid != os.getpid():
                self._same_process()
            if self._closed or self._broken is not None or self._sink_failure is not None:
                self._refuse(run, event.kind)
            pending = self._recorded - self._settled
            if (pending >= self._limit or self._bytes + size > self._limit_bytes) and not self._has_room(
                size
            ):
                self._wait_for_room(run, event.kind, size)
            place = self._runs.get(run)
            if place is None:
                raise EngineError(f"the run `{run}` is not being recorded", run=run)
            if at_ns is None:
                at_ns = max(self._clock.now_ns(), place.latest_ns)
            mono_ns = self._clock.monotonic_ns()
            place.seq += 1
            if at_ns > place.latest_ns:
                place.latest_ns = at_ns
            stamped = Stamped(place.seq, at_ns, event)
            self._queue.append(_Queued(run, place, stamped, mono_ns, body))
            self._recorded += 1
            self._bytes += size
            if not self._writing:
                self._wake()
            return stamped

    def flush(self) -> "concurrent.futures.Future[None]":
        """Return a future of: all recorded so far is durable, in the log and in the required sinks.

        Raises:
            EngineError: The journal is broken; the future raises it if it breaks while waiting.
        """
        done: concurrent.futures.Future[None] = concurrent.futures.Future()
        done.set_running_or_notify_cancel()  # whoever waits may give up; the answer still has a place
        with self._lock:
            self._same_process()
            if self._broken is not None:
                raise log_error(self._broken)
            if self._settled == self._recorded:
                done.set_result(None)
                return done
            self._waiting.append((self._recorded, done))
            self._wake()
            self._hurry_up()
            return done

    def head(self, run: str) -> bytes:
        """Return the hash of the run's last event that is linked: after a flush, of the last recorded."""
        with self._lock:
            place = self._runs.get(run)
        if place is None:
            raise EngineError(f"the run `{run}` is not being recorded", run=run)
        return place.head

    def close(self) -> "concurrent.futures.Future[None]":
        """Record nothing more; return the future of the last flush, which fails if the journal is broken."""
        with self._lock:
            self._closed = True
        try:
            return self.flush()
        except EngineError as error:  # the caller still has a store to close, and then sees the failure
            failed: concurrent.futures.Future[None] = concurrent.futures.Future()
            failed.set_exception(error)
            return failed

    @property
    def failure(self) -> BaseException | None:
        """Why nothing can be recorded now: the log's failure, or a required sink's; None if all is well."""
        return self._broken or self._sink_failure

    # ---- the caller's side, under the lock ---------------------------------------------------------

    def _refuse(self, run: str, kind: str) -> None:
        if self._broken is not None:
            raise log_error(self._broken, run)
        if self._closed:
            raise EngineError("the journal is closed", run=run, help="load a new guard")
        if self._sink_failure is not None and kind in _STARTING:
            self._wake()  # each refused attempt lets the sink try again
            raise sink_error(self._sink_failure, run)

    def _has_room(self, size: int) -> bool:
        pending = self._recorded - self._settled
        return pending == 0 or (pending < self._limit and self._bytes + size <= self._limit_bytes)

    def _wait_for_room(self, run: str, kind: str, size: int) -> None:
        self._wake()
        self._hurry_up()
        inside = self._loop.inside()  # there, waiting would keep the writer from making room
        if inside or not self._room.wait_for(
            lambda: self._has_room(size) or self._broken is not None or self._closed, self._patience_s
        ):
            raise EngineError(
                f"{self._recorded - self._settled} events wait to be written and no room came"
                + ("" if inside else f" within {self._patience_s:g} s"),
                run=run,
                help="the store or a required sink is too slow for this load: see `ringfence doctor`",
            )
        self._refuse(run, kind)

    def _wake(self) -> None:
        if not self._writing:
            self._writing = True
            self._loop.call_soon(self._start)

    def _same_process(self) -> None:
        self._pid = self._pid or os.getpid()
        if os.getpid() != self._pid:
            raise EngineError(
                "this guard was used before the process forked, and its journal stayed with the parent",
                help="load a guard of its own in the child process",
            )

    # ---- the writer, on the engine's loop ----------------------------------------------------------

    def _start(self) -> None:
        self._task = asyncio.ensure_future(self._write())

    async def _write(self) -> None:
        try:
            while True:
                await self._linger()
                with self._lock:
                    batch = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH))]
                if batch:
                    entries = _linked(batch)
                    await self._log.append(entries)
                    self._unfed += entries
                await self._feed_sinks()
                with self._lock:
                    if not self._queue and not self._waiting:
                        self._writing = False
                        return
        except BaseException as error:  # fails closed: from here on every record and flush raises
            self._break(error)
            if not isinstance(error, Exception):
                raise

    async def _linger(self) -> None:
        """Let a few milliseconds of events come together, unless somebody waits for them.

        Each turn of the writer takes the interpreter from the callers: many small ones cost them more than
        the writing itself.
        """
        with self._lock:
            self._lingers = not (self._waiting or self._closed or 2 * len(self._queue) >= self._limit)
        if self._lingers:
            self._hurry.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), LINGER_S)
            self._lingers = False

    def _hurry_up(self) -> None:
        """End the lingering; under the lock."""
        if self._lingers:
            self._lingers = False
            self._loop.call_soon(self._hurry.set)

    async def _feed_sinks(self) -> None:
        """Hand on what is durable, settle it, and answer the flushes that waited for it.

        A failure keeps it for the next attempt: at the next event, flush, or refused call.
        """
        try:
            if self._feed is not None and self._unfed:
                await self._feed(tuple(self._unfed))
        except (
            Exception
        ) as error:  # fails closed: flushes fail, and nothing new starts until a retry succeeds
            self._settle(error)
        else:
            self._settle(None)

    def _settle(self, failure: Exception | None) -> None:
        with self._room:
            self._sink_failure = failure
            if failure is None:
                self._bytes -= sum(len(entry.body or b"") for entry in self._unfed)
                self._unfed.clear()
                self._settled = self._recorded - len(self._queue)
                answered = [done for target, done in self._waiting if target <= self._settled]
                self._waiting = [waiter for waiter in self._waiting if waiter[0] > self._settled]
                self._room.notify_all()
            else:
                answered = [done for _, done in self._waiting]
                self._waiting = []
        for done in answered:
            if failure is None:
                done.set_result(None)
            else:
                done.set_exception(sink_error(failure))

    def _break(self, error: BaseException) -> None:
        with self._room:
            self._broken = error
            self._writing = False
            failed, self._waiting = self._waiting, []
            self._room.notify_all()
        for _, done in failed:
            done.set_exception(log_error(error))


def _encoded(event: RunEvent) -> bytes:
    write = WRITERS.get(type(event))
    if write is not None:
        written = write(event)
        if written is not None and len(written) <= _LARGEST_BODY:
            return written
    body = body_of(event)
    try:
        encoded = canonical(body)
        if len(encoded) <= _LARGEST_BODY:
            return encoded
    except Exception:  # fails safe: what JSON cannot say, or what changes meanwhile, is described instead
        pass
    return canonical({name: jsonable(value) for name, value in body.items()})


def _linked(batch: Sequence[_Queued]) -> list[Entry]:
    salts = os.urandom(SALT_BYTES * len(batch))
    entries = []
    for number, queued in enumerate(batch):
        place, stamped = queued.place, queued.stamped
        entry = chained(
            place.head,
            run=queued.run,
            seq=stamped.seq,
            kind=stamped.event.kind,
            schema=SCHEMA,
            at_ns=stamped.at_ns,
            mono_ns=queued.mono_ns,
            salt=salts[number * SALT_BYTES : (number + 1) * SALT_BYTES],
            body=queued.body,
        )
        place.head = entry.hash
        entries.append(entry)
    return entries
