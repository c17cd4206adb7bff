"""Every run that a test makes is decided again once the test is over, and must come out the same.

What a guard has made durable is kept beside its store, event by event, as it is written: from any kind of
store, of a guard that was never closed too, and untouched by tests that alter or purge a log on purpose.
Runs of other processes are seen only as far as this one goes on with them.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from ringfence._playback import RecordedClock
from ringfence.dsl.plan import Plan
from ringfence.engine.decision.events import RunStarted
from ringfence.engine.decision.records import texts_of
from ringfence.engine.journal.chain import ZERO
from ringfence.engine.journal.journal import Journal
from ringfence.engine.retrospect.record import RecordError, RunRecord
from ringfence.engine.retrospect.replay import compiled
from ringfence.engine.seams.ports import Entry

MARKER = (
    "not_replayed(because): the runs of this test are not decided again; the reason is said in a sentence"
)

WITHHELD = frozenset({"keyed", "secret", "redacted", "too large", "not JSON"})
"""Why the arguments of a call may be missing from a record: `CallRequested.withheld`."""

ELSEWHERE = "it rests on what another process recorded"
BY_HAND = "its policy was made by hand, not from a text"


class ElsewhereError(Exception):
    """A run is asked for that did not begin in this process."""


class Kept:
    """What the journals of this process have written since the last test."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[bytes, Entry] = {}

    def add(self, entries: Iterable[Entry]) -> None:
        with self._lock:
            self._entries.update((entry.hash, entry) for entry in entries)

    def taken(self) -> list[list[Entry]]:
        """Return the runs, and forget them; one whose beginning is not here lacks its first event."""
        with self._lock:
            entries, self._entries = self._entries, {}
        followed = {entry.prev for entry in entries.values()}
        return [list(_back(entries, tip))[::-1] for tip in entries if tip not in followed]


def _back(entries: dict[bytes, Entry], at: bytes) -> Iterator[Entry]:
    while at in entries:
        yield entries[at]
        at = entries[at].prev


KEPT = Kept()
PLANS: dict[object, Plan] = {}
"""Each recorded text is compiled once."""


class Tally:
    """What came of all runs so far, for the end of the report."""

    def __init__(self) -> None:
        self.spent_s = 0.0
        self.runs = 0
        self.decisions = 0
        self.withheld: Counter[str] = Counter()
        """Decisions that cannot be made again, by the reason."""
        self.not_decided: Counter[str] = Counter()
        """Runs that cannot, by the reason."""
        self.left_out: Counter[str] = Counter()
        """Runs of tests that are marked, by the reason."""

    def told(self) -> dict[str, Any]:
        """Return it as a worker of pytest-xdist hands it on."""
        return {
            name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()
        }

    def add(self, told: Mapping[str, Any]) -> None:
        """Add what another process has counted."""
        self.spent_s += told["spent_s"]
        self.runs += told["runs"]
        self.decisions += told["decisions"]
        for name in ("withheld", "not_decided", "left_out"):
            getattr(self, name).update(told[name])

    def lines(self) -> Iterator[str]:
        yield f"{self.runs} runs, {self.decisions} decisions made again, in {self.spent_s:.1f} s"
        for what, found in (
            ("decisions not replayable", self.withheld),
            ("runs not replayable", self.not_decided),
            ("runs left out by a marker", self.left_out),
        ):
            for because, count in sorted(found.items()):
                yield f"{what}: {count}, {because}"


def keep() -> None:
    """Have every journal of this process hand on what it has written."""
    stored = Journal._stored

    async def keeping(self: Journal, entries: list[Entry]) -> list[Entry]:
        written = await stored(self, entries)
        # A playback tells its own run, in a session of its own, what was decided in the recorded one.
        if not isinstance(self._clock, RecordedClock):
            KEPT.add(written)
        return written

    Journal._stored = keeping  # type: ignore[method-assign]


def replayed(runs: Sequence[list[Entry]], tally: Tally) -> list[str]:
    """Decide these runs again; return what did not come out as it is recorded."""
    whole = {run[0].run: run for run in sorted(runs, key=len) if run[0].prev == ZERO}

    def others(run: str) -> Sequence[Entry]:
        if run not in whole:
            raise ElsewhereError
        return whole[run]

    wrong: list[str] = []
    for run in runs:
        if run[0].prev != ZERO:
            tally.not_decided[ELSEWHERE] += 1
            continue
        try:
            record = RunRecord.read(run, others=others)
            plan = _plan(record)
            if plan is None:
                tally.not_decided[BY_HAND] += 1
                continue
            came = record.replay(plan)
        except ElsewhereError:
            tally.not_decided[ELSEWHERE] += 1
            continue
        except Exception as error:  # of a run that a guard made, none is right
            wrong.append(f"run {run[0].run}: {error}")
            continue
        tally.runs += 1
        tally.decisions += came.decisions
        tally.withheld.update(one.because for one in came.not_replayable)
        wrong += [f"run {came.run}: {came.divergence}"] if came.divergence is not None else []
        wrong += [
            f"run {came.run}: event {one.seq} is not replayable: {one.because}"
            for one in came.not_replayable
            if one.because not in WITHHELD
        ]
    return wrong


def _plan(record: RunRecord) -> Plan | None:
    """Return the plan that the recorded texts make; None: the run did not begin with one made from texts."""
    begun: RunStarted = record.started
    if not begun.policy_text:
        return None
    key = texts_of(begun)
    if key not in PLANS:
        PLANS[key] = compiled(begun, record.run)
    if PLANS[key].digest != begun.policy_digest:
        raise RecordError("its texts make another policy than the one that it began with")
    return PLANS[key]


def after(item: pytest.Item, tally: Tally) -> None:
    """Decide the runs of a test again, and fail it by its name if one comes out otherwise."""
    runs = KEPT.taken()
    if not runs:
        return
    marker = item.get_closest_marker("not_replayed")
    if marker is not None:
        (because,) = marker.args
        tally.left_out[because] += len(runs)
        return
    began_s = time.perf_counter()
    wrong = replayed(runs, tally)
    tally.spent_s += time.perf_counter() - began_s
    if wrong:
        pytest.fail("decided again, it comes out otherwise:\n" + "\n".join(wrong), pytrace=False)
