"""A recorded run as what its agent asked for: model requests and tool calls, each with what came of it.

Tools are not run in a playback, so what happened inside of a call is answered with the call as a whole, but
for the tools that the host says are agents of its own.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

from ringfence.dsl.plan import Json, Plan
from ringfence.engine.decision import events as e
from ringfence.engine.decision.calls import Decision
from ringfence.engine.decision.retold import shown_of
from ringfence.engine.retrospect.anew import Anew, as_recorded, by_other, by_own
from ringfence.engine.retrospect.record import RecordError, RunRecord
from ringfence.engine.retrospect.replay import compiled
from ringfence.engine.seams.escape import escaped

_NEEDED: Final = frozenset(
    {
        e.RunStarted.kind,
        e.ModelAsked.kind,
        e.ModelAnswered.kind,
        e.CallRequested.kind,
        e.CallDecided.kind,
        e.CallStarted.kind,
        e.CallFinished.kind,
        e.CallFailed.kind,
        e.RunHalted.kind,
        e.SubrunStarted.kind,
    }
)
"""The kinds of events without whose bodies nothing can be played back."""

_WITHHELD: Final = {
    "keyed": "`audit minimal` keeps its arguments out of the record",
    "too large": "its arguments were too large to be recorded",
    "not JSON": "its arguments were no JSON",
}
_HIDDEN: Final = frozenset({"secret", "redacted"})
"""Why arguments are recorded with marks in the place of what was hidden."""
_MISSING_SHOWN: Final = 5


@dataclass(slots=True, eq=False)
class Request:
    """A request to a model, as it was recorded."""

    run: str
    seq: int
    step: int
    """From 1: requests and calls of the run, in the order in which they were made."""
    number: int
    """Of the run's model requests, from 1."""
    asked: e.ModelAsked
    during: frozenset[str]
    """The calls that were in flight."""
    answered: e.ModelAnswered | None = None
    ended_seq: int | None = None
    """When it was answered; None: never."""
    came: bool = False

    def __str__(self) -> str:
        return f"step {self.step}, model request {self.number} (event {escaped(self.run)}:{self.seq})"


@dataclass(slots=True, eq=False)
class Call:
    """A tool call, as it was recorded: one, however often its framework made it over resumes."""

    run: str
    seq: int
    step: int
    number: int
    """As `ringfence show` and `why` count the run's calls, from 1."""
    requested: e.CallRequested
    events: list[e.Stamped] = field(default_factory=list)
    """All that was recorded of it, in order."""
    came: bool = False
    may_come_again: bool = False
    """True if its framework makes it once more: it waits for people, or its body paused the graph."""

    @property
    def key(self) -> str:
        """The call's key in its run."""
        return self.requested.call

    @property
    def arguments(self) -> Json:
        """As they were given; what was hidden of them is marked."""
        return shown_of(self.requested)

    @property
    def ended_seq(self) -> int:
        """The last event of it."""
        return self.events[-1].seq

    @property
    def outcome(self) -> e.CallFinished | e.CallFailed | None:
        """How its body ended; None: it did not run, or its end is not recorded."""
        last = next(
            (
                one.event
                for one in reversed(self.events)
                if isinstance(one.event, e.CallFinished | e.CallFailed | e.CallStarted)
            ),
            None,
        )
        return None if isinstance(last, e.CallStarted) else last

    def __str__(self) -> str:
        tool = escaped(self.requested.tool)
        return f"step {self.step}, call {self.number}, {tool} (event {escaped(self.run)}:{self.seq})"


@dataclass(slots=True)
class Track:
    """One run of the tape: the one that is played back, or one inside of it."""

    record: RunRecord
    started: e.RunStarted
    within: str | None
    """The call of the run around that started it."""
    requests: list[Request] = field(default_factory=list)
    calls: dict[str, Call] = field(default_factory=dict)
    halts: list[e.Stamped] = field(default_factory=list)
    subruns: list[e.SubrunStarted] = field(default_factory=list)
    decisions: dict[int, Anew] = field(default_factory=dict)
    begun: bool = False

    @property
    def steps(self) -> list[Request | Call]:
        """Requests and calls in the order in which they were made."""
        return sorted([*self.requests, *self.calls.values()], key=lambda one: one.seq)


@dataclass(slots=True)
class Tape:
    """A run, and those inside of it that are played back too."""

    run: str
    plan: Plan
    """What decides: the recorded policy, or the other one."""
    agents: frozenset[str]
    """The tools whose bodies run, since they are agents of the host's own."""
    tracks: dict[str, Track] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """What is not played back or could not be compared, for people."""

    @property
    def top(self) -> Track:
        """The run that is played back."""
        return self.tracks[self.run]

    def is_whole(self, track: Track, key: str | None) -> bool:
        """Say whether a call, or one around it, is answered as a whole: nothing inside of it comes."""
        seen: set[str] = set()
        while key is not None and key not in seen and (call := track.calls.get(key)) is not None:
            if call.requested.tool not in self.agents:
                return True
            seen.add(key)
            key = call.requested.parent
        return False

    def is_inside(self, track: Track, one: Request | Call) -> bool:
        """Say whether a step happened inside of a call that is answered as a whole."""
        if isinstance(one, Request):
            return any(self.is_whole(track, key) for key in one.during)
        return self.is_whole(track, one.requested.parent)

    def decision(self, track: Track, stamped: e.Stamped) -> Decision:
        """Return a decision of a call, made anew where that can be."""
        assert isinstance(stamped.event, e.CallDecided)
        anew = track.decisions.get(stamped.seq)
        return as_recorded(stamped.event) if anew is None else anew.decision


def wound(record: RunRecord, *, agents: Collection[str] = (), policy: Plan | None = None) -> Tape:
    """Read a record for a playback.

    Args:
        agents: The tools whose bodies run.
        policy: What decides instead of the recorded policy.

    Raises:
        RecordError: It cannot be played back; all reasons, and which events.
    """
    own = compiled(record.started, record.run)
    if policy is None and own.digest != record.started.policy_digest:
        raise RecordError(
            f"run `{escaped(record.run)}` cannot be played back: its policy is not the one that it began"
            " with; see `ringfence replay`"
        )
    tape = Tape(record.run, own if policy is None else policy, frozenset(agents))
    missing: list[str] = []
    _wind(tape, record, None, missing)
    if missing:
        shown = "; ".join(missing[:_MISSING_SHOWN])
        more = len(missing) - _MISSING_SHOWN
        rest = f"; and {more} more" if more > 0 else ""
        raise RecordError(f"run `{escaped(record.run)}` cannot be played back: {shown}{rest}")
    for track in tape.tracks.values():
        _decide(tape, track, policy)
    _note_hidden(tape)
    _note_whole(tape)
    return tape


def _wind(tape: Tape, record: RunRecord, within: str | None, missing: list[str]) -> None:
    gone = [(seq, kind) for seq, kind in sorted(record.purged.items()) if kind in _NEEDED]
    if gone:
        missing.extend(f"event {escaped(record.run)}:{seq} ({kind}) was purged" for seq, kind in gone)
        return
    track = tape.tracks[record.run] = _track(record, within)
    for one in track.steps:
        if not tape.is_inside(track, one):
            why = _unplayable_request(one) if isinstance(one, Request) else _unplayable_call(one)
            missing.extend(f"{one}: {because}" for because in why)
    for begun in track.subruns:
        if tape.is_whole(track, begun.call) or begun.run in tape.tracks:
            continue
        entries = record.others(begun.run) if record.others is not None else ()
        if not entries:
            missing.append(
                f"run `{escaped(begun.run)}`, which it started, is not at hand:"
                f" add it to the file with `ringfence export --run {escaped(begun.run)} >> FILE`"
            )
            continue
        _wind(tape, RunRecord.read(entries, others=record.others), begun.call, missing)


def _track(record: RunRecord, within: str | None) -> Track:
    track = Track(record, record.started, within)
    requests: dict[str, Request] = {}
    in_flight: set[str] = set()
    step = 0
    for stamped in record.events:
        event = stamped.event
        if isinstance(event, e.ModelAsked):
            step += 1
            one = Request(record.run, stamped.seq, step, len(track.requests) + 1, event, frozenset(in_flight))
            requests[event.request] = one
            track.requests.append(one)
        elif isinstance(event, e.ModelAnswered):
            asked = requests.get(event.request)
            if asked is not None:
                asked.answered, asked.ended_seq = event, stamped.seq
        elif isinstance(event, e.RunHalted):
            track.halts.append(stamped)
        elif isinstance(event, e.SubrunStarted):
            track.subruns.append(event)
        elif isinstance(event, e.SubrunCounted | e.SubrunJoined):
            continue
        elif isinstance(event, e.CallRequested) and event.call not in track.calls:
            step += 1
            made = Call(record.run, stamped.seq, step, len(track.calls) + 1, event, [stamped])
            track.calls[event.call] = made
        elif (call := track.calls.get(getattr(event, "call", None) or "")) is not None:
            call.events.append(stamped)
            if isinstance(event, e.CallStarted):
                in_flight.add(event.call)
            elif isinstance(event, e.CallFinished | e.CallFailed):
                in_flight.discard(event.call)
    return track


def _unplayable_request(one: Request) -> Iterator[str]:
    for what, event in (("the request", one.asked), ("the answer", one.answered)):
        if event is None:
            continue
        if not isinstance(event.messages, list) and (what == "the request" or event.messages is not None):
            yield f"{what} was too large to be recorded"
        elif any(is_described(message) for message in event.messages or ()):
            yield f"{what} was too large, or no JSON, and is only described in the record"


def _unplayable_call(one: Call) -> Iterator[str]:
    withheld = one.requested.withheld
    if withheld is not None and withheld not in _HIDDEN:
        yield _WITHHELD.get(withheld, f"its arguments are not in the record ({escaped(withheld)})")
    outcome = one.outcome
    if withheld is None and isinstance(outcome, e.CallFinished) and is_keyed(outcome.result):
        yield "`audit minimal` keeps its result out of the record"


def is_described(value: Json) -> bool:
    """Say whether a value in the record only stands for one that could not be recorded."""
    return isinstance(value, dict) and isinstance(value.get("$type"), str)


def is_keyed(value: Json) -> bool:
    """Say whether a value in the record is the digest of one that was kept out."""
    return isinstance(value, dict) and value.keys() == {"$keyed"}


def _decide(tape: Tape, track: Track, policy: Plan | None) -> None:
    """Make the decisions of a run anew, at once: until the agent leaves the record, its past is the same."""
    try:
        if policy is None:
            plan = tape.plan if track is tape.top else compiled(track.started, track.record.run)
            made = list(by_own(track.record, plan))
        else:
            made = list(by_other(track.record, policy))
    except RecordError as error:
        if policy is not None:  # what was asked for cannot be done
            raise
        tape.notes.append(f"its decisions are those of the record, not made anew: {escaped(str(error))}")
        return
    track.decisions = {one.seq: one for one in made}


def _note_hidden(tape: Tape) -> None:
    steps = calls = 0
    for track in tape.tracks.values():
        for one in track.steps:
            if tape.is_inside(track, one):
                continue
            if isinstance(one, Request):
                steps += bool(one.asked.redacted or (one.answered is not None and one.answered.redacted))
            else:
                hidden = one.requested.withheld is not None
                steps += hidden or bool(getattr(one.outcome, "redacted", ()))
                decided = (stamped.seq for stamped in one.events if isinstance(stamped.event, e.CallDecided))
                calls += hidden and not all(seq in track.decisions for seq in decided)
    if steps:
        tape.notes.append(
            f"in {steps} steps something was hidden before it was recorded: its mark was played, and anything"
            f" was taken for what it stands for{f'; {calls} calls were not decided anew' if calls else ''}"
        )


def _note_whole(tape: Tape) -> None:
    for track in tape.tracks.values():
        for call in track.calls.values():
            if call.requested.parent is not None and tape.is_whole(track, call.requested.parent):
                continue
            if not tape.is_whole(track, call.key):
                continue
            requests = sum(call.key in one.during for one in track.requests)
            inner = sum(one.requested.parent == call.key for one in track.calls.values())
            runs = sum(one.call == call.key for one in track.subruns)
            if requests or inner or runs:
                tape.notes.append(
                    f"{call} was answered as a whole; inside of it the record has {requests} model requests,"
                    f" {inner} calls and {runs} runs, which did not come"
                )
