"""The guard of a playback: it stands where any guard does, decides from the record, and runs no tool."""

import builtins
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Unpack

from ringfence._records import Records
from ringfence.dsl.canonical import loads_strict
from ringfence.dsl.plan import Json, Plan, Verdict
from ringfence.engine.decision.calls import Decision, Principal, ToolCall
from ringfence.engine.decision.events import (
    ApprovalAnswered,
    ApprovalAsked,
    CallDecided,
    CallFailed,
    CallFinished,
    CallStarted,
    ModelAnswered,
    ModelAsked,
    Stamped,
)
from ringfence.engine.decision.results import bound_result
from ringfence.engine.enforcement import replies
from ringfence.engine.enforcement.bodies import Flight
from ringfence.engine.enforcement.current import current_call, inside_call
from ringfence.engine.enforcement.drive import Steps
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.inner import Inner
from ringfence.engine.enforcement.opening import Opening
from ringfence.engine.enforcement.requests import own
from ringfence.engine.enforcement.run_block import AboutRun
from ringfence.engine.enforcement.runs import Held, Run
from ringfence.engine.enforcement.tool_results import ResultLens
from ringfence.engine.journal.jsonable import jsonable
from ringfence.engine.retrospect.exported import read_exported
from ringfence.engine.retrospect.playback.asking import Asking
from ringfence.engine.retrospect.playback.playing import Playing
from ringfence.engine.retrospect.playback.tape import Call, is_described, wound
from ringfence.engine.retrospect.record import RunRecord
from ringfence.engine.seams.dispatch import Extensions
from ringfence.engine.seams.errors import PendingError
from ringfence.engine.seams.loop import EngineLoop
from ringfence.engine.seams.settings import Settings

UNSEEN: Final = object()
"""What the record does not say of what a call was answered with."""

Seen = Callable[[Call, ToolCall, ResultLens], Any]
"""Returns what the framework got for a recorded call, where the record says more than the result's JSON; else
`UNSEEN`."""

_NOT_APPROVED: Final = frozenset({"reject", "expire"})
_STOPPED: Final = frozenset({"cancelled", "abandoned", "timeout"})


class PlayedError(Exception):
    """What failed in the recorded run, under the name that it had there."""


class RecordedClock:
    """The clock of the record: it stands where the playback has come to."""

    def __init__(self, now_ns: int) -> None:
        self._now_ns = now_ns

    def reach(self, now_ns: int) -> None:
        """Go on to this moment of the record, if it is later."""
        self._now_ns = max(self._now_ns, now_ns)

    def now_ns(self) -> int:
        """Return nanoseconds since the Unix epoch, as recorded."""
        return self._now_ns

    def monotonic_ns(self) -> int:
        """Return this process's monotonic clock."""
        return time.monotonic_ns()

    def sleep_until(self, mono_ns: int) -> None:
        """Return: nobody waits in a playback."""

    async def asleep_until(self, mono_ns: int) -> None:
        """Return: nobody waits in a playback."""

    def anchor(self, now_ns: int) -> None:
        """Stay: the record's time is not the store's."""


class PlayedGuard(Guard):
    """Answers every call from the record of a run; the bodies of tools are not called.

    Only those of the tools that are said to be agents run: what they ask is answered from the record again.
    """

    plays_back = True

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        opening: Opening,
        playing: Playing,
        clock: RecordedClock,
        seen: Seen,
    ) -> None:
        super().__init__(plan, settings, opening, replan=lambda _: plan, runs=Records)
        self.playing = playing
        self._clock = clock
        self._seen = seen

    # ---- runs --------------------------------------------------------------------------------------

    def _begin(self, **about: Unpack[AboutRun]) -> Steps[Run]:
        around, within = about.get("parent"), current_call()
        call = within[1] if within is not None and within[0] is around else None
        parent = around.id if isinstance(around, Run) else around
        track = self.playing.begin(parent, call, about.get("agent"))
        began = track.started
        self._clock.reach(track.record.events[0].at_ns)
        if about.get("principal") is None:
            about["principal"] = Principal(**dict(began.principal))
        run = yield from super()._begin(**about)
        self.playing.plays(run.id, track)
        self.playing.expect(track, "the agent", began.agent, run.agent)
        self.playing.expect(track, "the principal", dict(began.principal), dict(run.principal.values))
        if self.plan.digest == began.policy_digest:
            now = sorted(run.state.holds)
            self.playing.expect(track, "what the run holds", sorted(began.capabilities), now)
        return run

    def _depart(self, run: Run, flight: Flight) -> float | None:
        super()._depart(run, flight)
        return None  # the record says when the time was up

    # ---- models ------------------------------------------------------------------------------------

    def answer(self, run: Run | None, came: Asking) -> ModelAnswered:
        """Return the recorded answer to a model request.

        Raises:
            DivergedError: The record has no such request.
        """
        request = self.playing.ask(None if run is None else run.id, came)
        if run is not None:
            self._halt(run)
            run.check_live()  # it was in flight when the run was halted
        if request.answered is None:
            self.playing.unanswerable(run.id if run else None, request, "its answer is not in the record")
        return request.answered

    def _halt(self, run: Run) -> None:
        """Halt the run where the record does."""
        due = self.playing.halt_due(run.id)
        if due is not None and not run.ended and run.stopped is None:
            run.halt(due.reason, by=due.by, detail=due.detail)

    # ---- calls -------------------------------------------------------------------------------------

    def would_ask(self, run: Run, call: ToolCall) -> bool:
        """Return False: people have answered, or not, in the record."""
        return False

    def authorize(self, run: Run, call: ToolCall) -> Decision:
        """Return the decision of the call, made anew; it still has to come."""
        return self._decision(run, self._matched(run, call, is_looked_at=True))

    async def aauthorize(self, run: Run, call: ToolCall) -> Decision:
        """Like `authorize`."""
        return self.authorize(run, call)

    def ask(self, run: Run, call: ToolCall) -> Decision:
        """Return the decision of the call: nobody is asked again."""
        return self.authorize(run, call)

    async def aask(self, run: Run, call: ToolCall) -> Decision:
        """Like `ask`."""
        return self.authorize(run, call)

    def _execute(
        self,
        run: Run,
        call: ToolCall,
        body: Callable[[Mapping[str, Json]], Any],
        wait: bool,
        lens: ResultLens,
        passthrough: tuple[type[BaseException], ...],
        inner: Inner,
        *_: Any,
    ) -> Any:
        one = self._matched(run, call)
        if not self._runs(one):
            return self._answered(run, call, one, wait, lens)
        with self._inside(run, one, passthrough):
            value = body(self._decided(run, one, call))
        return self._landed(run, one, value, lens)

    async def _aexecute(
        self,
        run: Run,
        call: ToolCall,
        body: Callable[[Mapping[str, Json]], Any],
        wait: bool,
        lens: ResultLens,
        passthrough: tuple[type[BaseException], ...],
        inner: Inner,
        *_: Any,
    ) -> Any:
        one = self._matched(run, call)
        if not self._runs(one):
            return self._answered(run, call, one, wait, lens)
        with self._inside(run, one, passthrough):
            value = await body(self._decided(run, one, call))
        return self._landed(run, one, value, lens)

    def _matched(self, run: Run, call: ToolCall, *, is_looked_at: bool = False) -> Call:
        self._admission.own(run)
        around = current_call()
        return self.playing.call(
            run.id,
            call.tool,
            _arguments(call),
            parent=around[1] if around and around[0] is run else None,
            call_id=call.call_id,
            schema_names=None if call.schema_names is None else sorted(call.schema_names),
            is_looked_at=is_looked_at,
        )

    def _runs(self, one: Call) -> bool:
        """Say whether the body of a call runs: it is an agent's, and it ran then."""
        return one.requested.tool in self.playing.tape.agents and one.outcome is not None

    def _decision(self, run: Run, one: Call) -> Decision:
        track = self.playing.track_of(run.id)
        decided = [stamped for stamped in one.events if isinstance(stamped.event, CallDecided)]
        if track is None or not decided:
            self.playing.unanswerable(run.id, one, "the run ended before it was decided")
        return self.playing.tape.decision(track, decided[-1])

    def _decided(self, run: Run, one: Call, call: ToolCall) -> Mapping[str, Json]:
        """Return the arguments for a body that runs: those decided; those that came, if some are hidden."""
        hidden = one.requested.withheld is not None
        return own(call.arguments if hidden else self._decision(run, one).arguments)

    def _take_in(self, run: Run, events: Collection[Stamped]) -> None:
        """Have the run know what was recorded of a call."""
        for stamped in events:
            self._clock.reach(stamped.at_ns)
            if not run.ended:
                run.append(stamped.event)

    # ---- a body that runs --------------------------------------------------------------------------

    @contextmanager
    def _inside(self, run: Run, one: Call, passthrough: tuple[type[BaseException], ...]) -> Iterator[None]:
        """Run an agent's body, and compare how it fails."""
        began, ended = _parted(one)
        self._take_in(run, began)
        try:
            with inside_call(run, one.key):
                yield
        except passthrough:
            self.playing.expect_again(one)
            raise
        except Exception as error:
            self.playing.raised(run.id, one, error)
            self._take_in(run, ended)
            self._halt(run)
            raise

    def _landed(self, run: Run, one: Call, value: Any, lens: ResultLens) -> Any:
        bounded = bound_result(lens.get(value), self._decision(run, one).obligations)
        if bounded.truncated is not None:
            value = lens.set(value, bounded.value)
        self.playing.returned(run.id, one, jsonable(bounded.value))
        self._take_in(run, _parted(one)[1])
        self._halt(run)
        return value

    # ---- a call that is answered -------------------------------------------------------------------

    def _answered(self, run: Run, call: ToolCall, one: Call, wait: bool, lens: ResultLens) -> Any:
        """Return, or raise, what the call came to in the record."""
        decision = self._decision(run, one)
        held = Held(one.key, call, decision, None, over=True)
        seen = self._seen(one, call, lens)
        outcome = one.outcome
        if outcome is None and decision.verdict >= Verdict.ASK and seen is UNSEEN:
            self._unanswered(run, one, held, wait)
        self._take_in(run, one.events)
        self._halt(run)
        if isinstance(outcome, CallFinished):
            return self._result(run, one, outcome, seen, lens)
        if isinstance(outcome, CallFailed):
            return self._failure(run, one, held, outcome, seen)
        if decision.verdict < Verdict.ASK:
            raise replies.refusal(run, held)
        if seen is not UNSEEN:
            return seen
        answers = (stamped.event for stamped in one.events)
        because = next(
            (
                said.because or said.verdict
                for said in answers
                if isinstance(said, ApprovalAnswered) and said.verdict in _NOT_APPROVED
            ),
            "it did not start",
        )
        raise replies.rejected(run, held, because)

    def _unanswered(self, run: Run, one: Call, held: Held, wait: bool) -> None:
        """Leave a call to wait for people that waited for them where the record ends."""
        asked = [stamped.event for stamped in one.events if isinstance(stamped.event, ApprovalAsked)]
        said = [stamped.event for stamped in one.events if isinstance(stamped.event, ApprovalAnswered)]
        if not asked or any(answer.verdict in _NOT_APPROVED for answer in said):
            return
        if wait:
            self.playing.unanswerable(run.id, one, "in the record people were asked and had not answered")
        if one.key not in run.state.calls:
            until = max(stamped.seq for stamped in one.events if isinstance(stamped.event, ApprovalAsked))
            self._take_in(run, [stamped for stamped in one.events if stamped.seq <= until])
        self.playing.expect_again(one)
        tickets = [ticket.ticket for ticket in asked]
        raise PendingError(
            f"`{held.call.tool}` waits for people, as it does where the record ends",
            tickets=tickets,
            decision=held.decision,
            run=run.id,
            call=one.key,
            help="the playback ends here: there is nothing to answer",
        )

    def _result(self, run: Run, one: Call, outcome: CallFinished, seen: Any, lens: ResultLens) -> Any:
        if seen is not UNSEEN:
            return seen
        if is_described(outcome.result):
            self.playing.unanswerable(run.id, one, "its result was no JSON, or too large to be recorded")
        return outcome.result if lens.make is None else lens.make(outcome.result)

    def _failure(self, run: Run, one: Call, held: Held, outcome: CallFailed, seen: Any) -> Any:
        if outcome.outcome in _STOPPED and run.stopped is not None:
            raise run.over()
        if outcome.outcome == "interrupted":
            self.playing.unanswerable(run.id, one, "its body paused the graph, and the record ends there")
        if seen is not UNSEEN:
            return seen
        if outcome.outcome == "raised":
            raise failure(outcome.error)
        if outcome.outcome == "refused result":
            raise replies.refused_result(run, held, outcome.error)
        if outcome.outcome == "refused":
            raise replies.lapsed(run, held)
        raise replies.failed(run, held, outcome.error)


def _arguments(call: ToolCall) -> Json:
    """Return arguments as they are recorded: a text is read, as a model writes it."""
    said: Any = call.arguments
    if isinstance(said, str):
        with suppress(ValueError, RecursionError):  # no JSON: it stays a text
            said = loads_strict(said)
    return jsonable(said)


def _parted(one: Call) -> tuple[list[Stamped], list[Stamped]]:
    """Return the events of a call up to its last start, and those after it."""
    start = max(stamped.seq for stamped in one.events if isinstance(stamped.event, CallStarted))
    return (
        [stamped for stamped in one.events if stamped.seq <= start],
        [stamped for stamped in one.events if stamped.seq > start],
    )


def failure(said: str) -> Exception:
    """Return the exception that the record names: a built-in one, else one of ours that is called so."""
    name, _, text = said.partition(":")
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(text.strip())
        except TypeError:  # one that wants more than a text: named below all the same
            pass
    named = name.strip() if name.strip().isidentifier() else PlayedError.__name__
    made: Exception = type(named, (PlayedError,), {"__module__": __name__})(text.strip())
    return made


def record_of(run: RunRecord | str | Path, name: str | None = None) -> RunRecord:
    """Return a record: as it is, or read from a file of `ringfence export`.

    Raises:
        RecordError: The file does not hold it, or not as it was exported.
    """
    return run if isinstance(run, RunRecord) else read_exported(run, name)


def played_guard(
    record: RunRecord,
    *,
    agents: Collection[str],
    policy: Plan | None,
    recorded: Callable[[ModelAsked], Asking],
    seen: Seen,
) -> PlayedGuard:
    """Return the guard of a playback; its store is in memory, and nothing of it is opened but that.

    Raises:
        RecordError: The run cannot be played back.
    """
    from ringfence.plugins import memory

    tape = wound(record, agents=agents, policy=policy)
    settings = Settings.of({"store": "memory:"}, folder=Path.cwd())
    extensions = Extensions.assemble(settings, builtins={"memory": memory})
    clock = RecordedClock(record.events[0].at_ns)
    opening = Opening(
        loop=EngineLoop(), clock=clock, settings=settings, extensions=extensions, store=extensions.open_store
    )
    return PlayedGuard(tape.plan, settings, opening, Playing(tape, recorded), clock, seen)
