"""The work of a backtest, cut into shares that any process can do.

A share holds runs with all that is needed to decide them: their entries, and those of the runs that they go
on from.  It says nothing of the process that does it, so that the number of processes changes nothing.
"""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any, NamedTuple

from ringfence.dsl.plan import Plan, TextFile
from ringfence.engine.decision.events import event_of
from ringfence.engine.decision.lineage import points_of, remembers
from ringfence.engine.journal.tales import decode
from ringfence.engine.retrospect.coverage import Coverage, Reachable
from ringfence.engine.retrospect.record import RecordError, RunRecord
from ringfence.engine.retrospect.replay import Unreplayable
from ringfence.engine.retrospect.whatif import Again, Change, decided_again, decided_together
from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.ports import Entry, EventLog

_RUNS = 32
"""In one share, where runs need nothing of each other; so many are read at once."""

_SENT = 4
"""So many shares each other process has before it."""

_KEPT = 500
"""So many shares are done at most before one that was given away; what came of one is small."""

Reads = Callable[[Sequence[str]], Sequence[Sequence[Entry]]]
"""Returns the entries of each of several runs."""

_RESTING = frozenset({"RunStarted", "SubrunJoined"})
"""Kinds of events that name other runs."""


@dataclass(frozen=True, slots=True)
class Share:
    """Some runs, and the entries of these and of all that they remember."""

    runs: tuple[str, ...]
    entries: dict[str, Sequence[Entry]]

    def __reduce__(self) -> tuple[Any, ...]:
        """Be sent as plain tuples: to pickle an entry by itself costs as much as to decide it."""
        plain = {run: [tuple(entry) for entry in entries] for run, entries in self.entries.items()}
        return _received, (self.runs, plain)


def _received(runs: tuple[str, ...], plain: dict[str, list[tuple[Any, ...]]]) -> Share:
    return Share(runs, {run: [*map(Entry._make, entries)] for run, entries in plain.items()})


class Made(NamedTuple):
    """One recorded decision, made again: what is counted of it, and sent to the process that counts."""

    seq: int
    at_ns: int
    change: Change | None


@dataclass(frozen=True, slots=True)
class Tried:
    """One run, decided again."""

    run: str
    decided: tuple[Made, ...] = ()
    not_replayable: tuple[Unreplayable, ...] = ()
    problem: str | None = None
    """Why it cannot be decided again; then nothing of it counts."""


@dataclass(frozen=True, slots=True)
class DoneShare:
    """What came of one share."""

    runs: tuple[Tried, ...]
    reached: frozenset[Reachable]


async def read_runs(log: EventLog, runs: Sequence[str]) -> list[Sequence[Entry]]:
    """Read several runs, with one way to the store's loop and back."""
    return [await log.read(run) for run in runs]


def shares_of(runs: Sequence[str], sessions: Sequence[str], read: Reads, plan: Plan) -> Iterator[Share]:
    """Cut the runs into shares, one after another; those of one session together if the plan remembers."""
    if not remembers(plan):
        ahead = iter(runs)
        while some := tuple(islice(ahead, _RUNS)):
            yield Share(some, dict(zip(some, read(some), strict=True)))
        return
    together: dict[str, list[str]] = {}
    for run, session in zip(runs, sessions, strict=True):
        together.setdefault(session, []).append(run)
    for several in _several(together.values()):
        told = [run for of_session in several for run in of_session]
        found = dict(zip(told, read(told), strict=True))
        for of_session in several:
            entries: dict[str, Sequence[Entry]] = {}
            wanted = list(of_session)
            while wanted:
                run = wanted.pop()
                if run not in entries:
                    entries[run] = found[run] if run in found else read([run])[0]
                    wanted += _rests_on(entries[run])
            yield Share(tuple(of_session), entries)


def _several(sessions: Iterable[list[str]]) -> Iterator[list[list[str]]]:
    """Yield as many sessions at a time as are worth a way to the store."""
    some: list[list[str]] = []
    for of_session in sessions:
        some.append(of_session)
        if sum(map(len, some)) >= _RUNS:
            yield some
            some = []
    if some:
        yield some


def _rests_on(entries: Sequence[Entry]) -> list[str]:
    """Return the runs that a run goes on from, or has joined."""
    found: list[str] = []
    for entry in entries:
        if entry.kind not in _RESTING or entry.body is None:
            continue
        try:
            event = event_of(entry.kind, decode(entry.body.decode("utf-8")))
            found += [run for run, _ in points_of(event) if isinstance(run, str)]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue  # no guard writes such a thing: the run cannot be decided again, and is named for that
    return found


def tried(shares: Iterable[Share], plan: Plan, *, processes: int = 1) -> Iterator[DoneShare]:
    """Do every share, here or in processes of their own; they come back in the order in which they went.

    Raises:
        EngineError: A process died.
    """
    coverage, others = Coverage(plan), processes - 1
    if others < 1 or not plan.files:
        for share in shares:
            yield _done(share, coverage)
        return
    # A process is started anew and never forked: this one has threads, and a fork would inherit their locks.
    pool = ProcessPoolExecutor(
        others, mp_context=get_context("spawn"), initializer=_begin, initargs=(plan.files, plan.digest)
    )
    try:
        yield from _spread(shares, pool, coverage, at_once=_SENT * others)
    except BrokenProcessPool as error:
        raise EngineError(
            "a process that decided runs again died",
            help="was it killed for its memory? fewer processes need less",
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _spread(
    shares: Iterable[Share], pool: ProcessPoolExecutor, coverage: Coverage, *, at_once: int
) -> Iterator[DoneShare]:
    """Give away at most so many shares, since a log may be larger than the memory; do the others here.

    This process would else wait: while the first of the pool begin, and whenever all of them have enough.
    """
    ahead = iter(shares)
    on_the_way: deque[Future[DoneShare]] = deque()
    while True:
        if on_the_way and on_the_way[0].done():
            yield on_the_way.popleft().result()
            continue
        share = next(ahead, None) if len(on_the_way) < _KEPT else None
        if share is None:
            if not on_the_way:
                return
            yield on_the_way.popleft().result()
        elif sum(not one.done() for one in on_the_way) < at_once:
            on_the_way.append(pool.submit(_do, share))
        else:
            own: Future[DoneShare] = Future()
            own.set_result(_done(share, coverage))
            on_the_way.append(own)


_mine: list[Coverage] = []
"""In a process of the pool: the policy that it decides by."""


def _begin(files: tuple[TextFile, ...], digest: str) -> None:
    """Make the plan again, in a process of the pool, which ends with the one that has started it."""
    from ringfence.dsl.load import load_files

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the keyboard stops the command, and that stops this
    Thread(target=_end_with_the_parent, daemon=True).start()
    plan = load_files(files).plan
    if plan is None or plan.digest != digest:
        raise EngineError("the policy is another one when it is made again from its texts")
    _mine.append(Coverage(plan))


def _end_with_the_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _do(share: Share) -> DoneShare:
    return _done(share, _mine[0])


def _done(share: Share, coverage: Coverage) -> DoneShare:
    together = _together(share, coverage) if len(share.runs) > 1 and remembers(coverage.plan) else None
    if together is not None:
        return together
    reached: set[Reachable] = set()
    runs = tuple(_tried(run, share.entries, coverage, reached) for run in share.runs)
    return DoneShare(runs, frozenset(reached))


def _together(share: Share, coverage: Coverage) -> DoneShare | None:
    """Decide the runs of a session in one pass; None: they must be decided by themselves."""
    coverage.reached = set()
    try:
        records = [RunRecord.read(share.entries[run], others=share.entries.__getitem__) for run in share.runs]
        found = decided_together(records, coverage.plan, coverage=coverage)
    except Exception:  # one of them is altered, or not whole: which one, and who rests on it, is told by each
        return None
    if found is None:
        return None
    return DoneShare(tuple(_apart(run, found[run]) for run in share.runs), frozenset(coverage.reached))


def _apart(run: str, found: Sequence[Again | Unreplayable]) -> Tried:
    decided = tuple(Made(one.seq, one.at_ns, one.change) for one in found if isinstance(one, Again))
    return Tried(run, decided, tuple(one for one in found if isinstance(one, Unreplayable)))


def _tried(
    run: str, entries: dict[str, Sequence[Entry]], coverage: Coverage, reached: set[Reachable]
) -> Tried:
    """Decide one run again; of one where that breaks off, nothing counts."""
    coverage.reached = set()
    try:
        record = RunRecord.read(entries[run], others=lambda other: entries.get(other, ()))
        found = list(decided_again(record, coverage.plan, coverage=coverage))
    except RecordError as error:
        return Tried(run, problem=str(error))
    except Exception as error:  # an altered log: the run is named, counted, and never taken for unchanged
        return Tried(run, problem=f"run `{run}` holds what no guard writes: {error or type(error).__name__}")
    reached |= coverage.reached
    return _apart(run, found)
