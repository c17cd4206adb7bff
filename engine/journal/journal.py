"""The journal: events from any thread become one durable, hash-chained log, in the order of recording.

The caller only encodes its event (arguments may change the moment after) and queues it.  One task on
the engine's loop takes whatever is queued, links it, and appends it in one transaction, so an event is
on its way to the disk at once and many callers share one commit.

A store that is away (`StoreAwayError`) is asked again with the same entries until it answers; meanwhile
nothing starts.  Any other failure of an append ends the journal for good.
"""

import asyncio
import concurrent.futures
import os
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from ringfence.engine.decision.events import RunEvent, Stamped
from ringfence.engine.journal.chain import ZERO
from ringfence.engine.journal.failures import Away, away_error, log_error, lost_error, sink_error
from ringfence.engine.journal.hiding import Hiding
from ringfence.engine.journal.queued import LARGEST_BODY, Flush, Place, Queued, answer, encoded, linked
from ringfence.engine.seams.errors import EngineError, StoreAwayError, TakenOverError
from ringfence.engine.seams.loop import EngineLoop
from ringfence.engine.seams.ports import Clock, Entry, EventLog

Feed = Callable[[Sequence[Entry]], Awaitable[None]]
"""Takes durable events elsewhere; raises if a required sink could not take them (at least once)."""

BATCH: Final = 512
"""The most events of one commit: larger ones buy no speed, and make the first in line wait."""

LINGER_S: Final = 0.003
"""How long the writer lets events come together that nobody waits for.

An event waits for it twice at most, before its commit and after one that had no room for it: whatever is
recorded is handed to the log within 10 ms, or as soon as the commit before it and the sinks are done.
"""

_STARTING: Final = frozenset({"RunStarted", "RunResumed", "CallRequested", "CallStarted"})
"""What is refused while a required sink fails; what has begun may still say how it ended.

While the store is away a request is taken, if half of the queue is free: it is denied, and that is recorded.
"""

_PAUSE_S: Final = 0.02
_PAUSE_AT_MOST_S: Final = 1.0
"""Between two attempts at a store that is away: doubled from the first to this."""


class Journal:
    """One per guard.  Once it is broken, every call is denied by an EngineError.

    Args:
        feed: Awaited with each batch once it is durable in the log.
        limit: Events queued or being written; a caller that finds no room waits `patience_s` for it.
        limit_bytes: The same for the bytes of their bodies.
        patience_s: An append that takes longer, or a store that is away for longer, fails whoever waits.
        hiding: What is hidden of runs that are opened without a say of their own; None: nothing.
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
        hiding: Hiding | None = None,
    ) -> None:
        self._log = log
        self._loop = loop
        self._clock = clock
        self._feed = feed
        self._limit = limit
        self._enough = min(BATCH, limit // 2)
        """So many queued events need not wait for more."""
        self._limit_bytes = limit_bytes
        self._patience_s = patience_s
        self._hiding = hiding
        self._pid = 0
        """Of the process that uses it; 0 before its first use, so a guard may be loaded before a fork."""
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._runs: dict[str, Place] = {}
        self._queue: deque[Queued] = deque()
        self._unfed: list[Entry] = []
        """Durable in the log, not yet taken by the sinks; touched by the writer alone."""
        self._recorded = 0
        self._settled = 0
        """How many of the recorded events are durable everywhere."""
        self._bytes = 0
        self._waiting: list[Flush] = []
        self._writing = False
        self._closed = False
        self._broken: BaseException | None = None
        self._sink_failure: BaseException | None = None
        self._away: Away | None = None
        self._task: asyncio.Task[None] | None = None
        self._batch: list[Queued] = []
        """What is being appended."""
        self._asked_s: float | None = None
        """When the append that goes on began, on the monotonic clock; None: none does."""
        self._watching: asyncio.TimerHandle
        self._lingers = False
        """True while the writer lets events come together."""
        self._rest: asyncio.Future[None]
        """Ends when it has lingered long enough."""

    # ---- called from any thread --------------------------------------------------------------------

    def open_run(self, run: str, *, seq: int = 0, head: bytes = ZERO, hiding: Hiding | None = None) -> None:
        """Begin to record a run, or go on with one whose last event is number `seq` with the hash `head`."""
        with self._lock:
            if run in self._runs and not self._runs[run].taken_over:
                raise EngineError(f"the run `{run}` is being recorded already", run=run)
            self._runs[run] = Place(seq, head, hiding=hiding or self._hiding)

    def close_run(self, run: str) -> None:
        """Forget a run; what is queued of it is still written."""
        with self._lock:
            self._runs.pop(run, None)

    def drop_run(self, run: str) -> None:
        """Forget what is queued of a run that another process has taken over; take nothing more of it.

        Other runs are not touched.  A run that is not open is nobody's: nothing happens.
        """
        with self._lock:
            place = self._runs.get(run)
            if place is not None:
                place.taken_over = True

    def record(
        self, run: str, event: RunEvent, *, at_ns: int | None = None, body: bytes | None = None
    ) -> Stamped:
        """Queue an event of an open run; it is encoded before this returns.

        Args:
            at_ns: The moment to stamp; None: now, and never before the run's previous event.
            body: The event's canonical body, where the caller has it already.

        Returns:
            The event as the log has it: without what is hidden of its run.

        Raises:
            StoreAwayError: The log's store is away, and the event would start something.
            TakenOverError: Another process has the run.
            EngineError: Broken, closed, the run is not open, a required sink fails, or no room in time.
        """
        # SECURITY: nothing reaches the queue, the store or a sink before what is secret in it is hidden.
        place = self._runs.get(run)
        if place is not None and place.hiding is not None:
            shown = place.hiding.event(event)
            if shown is not event:
                event, body = shown, None
        if body is None or len(body) > LARGEST_BODY:
            body = encoded(event, place.hiding if place is not None else None)
        size = len(body)
        if self._pid != os.getpid():  # before the lock, which a thread of the parent may have had
            self._same_process()
        with self._lock:
            if self._closed or self._broken or self._sink_failure is not None or self._away is not None:
                self._refuse(run, event.kind)
            pending = self._recorded - self._settled
            if (pending >= self._limit or self._bytes + size > self._limit_bytes) and not self._has_room(
                size
            ):
                self._wait_for_room(run, event.kind, size)
            place = self._runs.get(run)
            if place is None:
                raise EngineError(f"the run `{run}` is not being recorded", run=run)
            if place.taken_over:
                raise lost_error(run)
            if at_ns is None:
                at_ns = max(self._clock.now_ns(), place.latest_ns)
            mono_ns = self._clock.monotonic_ns()
            place.seq += 1
            if at_ns > place.latest_ns:
                place.latest_ns = at_ns
            stamped = Stamped(place.seq, at_ns, event)
            self._queue.append(Queued(run, place, stamped, mono_ns, body))
            self._recorded += 1
            self._bytes += size
            if not self._writing:
                self._wake()
            return stamped

    def record_all(
        self, run: str, events: Sequence[tuple[RunEvent, bytes]], *, at_ns: int
    ) -> list[Stamped] | None:
        """Queue events of one moment with their canonical bodies, all or none.

        Returns:
            The events as the log has them; None: nothing was queued, since one of them would be refused,
            would wait for room, or has to be looked through first.  `record` says what becomes of each.
        """
        size = 0
        for _, body in events:
            size += len(body)
        if self._pid != os.getpid():  # before the lock, which a thread of the parent may have had
            self._same_process()
        with self._lock:
            place = self._runs.get(run)
            if (
                self._closed
                or self._broken
                or self._sink_failure is not None
                or self._away is not None
                or self._recorded - self._settled + len(events) > self._limit
                or self._bytes + size > self._limit_bytes
                or size > LARGEST_BODY
                or place is None
                or place.taken_over
                or place.hiding is not None  # SECURITY: nothing reaches the queue before it is hidden
            ):
                return None
            if not self._writing:  # before them: should it fail, none is queued
                self._wake()
            mono_ns, seq, recorded, queued = self._clock.monotonic_ns(), place.seq, [], []
            for event, body in events:
                seq += 1
                stamped = Stamped(seq, at_ns, event)
                recorded.append(stamped)
                queued.append(Queued(run, place, stamped, mono_ns, body))
            # At once: after an interrupt between two of them the next would take the number of the first.
            self._recorded += len(queued)
            self._bytes += size
            place.seq = seq
            if at_ns > place.latest_ns:
                place.latest_ns = at_ns
            self._queue.extend(queued)
            return recorded

    def flush(self, run: str | None = None, *, bounded: bool = False) -> "concurrent.futures.Future[None]":
        """Return a future of: all recorded so far is durable, in the log and in the required sinks.

        Args:
            run: The future fails with a TakenOverError if another process has this run.
            bounded: It fails with a TimeoutError if that takes longer than the journal is patient, for a
                required sink too.

        Raises:
            EngineError: The journal is broken; the future raises it if it breaks while waiting, and a
                StoreAwayError if the store is away for longer than it is patient.
        """
        done: concurrent.futures.Future[None] = concurrent.futures.Future()
        done.set_running_or_notify_cancel()  # whoever waits may give up; the answer still has a place
        self._same_process()
        with self._lock:
            if self._broken is not None:
                raise log_error(self._broken)
            place = self._runs.get(run) if run is not None else None
            waiter = Flush(self._recorded, done, time.monotonic(), bounded, run, place)
            if self._settled != self._recorded:
                self._waiting.append(waiter)
                self._wake()
                self._hurry_up()
                return done
        answer([waiter])
        return done

    def check(self, run: str) -> None:
        """Raise the error with which a start would be refused now; None: it would be taken."""
        with self._lock:
            if (
                self._broken is not None
                or self._closed
                or self._away is not None
                or self._sink_failure is not None
            ):
                self._refuse(run, "CallStarted")
            place = self._runs.get(run)
            if place is not None and place.taken_over:
                raise lost_error(run)

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
        """Why nothing can start now: the log's failure, or a required sink's; None if all is well."""
        return self._broken or self.away or self._sink_failure

    @property
    def is_broken(self) -> bool:
        """True once nothing more will ever be written here."""
        return self._broken is not None

    @property
    def away(self) -> StoreAwayError | None:
        """The error that says since when the log's store is away; None: it answers."""
        away = self._away
        return None if away is None else away_error(away)

    def unwritten(self) -> dict[str, int]:
        """Return how many events of each run are not yet in the log; of a broken journal, that never will."""
        with self._lock:
            found: dict[str, int] = {}
            for queued in (*self._batch, *self._queue):
                if not queued.place.taken_over:
                    found[queued.run] = found.get(queued.run, 0) + 1
            return found

    # ---- the caller's side, under the lock ---------------------------------------------------------

    def _refuse(self, run: str, kind: str) -> None:
        if self._broken is not None:
            raise log_error(self._broken, run)
        if self._closed:
            raise EngineError("the journal is closed", run=run, help="load a new guard")
        if self._away is not None and kind in _STARTING:
            half = 2 * (self._recorded - self._settled) < self._limit and 2 * self._bytes < self._limit_bytes
            if kind != "CallRequested" or not half:
                raise away_error(self._away, run)
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
        self._task.add_done_callback(self._stopped)

    def _stopped(self, task: "asyncio.Task[None]") -> None:
        """Tell those who wait if the writer was stopped before its first step, in which it could not tell."""
        if task.cancelled() and self._broken is None:
            self._break(asyncio.CancelledError())

    async def _write(self) -> None:
        self._watch()
        try:
            while True:
                await self._linger()
                with self._lock:
                    self._batch = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH))]
                if self._batch:
                    self._unfed += await self._stored(linked(self._batch))
                    self._batch = []
                await self._feed_sinks()
                with self._lock:
                    if not self._queue and not self._waiting:
                        self._writing = False
                        return
        except BaseException as error:  # fails closed: from here on every record and flush raises
            self._break(error)
            if not isinstance(error, Exception):
                raise
        finally:
            self._watching.cancel()

    async def _stored(self, entries: list[Entry]) -> list[Entry]:
        """Append the batch, again and again while the store is away; return what of it was written."""
        pause_s = _PAUSE_S
        while entries := self._without_lost(entries):
            self._asked_s = time.monotonic()
            try:
                await self._log.append(entries)
            except StoreAwayError as error:  # fails closed meanwhile: nothing starts
                self._store_is_away(error)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _PAUSE_AT_MOST_S)
            except TakenOverError as error:  # what was queued of that run is lost: it is another's now
                places = {id(one.place): one.place for one in self._batch if one.run == error.run}
                if not places:
                    raise  # of no run that could be left out: broken, as by any other failure
                for place in places.values():
                    place.taken_over = True
            else:
                break
        self._asked_s = self._away = None
        return entries

    def _without_lost(self, entries: list[Entry]) -> list[Entry]:
        """Return the entries of the batch without those of runs that were taken over."""
        if not any(queued.place.taken_over for queued in self._batch):
            return entries
        pairs = list(zip(self._batch, entries, strict=True))
        with self._lock:
            self._batch = [queued for queued in self._batch if not queued.place.taken_over]
            self._bytes -= sum(len(queued.body) for queued, _ in pairs if queued.place.taken_over)
        return [entry for queued, entry in pairs if not queued.place.taken_over]

    def _watch(self) -> None:
        """While the writer works, look now and then whether that takes too long, and tell whoever waits."""
        loop = asyncio.get_running_loop()

        def look() -> None:
            if self._asked_s is not None and time.monotonic() - self._asked_s >= self._patience_s:
                self._store_is_away(TimeoutError(f"no answer within {self._patience_s:g} s"))
            self._fail_overdue()
            self._watching = loop.call_later(every_s, look)

        every_s = min(self._patience_s, _PAUSE_AT_MOST_S)
        self._watching = loop.call_later(every_s, look)

    def _store_is_away(self, cause: Exception) -> None:
        since_ns = self._clock.now_ns() if self._away is None else self._away.since_ns
        self._away = Away(cause, since_ns)

    def _fail_overdue(self) -> None:
        """Fail the flushes that have waited as long as the journal is patient: all, if the store is away."""
        away, before_s = self._away, time.monotonic() - self._patience_s

        def is_over(waiter: Flush) -> bool:
            return waiter.since_s <= before_s and (away is not None or waiter.bounded)

        with self._lock:
            overdue = [waiter for waiter in self._waiting if is_over(waiter)]
            self._waiting = [waiter for waiter in self._waiting if not is_over(waiter)]
        answer(overdue, TimeoutError if away is None else lambda: away_error(away))

    async def _linger(self) -> None:
        """Let a few milliseconds of events come together, unless somebody waits for them.

        Each turn of the writer takes the interpreter from the callers: many small ones cost them more than
        the writing itself.
        """
        loop = asyncio.get_running_loop()
        self._rest = rest = loop.create_future()
        with self._lock:
            self._lingers = not (self._waiting or self._closed or len(self._queue) >= self._enough)
        if self._lingers:
            timer = loop.call_later(LINGER_S, _end, rest)
            await rest
            timer.cancel()
            self._lingers = False

    def _hurry_up(self) -> None:
        """End the lingering; under the lock."""
        if self._lingers:
            self._lingers = False
            self._loop.call_soon(_end, self._rest)

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
                answered = [waiter for waiter in self._waiting if waiter.target <= self._settled]
                self._waiting = [waiter for waiter in self._waiting if waiter.target > self._settled]
                self._room.notify_all()
            else:
                answered, self._waiting = self._waiting, []
        answer(answered, None if failure is None else lambda: sink_error(failure))

    def _break(self, error: BaseException) -> None:
        with self._room:
            self._broken = error
            self._writing = False
            failed, self._waiting = self._waiting, []
            self._room.notify_all()
        answer(failed, lambda: log_error(error))


def _end(rest: "asyncio.Future[None]") -> None:
    if not rest.done():
        rest.set_result(None)
