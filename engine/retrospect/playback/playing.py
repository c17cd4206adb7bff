"""A playback under way: what the agent asks for now, matched with what it asked for then.

Requests and calls are matched by what they ask, in the order of the record where several are the same:
parallel ones come in any order.  The first that the record does not have ends it: from then on nothing is
answered.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from ringfence.dsl.plan import Json
from ringfence.engine.decision import events as e
from ringfence.engine.retrospect.playback.asking import Asking, bounded, diff, differs, in_common, value_diff
from ringfence.engine.retrospect.playback.hidden import fits
from ringfence.engine.retrospect.playback.tape import Call, Request, Tape, Track
from ringfence.engine.seams.escape import escaped, escaped_json

_SHOWN: Final = 2_000
_LEFT_SHOWN: Final = 10


class DivergedError(BaseException):
    """The agent asked for something that the record does not have; nothing was answered, and nothing will be.

    No `Exception`, so that no framework takes it for the failure of a model or a tool, and no fallback tries
    another one.
    """

    def __init__(self, divergence: "Divergence") -> None:
        super().__init__(str(divergence))
        self.divergence = divergence


class NotAsRecordedError(AssertionError):
    """A playback did not go as it was recorded; the message is its report."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where the agent left the record."""

    run: str
    step: int | None
    """What the record has there, counted from 1: requests and calls; None: nothing more."""
    seq: int | None
    """Its event in the run; None: the record has nothing there."""
    what: str
    """What was recorded there, and what came, in a sentence."""
    shown: str = ""
    """The difference in lines, for people."""

    def __str__(self) -> str:
        return f"{self.what}\n{self.shown}" if self.shown else self.what


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a playback so far."""

    run: str
    requests: int
    """Model requests that were answered from the record."""
    calls: int
    """Tool calls that were."""
    divergence: Divergence | None
    never_came: tuple[str, ...]
    """Recorded requests and calls that the agent has not asked for."""
    notes: tuple[str, ...] = ()
    """What was not played back or not compared."""

    @property
    def identical(self) -> bool:
        """True if the agent asked for all that was recorded, and for nothing else."""
        return self.divergence is None and not self.never_came

    def __str__(self) -> str:
        played = f"{self.requests} model requests and {self.calls} calls were answered from the record"
        lines = [f"playback of run {escaped(self.run)}: {'as recorded; ' if self.identical else ''}{played}"]
        if self.divergence is not None:
            lines.append(f"the agent left the record: {self.divergence}")
        elif self.never_came:
            lines.append("the agent left the record early; it never came to:")
            lines += [f"  {one}" for one in self.never_came[:_LEFT_SHOWN]]
            if (left := len(self.never_came) - _LEFT_SHOWN) > 0:
                lines.append(f"  and {left} more")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


class Playing:
    """One playback of a tape; usable from any thread."""

    def __init__(self, tape: Tape, recorded: Callable[[e.ModelAsked], Asking]) -> None:
        """Begin.

        Args:
            recorded: Translates a recorded request, as the framework's adapter wrote it.
        """
        self.tape = tape
        self._recorded = recorded
        self._read: dict[tuple[str, int], Asking] = {}
        self._lock = threading.RLock()
        self._runs: dict[str, Track] = {}
        """The runs that go on now, by their ids: each plays a recorded one."""
        self._divergence: Divergence | None = None
        self._requests = self._calls = 0

    # ---- runs --------------------------------------------------------------------------------------

    def begin(self, parent: str | None, call: str | None, agent: str | None) -> Track:
        """Return the recorded run that a run which is about to begin plays.

        Args:
            parent: The run around it, by its id now.
            call: The call in whose body it begins.
        """
        with self._lock:
            self.go_on()
            around = self._runs.get(parent) if parent is not None else None
            if around is None:
                if self.tape.top.begun:
                    self._diverge(self.tape.top, None, "a second run begins, and the record is of one")
                track = self.tape.top
            else:
                started = (
                    self.tape.tracks[one.run]
                    for one in around.subruns
                    if one.call == call and one.run in self.tape.tracks
                )
                waiting = [one for one in started if not one.begun]
                named = [one for one in waiting if agent in (None, one.started.agent)]
                if not waiting:
                    self._diverge(
                        around, self._next(around), "a run begins inside of it that the record does not have"
                    )
                track = (named or waiting)[0]
            track.begun = True
            return track

    def plays(self, run: str, track: Track) -> None:
        """Take in the id of a run that has begun."""
        with self._lock:
            self._runs[run] = track

    def track_of(self, run: str | None) -> Track | None:
        """Return the recorded run that a run plays; None: it plays none."""
        with self._lock:
            return None if run is None else self._runs.get(run)

    def expect(self, track: Track, what: str, recorded: Json, came: Json) -> None:
        """Have the agent leave the record unless two values are the same."""
        with self._lock:
            self.go_on()
            if not fits(recorded, came):
                self._diverge(track, self._next(track), f"{what} is another", value_diff(recorded, came))

    # ---- models ------------------------------------------------------------------------------------

    def ask(self, run: str | None, came: Asking) -> Request:
        """Return the recorded request that a model request is."""
        with self._lock:
            self.go_on()
            track = self.track_of(run)
            if track is None:
                self._diverge(
                    self.tape.top,
                    self._next(self.tape.top),
                    "a model is asked outside of any run that is played back: give the agent the guard of the"
                    " playback",
                )
            open_ones = [one for one in track.requests if not one.came]
            for one in open_ones:
                if not differs(self._asking(one), came):
                    one.came = True
                    self._requests += 1
                    return one
            expected = [one for one in open_ones if not self.tape.is_inside(track, one)]
            if not expected:
                text = bounded(diff(Asking((), None), Asking(came.messages, None)).splitlines())
                self._diverge(track, self._next(track), "came: one more model request", text)
            nearest = max(expected, key=lambda one: (_nearness(self._asking(one), came), -one.seq))
            recorded = self._asking(nearest)
            parts = " and ".join(differs(recorded, came))
            self._diverge(track, nearest, f"came: a model request with other {parts}", diff(recorded, came))

    def _asking(self, one: Request) -> Asking:
        where = (one.run, one.seq)
        if where not in self._read:
            self._read[where] = self._recorded(one.asked)
        return self._read[where]

    # ---- calls -------------------------------------------------------------------------------------

    def call(
        self,
        run: str,
        tool: str,
        arguments: Json,
        *,
        parent: str | None,
        call_id: str | None,
        schema_names: Sequence[str] | None,
        is_looked_at: bool = False,
    ) -> Call:
        """Return the recorded call that a call is.

        Args:
            parent: The key of the call in whose body it is made.
            is_looked_at: It is not made yet, and still has to come.
        """
        with self._lock:
            self.go_on()
            track = self.track_of(run)
            if track is None:
                self._diverge(self.tape.top, self._next(self.tape.top), _made(tool, arguments))
            mine = [
                one
                for one in track.calls.values()
                if (one.may_come_again or not one.came)
                and one.requested.parent == parent
                and not self.tape.is_inside(track, one)
            ]
            equal = [one for one in mine if one.requested.tool == tool and fits(one.arguments, arguments)]
            if not equal:
                named = [one for one in mine if one.requested.tool == tool]
                if not named:
                    self._diverge(track, self._next(track), _made(tool, arguments))
                shown = value_diff(named[0].arguments, arguments)
                self._diverge(track, named[0], f"came: {escaped(tool)} with other arguments", shown)
            # Of equal ones the one whose id in the model's answer it has.
            one = next((same for same in equal if same.requested.call_id == call_id), equal[0])
            names, given = one.requested.schema_names, schema_names
            then, now = (None if those is None else sorted(those) for those in (names, given))
            if not fits(then, now):
                shown = value_diff(then, now)
                self._diverge(track, one, f"came: {escaped(tool)}, whose schema has other parameters", shown)
            self._check_decisions(track, one)
            if not is_looked_at:
                self._calls += not one.came
                one.came, one.may_come_again = True, False
            return one

    def expect_again(self, one: Call) -> None:
        """Let a call come again: its framework will make it once more."""
        with self._lock:
            one.may_come_again = True

    def _check_decisions(self, track: Track, one: Call) -> None:
        for stamped in one.events:
            anew = track.decisions.get(stamped.seq)
            if anew is not None and anew.differs is not None:
                self._diverge(track, one, "it is decided otherwise now", anew.differs)

    def returned(self, run: str, one: Call, value: Json) -> None:
        """Compare what the body of a call gave, which ran, with what it gave then."""
        with self._lock:
            self.go_on()
            track, outcome = self.track_of(run), one.outcome
            assert track is not None, "the call was matched in it"
            if not isinstance(outcome, e.CallFinished):
                failed = outcome.error if isinstance(outcome, e.CallFailed) else "it did not end"
                self._diverge(track, one, f"came: a result, where was recorded: {escaped(failed)}")
            if not fits(outcome.result, value):
                self._diverge(track, one, "came: another result of it", value_diff(outcome.result, value))

    def raised(self, run: str, one: Call, error: BaseException) -> None:
        """Compare how the body of a call failed, which ran, with how it ended then."""
        with self._lock:
            self.go_on()
            track, outcome = self.track_of(run), one.outcome
            assert track is not None, "the call was matched in it"
            then = outcome.error if isinstance(outcome, e.CallFailed) else "it returned"
            if then.partition(":")[0] != type(error).__name__:
                now = escaped(f"{type(error).__name__}: {error}")[:_SHOWN]
                self._diverge(
                    track, one, "came: another outcome of it", f"recorded: {escaped(then)}\ncame: {now}"
                )

    # ---- halts -------------------------------------------------------------------------------------

    def halt_due(self, run: str) -> e.RunHalted | None:
        """Return the recorded halt of a run if all that was asked for before it has come."""
        with self._lock:
            track = self.track_of(run)
            if track is None or not track.halts:
                return None
            halt = track.halts[0]
            steps = (one for one in track.steps if one.seq < halt.seq)
            due = all(one.came or self.tape.is_inside(track, one) for one in steps)
            return halt.event if due and isinstance(halt.event, e.RunHalted) else None

    # ---- the end -----------------------------------------------------------------------------------

    def go_on(self) -> None:
        """Raise DivergedError once the agent has left the record."""
        with self._lock:
            if self._divergence is not None:
                # SECURITY: whoever swallowed the first one comes no further with the next.
                raise DivergedError(self._divergence)

    def unanswerable(self, run: str | None, one: Request | Call, why: str) -> NoReturn:
        """End the playback at a step that the record cannot answer."""
        with self._lock:
            track = self.track_of(run) or self.tape.top
            self._diverge(track, one, f"it cannot be answered: {why}")

    def stop(self, what: str) -> NoReturn:
        """End the playback, since something would have run that the record cannot answer."""
        with self._lock:
            self.go_on()
            self._diverge(self.tape.top, self._next(self.tape.top), what)

    def report(self, notes: Sequence[str] = ()) -> Report:
        """Return what came of it so far."""
        with self._lock:
            left = [
                str(one)
                for track in self.tape.tracks.values()
                for one in track.steps
                if not one.came and not self.tape.is_inside(track, one)
            ]
            return Report(
                self.tape.run,
                self._requests,
                self._calls,
                self._divergence,
                tuple(left),
                (*self.tape.notes, *notes),
            )

    def _next(self, track: Track) -> Request | Call | None:
        steps = (one for one in track.steps if not one.came and not self.tape.is_inside(track, one))
        return next(steps, None)

    def _diverge(self, track: Track, one: Request | Call | None, what: str, shown: str = "") -> NoReturn:
        run = track.record.run
        at = str(one) if one is not None else f"behind the last step of run {escaped(run)}"
        divergence = Divergence(
            run, None if one is None else one.step, None if one is None else one.seq, f"{at}: {what}", shown
        )
        self._divergence = self._divergence or divergence
        raise DivergedError(self._divergence)


def _nearness(recorded: Asking, came: Asking) -> int:
    """Say how near a recorded request is: it begins alike, and is as long."""
    return in_common(recorded, came) - abs(len(recorded.messages) - len(came.messages))


def _made(tool: str, arguments: Json) -> str:
    return f"came: the call {escaped(tool)} {escaped_json(arguments, limit=_SHOWN)}"
