"""What the record says of each run in an isolate: its inputs, what it was given, and how it ended.

Nothing is taken on trust that follows from something else: the source, the limits and the clock's steps from
the recorded policy, the arguments from the decision's digest, and what the code was given for a call from
what that call returned.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ringfence.dsl.canonical import canonical
from ringfence.dsl.plan import Isolated, IsolatePlan, Json, Obligations, Plan, ToolPlan
from ringfence.engine.decision import events as e
from ringfence.engine.decision.calls import digest_of
from ringfence.engine.journal.isolated import digest_of_text, started
from ringfence.engine.retrospect.record import RecordError, RunRecord
from ringfence.engine.retrospect.replay import Divergence, Unreplayable
from ringfence.engine.seams.isolates import InnerAnswer, IsolateJob, IsolateLimits

_MINIMAL = "`audit minimal` keeps {what} out of the record"
_NEVER_RAN = frozenset({"lockdown", "executor"})


@dataclass(frozen=True, slots=True)
class Inner:
    """One call that the code made, and what it was given for it."""

    asked: e.CallRequested | None
    """None: the run ended before the guard was asked."""
    seq: int
    """Of `asked`, or of how the isolate ended."""
    answer: InnerAnswer | None
    """None: it was not answered."""
    filled: tuple[str, ...] = ()
    """The arguments that the host filled in, and the code left out."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One run in an isolate that can be run again."""

    seq: int
    call: str
    isolate: IsolatePlan
    job: IsolateJob
    batches: tuple[tuple[Inner, ...], ...]
    ended: e.IsolateEnded
    ended_seq: int
    obligations: Obligations
    """What the call's own result keeps to."""
    finished: e.CallFinished | None
    """What the call gave; None: nothing, or it is kept out of the record."""
    finished_seq: int


class _MissingError(Exception):
    """The run in an isolate cannot be run again; the message says why."""


class _ChangedError(Exception):
    """The record contradicts itself."""

    def __init__(self, divergence: Divergence) -> None:
        super().__init__()
        self.divergence = divergence


def recorded(record: RunRecord, plan: Plan) -> list[Recorded | Divergence | Unreplayable]:
    """Return the runs in isolates, in the order in which they began.

    One whose record contradicts itself is a divergence.

    Raises:
        RecordError: An event is of another shape than a guard writes.
    """
    told = _Told(record)
    found: list[Recorded | Divergence | Unreplayable] = []
    for began in told.began:
        assert isinstance(began.event, e.IsolateStarted)
        call = began.event.call
        try:
            found.append(_read(told, plan, began.seq, began.event))
        except _MissingError as why:
            found.append(Unreplayable(began.seq, call, str(why)))
        except _ChangedError as changed:
            found.append(changed.divergence)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise RecordError(f"the isolate of event {began.seq} cannot be read: {error}") from error
    gone = [seq for seq, kind in record.purged.items() if kind == e.IsolateStarted.kind]
    return found + [Unreplayable(seq, "", "what it began with was purged") for seq in gone]


@dataclass(slots=True)
class _Call:
    """The events of one call that matter here."""

    requested: e.Stamped | None = None
    edited: Json = None
    allowed: e.Stamped | None = None
    """The decision that it was started on."""
    finished: e.Stamped | None = None
    ended: e.Stamped | None = None
    """How its isolate ended."""
    inner: dict[int, str] = field(default_factory=dict)
    """Of the code's calls: id -> key."""


class _Told:
    """The events of a run, by call."""

    def __init__(self, record: RunRecord) -> None:
        self.session = record.started.session
        self.purged = frozenset(record.purged.values())
        self.began: list[e.Stamped] = []
        self.calls: dict[str, _Call] = {}
        for stamped in record.events:
            try:
                self._take(stamped)
            except (TypeError, ValueError, AttributeError) as error:
                raise RecordError(f"event {stamped.seq} cannot be read: {error}") from error

    def _take(self, stamped: e.Stamped) -> None:
        match event := stamped.event:
            case e.CallRequested():
                call = self._of(event.call)
                call.requested, call.edited = stamped, None
                before, _, id = (event.task or "").rpartition("#")
                if event.parent is not None and before == event.parent and id.isdecimal():
                    self._of(event.parent).inner[int(id)] = event.call
            case e.ApprovalAnswered(verdict="approve") if event.edited is not None:
                self._of(event.call).edited = event.edited
            case e.CallDecided(verdict="allow"):
                self._of(event.call).allowed = stamped
            case e.IsolateStarted():
                self.began.append(stamped)
            case e.IsolateEnded():
                self._of(event.call).ended = stamped
            case e.CallFinished():
                self._of(event.call).finished = stamped

    def _of(self, key: str) -> _Call:
        return self.calls.setdefault(key, _Call())

    def missing(self, what: str, kind: type[e.RunEvent]) -> _MissingError:
        """Return why something that a `kind` of event holds is not there."""
        purged = kind.kind in self.purged
        return _MissingError(f"{what} was purged" if purged else f"{what} is not in the record")


def _read(told: _Told, plan: Plan, seq: int, began: e.IsolateStarted) -> Recorded:
    call = told.calls.get(began.call, _Call())
    if call.ended is None:
        raise told.missing("how it ended", e.IsolateEnded)
    ended = call.ended.event
    assert isinstance(ended, e.IsolateEnded)
    if ended.failure in _NEVER_RAN:
        raise _MissingError(f"it did not run: {ended.message or ended.failure}")
    arguments, tool = _arguments(told, plan, call)
    assert tool.isolated is not None
    isolate = plan.isolates[tool.isolated.isolate]
    job = _job(told.session, began, arguments, tool.isolated, isolate)
    again = e.body_of(started(began.call, isolate.name, job))
    said = e.body_of(began)
    differs = tuple(name for name in said if said[name] != again[name])
    if differs:
        raise _ChangedError(Divergence(seq, began.call, differs, said, again))
    if ended.failure != "time":
        # What was left of the run then changes no byte: a slower machine may take all that is allowed.
        job = replace(job, limits=replace(job.limits, time_ns=isolate.time_ns))
    finished = None if call.finished is None else call.finished.event
    return Recorded(
        seq=seq,
        call=began.call,
        isolate=isolate,
        job=job,
        batches=_batches(told, call, ended, call.ended.seq),
        ended=ended,
        ended_seq=call.ended.seq,
        obligations=tool.obligations,
        finished=finished if isinstance(finished, e.CallFinished) else None,
        finished_seq=0 if call.finished is None else call.finished.seq,
    )


def _arguments(told: _Told, plan: Plan, call: _Call) -> tuple[Mapping[str, Json], ToolPlan]:
    """Return what the tool was called with, and the tool."""
    if call.requested is None:
        raise told.missing("its call", e.CallRequested)
    if call.allowed is None:
        raise told.missing("its decision", e.CallDecided)
    asked, decided = call.requested.event, call.allowed.event
    assert isinstance(asked, e.CallRequested) and isinstance(decided, e.CallDecided)
    if asked.withheld is not None and (asked.withheld != "redacted" or decided.arguments is None):
        keyed = asked.withheld == "keyed"
        raise _MissingError(
            _MINIMAL.format(what="its arguments") if keyed else f"its arguments are {asked.withheld}"
        )
    tool = plan.by_bound_name.get(asked.tool)
    if tool is None or tool.isolated is None:
        raise _ChangedError(
            Divergence(
                call.requested.seq, asked.call, ("runs",), {"runs": "in an isolate"}, {"runs": "in the host"}
            )
        )
    # An edit that had no effect is in the record, too; the decision's digest says which ones were run.
    given = [decided.arguments] if decided.arguments is not None else [call.edited, asked.arguments]
    for arguments in given:
        if isinstance(arguments, Mapping):
            own = digest_of(asked.tool, canonical(dict(arguments)))
            if own == decided.digest:
                return arguments, tool
    own = digest_of(asked.tool, canonical(given[-1]))
    raise _ChangedError(
        Divergence(call.allowed.seq, asked.call, ("digest",), {"digest": decided.digest}, {"digest": own})
    )


def _job(
    session: str,
    began: e.IsolateStarted,
    arguments: Mapping[str, Json],
    isolated: Isolated,
    isolate: IsolatePlan,
) -> IsolateJob:
    source = isolated.source if isolated.param is None else arguments[isolated.param]
    if not isinstance(source, str):
        raise _MissingError("its source is not in the record")
    time_ns = min(int(began.limits["time_ms"]) * 1_000_000, isolate.time_ns)
    return IsolateJob(
        source=source,
        kind="body" if isolated.param is None else "code",
        name=(isolated.file or "") if isolated.param is None else isolated.param,
        arguments=canonical(dict(arguments)).decode() if isolated.param is None else "{}",
        tools=tuple(sorted(isolate.may_call)),
        limits=IsolateLimits(isolate.memory_bytes, isolate.cpu_ns, max(time_ns, 1), isolate.output_bytes),
        lockdown=isolate.lockdown,
        now_ms=int(began.now_ms),
        tick_ms=isolate.tick_ms,
        seed=str(began.seed),
        owner=f"the recorded session {session}",  # no guard's word, so no live session's
    )


def _batches(
    told: _Told, call: _Call, ended: e.IsolateEnded, ended_seq: int
) -> tuple[tuple[Inner, ...], ...]:
    if ended.answers is None:
        raise _MissingError("it was recorded before what the code was given was")
    batches: list[tuple[Inner, ...]] = []
    id = 0
    for batch in ended.answers:
        made: list[Inner] = []
        for said in batch:
            id += 1
            made.append(_inner(told, call, id, said, ended_seq))
        batches.append(tuple(made))
    if id != ended.calls:
        changed = Divergence(ended_seq, ended.call, ("calls",), {"calls": ended.calls}, {"calls": id})
        raise _ChangedError(changed)
    return tuple(batches)


def _inner(told: _Told, call: _Call, id: int, said: Json, ended_seq: int) -> Inner:
    known = told.calls.get(call.inner.get(id, ""))
    if known is None or known.requested is None:
        if said is not None:
            raise told.missing(f"its inner call {id}", e.CallRequested)
        return Inner(None, ended_seq, None)
    asked = known.requested.event
    assert isinstance(asked, e.CallRequested)
    if said is None:
        return Inner(asked, known.requested.seq, None)
    answer = _answer(told, known, id, said) if said.keys() & {"error", "result"} else None
    return Inner(asked, known.requested.seq, answer, tuple(said.get("filled", ())))


def _answer(told: _Told, known: _Call, id: int, said: Mapping[str, Json]) -> InnerAnswer:
    """Return exactly what the code was given for one call."""
    if "error" in said:
        error = said["error"]
        if not isinstance(error, str):
            raise _MissingError(f"the text that inner call {id} was refused with is not in the record")
        return InnerAnswer(id, None, error)
    withheld = said.get("withheld")
    if withheld is not None:
        what = f"the result of inner call {id}"
        raise _MissingError(
            _MINIMAL.format(what=what) if withheld == "keyed" else f"{what} is not in the record: {withheld}"
        )
    if known.finished is None:
        raise told.missing(f"the result of inner call {id}", e.CallFinished)
    finished = known.finished.event
    assert isinstance(finished, e.CallFinished)
    text = canonical(finished.result).decode()
    if (own := digest_of_text(text)) != said["result"]:
        raise _ChangedError(
            Divergence(
                known.finished.seq, finished.call, ("given",), {"given": said["result"]}, {"given": own}
            )
        )
    return InnerAnswer(id, text)
